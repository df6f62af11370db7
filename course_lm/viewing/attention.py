"""Where a word looks: the weights of every attention layer, heard while the model reads.

    with listen(model) as heard:
        logits = model(ids)

A hook on each `attention.weights` hears the numbers that made these logits. There is no second
pass for pictures, which could show something else.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape

import torch
from ipywidgets import HTML, HBox, Layout, SelectionSlider, VBox
from torch import Tensor, nn

from .dials import Dial
from .strips import BOX, Html, text_on
from .style import COLOURS, PAPER, between, number, visible

NAMED = 5  # words that the text twin names


@contextmanager
def listen(model: nn.Module) -> Iterator[list[Tensor]]:
    """The weights of the last reading while the block lasts: (B, heads, T, T) for each layer.

    Row t holds what word t gives to each word, and sums to 1. Raises ValueError for a model that
    has no attention.
    """
    layers = [tap for name, tap in model.named_modules() if name.endswith("attention.weights")]
    if not layers:
        raise ValueError(
            f"listen: expected a model with attention, got {type(model).__name__}; give a "
            "Transformer"
        )
    heard = [torch.empty(0)] * len(layers)

    def hook(place: int):
        def hear(module: nn.Module, inputs: tuple, weights: Tensor) -> None:
            heard[place] = weights.detach()

        return hear

    handles = [tap.register_forward_hook(hook(place)) for place, tap in enumerate(layers)]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def attention_strip(words: Sequence[str], weights: Sequence[float] | Tensor, place: int) -> Html:
    """Each word on a colour that says how much the framed one, at `place`, looks at it.

    weights (T,): what the word gives to each word; the darkest colour is the largest of them.
    """
    weights = torch.as_tensor(weights, dtype=torch.float64)
    if weights.shape != (len(words),) or not 0 <= place < len(words):
        raise ValueError(
            f"attention_strip: expected one weight for each of {len(words)} words and a place "
            f"among them, got shape {tuple(weights.shape)} and {place}; give one row of one head"
        )
    if not (weights >= 0).all() or abs(float(weights.sum()) - 1) > 1e-3:
        raise ValueError(
            "attention_strip: expected weights of 0 or more that sum to 1, got a sum of "
            f"{number(float(weights.sum()))}; give a row of the softmax"
        )
    top = float(weights.max())
    boxes = "".join(
        _word(word, weight, weight / top, at == place, at > place)
        for at, (word, weight) in enumerate(zip(words, weights.tolist(), strict=True))
    )
    said = _said(words, weights, place)
    html = (
        f"<div role='img' aria-label='{escape(said)}' style='max-width:760px'>{boxes}"
        f"<div style='font-size:85%;margin-top:5px'>weight 0 {_scale()} {number(top)}</div></div>"
    )
    return Html(html, said)


def attention_explorer(words: Sequence[str], weights: Tensor, start: tuple[int, int, int]) -> VBox:
    """Choose a word, a layer and a head; see which earlier words it looks at.

    weights (layers, heads, T, T); start: (layer, head, place), each counted from 0.
    """
    if weights.dim() != 4 or weights.shape[2:] != (len(words), len(words)):
        raise ValueError(
            f"attention_explorer: expected weights (layers, heads, {len(words)}, {len(words)}) "
            f"for {len(words)} words, got shape {tuple(weights.shape)}; stack one text's layers"
        )
    names = [(f"{at}  {visible(word)}", at) for at, word in enumerate(words)]
    layer, head = (
        _dial(name, [(str(k + 1), k) for k in range(count)], first)
        for name, count, first in zip(("layer", "head"), weights.shape, start, strict=False)
    )
    word, picture = _dial("word", names, start[2]), HTML()

    def paint(_=None) -> None:
        row = weights[layer.value, head.value, word.value]
        picture.value = attention_strip(words, row, word.value).html

    for dial in (word, layer, head):
        dial.observe(paint, "value")
    paint()
    return VBox(
        [HBox([*map(Dial, (word, layer, head))], layout=Layout(flex_flow="row wrap")), picture]
    )


def _dial(name: str, options: list[tuple[str, int]], value: int) -> SelectionSlider:
    wide = "330px" if name == "word" else "200px"
    dial = SelectionSlider(options=options, value=value, description=name, layout={"width": wide})
    dial.style.description_width = "45px"
    return dial


def _said(words: Sequence[str], weights: Tensor, place: int) -> str:
    """The words that get most, in the order of the text, and what is left for all others."""
    largest = weights[: place + 1].topk(min(NAMED, place + 1)).indices.tolist()
    parts = [f"{visible(words[at])} {number(float(weights[at]))}" for at in sorted(largest)]
    rest = round(max(0.0, 1 - float(weights[largest].sum())), 6)
    named = ", ".join([*parts, f"all others {number(rest)}"])
    return f"Word {place}, {visible(words[place])}, looks at: {named}"


def _word(word: str, weight: float, share: float, chosen: bool, ahead: bool) -> str:
    background = shade(share)
    style = f"{BOX};background-color:{background};color:{text_on(background)}"
    if chosen:
        style += f";outline:2px solid {COLOURS['rejected']}"
    if ahead and not weight:
        style = f"{BOX};opacity:.65"
    return f"<span style='{style}' title='{number(weight)}'>{escape(visible(word))}</span>"


def shade(share: float) -> str:
    """Paper for 0, the model's blue for 1: lightness alone tells the order."""
    return between(PAPER, COLOURS["model"], share)


def _scale() -> str:
    return "".join(
        f"<span style='display:inline-block;width:18px;height:9px;background-color:{shade(k / 9)}'>"
        "</span>"
        for k in range(10)
    )
