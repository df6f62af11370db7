"""A loss curve as SVG in the colours of the page's theme, drawn in about a thousandth of a second.

It is for what changes while one looks at it; a figure that stays is drawn by `curves.loss_curve`.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

from .strips import readable
from .style import COLOURS, meant_colour, number, spread

Points = Sequence[tuple[float, float]]
WIDE, HIGH, LINE = 450, 190, 16  # pixels of the plot, and of a line of text
LEFT, RIGHT, TOP, BOTTOM = 42, 190, 20, 38  # pixels around the plot
INK = "var(--jp-ui-font-color1, currentColor)"
FAINT = "var(--jp-border-color2, #BDBDBD)"


def loss_sketch(
    curves: Mapping[str, Points],
    levels: Mapping[str, float],
    end: float,
    *,
    unit: str,
    xlabel: str,
    of: str = "loss",
) -> str:
    """The SVG of losses {label: [(place, loss)]} on an axis from 0 to `end`, between `levels`.

    of: what is drawn, if it is no loss.
    The numbers at the right, and in the accessible name, are the last of each curve.
    """
    named = {name: points[-1][1] for name, points in curves.items() if points}
    heights = [y for points in curves.values() for _, y in points] + list(levels.values())
    low, high = _range(heights)

    def place(x: float, y: float) -> tuple[float, float]:
        return round(WIDE * x / end, 1), round(HIGH * (high - y) / (high - low), 1)

    said = ", ".join(f"{name} {number(y)}" for name, y in {**named, **levels}.items())
    parts = [_axes(low, high, end, place, f"{of}, {unit}", xlabel)]
    levels = {name: y for name, y in levels.items() if math.isfinite(y)}  # ∞ has no place
    parts += [_level(name, place(0, y)[1]) for name, y in levels.items()]
    parts += [_curve(name, [place(*p) for p in points]) for name, points in curves.items()]
    parts += _labels({name: (place(0, y)[1], y) for name, y in {**named, **levels}.items()})
    wide, high_all = LEFT + WIDE + RIGHT, TOP + HIGH + BOTTOM
    return (
        f"<svg role='img' aria-label='{escape(f'{of.capitalize()} in {unit}: {said}')}' "
        f"width='{wide}' "
        f"viewBox='{-LEFT} {-TOP} {wide} {high_all}' fill='none' font-size='12' "
        f"style='max-width:100%;height:auto;display:block;overflow:visible'>{''.join(parts)}</svg>"
    )


def ink(label: str) -> str:
    """The colour of a label's meaning, a little darker on a light theme and lighter on a dark."""
    return readable(meant_colour(label) or COLOURS["baseline"])


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most `most` + 1 round numbers (1, 2 or 5 times a power of ten apart) from low to high."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = power * next(m for m in (1, 2, 5, 10) if m * power * most >= high - low)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]


def _range(heights: Sequence[float]) -> tuple[float, float]:
    finite = [y for y in heights if math.isfinite(y)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def _axes(low, high, end, place, ylabel: str, xlabel: str) -> str:
    lines, words = "", ""
    for y in ticks(low, high):
        at = place(0, y)[1]
        lines += f"<path d='M0,{at} H{WIDE}'/>"
        words += f"<text x='-6' y='{at + 4}' text-anchor='end'>{_plain(y)}</text>"
    for x in ticks(0, end):
        at = place(x, low)[0]
        words += f"<text x='{at}' y='{HIGH + 16}' text-anchor='middle'>{_plain(x)}</text>"
    words += f"<text x='0' y='-8'>{escape(ylabel)}</text>"
    words += f"<text x='{WIDE / 2}' y='{HIGH + 32}' text-anchor='middle'>{escape(xlabel)}</text>"
    return (
        f"<g style='stroke:{FAINT}' opacity='.5'>{lines}</g>"
        f"<g style='fill:{INK}' opacity='.8'>{words}</g>"
        f"<path d='M0,0 V{HIGH} H{WIDE}' style='stroke:{INK}' opacity='.6'/>"
    )


def _plain(value: float) -> str:
    return f"{round(value, 9):,.9g}".replace("-", "−")


def _level(name: str, y: float) -> str:
    return f"<path d='M0,{y} H{WIDE}' stroke-dasharray='6 3' style='stroke:{ink(name)}'/>"


def _curve(name: str, points: Points) -> str:
    line = " ".join(f"{x},{y}" for x, y in points)
    drawn = f"<polyline points='{line}' stroke-width='2' style='stroke:{ink(name)}'/>"
    if meant_colour(name) == COLOURS["heldout"]:
        dots = "".join(f"<circle cx='{x}' cy='{y}' r='3'/>" for x, y in points)
        drawn += f"<g style='fill:{ink(name)}'>{dots}</g>"
    return drawn


def _labels(ends: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names and numbers at the right, in the order of their heights, none below the axis."""
    heights = spread([at for at, _ in ends.values()], LINE)
    lowest = sorted(range(len(heights)), key=lambda i: -heights[i])
    for rank, i in enumerate(lowest):
        heights[i] = min(heights[i], HIGH - rank * LINE)
    return [
        f"<text x='{WIDE + 8}' y='{at + 4:.1f}' style='fill:{ink(name)}'>"
        f"{escape(name)} {number(value)}</text>"
        for at, (name, (_, value)) in zip(heights, ends.items(), strict=True)
    ]
