"""One look for every figure: colours whose meaning never changes, labels that never overlap."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

# Blue is the model we train, green the truth and the best that is possible, grey what we compare
# with. Every colour has a contrast of 4.5 or more to the paper, so that it serves for text too.
COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "truth": "#00755A",
        "floor": "#00755A",
        "ceiling": "#00755A",
        "optimum": "#00755A",
        "model": "#0067A5",
        "heldout": "#0067A5",
        "policy": "#0067A5",
        "train": "#9A6700",
        "reference": "#6B6B6B",
        "baseline": "#6B6B6B",
        "chosen": "#7B3FA0",
        "rejected": "#C2410C",
    }
)
# Curves without a meaning of their own: never green or grey, which are the floor and the baseline.
UNNAMED = ("#0067A5", "#C2410C", "#7B3FA0", "#9A6700", "#262626", "#8C2F39")
MARKERS = ("o", "s", "^", "D", "v", "P")
PAPER, INK, FAINT = "#FDFDFB", "#262626", "#D5D5D0"
WIDTH, HEIGHT = 6.0, 3.2  # inches; one inch is 96 CSS pixels

STYLE = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.labelcolor": INK,
    "text.color": INK,
    "axes.edgecolor": "#8A8A86",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#EBEBE6",
    "grid.linewidth": 0.7,
    "xtick.color": "#4A4A4A",
    "ytick.color": "#4A4A4A",
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
}


class Drawing(Figure):
    """A matplotlib Figure that carries its own numbers: rows of text cells for the text twin."""

    numbers: Sequence[Sequence[object]] = ()


def styled():
    """The course's style for the length of a `with` block; nothing global stays changed."""
    return matplotlib.rc_context(STYLE)


def blank(columns: int = 1, height: float = HEIGHT) -> tuple[Drawing, list[Axes]]:
    """An empty figure of WIDTH x height inches with `columns` axes side by side."""
    figure = Drawing(figsize=(WIDTH, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def colour_of(label: str, position: int = 0) -> str:
    """The fixed colour of a meaning; any other label's by position."""
    return meant_colour(label) or UNNAMED[position % len(UNNAMED)]


def meant_colour(label: str) -> str | None:
    """The colour of the first word that has one ("held-out loss" is heldout); None without one."""
    words = re.sub("held[- ]out", "heldout", label.lower()).split()
    return next((COLOURS[word] for word in words if word in COLOURS), None)


def between(low: str, high: str, share: float) -> str:
    """The colour "#rrggbb" that lies `share` (0 to 1) of the way from `low` to `high`."""
    ends = zip(bytes.fromhex(low[1:]), bytes.fromhex(high[1:]), strict=True)
    return "#" + bytes(round(a + (b - a) * share) for a, b in ends).hex()


def number(value: object) -> str:
    """A number to three digits (0.0125, 2.50, 12,300, 1.00e−5, ∞); anything else as text.

    A whole number keeps its digits (1,234,567). The minus sign is −, in the exponent, too.
    """
    value = value.item() if hasattr(value, "item") else value  # a tensor of one number
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if isinstance(value, int) or value == 0:
        return f"{int(value):,}".replace("-", "−")
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else "∞" if value > 0 else "−∞"
    rounded = float(f"{value:.3g}")
    text = f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:#.3g}".rstrip(".")
    return text.replace("e-0", "e-").replace("-", "−")


def visible(token: str) -> str:
    """A token as it can be seen: spaces, line ends and tabs become signs, nothing becomes ∅."""
    signs = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"}
    shown = "".join(signs.get(letter, letter if letter.isprintable() else "�") for letter in token)
    return shown or "∅"


def drawable(text: str) -> str:
    """`text` in letters that the figure's font has, so that no figure warns."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans"))
    return "".join(c if font.get_char_index(ord(c)) else "\N{WHITE SQUARE}" for c in text)


def literal(*texts: Text) -> None:
    """Draw texts that can come from outside as they are: no mathematics, no missing letter."""
    for text in texts:
        text.set_text(drawable(text.get_text()))
        text.set_parse_math(False)


def likeliest(series: Iterable[Sequence[float]], top: int) -> list[int]:
    """Places of the `top` largest values in any of the series, ordered by the first series."""
    series = list(series)
    places = sorted(range(len(series[0])), key=lambda i: -max(values[i] for values in series))
    return sorted(places[:top], key=lambda i: [-values[i] for values in series])


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """The nearest heights (least squares), in the order given, that lie at least `gap` apart.

    Labels beside curves: 1.0, 1.0 with a gap of 0.2 become 0.9, 1.1. Overlapping labels are merged
    into blocks, and a block is centred on the mean of its wishes (isotonic regression).
    """
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    blocks: list[list[float]] = []  # each: wishes, less the room taken by the labels below
    for rank, i in enumerate(order):
        blocks.append([heights[i] - rank * gap])
        while len(blocks) > 1 and _mean(blocks[-2]) >= _mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    level = [_mean(block) for block in blocks for _ in block]
    placed = dict(zip(order, (low + rank * gap for rank, low in enumerate(level)), strict=True))
    return [placed[i] for i in range(len(heights))]


def label_right(axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Write (height in data units, text, colour) to the right of the axes, moved apart."""
    to_axes = axes.transData + axes.transAxes.inverted()
    x = axes.get_xlim()[0]
    heights = [float(to_axes.transform((x, height))[1]) for height, _, _ in labels]
    line = 1.25 * STYLE["font.size"] / 72 / (0.8 * axes.figure.get_figheight())
    for at, (_, text, colour) in zip(spread(heights, line), labels, strict=True):
        literal(axes.text(1.015, at, text, transform=axes.transAxes, color=colour, va="center"))


def name_rows(axes: Axes, names: Sequence[str], xlabel: str) -> None:
    """Name the rows of horizontal bars, first row on top, and the axis below them."""
    axes.set_yticks(range(len(names)), [drawable(name) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_color(FAINT)
    axes.grid(axis="x")
    axes.set_xlabel(xlabel)
    literal(axes.xaxis.label, *axes.get_yticklabels())
    axes.invert_yaxis()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
