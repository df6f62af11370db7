"""Gain against forgetting: the two shares by hand, the figure's numbers, and the dial."""

import pytest
from html_tags import Tags
from test_figures import HOSTILE, texts

from course_lm.viewing.figures import png
from course_lm.viewing.replay import (
    Outcome,
    replay_dial,
    replay_html,
    spared_and_kept,
    trade_off,
)

BASE = Outcome(name="base", new=4.0, old=0.8)
RUNS = [
    Outcome(name="0 %", new=1.0, old=2.4, texts={"town": "ben is ✗", "harbour": "ida waits ."}),
    Outcome(name="10 %", new=1.3, old=1.2, texts={"town": "ben is in", "harbour": "ida dives ."}),
    Outcome(name="50 %", new=2.5, old=0.8),
]
LIMITS = {"floors": (0.6, 0.5), "best": [(0.61, 0.56), (0.63, 0.52)]}


def test_the_shares_are_those_worked_by_hand():
    assert spared_and_kept(BASE, RUNS[0], RUNS[1]) == pytest.approx((0.75, 0.9))
    assert spared_and_kept(BASE, RUNS[0], RUNS[2]) == pytest.approx((1.0, 0.5))


def test_the_run_without_replay_spares_nothing_and_the_base_gains_nothing():
    assert spared_and_kept(BASE, RUNS[0], RUNS[0]) == (0, 1)
    assert spared_and_kept(BASE, RUNS[0], BASE) == (1, 0)


def test_who_forgets_more_than_without_replay_spares_less_than_nothing():
    worse = Outcome(name="", new=0.9, old=3.2)
    assert spared_and_kept(BASE, RUNS[0], worse) == pytest.approx((-0.5, 3.1 / 3))


@pytest.mark.parametrize(("new", "old"), [(4.0, 2.0), (1.0, 0.8), (5.0, 2.0), (1.0, float("nan"))])
def test_a_run_without_replay_that_lost_or_won_nothing_is_no_measure(new, old):
    with pytest.raises(ValueError, match="spared_and_kept: expected a run without replay that"):
        spared_and_kept(BASE, Outcome(name="", new=new, old=old), RUNS[1])


def test_the_figure_carries_every_run_the_limits_and_the_floors():
    figure = trade_off({"replay": RUNS}, **LIMITS)
    assert figure.numbers == [
        ("run", "new", "old"),
        ("replay 0 %", 1.0, 2.4),
        ("replay 10 %", 1.3, 1.2),
        ("replay 50 %", 2.5, 0.8),
        ("best possible", 0.61, 0.56),
        ("best possible", 0.63, 0.52),
        ("floor", 0.6, 0.5),
    ]


def test_every_point_has_its_name_and_the_label_stands_at_the_first():
    said = texts(trade_off({"replay": RUNS, "rate": RUNS[:1]}, **LIMITS))
    assert said == ["replay 0 %", "10 %", "50 %", "rate 0 %", "best possible", "floors"]


def test_losses_stand_where_they_belong_and_the_chosen_run_is_ringed():
    (axes,) = trade_off({"": RUNS}, chosen="10 %").axes
    curve, ring = axes.lines
    assert list(zip(*curve.get_data(), strict=True)) == [(1.0, 2.4), (1.3, 1.2), (2.5, 0.8)]
    assert [float(part[0]) for part in ring.get_data()] == [1.3, 1.2]
    assert "new domain, nats per word" in axes.get_xlabel()
    assert "old domain, nats per word" in axes.get_ylabel()


def test_a_figure_needs_neither_floors_nor_limits_and_can_be_drawn():
    figure = trade_off({"": RUNS}, unit="nats per character")
    assert [row[0] for row in figure.numbers] == ["run", " 0 %", " 10 %", " 50 %"]
    assert png(figure).startswith(b"\x89PNG")


def test_names_from_outside_are_drawn_as_they_are():
    named = Outcome(name=HOSTILE, new=1.0, old=1.0)
    figure = trade_off({"": [named]})
    png(figure)
    assert not any(text.get_parse_math() for text in figure.axes[0].texts)


def test_the_picture_says_what_is_spared_and_shows_the_texts_of_the_run():
    made = replay_html(BASE, RUNS, 1, **LIMITS)
    assert made.text.startswith("Replay 10 %: 75 % of the forgetting is spared, 90 % of the gain")
    assert made.text.splitlines()[1:] == ["town     ben is in", "harbour  ida dives ."]
    words = Tags(made.html).words
    assert "ben is in" in words
    assert "ben is ✗" not in words


def test_texts_and_names_from_outside_are_escaped():
    run = Outcome(name=HOSTILE, new=1.0, old=2.4, texts={HOSTILE: HOSTILE})
    tags = Tags(replay_html(BASE, [run], 0).html)
    assert [HOSTILE in attrs["alt"] for tag, attrs in tags.tags if tag == "img"] == [True]
    assert tags.words.count(HOSTILE) == 2


def label(dial) -> str:
    ((_, attrs), *_) = Tags(dial.children[1].value).tags
    return attrs["aria-label"]


def test_the_dial_begins_without_replay_and_shows_each_run_like_the_static_picture():
    dial = replay_dial(BASE, RUNS, **LIMITS)
    assert label(dial).startswith("Replay 0 %: 0 % of the forgetting is spared, 100 % of the gain")
    for place, run in enumerate(RUNS):
        dial.children[0].value = place
        assert label(dial).startswith(f"Replay {run.name}:")
        assert dial.children[1].value == replay_html(BASE, RUNS, place, **LIMITS).html


def test_the_dial_has_one_control():
    assert len(replay_dial(BASE, RUNS).children) == 2
