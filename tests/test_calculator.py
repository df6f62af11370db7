import pytest
from html_tags import Tags
from test_figures import HOSTILE

from course_lm.training.scaling import A100, Law, Machine
from course_lm.viewing.calculator import (
    cost,
    duration,
    large,
    law_figure,
    power,
    scaling_calculator,
)
from course_lm.viewing.figures import png

LAPTOP = Machine(name="laptop", flops=50e9, share=0.5)


def test_the_cost_of_gpt3_by_hand():
    lines = cost(175e9, 300e9, A100, count=1000).text.splitlines()
    assert lines[0] == "175 billion weights read 300 billion tokens: 1.71 tokens for each weight."
    assert lines[1] == "6 × N × D = 3.15 × 10²³ FLOP, 1.00 of GPT-3's."
    # 3.15e23 / (312e12 · 0.4 · 1000) s = 29.2 days; 2.524e9 s on one, in hours, at two dollars
    assert "On 1,000 × NVIDIA A100, at 40 % of its 3.12 × 10¹⁴ FLOP a second: 29.2 days" in lines[2]
    assert lines[2].endswith("about 1,400,000 dollars.")


def test_a_machine_without_a_price_costs_nothing_to_name():
    text = cost(1e6, 1e6, LAPTOP).text
    assert "On one laptop, at 50 %" in text
    assert text.endswith("4.00 minutes.")
    assert "dollars" not in text


@pytest.mark.parametrize(
    ("days", "said"),
    [(730.5, "2.00 years"), (1.5, "1.50 days"), (0.5, "12.0 hours"), (1e-4, "8.64 seconds")],
)
def test_a_time_is_said_in_its_own_unit(days, said):
    assert duration(days) == said


@pytest.mark.parametrize(
    ("value", "said"), [(3.15e23, "3.15 × 10²³"), (0.5, "0.500"), (2e-12, "2.00 × 10⁻¹²")]
)
def test_a_large_or_small_number_is_said_with_a_power_of_ten(value, said):
    assert power(value) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(2e12, "2 trillion"), (1.5e9, "1.5 billion"), (999.0, "999"), (999_999_999, "1 billion")],
)
def test_a_count_is_said_in_words(count, said):
    assert large(count) == said


def test_the_dials_stand_near_the_start_and_change_the_answer():
    box = scaling_calculator([LAPTOP, A100], (175e9, 310e9))
    (size, text, machine), answer = box.children[0].children, box.children[1]
    assert (size.value, text.value) == (2e11, 2e11)
    before = answer.value
    machine.value = 1
    assert "NVIDIA A100" in answer.value != before
    size.value = 1e6
    assert "1 million weights" in answer.value


@pytest.mark.parametrize(("start", "step"), [(1.4e6, 1e6), (1.5e6, 2e6), (4e6, 5e6), (1, 1e3)])
def test_the_nearest_step_is_nearest_in_powers_of_ten(start, step):
    assert scaling_calculator([A100], (start, 1e9)).children[0].children[0].value == step


def test_the_name_of_a_machine_is_shown_as_it_is():
    html = cost(1e6, 1e6, Machine(name=HOSTILE, flops=1e9)).html
    assert {tag for tag, _ in Tags(html).tags} == {"div"}


def test_a_calculator_needs_a_machine():
    with pytest.raises(ValueError, match="expected at least one machine"):
        scaling_calculator([], (1e6, 1e6))


def test_the_law_is_drawn_through_every_run_with_both_floors_and_the_run_it_never_saw():
    law = Law(0.5, 8.0, 0.5, 900.0, 0.75, 0.0)
    runs = [(n, d, law(n, d)) for n in (100, 1000) for d in (10_000, 100_000)]
    figure = law_figure(runs, law, floor=0.6, check=(5000, 300_000, 0.7))
    assert figure.numbers[1] == [100, 10_000, law(100, 10_000), law(100, 10_000)]
    assert figure.numbers[-1] == [5000, 300_000, 0.7, law(5000, 300_000)]
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == [
        "100 weights",
        "1 thousand weights",
        "5 thousand weights",
        "floor 0.600",
        "fitted floor 0.500",
    ]
    png(figure)
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["10k", "100k", "300k"]
    assert len(law_figure(runs, law).axes[0].texts) == 3  # no exact floor, no sixth run


def test_the_star_has_the_colour_of_its_size_and_large_texts_have_short_names():
    law = Law(0.5, 8.0, 0.5, 900.0, 0.75, 0.0)
    runs = [(n, d, law(n, d)) for n in (100, 1000) for d in (10**6, 999_999_999)]
    axes = law_figure(runs, law, check=(100, 1.5e10, 0.7)).axes[0]
    lines = {line.get_marker(): line.get_color() for line in axes.lines}
    assert lines["*"] == axes.lines[0].get_color() != axes.lines[2].get_color()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1M", "1B", "15B"]
