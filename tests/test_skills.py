import math

import pytest
from html_tags import Tags
from test_figures import HOSTILE

from course_lm.viewing.attention import shade
from course_lm.viewing.figures import png
from course_lm.viewing.skills import (
    Checkpoint,
    arrival,
    skill_map,
    skill_timeline,
    skills_html,
)

CHANCES = {"late": 0.5, "early": 0.25, "never": 0.5}
POINTS = [
    Checkpoint(0, 4.9, {"late": 0.5, "early": 0.25, "never": 0.5}, "a b"),
    Checkpoint(1000, 1.5, {"late": 0.6, "early": 0.75, "never": 0.8}, "c d"),
    Checkpoint(2000, 0.9, {"late": 1.0, "early": 1.0, "never": 0.4}, "e f"),
]


def test_a_skill_has_come_half_of_the_way_from_chance_to_one_if_it_stays():
    words = [arrival(POINTS, name, CHANCES[name]) for name in CHANCES]
    assert words == [2000, 1000, math.inf]


def test_a_skill_that_could_not_be_measured_has_not_come():
    points = [Checkpoint(1, 1.0, {"new": 1.0}), Checkpoint(2, 1.0, {"new": math.nan})]
    assert arrival(points, "new", 0.5) == math.inf


def test_the_first_skill_stands_on_top_and_the_numbers_are_all_there():
    figure = skill_map(POINTS, CHANCES)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["early", "late", "never"]
    assert figure.numbers[0] == ["words read", 0, 1000, 2000, "chance"]
    assert figure.numbers[1] == ["early", 0.25, 0.75, 1.0, 0.25]
    assert len(axes.patches) == 9


def test_a_share_at_or_below_chance_has_the_colour_of_paper():
    from matplotlib.colors import to_hex

    squares = skill_map(POINTS, CHANCES).axes[0].patches
    colours = [to_hex(square.get_facecolor()) for square in squares]
    assert colours[0] == colours[8] == shade(0)
    assert colours[2] == shade(1)


def test_the_bars_say_what_was_read_and_what_it_writes():
    shown = skills_html(POINTS[1], CHANCES)
    assert shown.text.splitlines()[0] == "1,000 words read, held-out loss 1.50"
    assert "early  0.750  0.250" in shown.text
    assert shown.text.endswith("It writes: c d")
    assert "width:180px" in shown.html  # 0.75 of 240
    assert "left:60px" in shown.html  # chance, 0.25 of 240


def test_text_from_outside_is_shown_as_it_is():
    point = Checkpoint(1, 1.0, {HOSTILE: 0.5}, HOSTILE)
    parsed = Tags(skills_html(point, {HOSTILE: 0.5}).html)
    assert "img" not in {tag for tag, _ in parsed.tags}
    assert parsed.words.count(HOSTILE) == 2  # the skill and the sample
    png(skill_map([point], {HOSTILE: 0.5}))


def test_the_slider_moves_the_bars():
    box = skill_timeline(POINTS, CHANCES)
    dial, picture = box.children
    assert "2,000 words read" in picture.value
    dial.value = 0
    assert "0 words read, held-out loss 4.90" in picture.value
    assert "a b" in picture.value


@pytest.mark.parametrize(
    ("points", "chances"), [([], CHANCES), (POINTS, {}), (POINTS, {"other": 0.5})]
)
@pytest.mark.parametrize("show", [skill_map, skill_timeline])
def test_what_was_not_measured_is_asked_for(show, points, chances):
    with pytest.raises(ValueError, match="expected at least one checkpoint"):
        show(points, chances)
