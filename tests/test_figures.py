import itertools
import json
import math
import subprocess
import sys
from io import BytesIO

import pytest
import torch
from html_tags import Tags
from matplotlib.figure import Figure
from PIL import Image

from course_lm.viewing import figures
from course_lm.viewing.curves import line_figure, loss_curve
from course_lm.viewing.figures import bars, distribution_bars, show
from course_lm.viewing.strips import alert, contrast, surprise_colours, table, token_strip
from course_lm.viewing.style import (
    COLOURS,
    PAPER,
    UNNAMED,
    between,
    likeliest,
    number,
    spread,
    visible,
)
from course_lm.viewing.surprise import cross_entropy_figure

CURVE = {"train": ([0, 1, 2], [3.0, 2.0, 1.5])}
HOSTILE = "<img src=x onerror=alert(1)> & \"'$x_$"


def shown(monkeypatch, *args) -> list[tuple[object, dict]]:
    displayed = []
    monkeypatch.setattr(figures, "display", lambda thing, **keys: displayed.append((thing, keys)))
    show(*args)
    return displayed


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_drawing_changes_no_global_setting_and_never_loads_pyplot():
    code = (
        "import sys, matplotlib\n"
        "keys = [key for key in matplotlib.rcParams if key != 'backend']\n"
        "before = [matplotlib.rcParams[key] for key in keys]\n"
        "from course_lm.viewing.curves import loss_curve\n"
        "from course_lm.viewing.figures import png\n"
        "png(loss_curve({'train': ([0, 1], [2.0, 1.0])}))\n"
        "assert [matplotlib.rcParams[key] for key in keys] == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_show_gives_a_sharp_image_with_alt_text_and_a_twin_in_text(monkeypatch):
    (data, keys), (caption, _) = shown(monkeypatch, loss_curve(CURVE, floor=0.5), "It falls.")
    image = Image.open(BytesIO(data["image/png"]))
    meta = keys["metadata"]["image/png"]
    assert meta["alt"] == "It falls."
    assert image.size == (2 * meta["width"], 2 * meta["height"]) == (1152, 614)
    assert data["text/plain"].splitlines() == [
        "It falls.",
        "steps  0      1     2",
        "train  3.00   2.00  1.50",
        "floor  0.500",
    ]
    assert str(caption) == "It falls."
    assert "3.00   2.00  1.50" in caption.html


def test_a_caption_is_escaped(monkeypatch):
    _, (caption, _) = shown(monkeypatch, loss_curve(CURVE), HOSTILE)
    assert "<img" not in caption.html


def test_a_figure_is_opaque_near_white_in_its_corners():
    image = Image.open(BytesIO(figures.png(loss_curve(CURVE)))).convert("RGBA")
    assert min(image.getpixel((0, 0))[:3]) > 245
    assert image.getpixel((0, 0))[3] == 255


@pytest.mark.parametrize("colour", sorted({*COLOURS.values(), *UNNAMED}))
def test_every_colour_reads_as_text_on_the_paper(colour):
    assert contrast(colour, PAPER) >= 4.5


def test_a_curve_without_a_meaning_is_never_drawn_like_the_floor_or_a_baseline():
    assert len(set(UNNAMED)) == 6
    assert not {COLOURS["floor"], COLOURS["baseline"]} & set(UNNAMED)


@pytest.mark.parametrize(
    ("share", "mixed"), [(0, "#000000"), (0.5, "#804000"), (0.25, "#402000"), (1, "#ff8000")]
)
def test_a_colour_between_two_is_a_share_of_the_way(share, mixed):
    assert between("#000000", "#FF8000", share) == mixed


def test_a_warning_is_escaped_and_none_is_nothing():
    assert "role='alert'" in alert(HOSTILE)
    assert {tag for tag, _ in Tags(alert(HOSTILE)).tags} == {"div"}
    assert alert("") == ""


# Machado, Oliveira and Fernandes 2009, severity 1: linear RGB seen without red or green cones
BLIND = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
TO_LAB = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def lab_colour(colour: str, kind: str) -> torch.Tensor:
    rgb = torch.tensor([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = (torch.tensor(BLIND[kind]) @ linear).clamp(0, 1)
    xyz = (torch.tensor(TO_LAB) @ seen) / torch.tensor([0.9505, 1.0, 1.089])
    f = torch.where(xyz > 0.008856, xyz ** (1 / 3), 7.787 * xyz + 16 / 116)
    return torch.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize(
    "pair",
    [
        ("truth", "model"),
        ("train", "heldout"),
        ("policy", "reference"),
        ("chosen", "rejected"),
        ("floor", "heldout"),
        ("floor", "train"),
        ("baseline", "model"),
    ],
)
def test_colours_that_are_compared_differ_for_colour_blind_eyes(pair, kind):
    one, other = (lab_colour(COLOURS[name], kind) for name in pair)
    assert (one - other).norm() > 20  # 2.3 is a difference that can just be noticed


def test_likeliest_keeps_what_is_large_in_any_series_in_the_order_of_the_first():
    assert likeliest([[0.1, 0.6, 0.0, 0.3], [0.0, 0.0, 0.9, 0.1]], 3) == [1, 3, 2]


def test_distribution_bars_show_the_true_words_first_with_the_numbers_behind_them():
    figure = distribution_bars(
        ["a", "b", "c"], [0.2, 0.5, 0.3], torch.tensor([0.6, 0.4, 0.0]), top=2
    )
    assert [[str(cell) for cell in row][:1] for row in figure.numbers] == [["word"], ["a"], ["b"]]
    assert figure.numbers[1][1:] == pytest.approx([0.6, 0.2])
    widths = sorted(bar.get_width() for bar in figure.axes[0].patches)
    assert widths == pytest.approx([0.2, 0.4, 0.5, 0.6])
    assert figure.axes[0].get_xlabel() == "probability of the next word"


def test_distribution_bars_say_of_which_word_they_are():
    figure = distribution_bars(["a", "b"], [0.5, 0.5], xlabel="probability of the hidden word")
    assert figure.axes[0].get_xlabel() == "probability of the hidden word"


@pytest.mark.parametrize("token", ["$x_$", "\n", "日本", "", "\x00", HOSTILE])
def test_any_token_can_be_drawn_without_a_warning(token):
    figures.png(distribution_bars([token, "b"], [0.5, 0.5]))


@pytest.mark.parametrize("text", ["$\\frac$", "猫", "", "\x00"])
@pytest.mark.parametrize(
    "draw",
    [
        lambda text: bars({text: 1.0}, xlabel=text, limit=(text, 1.0)),
        lambda text: line_figure(
            {text: ([0, 1], [1.0, 2.0])}, xlabel=text, ylabel=text, levels={text: 1.0}
        ),
        lambda text: cross_entropy_figure((text, "b"), text),
    ],
)
def test_any_label_can_be_drawn_without_a_warning(text, draw):
    figures.png(draw(text))


def test_a_level_has_the_colour_of_its_meaning_and_else_that_of_a_baseline():
    levels = {"held-out loss, best": 1.0, "bigram": 2.0, "": 3.0}
    figure = line_figure(CURVE, xlabel="steps", ylabel="nats", levels=levels)
    colours = [line.get_color() for line in figure.axes[0].lines[1:]]
    assert colours == [COLOURS["heldout"], COLOURS["baseline"], COLOURS["baseline"]]


@pytest.mark.parametrize(
    ("probs", "part"),
    [
        ([0.5], "expected 2 numbers"),
        ([1.5, -0.5], "from 0 to 1"),
        ([0.9, 0.9], "sum of 1.80"),
        ([0.3, 0.3], "sum of 0.600"),
    ],
)
def test_distribution_bars_explain_what_is_no_distribution(probs, part):
    with pytest.raises(ValueError, match=part):
        distribution_bars(["a", "b"], probs)


def test_spread_moves_labels_apart_as_little_as_possible():
    assert spread([1.0, 1.0], 0.2) == pytest.approx([0.9, 1.1])
    assert spread([3.0, 1.0, 2.0], 0.5) == [3.0, 1.0, 2.0]
    assert spread([0.0, 0.1, 0.1], 1.0) == pytest.approx([0.2 / 3 - 1, 0.2 / 3, 0.2 / 3 + 1])


def test_labels_of_a_loss_curve_never_overlap():
    ends = {f"model {i}": ([0, 1], [2.0, 0.5 + i / 1000]) for i in range(6)}
    figure = loss_curve(ends, floor=0.5, baselines={"bigram": 0.51, "uniform, ln V": 0.52})
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 9
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_the_floor_is_drawn_at_its_height_in_the_colour_of_the_truth():
    axes = loss_curve(CURVE, floor=0.4645).axes[0]
    (line,) = (line for line in axes.lines if line.get_color() == COLOURS["truth"])
    assert set(line.get_ydata()) == {0.4645}
    assert "floor 0.464" in texts(axes.figure) or "floor 0.465" in texts(axes.figure)


def test_a_line_figure_rings_the_minimum_and_marks_infinite_values():
    curves = {"add-k": ([1, 2, 3], [3.0, 2.0, 2.5]), "none": ([1, 2, 3], [3.0, 2.2, math.inf])}
    figure = line_figure(curves, xlabel="order", ylabel="bits", mark_minimum=True)
    rings = [line for line in figure.axes[0].lines if line.get_markersize() == 11]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in rings] == [(2, 2.0), (2, 2.2)]
    assert "∞" in texts(figure)
    assert figure.numbers[-1] == ["none", 3.0, 2.2, math.inf]


def test_a_curve_without_values_is_explained():
    with pytest.raises(ValueError, match="at least one, got 0 and 0"):
        loss_curve({"train": ([], [])})


def test_bars_draw_the_limit_and_write_every_value():
    figure = bars({"bigram": 0.71, "model": 0.48}, xlabel="nats", limit=("floor", 0.4645))
    assert [text.strip() for text in texts(figure)][:2] == ["0.710", "0.480"]
    assert figure.numbers[-1] == ["floor", 0.4645]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01254, "0.0125"),
        (2.5, "2.50"),
        (12_345.6, "12,300"),
        (999.96, "1,000"),
        (-0.9, "−0.900"),
        (-5, "−5"),
        (-5.0, "−5.00"),
        (1e-5, "1.00e−5"),
        (-2.5e-12, "−2.50e−12"),
        (math.inf, "∞"),
        (math.nan, "nan"),
        (0.0, "0"),
        (1234567, "1,234,567"),
        (True, "True"),
        (None, ""),
        (torch.tensor(0.5), "0.500"),
    ],
)
def test_numbers_are_written_to_three_digits(value, text):
    assert number(value) == text


def test_blank_tokens_become_visible():
    assert [visible(t) for t in (" the", "\n", "", "a\x07")] == ["␣the", "⏎", "∅", "a�"]


@pytest.mark.parametrize("share", [i / 50 for i in range(51)])
def test_text_on_every_surprise_colour_is_readable(share):
    assert contrast(*surprise_colours(share)) >= 4.5


def test_more_surprise_is_darker():
    lightness = [contrast(surprise_colours(i / 20)[0], "#000000") for i in range(21)]
    assert lightness == sorted(lightness, reverse=True)


def test_contrast_of_black_on_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_a_token_strip_colours_names_and_sums_up_each_token():
    strip = token_strip(["<s>", "the", "\n"], [None, 1.0, 3.0], highest=4.0)
    boxes = [attrs for tag, attrs in Tags(strip.html).tags if "title" in attrs]
    assert [box["title"] for box in boxes] == ["not predicted", "1.00 bits", "3.00 bits"]
    assert surprise_colours(0.25)[0] in boxes[1]["style"]
    assert strip.text == "surprise in bits: <s> – | the 1.00 | ⏎ 3.00\nmean 2.00 bits per token"


def test_an_impossible_token_stands_out_and_makes_the_mean_infinite():
    strip = token_strip(["a", "b"], [1.0, math.inf])
    assert "mean ∞ bits per token" in strip.text
    assert "#000000" in strip.html


@pytest.mark.parametrize(
    "make", [lambda t: token_strip([t], [1.0]), lambda t: table([[t]], [t], t)]
)
def test_text_from_outside_is_escaped(make):
    parsed = Tags(make(HOSTILE).html)
    assert "img" not in {tag for tag, _ in parsed.tags}
    assert visible(HOSTILE) in parsed.words or HOSTILE in parsed.words


@pytest.mark.parametrize(
    ("surprises", "part"),
    [([1.0], "expected one surprise"), ([1.0, -1.0], "0 or more"), ([1.0, math.nan], "NaN")],
)
def test_a_token_strip_explains_bad_surprises(surprises, part):
    with pytest.raises(ValueError, match=part):
        token_strip(["a", "b"], surprises)


def test_a_table_has_a_twin_in_aligned_text():
    made = table([["ln V", 4.875], ["bigram", 0.7]], ["what", "nats"], "Losses")
    assert made.text == "Losses\nwhat    nats\nln V    4.88\nbigram  0.700"
    assert [tag for tag, _ in Tags(made.html).tags].count("td") == 4


def test_a_table_with_a_short_row_is_explained():
    with pytest.raises(ValueError, match="expected 2 cells"):
        table([["a"]], ["x", "y"])


def test_html_is_shown_with_its_text_twin():
    bundle = table([["a"]])._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    json.dumps(bundle)
