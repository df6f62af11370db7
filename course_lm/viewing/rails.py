"""Two rails, word by word: a model that is told the true words, and one that reads its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import torch
from ipywidgets import HTML, Button, HBox, IntSlider, Layout, VBox
from torch import Tensor

from ..models.contract import Model
from ..models.sampling import draw, next_logits
from .chances import chances, chances_html
from .dials import Dial
from .strips import Html, aligned
from .style import COLOURS, visible

WORDS_A_LINE = 10
SHOWN = 5  # next words in the bars
IMPOSSIBLE, UNKNOWN = "✗", "?"
_NAMES = ("true words", "said after them", "own words")
_STYLES = {
    "": "",
    IMPOSSIBLE: ";background-color:#000;color:#fff;outline:1px solid #ff5a36",
    UNKNOWN: ";opacity:.65;font-style:italic",
}


@dataclass(frozen=True, slots=True)
class Rail:
    """What the model read, and what it said after it: said[t] follows read[: t + 1].

    marks: IMPOSSIBLE where the truth gives the said word probability 0; UNKNOWN where the truth
    cannot follow, because an impossible word was read; else "".
    """

    read: list[int]  # T + 1 ids
    said: list[int]  # T ids
    marks: list[str]  # T
    logits: Tensor  # (T, V), the model's
    true_logits: Tensor  # (T, V)


@torch.no_grad()
def rails(
    model: Model, truth: Model, ids: Sequence[int], rng: torch.Generator
) -> tuple[Rail, Rail]:
    """The truth rail and the own rail beside the true text `ids`; they share each throw of dice.

    Both begin with ids[0]. Then the truth rail reads the true words whatever the model says, the
    own rail what the model said. Before they read different words they say the same.
    """
    true, own, said, logits = list(ids), list(ids[:1]), ([], []), ([], [])
    for place in range(len(true) - 1):
        dice = rng.get_state()
        for rail, seen in enumerate((true[: place + 1], own[: place + 1])):
            rng.set_state(dice)
            logits[rail].append(next_logits(model, seen))
            said[rail].append(int(draw(logits[rail][-1][None], rng)))
        own.append(said[1][-1])
    pairs = zip((true, own), said, logits, strict=True)
    return tuple(_judged(truth, read, words, torch.stack(rows)) for read, words, rows in pairs)


def _judged(truth: Model, read: list[int], said: list[int], logits: Tensor) -> Rail:
    true_logits = truth(torch.tensor([read[:-1]]))[0]
    marks, lost = [], False
    for place, word in enumerate(said):
        possible = bool(true_logits[place, word] > -torch.inf)
        marks.append(UNKNOWN if lost else "" if possible else IMPOSSIBLE)
        lost = lost or not bool(true_logits[place, read[place + 1]] > -torch.inf)
    return Rail(read, said, marks, logits, true_logits)


def rails_html(pair: tuple[Rail, Rail], vocabulary, step: int | None = None) -> Html:
    """Both rails up to word `step`, and what the model expected there; to the end without it.

    An impossible word is white on black with a cross. After it the truth cannot follow the own
    rail: what comes then is in italics, with a question mark.
    """
    true, own = pair
    last = len(true.said) if step is None else step
    words = [vocabulary.tokens_of(ids) for ids in (true.read[1:], true.said, own.said)]
    rows = [list(zip(words[0], [""] * len(words[0]), strict=True))]
    for said, rail in zip(words[1:], pair, strict=True):
        rows.append(list(zip(said, rail.marks, strict=True))[:last])
    lines = [
        [row[begin : begin + WORDS_A_LINE] for row in rows]
        for begin in range(0, len(rows[0]) if step is None else last, WORDS_A_LINE)
    ]
    said = _sentence(pair, vocabulary, last)
    shown = [_bars(rail, vocabulary, last - 1) for rail in pair] if step else []
    heads = ("after the true words", "after its own words")
    columns = "".join(
        f"<div><div style='color:var(--jp-ui-font-color2)'>{head}</div>{bars.html}</div>"
        for head, bars in zip(heads, shown, strict=False)
    )
    html = (
        f"<div role='group' aria-label='{escape(said)}'>"
        + "".join(_line(line, (step or 0) - WORDS_A_LINE * n) for n, line in enumerate(lines))
        + f"<div style='margin:8px 0'>{escape(said)}</div>"
        f"<div style='display:flex;flex-wrap:wrap;gap:24px'>{columns}</div></div>"
    )
    text = "\n\n".join(aligned(_with_names(line)) for line in lines)
    bars = "".join(f"\n\n{h}\n{b.text}" for h, b in zip(heads, shown, strict=False))
    return Html(html, f"{text}\n\n{said}{bars}")


def _sentence(pair: tuple[Rail, Rail], vocabulary, last: int) -> str:
    """How often each rail slipped so far."""
    slips = [rail.marks[:last].count(IMPOSSIBLE) for rail in pair]
    first = next((i for i, mark in enumerate(pair[1].marks[:last]) if mark), None)
    end = "its own words are possible so far"
    if first is not None:
        word = visible(vocabulary.tokens[pair[1].said[first]])
        end = f"its own text is lost from word {first + 1}, {word!r}, on"
    times = "1 word was" if slips[0] == 1 else f"{slips[0]} words were"
    return f"{last} word{'s' * (last != 1)}. After the true words {times} impossible; {end}."


def _bars(rail: Rail, vocabulary, place: int) -> Html:
    true_logits = None if rail.marks[place] == UNKNOWN else rail.true_logits[place]
    shown, series = chances(rail.logits[place], true_logits, SHOWN)
    return chances_html([vocabulary.tokens[i] for i in shown], series)


def _line(rows: Sequence[Sequence[tuple[str, str]]], current: int) -> str:
    """One line of the three rows; `current` words of it are said, the last one is underlined."""
    body = ""
    for name, row in zip(_NAMES, rows, strict=True):
        colour = COLOURS["truth"] if name == _NAMES[0] else COLOURS["model"]
        cells = "".join(
            f"<td style='text-align:left;padding:2px 6px{_STYLES[mark]}"
            f"{f';border-bottom:3px solid {colour}' if place == current - 1 else ''}'>"
            f"{escape(visible(word))}{mark and f' {mark}'}</td>"
            for place, (word, mark) in enumerate(row)
        )
        body += (
            "<tr style='background:none'><th scope='row' style='text-align:left;"
            f"white-space:nowrap;border-left:4px solid {colour}'>{name}</th>{cells}</tr>"
        )
    return f"<table style='margin:0 0 10px 0;font-size:90%'>{body}</table>"


def _with_names(rows: Sequence[Sequence[tuple[str, str]]]) -> list[list[str]]:
    named = zip(_NAMES, rows, strict=True)
    return [[name, *(visible(word) + mark for word, mark in row)] for name, row in named]


class RailStepper(VBox):
    """The two rails with three controls: the word to stop at, one word more, another own text."""

    def __init__(self, model, truth, vocabulary, ids, rng) -> None:
        self.model, self.truth, self.vocabulary, self.rng = model, truth, vocabulary, rng
        self.ids = list(ids)
        self.word = IntSlider(1, min=1, max=len(self.ids) - 1, description="word")
        self.word.layout = Layout(width="420px")
        self.next, self.again = Button(description="next word"), Button(description="another text")
        self.picture = HTML()
        controls = HBox(
            [Dial(self.word), self.next, self.again], layout=Layout(flex_flow="row wrap")
        )
        super().__init__([controls, self.picture])
        self._run()
        self.word.observe(self.paint, "value")
        self.next.on_click(lambda _: self._go_on())
        self.again.on_click(lambda _: self._run())

    def paint(self, _=None) -> None:
        """Draw the rails up to the chosen word."""
        self.picture.value = rails_html(self.pair, self.vocabulary, self.word.value).html

    def _go_on(self) -> None:
        self.word.value = min(self.word.value + 1, self.word.max)

    def _run(self) -> None:
        self.pair = rails(self.model, self.truth, self.ids, self.rng)
        self.paint()


def rail_stepper(
    model: Model, truth: Model, vocabulary, ids: Sequence[int], rng: torch.Generator | None = None
) -> RailStepper:
    """Step through a true text: what the model says after its words, and after its own words."""
    rng = rng or torch.Generator().manual_seed(0)
    return RailStepper(model, truth, vocabulary, ids, rng)
