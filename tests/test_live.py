"""The viewer of a training run: every step comes through, whatever ends it, at a small price."""

import re
import signal
from itertools import pairwise
from types import SimpleNamespace

import fake_notebook
import pytest
import torch
from torch import nn

from course_lm.training.loop import Recipe, Step, train
from course_lm.viewing import live
from course_lm.viewing.curves import history_curves, loss_curve
from course_lm.viewing.live import Run, watch_training
from course_lm.viewing.sketch import HIGH, LINE, ink, loss_sketch, ticks
from course_lm.viewing.strips import STRENGTH, contrast
from course_lm.viewing.style import COLOURS

HOSTILE = "<img src=x onerror=alert(1)> & \"'"
FOUR = Recipe(steps=4)


@pytest.fixture
def shown(monkeypatch):
    return fake_notebook.shown(monkeypatch)


@pytest.fixture
def always_due(monkeypatch):
    """Every step is drawn."""
    monkeypatch.setattr(live, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(live, "DRAWING", 1e9)


def step(n, loss=1.0, held_out=None):
    return Step(n, loss, 1.0, 0.01, seconds=n / 2, tokens=100 * n, held_out=held_out)


def steps(*losses):
    return [step(n, loss) for n, loss in enumerate(losses, 1)]


def then_raise(records, error):
    yield from records
    raise error


def run_of(records, recipe, **known):
    run = Run(recipe, known.get("levels", {}), "nats", known.get("sample"))
    for record in records:
        run.add(record)
    return run


# -- what comes through


def test_every_step_comes_through_unchanged(shown):
    records = steps(4.0, 3.0, 2.0, 1.0)
    assert all(a is b for a, b in zip(watch_training(records, FOUR), records, strict=True))


def test_the_last_display_says_the_numbers_in_text_too(shown):
    records = [*steps(4.0, 3.0), step(3, 2.0, held_out=2.5), step(4, 1.0, held_out=1.5)]
    list(watch_training(records, FOUR, floor=0.5, baselines={"best counts": 1.25}, unit="nats"))
    assert shown[0].text == "step 0 of 4"
    assert shown[-1].text.splitlines() == [
        "step 4 of 4, 0 s, 200 tokens/s",
        "loss in nats: 4.00 at first, train 1.00, held-out 1.50, floor 0.500, best counts 1.25",
    ]
    said = "Loss in nats: train 1.00, held-out 1.50, floor 0.500, best counts 1.25"
    assert f"role='img' aria-label='{said}'" in shown[-1].html


def test_another_field_of_a_step_can_be_watched(shown):
    records = [step(n, held_out=None) for n in (1, 2, 3, 4)]
    assert list(watch_training(records, FOUR, unit="units", of="tokens")) == records
    assert shown[-1].text.splitlines()[-1] == "tokens in units: 100 at first, train 400"
    assert "aria-label='Tokens in units: train 400'" in shown[-1].html
    assert ">tokens, units</text>" in shown[-1].html


def test_outside_a_notebook_the_last_state_is_printed_once(capsys):
    list(watch_training(steps(2.0, 1.0), Recipe(steps=2), sample=lambda: "anna is in the garden"))
    assert capsys.readouterr().out.splitlines() == [
        "step 2 of 2, 0 s, 200 tokens/s",
        "loss in nats per word: 2.00 at first, train 1.00",
        "step 2: anna is in the garden",
    ]


def test_the_stop_button_ends_the_run_with_a_sentence(shown):
    stopped = then_raise(steps(4.0, 3.0), KeyboardInterrupt())
    assert list(watch_training(stopped, FOUR)) == steps(4.0, 3.0)
    first = shown[-1].text.splitlines()[0]
    assert first == ("step 2 of 4, 0 s, 200 tokens/s; stopped, the model and its history are kept")


def test_a_stop_before_the_first_step_is_no_error(shown):
    assert list(watch_training(then_raise([], KeyboardInterrupt()), FOUR)) == []
    assert shown[-1].text.startswith("step 0 of 4; stopped")


def test_a_stop_in_the_middle_of_a_step_keeps_the_step_and_what_it_taught(shown):
    class Bigram(nn.Module):
        vocab_size, context = 3, 2

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 3))

        def forward(self, ids):
            return self.weight[ids]

    def batches():
        ids = torch.tensor([[0, 1, 2]])
        for n in range(1, 100):
            if n == 3:
                signal.raise_signal(signal.SIGINT)
            yield ids[:, :-1], ids[:, 1:]

    model, recipe = Bigram(), Recipe(steps=99, matrix_rate=None)
    history = list(watch_training(train(model, batches(), recipe), recipe))
    assert [record.step for record in history] == [1, 2, 3]
    assert model.weight[0].argmax() == 1
    assert "step 3 of 99" in shown[-1].text
    assert "; stopped, the model and its history are kept" in shown[-1].text


def test_a_stop_while_it_draws_is_heard_after_the_drawing(shown, always_due):
    def interrupted():
        signal.raise_signal(signal.SIGINT)
        return "anna"

    assert list(watch_training(steps(4.0, 3.0), FOUR, sample=interrupted)) == steps(4.0)
    assert "stopped" not in shown[1].text
    assert "stopped" in shown[2].text
    assert shown[2].text.endswith("step 1: anna")


def test_an_error_of_the_training_comes_through_after_the_display_says_where(shown):
    broken = watch_training(then_raise(steps(4.0), FloatingPointError("loss is nan")), FOUR)
    with pytest.raises(FloatingPointError, match="loss is nan"):
        list(broken)
    first = shown[-1].text.splitlines()[0]
    assert first.startswith("step 1 of 4")
    assert first.endswith("; ended by FloatingPointError, the model is kept")


def test_whoever_pulls_may_leave(shown):
    for _ in watch_training(steps(4.0, 3.0, 2.0), FOUR):
        break
    assert "step 1 of 4" in shown[-1].text
    assert "; left before its end, the model is kept" in shown[-1].text


# -- the price


def test_drawing_takes_no_more_than_its_share_of_the_time(monkeypatch, shown):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(live, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    drawn = []

    def picture(run):
        drawn.append(clock.now)
        clock.now += 0.1
        return live.Html("", "")

    monkeypatch.setattr(Run, "picture", picture)

    def ticking():
        for record in steps(*[1.0] * 400):
            clock.now += 0.1
            yield record

    list(watch_training(ticking(), Recipe(steps=400)))
    gaps = [b - a for a, b in pairwise(drawn[1:-1])]
    assert len(gaps) > 3
    assert min(gaps) >= 0.1 / live.DRAWING


def test_samples_are_drawn_at_steps_that_double_and_after_the_last(shown, always_due):
    texts = iter("abcdefgh")
    list(watch_training(steps(*[1.0] * 11), Recipe(steps=11), sample=lambda: next(texts)))
    rows = re.findall(r">step (\d+)</div><div>(\w)</div>", shown[-1].html)
    assert rows == [("1", "a"), ("2", "b"), ("4", "c"), ("8", "d"), ("11", "e")]


def test_a_slow_sample_is_drawn_less_often(monkeypatch, always_due, shown):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(live, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def slow():
        clock.now += 1000.0
        return "anna"

    run = run_of([], Recipe(steps=99), sample=slow)
    run.began = 0.0
    for record in steps(*[1.0] * 50):
        clock.now += 1.0
        run.add(record)
        run.take_sample()
    assert [n for n, _ in run.samples] == [1]


@pytest.mark.parametrize("count", [1, 2, 3, 150, 20_000])
def test_a_curve_keeps_its_first_loss_and_few_points(count):
    losses = [10.0 / n for n in range(1, count + 1)]
    points = run_of(steps(*losses), Recipe(steps=20_000)).curve()
    assert points[0] == (1, 10.0)
    assert points[-1][0] == count
    assert len(points) <= live.POINTS + 2
    assert sorted(points, key=lambda point: -point[1]) == points


def test_a_curve_shows_means_of_neighbours_and_its_end_reaches_back():
    # 2 steps to a block: 1 | 2 | 3 4 | 5, whose mean reaches back to 4
    records = steps(9.0, 7.0, 4.0, 2.0, 6.0)
    points = run_of(records, Recipe(steps=2 * live.POINTS)).curve()
    assert points == [(1, 9.0), (2, 7.0), (4, 3.0), (5, 4.0)]


def test_a_budget_in_seconds_is_counted_in_seconds():
    run = run_of(steps(3.0, 2.0, 1.0), Recipe(seconds=30))
    assert [x for x, _ in run.curve()] == [0.5, 1.0, 1.5]
    assert run.status().startswith("2 of 30 s, step 3, ")
    assert '<progress value="1.5" max="30"' in run.picture().html
    assert "seconds of training" in run.picture().html


def test_the_time_left_counts_only_the_steps_of_this_run(monkeypatch):
    monkeypatch.setattr(live.time, "perf_counter", lambda: 10.0)
    run = run_of([step(501), step(502)], Recipe(steps=522))
    run.began = 0.0  # 10 s for 2 steps, 20 steps to go
    assert "step 502 of 522, 1.7 min left, " in run.status()


# -- what it looks like


def test_what_comes_from_outside_is_escaped(shown):
    list(
        watch_training(
            steps(2.0, 1.0), FOUR, baselines={HOSTILE: 1.0}, sample=lambda: HOSTILE, unit=HOSTILE
        )
    )
    assert "<img" not in shown[-1].html
    assert "'alert" not in shown[-1].html.replace("&#x27;", "")
    assert HOSTILE in shown[-1].text


def test_a_long_sample_is_cut_and_its_line_ends_are_seen(shown):
    list(watch_training(steps(1.0), FOUR, sample=lambda: "O\nthou " + "x" * 1000))
    row = re.search(r"<div>(O[^<]*)</div>", shown[-1].html)[1]
    assert row.startswith("O ⏎ thou x")
    assert len(row) < live.LETTERS + 5
    assert row.endswith("x…")


THEMES = {"light": ((0, 0, 0), "#ffffff"), "dark": ((255, 255, 255), "#111111")}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("label", COLOURS)
def test_every_meaning_reads_on_both_themes(theme, label):
    text, paper = THEMES[theme]
    assert f"{COLOURS[label]} {STRENGTH}%" in ink(label)
    own = [int(COLOURS[label][i : i + 2], 16) for i in (1, 3, 5)]
    share = STRENGTH / 100
    mixed = [round(share * c + (1 - share) * t) for c, t in zip(own, text, strict=True)]
    assert contrast("#{:02x}{:02x}{:02x}".format(*mixed), paper) >= 4.5


def test_labels_at_the_right_never_overlap_or_fall_below_the_axis():
    levels = {"floor": 1.0, "best counts": 1.01, "unigram": 1.02}
    svg = loss_sketch({"train": [(0, 9.0), (1, 1.0)]}, levels, 1, unit="nats", xlabel="steps")
    rows = re.findall(r"<text x='458' y='([\d.]+)'[^>]*>([^<]+)</text>", svg)
    heights = sorted(float(y) for y, _ in rows)
    assert {text for _, text in rows} >= {"train 1.00", "floor 1.00", "unigram 1.02"}
    assert all(b - a >= LINE - 0.2 for a, b in pairwise(heights))
    assert heights[-1] <= HIGH + 4


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1000, [0, 200, 400, 600, 800, 1000]), (0.4, 5.1, [1, 2, 3, 4, 5]), (0, 3, [0, 1, 2, 3])],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_a_flat_curve_and_a_single_step_are_drawn():
    for losses in ([0.0], [2.0, 2.0], [1.0, float("inf")]):
        svg = run_of(steps(*losses), FOUR).picture().html
        assert "polyline" in svg
        assert "nan" not in svg


# -- the same history as a figure


def test_history_curves_keep_the_first_loss_and_the_mean():
    losses = torch.rand(101, generator=torch.Generator().manual_seed(0)).tolist()
    where, means = history_curves(steps(*losses), every=20)["train"]
    assert means[0] == losses[0]
    assert where == [1, 11.5, 31.5, 51.5, 71.5, 91.5]
    whole = (means[0] + 20 * sum(means[1:])) / 101
    assert whole == pytest.approx(sum(losses) / 101)


def test_a_short_last_block_is_a_point_too():
    assert history_curves(steps(5.0, 3.0, 1.0, 7.0), every=2)["train"] == (
        [1, 2.5, 4],
        pytest.approx([5.0, 2.0, 7.0]),
    )


def test_history_curves_leave_short_histories_as_they_are():
    records = [step(1, 3.0), step(2, 2.0, held_out=2.5)]
    curves = history_curves(records)
    assert curves == {"train": ([1, 2], [3.0, 2.0]), "held-out": ((2,), (2.5,))}
    assert [row[0] for row in loss_curve(curves).numbers] == ["steps", "train", "steps", "held-out"]
    assert history_curves(records[:1]) == {"train": ([1], [3.0])}


def test_history_curves_of_nothing_are_an_error():
    with pytest.raises(ValueError, match="expected at least one step, got none"):
        history_curves([])
