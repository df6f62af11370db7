"""What a pretext task makes of a text, token by token: what the model reads, what it is asked."""

from collections.abc import Collection, Sequence
from html import escape

import torch
from ipywidgets import HTML, Button, Dropdown, FloatSlider, HBox, Layout, VBox

from ..language.tokens import Vocabulary
from ..language.windows import IGNORE
from ..training.pretext import RATE, Extra, extended, makers
from .strips import Html, alert, aligned
from .style import COLOURS, PAPER, visible

WORDS_A_LINE = 12
NAMES = ("reads", "is asked for")
NOTHING = "·"  # no label here
_NO_RATE = ("next word", "sentence order")


def labels_html(inputs: Sequence[int], labels: Sequence[int], names: Vocabulary) -> Html:
    """One row of a batch, (T,) and (T,): each token that is read, and below it its label, if any.

    names: the vocabulary with its extra tokens. Read tokens that no text holds, such as [mask], are
    framed; labels are green.
    """
    inputs, labels = ([int(index) for index in row] for row in (inputs, labels))
    if len(inputs) != len(labels):
        raise ValueError(
            f"labels_html: expected a label or IGNORE for each of {len(inputs)} tokens, got "
            f"{len(labels)}; give one row of the inputs and the same row of the labels"
        )
    read = [visible(token) for token in names.tokens_of(inputs)]
    asked = [
        NOTHING if label == IGNORE else visible(names.tokens_of([label])[0]) for label in labels
    ]
    count = sum(label != IGNORE for label in labels)
    said = f"{len(inputs)} tokens are read, {count} label{'s' * (count != 1)}"
    lines = range(0, len(read), WORDS_A_LINE)
    pairs = [(read[at : at + WORDS_A_LINE], asked[at : at + WORDS_A_LINE]) for at in lines]
    html = (
        f"<div role='group' aria-label='{escape(said)}'>{''.join(map(_line, pairs))}"
        f"<div style='font-size:85%'>{escape(said)}</div></div>"
    )
    text = "\n\n".join(aligned([[NAMES[0], *r], [NAMES[1], *a]]) for r, a in pairs)
    return Html(html, f"{text}\n\n{said}")


def _line(pair: tuple[Sequence[str], Sequence[str]]) -> str:
    body = ""
    for name, row, cell in zip(NAMES, pair, (_read, _asked), strict=True):
        body += (
            "<tr style='background:none'><th scope='row' style='text-align:left;"
            f"white-space:nowrap'>{name}</th>{''.join(map(cell, row))}</tr>"
        )
    return f"<table style='margin:0 0 10px 0;font-size:90%'>{body}</table>"


def _read(token: str) -> str:
    added = token.startswith("[") and token.endswith("]") and len(token) > 2
    frame = f";outline:2px solid {COLOURS['rejected']};outline-offset:-2px" if added else ""
    return f"<td style='text-align:left;padding:2px 6px{frame}'>{escape(token)}</td>"


def _asked(token: str) -> str:
    colour = f"color:{COLOURS['truth']};background:{PAPER};font-weight:bold"
    style = "opacity:.5" if token == NOTHING else colour
    return f"<td style='text-align:left;padding:2px 6px;{style}'>{escape(token)}</td>"


class MaskExplorer(VBox):
    """One text and three controls: the pretext, the share of hidden words, another draw."""

    def __init__(self, vocabulary, ids, ends, start, rng) -> None:
        self.ids, self.rng = torch.as_tensor(ids)[None], rng
        self.names = extended(vocabulary)
        self.makers = makers(Extra(len(vocabulary)), ends, start)
        self.pretext = Dropdown(options=list(self.makers), value="masked word")
        self.pretext.description, self.pretext.layout = "pretext", Layout(width="240px")
        self.rate = FloatSlider(RATE, min=0.05, max=0.95, step=0.05, description="rate")
        self.rate.layout = Layout(width="300px")
        self.again, self.picture = Button(description="draw again"), HTML()
        controls = [self.pretext, self.rate, self.again]
        super().__init__([HBox(controls, layout=Layout(flex_flow="row wrap")), self.picture])
        self.pretext.observe(self.paint, "value")
        self.rate.observe(self.paint, "value")
        self.again.on_click(self.paint)
        self.paint()

    def paint(self, _=None) -> None:
        """Make labels as the controls stand; where the text is too short for them, say so."""
        self.rate.disabled = self.pretext.value in _NO_RATE
        try:
            made = self.makers[self.pretext.value](self.ids, self.rng, self.rate.value)
        except ValueError as error:
            self.picture.value = alert(str(error))
            return
        self.picture.value = labels_html(*(part[0].tolist() for part in made), self.names).html


def mask_explorer(
    vocabulary: Vocabulary,
    ids: Sequence[int],
    ends: Collection[int],
    start: int,
    rng: torch.Generator | None = None,
) -> MaskExplorer:
    """Choose a pretext and how much it hides; see what is read and what is asked for.

    ids (T,): one text. ends, start: as in `pretext.sentence_order`.
    """
    rng = rng or torch.Generator().manual_seed(0)
    return MaskExplorer(vocabulary, ids, ends, start, rng)
