"""Curves, each named at its end, between the best that is possible and the simple baselines."""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke

from ..training.loop import Step
from .style import (
    COLOURS,
    INK,
    MARKERS,
    PAPER,
    Drawing,
    blank,
    colour_of,
    label_right,
    literal,
    meant_colour,
    number,
    styled,
)

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]
_SAMPLES = 12  # points of a curve in the text twin


def loss_curve(
    curves: Curves,
    *,
    floor: float | None = None,
    baselines: Mapping[str, float] | None = None,
    unit: str = "nats per word",
    xlabel: str = "steps",
) -> Drawing:
    """Losses against steps, {label: (steps, losses)}, between what is possible and what is easy.

    `floor` is the best loss that any model can reach, `baselines` {label: loss} of simple models.
    """
    levels = {} if floor is None else {"floor": floor}
    return line_figure(
        curves,
        xlabel=xlabel,
        ylabel=f"loss, {unit}",
        levels=levels | dict(baselines or {}),
        dots=False,
    )


def history_curves(history: Sequence[Step], every: int | None = None) -> Curves:
    """The losses of `history` for `loss_curve`: {"train": (steps, losses), "held-out": ...}.

    The first training loss stands alone; each point after it is the mean of `every` steps at the
    middle of them (default: a hundredth of the history). Held-out losses stay as they were
    measured, and are left out where there is none.
    """
    if not history:
        raise ValueError(
            "history_curves: expected at least one step, got none; train before you draw"
        )
    size = every or max(1, len(history) // 100)
    edges = [0, *range(1, len(history), size), len(history)]
    totals = [0.0, *accumulate(step.loss for step in history)]
    spans = pairwise(edges)
    middles = [(history[a].step + history[b - 1].step) / 2 for a, b in spans]
    curves = {"train": (middles, block_means(totals, edges))}
    measured = [(step.step, step.held_out) for step in history if step.held_out is not None]
    return curves | ({"held-out": tuple(zip(*measured, strict=True))} if measured else {})


def block_means(totals: Sequence[float], edges: Sequence[int]) -> list[float]:
    """Means of the values between neighbouring `edges`; totals[n] is the sum of the first n.

    Values 5, 3, 1 have the totals 0, 5, 8, 9; between the edges 0, 1, 3 lie the means 5 and 2.
    """
    return [(totals[b] - totals[a]) / (b - a) for a, b in pairwise(edges)]


def line_figure(
    curves: Curves,
    *,
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    mark_minimum: bool = False,
    dots: bool = True,
) -> Drawing:
    """A quantity over another, {label: (xs, ys)}, each curve named at its end.

    `levels` {label: height} are dashed lines; `mark_minimum` rings the lowest point of each curve;
    an infinite value is drawn as a triangle at the top edge.
    """
    with styled():
        figure, (axes,) = blank()
        axes.set(xlabel=xlabel, ylabel=ylabel)
        literal(axes.xaxis.label, axes.yaxis.label)
        axes.grid(axis="y")
        labels = [
            _draw_curve(axes, label, xs, ys, position, dots, mark_minimum)
            for position, (label, (xs, ys)) in enumerate(curves.items())
        ]
        for label, height in (levels or {}).items():
            colour = meant_colour(label) or COLOURS["baseline"]
            axes.axhline(height, color=colour, lw=1.2, ls=(0, (4, 2)), zorder=1.5)
            labels.append((height, f"{label} {number(float(height))}", colour))
        _whole_ticks(axes, [x for xs, _ in curves.values() for x in xs])
        _draw_infinities(axes, curves)
        top = axes.get_ylim()[1]
        label_right(axes, [(min(height, top), text, colour) for height, text, colour in labels])
    figure.numbers = [
        *_sampled(curves, xlabel),
        *([k, float(v)] for k, v in (levels or {}).items()),
    ]
    return figure


def _draw_curve(axes, label, xs, ys, position, dots, mark_minimum) -> tuple[float, str, str]:
    xs, ys = [float(x) for x in xs], [float(y) for y in ys]
    if len(xs) != len(ys) or not ys:
        raise ValueError(
            f"curve {label!r}: expected as many values as positions, at least one, got {len(ys)} "
            f"and {len(xs)}; give (xs, ys) of one length"
        )
    colour, finite = colour_of(label, position), [y for y in ys if math.isfinite(y)]
    drawn = [y if math.isfinite(y) else math.nan for y in ys]
    marker = MARKERS[position % len(MARKERS)] if dots else None
    axes.plot(xs, drawn, color=colour, marker=marker)
    if mark_minimum and finite:
        at = drawn.index(min(finite))
        axes.plot(xs[at], drawn[at], "o", ms=11, mfc="none", mec=colour, mew=1.2)
        note = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center"}
        halo = [Stroke(linewidth=2.5, foreground=PAPER), Normal()]
        text = number(drawn[at])
        axes.annotate(text, (xs[at], drawn[at]), color=colour, path_effects=halo, **note)
        axes.margins(y=0.12)
    end = math.inf if math.isinf(ys[-1]) else finite[-1] if finite else math.inf
    return end, label if mark_minimum else f"{label} {number(end)}", colour


def _draw_infinities(axes: Axes, curves: Curves) -> None:
    top = axes.get_ylim()[1]
    for position, (label, (xs, ys)) in enumerate(curves.items()):
        lost = [float(x) for x, y in zip(xs, ys, strict=True) if float(y) == math.inf]
        for x in lost:
            axes.plot(x, top, "^", color=colour_of(label, position), clip_on=False)
            note = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
            axes.annotate("∞", (x, top), color=INK, **note)
    axes.set_ylim(top=top)


def _whole_ticks(axes: Axes, xs: Sequence[float]) -> None:
    places = sorted(set(xs))
    if len(places) <= 12 and all(float(x).is_integer() for x in places):
        axes.set_xticks(places, [number(int(x)) for x in places])


def _sampled(curves: Curves, xlabel: str) -> list[list[object]]:
    rows = []
    for label, (xs, ys) in curves.items():
        last = len(xs) - 1
        lowest = min(range(last + 1), key=lambda i: float(ys[i]))
        at = sorted({round(i * last / (_SAMPLES - 1)) for i in range(_SAMPLES)} | {lowest})
        rows.append([xlabel, *(f"{float(xs[i]):g}" for i in at)])
        rows.append([label, *(float(ys[i]) for i in at)])
    heads = {tuple(row) for row in rows[::2]}
    return rows if len(heads) > 1 else [*rows[:1], *rows[1::2]]
