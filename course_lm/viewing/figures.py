"""Data in, Figure out: bars, and the one call that shows any figure with its finding.

Every function returns a matplotlib Figure of about 6 x 3.2 inches that carries its own numbers;
`show(figure, caption)` displays it. Colours keep their meaning through the course (style.COLOURS).
Curves are drawn in curves.py, coloured text and tables in strips.py.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO

from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from .strips import Html, aligned
from .style import (
    COLOURS,
    Drawing,
    blank,
    colour_of,
    likeliest,
    literal,
    name_rows,
    number,
    styled,
    visible,
)


def show(figure: Figure, caption: str) -> None:
    """Display `figure` with its finding: `caption` under it, as alt text, and in the text twin.

    The twin and a line to unfold under the figure hold the numbers that the figure carries.
    """
    text = aligned(getattr(figure, "numbers", ()))
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    display(
        {"image/png": png(figure), "text/plain": f"{caption}\n{text}".rstrip()},
        metadata={"image/png": {"alt": caption, "width": width, "height": height}},
        raw=True,
    )
    display(_figcaption(caption, text, width))


def png(figure: Figure) -> bytes:
    """The figure as a PNG of 192 dots an inch and 64 colours: sharp, and a third of the bytes."""
    image, small = BytesIO(), BytesIO()
    with styled():
        figure.savefig(image, format="png", dpi=192)
    reduced = Image.open(image).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    reduced.save(small, "PNG", optimize=True)
    return small.getvalue()


def distribution_bars(
    words: Sequence[str],
    model_probs: Sequence[float],
    true_probs: Sequence[float] | None = None,
    *,
    top: int = 8,
    xlabel: str = "probability of the next word",
) -> Drawing:
    """The `top` most probable words: the model's probability beside the true one, (V,) each.

    Words are ordered by the truth where it is given, so that models can be compared by eye.
    """
    model = _probabilities("distribution_bars", "model_probs", model_probs, len(words))
    series = {"model": model}
    if true_probs is not None:
        truth = _probabilities("distribution_bars", "true_probs", true_probs, len(words))
        series = {"truth": truth, "model": model}
    shown = likeliest(series.values(), top)
    thick = 0.8 / len(series)
    with styled():
        figure, (axes,) = blank(height=max(1.6, 0.7 + 0.32 * len(shown)))
        highest = max((p[i] for p in series.values() for i in shown), default=0.0) or 1.0
        axes.set_xlim(0, 1.22 * highest)
        for s, (name, probs) in enumerate(series.items()):
            heights = [row + (s - (len(series) - 1) / 2) * thick for row in range(len(shown))]
            axes.barh(heights, [probs[i] for i in shown], 0.9 * thick, color=COLOURS[name])
            for row, i in enumerate(shown):
                label = f" {number(probs[i])}" + (f"  {name}" if row == 0 else "")
                axes.text(
                    probs[i], heights[row], label, color=COLOURS[name], va="center_baseline", size=8
                )
        name_rows(axes, [visible(words[i]) for i in shown], xlabel)
    figure.numbers = [
        ["word", *series],
        *([words[i], *(p[i] for p in series.values())] for i in shown),
    ]
    return figure


def bars(
    values: Mapping[str, float],
    *,
    xlabel: str,
    limit: tuple[str, float] | None = None,
) -> Drawing:
    """A few named values as horizontal bars; `limit` = (label, value) is drawn as a dashed line."""
    finite = [v for v in [*values.values(), *([limit[1]] if limit else [])] if math.isfinite(v)]
    with styled():
        figure, (axes,) = blank(height=max(1.5, 0.9 + 0.36 * len(values)))
        low, high = min(0.0, *finite, 0.0), max(0.0, *finite, 0.0)
        reach = (high - low) or 1.0
        axes.set_xlim(low - (0.14 * reach if low < 0 else 0), high + 0.14 * reach)
        for row, (name, value) in enumerate(values.items()):
            drawn = value if math.isfinite(value) else high + 0.05 * reach
            axes.barh(row, drawn, 0.62, color=colour_of(name))
            side = "right" if value < 0 else "left"
            label = axes.text(drawn, row, f" {number(value)} ", ha=side, va="center_baseline")
            label.set(size=9, bbox={"fc": axes.get_facecolor(), "lw": 0, "pad": 0})  # over a limit
        if limit:
            axes.axvline(limit[1], color=COLOURS["floor"], lw=1.2, ls=(0, (4, 2)))
            name = axes.annotate(
                f"{limit[0]} {number(float(limit[1]))}",
                (limit[1], 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                color=COLOURS["floor"],
            )
            literal(name)
        name_rows(axes, list(values), xlabel)
    figure.numbers = [[name, float(value)] for name, value in values.items()]
    figure.numbers += [[limit[0], float(limit[1])]] if limit else []
    return figure


def _probabilities(who: str, name: str, values: Sequence[float], length: int) -> list[float]:
    probs = [float(value) for value in values]
    if len(probs) != length:
        raise ValueError(
            f"{who}: expected {length} numbers in {name}, one for each word, got {len(probs)}; "
            "give words and probabilities of one length"
        )
    if not all(0 <= p <= 1 for p in probs) or not math.isclose(sum(probs), 1, abs_tol=1e-4):
        raise ValueError(
            f"{who}: expected probabilities from 0 to 1 that sum to 1 in {name}, got a sum of "
            f"{number(sum(probs))}; give probabilities of all words, not logits"
        )
    return probs


def _figcaption(caption: str, text: str, width: int) -> Html:
    fold = (
        "<details style='font-size:85%'><summary>the numbers</summary>"
        f"<pre style='font-size:100%'>{escape(text)}</pre></details>"
        if text
        else ""
    )
    return Html(f"<div style='max-width:{width}px'>{escape(caption)}{fold}</div>", caption)
