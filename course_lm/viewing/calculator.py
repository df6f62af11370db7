"""How loss falls with size and text, in a figure; what it costs, in a sentence and three dials."""

import math
from collections.abc import Sequence
from html import escape

from ipywidgets import HTML, Dropdown, HBox, Layout, SelectionSlider, VBox

from ..training.scaling import PUBLISHED, Law, Machine, training_compute
from .dials import Dial
from .strips import Html
from .style import COLOURS, MARKERS, UNNAMED, Drawing, blank, label_right, number, styled

Run = tuple[int, int, float]  # weights, tokens, loss
SIZES = [digit * 10.0**power for power in range(3, 13) for digit in (1, 2, 5)]
TEXTS = [digit * 10.0**power for power in range(5, 14) for digit in (1, 2, 5)]
_WORDS = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand"))
_SHORT = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"), (1, ""))
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNITS = ((365.25, "years"), (1.0, "days"), (1 / 24, "hours"), (1 / 1440, "minutes"))


def law_figure(
    runs: Sequence[Run], law: Law, floor: float | None = None, check: Run | None = None
) -> Drawing:
    """Losses of runs over the tokens read, a colour a size, with the law's curves through them.

    runs: (weights, tokens, loss). floor: the exact one, where it is known; the fitted one is drawn
    beside it. check: a run that the law was not fitted to.
    """
    sizes = sorted({run[0] for run in [*runs, *([check] if check else [])]})
    tokens = [run[1] for run in [*runs, *([check] if check else [])]]
    span = [min(tokens) * (max(tokens) / min(tokens)) ** (k / 60) for k in range(61)]
    with styled():
        figure, (axes,) = blank(height=3.6)
        axes.set(xscale="log", xlabel="tokens read", ylabel="loss, nats per token")
        axes.grid(axis="y")
        axes.set_xticks(sorted({*tokens}), map(_short, sorted({*tokens})))
        axes.minorticks_off()
        labels = []
        for at, size in enumerate(sizes):
            colour = UNNAMED[at % len(UNNAMED)]
            own = [run for run in runs if run[0] == size]
            marker = MARKERS[at % len(MARKERS)]
            axes.plot(span, [law(size, d) for d in span], color=colour, lw=1.1)
            axes.plot([r[1] for r in own], [r[2] for r in own], marker, color=colour)
            labels.append((law(size, span[-1]), f"{large(size)} weights", colour))
        if check:
            colour = UNNAMED[sizes.index(check[0]) % len(UNNAMED)]
            axes.plot(check[1], check[2], "*", ms=13, color=colour, mec="white", zorder=5)
        floors = {"floor": floor, "fitted floor": law.floor}
        for name, height in floors.items():
            if height is not None:
                colour = COLOURS["floor" if name == "floor" else "baseline"]
                axes.axhline(height, color=colour, lw=1.2, ls=(0, (4, 2)))
                labels.append((height, f"{name} {number(float(height))}", colour))
        label_right(axes, labels)
    rows = [*runs, *([check] if check else [])]
    figure.numbers = [["weights", "tokens", "loss", "law"], *([*r, law(*r[:2])] for r in rows)]
    return figure


def cost(weights: float, tokens: float, machine: Machine, count: int = 1) -> Html:
    """Compute, time and price of training: C = 6 N D, and what `count` machines make of it.

    The time says nothing of whether the model fits into the machine's memory.
    """
    compute = training_compute(weights, tokens)
    gpt3 = next(model for model in PUBLISHED if model.name == "GPT-3")
    share = compute / training_compute(gpt3.weights, gpt3.tokens)
    machines = f"one {machine.name}" if count == 1 else f"{count:,} × {machine.name}"
    lines = (
        f"{large(weights)} weights read {large(tokens)} tokens: {number(tokens / weights)} tokens "
        "for each weight.",
        f"6 × N × D = {power(compute)} FLOP, {power(share)} of GPT-3's.",
        f"On {machines}, at {100 * machine.share:.0f} % of its {power(machine.flops)} FLOP a "
        f"second: {duration(machine.days(compute, count))}"
        + (f", about {number(machine.dollars(compute))} dollars." if machine.price else "."),
    )
    html = "".join(f"<div>{escape(line)}</div>" for line in lines)
    said = escape(" ".join(lines))
    return Html(f"<div role='group' aria-label='{said}'>{html}</div>", "\n".join(lines))


def scaling_calculator(machines: Sequence[Machine], start: tuple[float, float]) -> VBox:
    """Choose a size, a text and a machine; read what the training costs.

    start: (weights, tokens); the dials stand at the nearest steps.
    """
    if not machines:
        raise ValueError("scaling_calculator: expected at least one machine, got none; give one")
    size, text = (
        _dial(name, steps, value)
        for name, steps, value in zip(("weights", "tokens"), (SIZES, TEXTS), start, strict=True)
    )
    options = [(machine.name, place) for place, machine in enumerate(machines)]
    machine = Dropdown(options=options, value=0, description="machine")
    machine.layout = Layout(width="260px")
    answer = HTML()

    def paint(_=None) -> None:
        answer.value = cost(size.value, text.value, machines[machine.value]).html

    for dial in (size, text, machine):
        dial.observe(paint, "value")
    paint()
    return VBox(
        [HBox([Dial(size), Dial(text), machine], layout=Layout(flex_flow="row wrap")), answer]
    )


def large(count: float) -> str:
    """A count in words, to three digits: 1.5 billion."""
    count = float(f"{count:.3g}")
    for unit, word in _WORDS:
        if count >= unit:
            return f"{count / unit:.3g} {word}"
    return f"{count:.3g}"


def _short(count: float) -> str:
    """A count for an axis: 16.4k."""
    count = float(f"{count:.3g}")
    unit, letter = next(row for row in _SHORT if count >= row[0])
    return f"{count / unit:.3g}{letter}"


def power(value: float) -> str:
    """A number to three digits, with a power of ten where it is large or small: 3.15 × 10²³."""
    if 1e-3 <= value < 1e6:
        return number(float(value))
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits} × 10{str(int(exponent)).translate(_RAISED)}"


def duration(days: float) -> str:
    """A time in the unit that makes it 1 or more: 12.0 days."""
    for unit, word in _UNITS:
        if days >= unit:
            return f"{number(days / unit)} {word}"
    return f"{number(float(86_400 * days))} seconds"


def _dial(name: str, steps: Sequence[float], value: float) -> SelectionSlider:
    nearest = min(steps, key=lambda step: abs(math.log(step / value)))
    dial = SelectionSlider(options=[(large(s), s) for s in steps], value=nearest, description=name)
    dial.layout = Layout(width="330px")
    return dial
