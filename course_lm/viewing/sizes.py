"""How large things are: squares to scale, and a logarithmic line on which each can be seen."""

import math
from collections.abc import Callable, Collection, Mapping

from matplotlib.patches import Rectangle

from .style import COLOURS, INK, Drawing, blank, literal, number, styled

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))


def bytes_text(size: float) -> str:
    """A size with its unit, powers of ten: 44,000,000,000,000 is "44.0 TB"."""
    scale, unit = next(((s, u) for s, u in _UNITS if size >= s), _UNITS[-1])
    return f"{number(float(size / scale))} {unit}"


def size_figure(sizes: Mapping[str, float], ours: Collection[str] = ()) -> Drawing:
    """Sizes in bytes, {name: size}: left as squares of that area, right on a logarithmic line.

    The largest comes first. `ours` are drawn in the model's colour, the others in grey. Squares too
    small to be seen are left out, which is the point of them.
    """
    rows = _ordered("size_figure", sizes)
    with styled():
        figure, (squares, line) = blank(columns=2, height=0.9 + 0.2 * len(rows))
        _draw_squares(squares, rows, ours)
        _draw_line(line, rows, ours, bytes_text)
        line.set_xlabel("bytes, logarithmic")
        line.set_xticks([1e6, 1e9, 1e12, 1e15], ["1 MB", "1 GB", "1 TB", "1 PB"])
        line.minorticks_off()
    figure.numbers = [[name, bytes_text(size)] for name, size in rows]
    return figure


def compute_figure(costs: Mapping[str, float], ours: Collection[str] = ()) -> Drawing:
    """Training costs in FLOP, {name: cost}, on a logarithmic line, the largest first."""
    rows = _ordered("compute_figure", costs)
    with styled():
        figure, (line,) = blank(height=0.9 + 0.3 * len(rows))
        _draw_line(line, rows, ours, "{:.1e}".format)
        line.set_xlabel("floating-point operations, logarithmic")
    figure.numbers = [[name, f"{cost:.1e}"] for name, cost in rows]
    return figure


def _ordered(who: str, sizes: Mapping[str, float]) -> list[tuple[str, float]]:
    """The largest first."""
    if not sizes or not all(0 < size < math.inf for size in sizes.values()):
        raise ValueError(
            f"{who}: expected sizes above 0, at least one, got {dict(sizes)}; leave out what has "
            "no size"
        )
    return sorted(sizes.items(), key=lambda row: -row[1])


def _draw_line(line, rows, ours, text: Callable[[float], str]) -> None:
    """A dot for each (name, size) on a logarithmic axis, with its size in words."""
    for place, (name, size) in enumerate(rows):
        colour = COLOURS["model" if name in ours else "reference"]
        line.plot(size, place, "o", color=colour)
        literal(line.annotate(text(size), (size, place), (6, 0), color=INK, va="center",
                              textcoords="offset points", size=8))  # fmt: skip
    line.set(xscale="log", xlim=(rows[-1][1] / 4, rows[0][1] * 4e3))
    line.set_yticks(range(len(rows)), [name for name, _ in rows], size=8)
    line.tick_params(axis="y", length=0)
    line.invert_yaxis()
    line.grid(axis="x")
    literal(*line.get_yticklabels())


def _draw_squares(axes, rows, ours) -> None:
    """Squares inside one another, all in the lower left corner, named while there is room."""
    largest, lowest = math.sqrt(rows[0][1]), math.inf  # height of the last name
    for name, size in rows:
        side = math.sqrt(size) / largest
        if side < 0.01:
            break
        colour = COLOURS["model" if name in ours else "reference"]
        axes.add_patch(Rectangle((0, 0), side, side, fc=colour, ec="white", alpha=0.25, lw=0.8))
        if max(0.1, len(name) / 50) < side < lowest - 0.06:
            lowest = side
            literal(axes.text(side / 2, side - 0.05, name, ha="center", va="top", size=8))
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="areas to scale")
    axes.set_xticks([])
    axes.set_yticks([])
