"""What a pretext task makes of a text, token by token: what the model reads, what it is asked."""

import math
from collections.abc import Collection, Sequence
from html import escape

import torch
from ipywidgets import HTML, Button, Dropdown, FloatSlider, HBox, Layout, VBox

from ..language.tokens import Vocabulary
from ..language.windows import IGNORE
from ..training.pretext import RATE, Extra, extended, makers
from .dials import Dial
from .strips import Html, alert, aligned, surprise_colours
from .style import COLOURS, PAPER, number, visible

WORDS_A_LINE = 12
NAMES = ("reads", "is asked for", "loss")
NOTHING = "·"  # no label here
_NO_RATE = ("next word", "sentence order")


def labels_html(
    inputs: Sequence[int],
    labels: Sequence[int],
    names: Vocabulary,
    losses: Sequence[float] | None = None,
) -> Html:
    """One row of a batch, (T,) and (T,): each token that is read, and below it its label, if any.

    names: the vocabulary with its extra tokens. Read tokens that no text holds, such as [mask], are
    framed; labels are green. losses (T,): −log p of each label, in nats, shown below it on a colour
    that is darkest at ln V, where one guesses; what stands where no label is counts for nothing.
    """
    inputs, labels = ([int(index) for index in row] for row in (inputs, labels))
    losses = None if losses is None else [float(loss) for loss in losses]
    for name, row in (("label or IGNORE", labels), ("loss", losses)):
        if row is not None and len(row) != len(inputs):
            raise ValueError(
                f"labels_html: expected a {name} for each of {len(inputs)} tokens, got "
                f"{len(row)}; give one row of the inputs and the same row of the others"
            )
    rows = [
        list(map(visible, names.tokens_of(inputs))),
        [NOTHING if at == IGNORE else visible(names.tokens_of([at])[0]) for at in labels],
    ]
    counted = [at for at, label in enumerate(labels) if label != IGNORE]
    said = f"{len(inputs)} tokens are read, {len(counted)} label{'s' * (len(counted) != 1)}"
    if losses is not None:
        rows.append([losses[at] if at in counted else NOTHING for at in range(len(losses))])
        if counted:
            mean = sum(losses[at] for at in counted) / len(counted)
            said += f", mean loss {number(mean)} nats"
    return _rows(rows, said, math.log(len(names)))


def _rows(rows: Sequence[Sequence[str | float]], said: str, highest: float) -> Html:
    """Rows side by side in lines of WORDS_A_LINE, and a sentence below."""
    lines = [
        [row[at : at + WORDS_A_LINE] for row in rows] for at in range(0, len(rows[0]), WORDS_A_LINE)
    ]
    html = (
        f"<div role='group' aria-label='{escape(said)}'>"
        f"{''.join(_line(line, highest) for line in lines)}"
        f"<div style='font-size:85%'>{escape(said)}</div></div>"
    )
    text = "\n\n".join(
        aligned([[name, *row] for name, row in zip(NAMES, line, strict=False)]) for line in lines
    )
    return Html(html, f"{text}\n\n{said}")


def _line(rows: Sequence[Sequence[str | float]], highest: float) -> str:
    body = ""
    cells = (_read, _asked, lambda loss: _loss(loss, highest))
    for name, row, cell in zip(NAMES, rows, cells, strict=False):
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
    style = "opacity:.65" if token == NOTHING else colour
    return f"<td style='text-align:left;padding:2px 6px;{style}'>{escape(token)}</td>"


def _loss(loss: str | float, highest: float) -> str:
    if loss == NOTHING:
        return "<td></td>"
    background, colour = surprise_colours(loss / highest)
    style = f"padding:2px 6px;background:{background};color:{colour}"
    return f"<td style='text-align:left;{style}'>{number(loss)}</td>"


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
        controls = [self.pretext, Dial(self.rate), self.again]
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
