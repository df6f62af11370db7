"""Cross-entropy on one word: −log p, its gradient, and what one step changes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import torch

from ..training.losses import bits, cross_entropy
from .strips import Html, aligned
from .style import COLOURS, Drawing, blank, literal, name_rows, number, styled, visible

UP, DOWN = COLOURS["model"], COLOURS["rejected"]  # the step makes this word likelier, less likely
CURVE = (230, 150)  # pixels
HIGHEST = 5.0  # nats, the top of the drawn curve


@dataclass(frozen=True, slots=True)
class Nudge:
    """One gradient step on one prediction, probabilities and gradient (V,), losses in nats."""

    words: tuple[str, ...]
    true: int
    before: list[float]
    loss: float
    gradient: list[float]
    after: list[float]
    loss_after: float


def nudge(words: Sequence[str], true_word: str, p: float, step_size: float) -> Nudge:
    """Give `true_word` the probability p, then follow the loss downhill: logits − step_size · ∇.

    The other words share 1 − p in the ratio 1 : 2 : 3 ..., in the order given. The gradient is
    that of `losses.cross_entropy` with respect to the logits, by automatic differentiation.
    """
    if true_word not in words or len(set(words)) != len(words) or len(words) < 2:
        raise ValueError(
            f"nudge: expected at least two different words with {true_word!r} among them, got "
            f"{list(words)!r}; add the true word"
        )
    if not 0 < p < 1:
        raise ValueError(f"nudge: expected a probability between 0 and 1, got {p}; move it inside")
    true, others = words.index(true_word), len(words) - 1
    shares = iter(range(1, others + 1))
    unit = (1 - p) / (others * (others + 1) / 2)
    probs = [p if i == true else unit * next(shares) for i in range(len(words))]
    logits = torch.tensor(probs, dtype=torch.float64).log().requires_grad_()
    label = torch.tensor([true])
    loss = cross_entropy(logits[None], label)
    (gradient,) = torch.autograd.grad(loss, logits)
    stepped = logits.detach() - step_size * gradient
    return Nudge(
        words=tuple(words),
        true=true,
        before=logits.detach().softmax(-1).tolist(),
        loss=loss.item(),
        gradient=gradient.tolist(),
        after=stepped.softmax(-1).tolist(),
        loss_after=cross_entropy(stepped[None], label).item(),
    )


def cross_entropy_figure(
    words: Sequence[str] = ("cat", "dog", "sat", "ran"),
    true_word: str = "sat",
    p: float = 0.1,
    step_size: float = 1.0,
) -> Drawing:
    """−log p of the true word with the step that follows, beside the gradient for each logit."""
    seen = nudge(words, true_word, p, step_size)
    with styled():
        figure, (curve, slope) = blank(2)
        xs = [i / 200 for i in range(1, 201)]
        curve.plot(xs, [-math.log(x) for x in xs], color="#8A8A86")
        points = ((p, seen.loss, "now"), (seen.after[seen.true], seen.loss_after, "after one step"))
        for x, y, name in points:
            face = UP if name == "now" else "none"
            curve.plot(x, y, "o", ms=7, mec=UP, mfc=face)
            curve.text(x + 0.03, y + 0.12, f"{name}: {number(y)}", color=UP)
        curve.set(xlim=(0, 1.02), ylim=(0, max(HIGHEST, 1.15 * seen.loss)))
        curve.set(xlabel=f"p, probability of {visible(true_word)!r}", ylabel="loss −log p, nats")
        literal(curve.xaxis.label)
        colours = [UP if g < 0 else DOWN for g in seen.gradient]
        slope.barh(range(len(words)), seen.gradient, 0.62, color=colours)
        for row, g in enumerate(seen.gradient):
            side = "left" if g < 0 else "right"
            slope.text(0, row, f" {number(g)} ", ha=side, va="center_baseline")
        slope.axvline(0, color="#8A8A86", lw=0.8)
        slope.set_xlim(-1.02, 1.02)
        name_rows(slope, [visible(word) for word in words], "gradient = P − one-hot")
    figure.numbers = _rows(seen)
    return figure


def nudge_html(seen: Nudge) -> Html:
    """The same as `cross_entropy_figure`, fast enough to follow a slider."""
    p, after = seen.before[seen.true], seen.after[seen.true]
    word = escape(visible(seen.words[seen.true]))
    said = (
        f"−log P({word}) = −log {number(p)} = <b>{number(seen.loss)} nats</b> "
        f"= {number(bits(seen.loss))} bits; after the step P({word}) = <b>{number(after)}</b>, "
        f"loss {number(seen.loss_after)} nats"
    )
    heads = ("", "P now", "gradient", "P after the step")
    cells = "".join(f"<div style='font-size:85%;opacity:.8'>{head}</div>" for head in heads)
    cells += "".join(_cells(seen, row) for row in range(len(seen.words)))
    grid = (
        "<div style='display:grid;grid-template-columns:auto 150px 250px 150px;"
        f"column-gap:14px;row-gap:3px;line-height:20px'>{cells}</div>"
    )
    text = aligned(_rows(seen))
    html = (
        f"<div role='img' aria-label='{escape(text)}' style='line-height:20px'>{said}"
        "<div style='display:flex;flex-wrap:wrap;gap:26px;align-items:center;margin-top:8px'>"
        f"{_curve(seen)}{grid}</div></div>"
    )
    return Html(html, text)


def _cells(seen: Nudge, row: int) -> str:
    g = seen.gradient[row]
    word = escape(visible(seen.words[row]))
    name = f"<b>{word}</b>" if row == seen.true else word
    left = f"{number(g)} {_block(-g, 64, UP)}" if g < 0 else ""
    right = f"{_block(g, 64, DOWN)} {number(g)}" if g >= 0 else ""
    signed = (
        "<div style='display:flex'><div style='width:50%;text-align:right;"
        f"border-right:1px solid #8A8A86;white-space:nowrap'>{left}</div>"
        f"<div style='white-space:nowrap'>{right}</div></div>"
    )
    now, then = seen.before[row], seen.after[row]
    shown = [f"<div>{_block(value, 100, UP)} {number(value)}</div>" for value in (now, then)]
    return f"<div style='text-align:right'>{name}</div>{shown[0]}{signed}{shown[1]}"


def _block(share: float, pixels: int, colour: str) -> str:
    return (
        "<span style='display:inline-block;height:12px;vertical-align:middle;"
        f"width:{max(1, round(pixels * share))}px;background-color:{colour}'></span>"
    )


def _curve(seen: Nudge) -> str:
    wide, high = CURVE

    def place(p: float, loss: float) -> tuple[float, float]:
        return round(wide * p, 1), round(high * (1 - min(loss, HIGHEST) / HIGHEST), 1)

    line = " ".join("{},{}".format(*place(i / 80, -math.log(i / 80))) for i in range(1, 81))
    now = place(seen.before[seen.true], seen.loss)
    then = place(seen.after[seen.true], seen.loss_after)
    return (
        f"<svg width='{wide + 50}' height='{high + 38}' viewBox='-30 -8 {wide + 50} {high + 38}' "
        "fill='none' stroke='currentColor' font-size='11'>"
        f"<path d='M0,0 V{high} H{wide}' opacity='.6'/><polyline points='{line}'/>"
        f"<circle cx='{then[0]}' cy='{then[1]}' r='5' stroke='{UP}' stroke-width='2'/>"
        f"<circle cx='{now[0]}' cy='{now[1]}' r='5' fill='{UP}' stroke='{UP}'/>"
        f"<g fill='currentColor' stroke='none'><text x='40' y='8'>−log p, nats</text>"
        f"<text x='-22' y='6'>{HIGHEST:.0f}</text><text x='-22' y='{high + 4}'>0</text>"
        f"<text x='0' y='{high + 15}'>0</text><text x='{wide - 4}' y='{high + 15}'>1</text>"
        f"<text x='{wide // 2 - 50}' y='{high + 27}'>p of the true word</text></g></svg>"
    )


def _rows(seen: Nudge) -> list[list[object]]:
    columns = zip(seen.words, seen.before, seen.gradient, seen.after, strict=True)
    head = ["word", "P now", "gradient", "P after the step"]
    return [head, *map(list, columns), ["loss", seen.loss, "", seen.loss_after]]
