"""Sizes are drawn to scale, with their numbers, and each can be read on the logarithmic line."""

import math

import pytest

from course_lm.viewing.sizes import bytes_text, compute_figure, size_figure
from course_lm.viewing.style import COLOURS

SIZES = {"small": 2e6, "large": 4e12, "middle": 1e12}


@pytest.mark.parametrize(
    ("size", "text"),
    [(44e12, "44.0 TB"), (999, "999 B"), (1_000, "1.00 kB"), (5.03e6, "5.03 MB"), (0.5, "0.500 B")],
)
def test_a_size_is_written_with_its_unit(size, text):
    assert bytes_text(size) == text


def test_the_area_of_a_square_is_its_size_and_one_too_small_is_left_out():
    squares = size_figure(SIZES).axes[0].patches
    areas = [square.get_width() * square.get_height() for square in squares]
    assert areas == pytest.approx([1, 1 / 4])
    assert math.sqrt(2e6 / 4e12) < 0.01


def test_the_line_names_every_size_from_large_to_small_and_marks_ours():
    figure = size_figure(SIZES, ours=("small",))
    line = figure.axes[1]
    assert [label.get_text() for label in line.get_yticklabels()] == ["large", "middle", "small"]
    assert [dot.get_xdata()[0] for dot in line.lines] == [4e12, 1e12, 2e6]
    assert [dot.get_color() == COLOURS["model"] for dot in line.lines] == [False, False, True]
    assert figure.numbers == [["large", "4.00 TB"], ["middle", "1.00 TB"], ["small", "2.00 MB"]]


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        (SIZES, ["large", "middle"]),
        ({"one": 1e6, "two": 1e6}, ["one"]),
        ({"one": 1e6, "nearly one": 0.95e6, "far": 4e4}, ["one", "far"]),
        ({"one": 1e6, "C4": 1e6 * 0.05**2}, ["one"]),
        ({"one": 1e6, "a name longer than its square is wide": 1e5}, ["one"]),
    ],
)
def test_a_square_is_named_where_its_name_has_room(sizes, named):
    squares = size_figure(sizes).axes[0]
    assert [text.get_text() for text in squares.texts] == named


def test_names_from_outside_are_drawn_as_they_are():
    labels = size_figure({"$x_1$": 1e3}).axes[1].get_yticklabels()
    assert labels[0].get_text() == "$x_1$"
    assert not labels[0].get_parse_math()


@pytest.mark.parametrize("sizes", [{}, {"none": 0}, {"endless": math.inf}])
def test_what_has_no_size_gets_one_sentence(sizes):
    with pytest.raises(ValueError, match="size_figure: expected sizes above 0"):
        size_figure(sizes)


def test_costs_stand_on_a_logarithmic_line_from_the_largest():
    figure = compute_figure({"ours": 6e12, "GPT-3": 3.15e23}, ours=["ours"])
    assert figure.numbers == [["GPT-3", "3.2e+23"], ["ours", "6.0e+12"]]
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"


def test_a_cost_of_nothing_gets_one_sentence():
    with pytest.raises(ValueError, match=r"^compute_figure: expected .*, got .*; leave out"):
        compute_figure({"ours": 0.0})
