"""A recurrent network unrolled: its state after each word, and the words that a prediction feels.

Both are heard and differentiated in one ordinary pass: a hook on `model.states` hears the states,
and the gradient is that of the loss on the words of the text.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import torch
from ipywidgets import HTML, Dropdown, HBox, IntSlider, Layout, Text, VBox
from matplotlib.colors import LinearSegmentedColormap
from torch import Tensor

from ..models.rnn import RNN
from ..training.losses import token_log_probs
from .chances import ids_of
from .dials import Dial
from .strips import Html, alert, aligned
from .style import (
    COLOURS,
    PAPER,
    Drawing,
    between,
    blank,
    drawable,
    literal,
    number,
    styled,
    visible,
)

UNITS = 12  # numbers of the state that are drawn: those that move most
NEGATIVE, POSITIVE = COLOURS["rejected"], COLOURS["model"]
SMALLEST = 1e-6  # gradients are drawn on a log axis from here on
PLOT = 60  # pixels of the bars


@dataclass(frozen=True, slots=True)
class Unrolled:
    """One text as a recurrent network reads it, up to the word that is predicted at `place`.

    states (place, units): the numbers of each state that are drawn. pull (place,): norm of
    the gradient of −log P(words[place]) with respect to the embedding of each word before it.
    """

    words: tuple[str, ...]
    place: int
    states: Tensor
    pull: list[float]
    p: float


def pull(model: RNN, ids: Tensor, place: int) -> Tensor:
    """‖∂(−log P(ids[place]))/∂e_t‖ for each earlier word t: (B, T) ids -> (B, place).

    e_t is the embedding of word t; the norm is what a small change there can do to the loss.
    """
    return _heard(model, ids, place)[0]


def unroll(model: RNN, words: Sequence[str], ids: Sequence[int], place: int) -> Unrolled:
    """What `model` holds and feels when it predicts words[place]; the rest of the text is unread.

    Raises ValueError for a place without a word before it.
    """
    if not 1 <= place < len(ids):
        raise ValueError(
            f"unroll: expected a place from 1 to {len(ids) - 1}, got {place}; choose a word that "
            "has another before it"
        )
    gradients, states, log_p = _heard(model, torch.as_tensor(ids)[None], place)
    moving = states[0].var(0, correction=0).topk(min(UNITS, states.shape[-1])).indices.sort().values
    return Unrolled(
        words=tuple(words),
        place=place,
        states=states[0][:, moving],
        pull=gradients[0].tolist(),
        p=math.exp(log_p[0].item()),
    )


@torch.enable_grad()
def _heard(model: RNN, ids: Tensor, place: int) -> tuple[Tensor, Tensor, Tensor]:
    """Norms of the gradient (B, place), states (B, place, D), log P of the word at `place` (B,)."""
    heard: dict[str, Tensor] = {}
    hooks = [
        getattr(model, name).register_forward_hook(
            lambda module, inputs, output, name=name: heard.update({name: output})
        )
        for name in ("embed", "states")
    ]
    try:
        logits = model(ids[:, :place])[:, -1]
    finally:
        for hook in hooks:
            hook.remove()
    log_p = token_log_probs(logits, ids[:, place])
    (gradient,) = torch.autograd.grad(-log_p.sum(), heard["embed"])
    return gradient.norm(dim=-1), heard["states"].detach(), log_p.detach()


def unrolled_figure(seen: Unrolled) -> Drawing:
    """The state after each word as a column of colours; below, the gradient that each word gets."""
    words = [*map(visible, seen.words[: seen.place])]
    colours = LinearSegmentedColormap.from_list("state", (NEGATIVE, PAPER, POSITIVE))
    with styled():
        figure, _ = blank(height=3.4)
        figure.clear()
        state, bars = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        image = state.imshow(
            seen.states.T.numpy(),
            aspect="auto",
            cmap=colours,
            vmin=-1,
            vmax=1,
            interpolation="nearest",
        )
        state.set(ylabel="state", yticks=[])
        figure.colorbar(image, ax=state, ticks=[-1, 0, 1], pad=0.01, aspect=8)
        bars.bar(range(len(words)), seen.pull, 0.7, color=COLOURS["model"])
        bars.set(yscale="log", ylim=(SMALLEST, max(1.0, 2 * max(seen.pull))))
        bars.set(ylabel="gradient", xlim=(-0.6, len(words) - 0.4))
        bars.set_xticks(range(len(words)), map(drawable, words), rotation=90, fontsize=7.5)
        bars.set_xlabel(f"words read, before {visible(seen.words[seen.place])!r} is predicted")
        literal(bars.xaxis.label, *bars.get_xticklabels())
    figure.numbers = _rows(seen)
    return figure


def unrolled_html(seen: Unrolled) -> Html:
    """The same as `unrolled_figure`, fast enough to follow a slider."""
    word = visible(seen.words[seen.place])
    top = max(range(seen.place), key=seen.pull.__getitem__)
    said = (
        f"predicts {word!r} with P = {number(seen.p)}; its gradient is largest for "
        f"{visible(seen.words[top])!r}, {seen.place - top} back ({number(seen.pull[top])}), and "
        f"{number(seen.pull[0])} for {visible(seen.words[0])!r}, {seen.place} back"
    )
    columns = "".join(_column(seen, t) for t in range(seen.place))
    columns += (
        f"<div style='{_COLUMN}'><div style='height:{PLOT + 2 + 9 * _drawn(seen)}px'></div>"
        f"<div style='{_NAME};font-weight:bold'>{escape(word)}?</div></div>"
    )
    label = f"Unrolled: {said}."
    html = (
        f"<div role='img' aria-label='{escape(label)}'>"
        f"<div style='line-height:1.6'>The network {escape(said)}.</div>"
        f"<div style='font-size:85%;opacity:.85'>Columns: the state after each word, {_key()}. "
        "Bars, on a log axis: the gradient, from 10⁻⁶ (no bar) to 1 (full).</div>"
        f"<div style='display:flex;align-items:flex-start;overflow-x:auto'>{columns}</div></div>"
    )
    return Html(html, f"{label}\n{aligned(_rows(seen))}")


_COLUMN = "flex:0 0 auto;width:19px;margin-right:1px"
_NAME = "writing-mode:vertical-rl;font-size:12px;line-height:19px;margin-top:4px;white-space:nowrap"


def _drawn(seen: Unrolled) -> int:
    return seen.states.shape[1]


def _column(seen: Unrolled, t: int) -> str:
    cells = "".join(
        f"<div style='height:8px;margin-bottom:1px;background-color:{_shade(value)}'></div>"
        for value in seen.states[t].tolist()
    )
    share = 1 - math.log(max(seen.pull[t], SMALLEST)) / math.log(SMALLEST)
    high = round(PLOT * min(max(share, 0.0), 1.0))
    bar = f"<div style='height:{high}px;background-color:{COLOURS['model']}'></div>"
    word = visible(seen.words[t])
    return (
        f"<div style='{_COLUMN}' title='{escape(word)}: gradient {number(seen.pull[t])}'>"
        f"<div style='height:{PLOT}px;display:flex;flex-direction:column;justify-content:flex-end'>"
        f"{bar}</div><div style='height:2px'></div>{cells}"
        f"<div style='{_NAME}'>{escape(word)}</div></div>"
    )


def _shade(value: float) -> str:
    """−1 in the one colour, 1 in the other, 0 as paper: strength tells the size."""
    return between(PAPER, POSITIVE if value > 0 else NEGATIVE, min(abs(value), 1.0))


def _key() -> str:
    boxes = "".join(
        f"<span style='display:inline-block;width:14px;height:9px;background-color:{_shade(v)}'>"
        "</span>"
        for v in (-1, -0.5, 0, 0.5, 1)
    )
    return f"−1 {boxes} 1"


def _rows(seen: Unrolled) -> list[list[object]]:
    rows = [["word", "back", "gradient"]]
    return rows + [
        [visible(seen.words[t]), seen.place - t, seen.pull[t]] for t in range(seen.place)
    ]


def unrolled_explorer(models: Mapping[str, RNN], vocabulary, text: str) -> VBox:
    """Choose a network, a word of the text, or another text; see the state and the gradient.

    An unknown word is answered with a sentence; the picture stays.
    """
    return UnrolledExplorer(models, vocabulary, text)


class UnrolledExplorer(VBox):
    """The widget of `unrolled_explorer`; `ids` is the text that is shown."""

    def __init__(self, models: Mapping[str, RNN], vocabulary, text: str) -> None:
        self.models, self.vocabulary = models, vocabulary
        self.network = Dropdown(options=list(models), description="network")
        self.network.layout = Layout(width="200px")
        self.text = Text(text, description="text", continuous_update=False)
        self.text.layout = Layout(width="660px")
        self.ids = ids_of(vocabulary, text)
        last = len(self.ids) - 1
        self.word = IntSlider(last, min=1, max=last, description="word", layout={"width": "330px"})
        self.picture, self.message = HTML(), HTML()
        dials = HBox([self.network, Dial(self.word)], layout=Layout(flex_flow="row wrap"))
        super().__init__([self.text, self.message, dials, self.picture])
        self.paint()
        self.network.observe(self.paint, "value")
        self.word.observe(self.paint, "value")
        self.text.observe(self._typed, "value")

    def paint(self, _=None) -> None:
        """Draw the text as the controls stand."""
        words = [self.vocabulary.decode([i]) for i in self.ids]
        seen = unroll(self.models[self.network.value], words, self.ids, self.word.value)
        self.picture.value = unrolled_html(seen).html

    def _typed(self, _) -> None:
        try:
            ids = ids_of(self.vocabulary, self.text.value)
            if len(ids) < 2:
                raise ValueError("text: expected at least two tokens, got fewer; type some more")
        except ValueError as error:
            return self._say(str(error))
        self._say("")
        self.ids = ids
        self.word.max = len(ids) - 1
        self.word.value = len(ids) - 1
        self.paint()

    def _say(self, sentence: str) -> None:
        self.message.value = alert(sentence)
