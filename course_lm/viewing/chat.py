"""A chat with a fine-tuned model, and a transcript in which every wrong reply is marked."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import fill, shorten

from ipywidgets import HTML, Button, Dropdown, HBox, Layout, Text, Textarea, VBox

from ..finetuning.supervised import respond
from ..finetuning.tasks import ASKED, END, REPLY, Example, task_vocabulary
from ..language.lab import START
from ..language.tokens import split_words
from ..models.contract import Model
from .gold import right_replies
from .strips import Html, alert, aligned
from .style import COLOURS, PAPER

ASKING = ("answer", "reason", "solve")  # these tasks need a question
LONGEST = 60  # tokens of a reply
SHOWN = 16  # tokens of a reply that does not end
GOES_ON = " …"  # stands behind a reply that does not end
UNKNOWN = "the lab does not know"
MARKS = {
    True: ("✓ right", COLOURS["truth"]),
    False: ("✗ wrong", COLOURS["rejected"]),
    None: ("? not judged", COLOURS["baseline"]),
}
ARRIVED = 0.1  # seconds in which what was typed before a click has come
WIDE = {"width": "740px", "max_width": "100%"}
_CELL = "text-align:left;vertical-align:top;padding:4px 8px;white-space:normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What was asked, what each model replied, and what is right (None where nobody knows)."""

    task: str
    text: str
    question: str
    replies: Mapping[str, str]
    right: str | None

    def judged(self, name: str) -> bool | None:
        """Whether a model's reply is right, word for word."""
        return None if self.right is None else self.replies[name] == self.right


def request(example: Example) -> tuple[str, str, str]:
    """(task, text, question) of an example, as `ask` takes them behind the models."""
    at = example.prompt.index(example.task)
    text, question = example.prompt[1:at], example.prompt[at + 1 : -1]
    return example.task, " ".join(text), " ".join(question)


def ask(models: Mapping[str, Model], task: str, text: str, question: str = "") -> Turn:
    """The likeliest reply of each model, to the same prompt.

    The models know the words of `tasks.task_vocabulary`. Capital letters and signs without a space
    before them are taken as they are meant. Raises ValueError, with a sentence for whoever typed,
    for an empty text, a missing question, an unknown word, a word that marks the task or its
    reply, and a prompt that leaves no room for a reply.
    """
    said, asked = split_words(text), split_words(question if task in ASKING else "")
    prompt = _prompt(task, said, asked)
    room = min(getattr(model, "context", 10**6) for model in models.values()) - len(prompt) + 1
    if room < 2:
        raise ValueError(
            f"chat: expected at most {len(prompt) + room - 2} tokens, so that the model can see "
            f"them and a reply, got {len(prompt)}; take sentences out of the text"
        )
    replies = {name: _reply(model, prompt, min(LONGEST, room)) for name, model in models.items()}
    right = right_replies(task, tuple(said)).get(" ".join(asked))
    return Turn(
        task=task, text=" ".join(said), question=" ".join(asked), replies=replies, right=right
    )


def _prompt(task: str, said: Sequence[str], asked: Sequence[str]) -> list[int]:
    if task not in ASKED:
        raise ValueError(
            f"chat: expected a task of {', '.join(ASKED)}, got {task!r}; choose from these"
        )
    if not said:
        raise ValueError("chat: expected a text, got none; type one or choose a story")
    if task in ASKING and not asked:
        raise ValueError(f"chat: expected a question to {task}, got none; type one or pick one")
    reserved = next((word for word in (*said, *asked) if word in (START, *ASKED)), None)
    if reserved:
        raise ValueError(
            f"chat: expected words of a story, got {reserved!r}, which tells the model where a "
            "text begins or what to do; take it out"
        )
    ids = task_vocabulary().ids_of
    return [*ids([START]), *ids(said), *ids([task]), *ids(asked), *ids([REPLY])]


def _reply(model: Model, prompt: Sequence[int], longest: int) -> str:
    end = task_vocabulary().ids[END]
    (ids,) = respond(model, [prompt], end, longest)
    if ids[-1] == end:
        return task_vocabulary().decode(ids[:-1])
    return task_vocabulary().decode(ids[:SHOWN]) + GOES_ON


def transcript(turns: Sequence[Turn]) -> Html:
    """Every turn, a row: what was asked, each model's reply with its mark, and what is right."""
    names = list(dict.fromkeys(name for turn in turns for name in turn.replies))
    said = _score(turns, names)
    texts = [None, *(turn.text for turn in turns)]
    pairs = list(zip(turns, texts, strict=False))  # each with the text of the one before
    head = "".join(
        f"<th scope='col' style='{_CELL}{';width:36%' * (at == 0)}'>{escape(name)}</th>"
        for at, name in enumerate(("asked", *names, "right"))
    )
    rows = "".join(_row(turn, names, turn.text == before) for turn, before in pairs)
    table = (
        f"<table style='margin:4px 0;width:100%;table-layout:fixed'><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )
    html = (
        f"<div role='group' aria-label='{escape(said)}' style='max-width:860px;line-height:1.4;"
        f"margin-bottom:8px'>{table if turns else ''}"
        f"<div style='font-size:85%'>{escape(said)}</div></div>"
    )
    blocks = [_plain(turn, turn.text == before) for turn, before in pairs]
    return Html(html, "\n\n".join([*blocks, said]))


def _score(turns: Sequence[Turn], names: Sequence[str]) -> str:
    known = [turn for turn in turns if turn.right is not None]
    if not turns:
        return "Nothing has been asked yet."
    right = [f"{name} {sum(bool(turn.judged(name)) for turn in known)}" for name in names]
    count = f"{len(turns)} turn{'s' * (len(turns) != 1)}"
    return f"{count}, {len(known)} of them judged; right: {', '.join(right)}."


def _row(turn: Turn, names: Sequence[str], same_text: bool) -> str:
    text = "the same text" if same_text else turn.text
    asked = (
        f"<div style='opacity:{0.7 if same_text else 1}'>{escape(text)}</div>"
        f"<b>{escape(turn.task)}</b> {escape(turn.question)}"
    )
    replies = "".join(
        f"<td style='{_CELL}'>{_chip(*MARKS[turn.judged(name)])}<br>"
        f"{escape(turn.replies[name])}</td>"
        for name in names
    )
    right = f"<i>{UNKNOWN}</i>" if turn.right is None else escape(turn.right)
    return (
        f"<tr style='background:none'><td style='{_CELL}'>{asked}</td>{replies}"
        f"<td style='{_CELL}'>{right}</td></tr>"
    )


def _chip(mark: str, colour: str) -> str:
    return (
        f"<span style='color:{colour};background:{PAPER};border:1px solid {colour};"
        "border-radius:3px;padding:0 4px;font-size:85%;font-weight:bold;white-space:nowrap'>"
        f"{mark}</span>"
    )


def _plain(turn: Turn, same_text: bool) -> str:
    lines = [] if same_text else [fill(turn.text, 96)]
    lines.append(f"{turn.task} {turn.question}".rstrip())
    replies = [(name, MARKS[turn.judged(name)][0], reply) for name, reply in turn.replies.items()]
    return "\n".join([*lines, aligned([*replies, ("right", "", turn.right or UNKNOWN)])])


class ChatBox(VBox):
    """The widget of `chat_box`; `turns` is what has been said so far.

    A field is sent when it is left, and a click waits a moment for it: of two messages from two
    widgets the kernel may read the later one first.
    """

    def __init__(self, models: Mapping[str, Model], ready: Sequence[Example]) -> None:
        self.models, self.ready, self.turns = models, ready, []
        options = [(_title(example), place) for place, example in enumerate(ready)]
        self.story = Dropdown(options=options, value=0, description="story", layout=WIDE)
        self.text = Textarea(description="text", continuous_update=False, rows=3, layout=WIDE)
        self.task = Dropdown(options=ASKED, description="task", layout=Layout(width="210px"))
        self.pick = Dropdown(description="pick", layout=Layout(width="526px"))
        self.question = Text(description="question", continuous_update=False)
        self.question.layout = Layout(width="642px")
        self.send = Button(description="send", button_style="primary", layout=Layout(width="90px"))
        self.picture, self.message = HTML(), HTML()
        rows = [HBox([self.task, self.pick]), HBox([self.question, self.send])]
        for row in rows:
            row.layout = Layout(flex_flow="row wrap")
        super().__init__([self.picture, self.story, self.text, *rows, self.message])
        self.choose()
        self.paint()
        self.story.observe(self.choose, "value")
        self.task.observe(self.offer, "value")
        self.text.observe(self.offer, "value")
        self.pick.observe(self.picked, "value")
        self.send.on_click(self.reply)

    def choose(self, _=None) -> None:
        """Put the chosen story, with its task and question, into the fields."""
        task, self.text.value, self.question.value = request(self.ready[self.story.value])
        self.task.value = task
        self.offer()

    def offer(self, _=None) -> None:
        """Offer the questions that the lab can ask of the text in the chosen task."""
        asking = self.task.value in ASKING
        text = tuple(split_words(self.text.value))
        questions = list(right_replies(self.task.value, text)) if asking else []
        first = f"one of {len(questions)} questions" if questions else "nothing to pick"
        self.pick.options = [(first, ""), *((question, question) for question in questions)]
        self.pick.value, self.pick.disabled = "", not questions
        self.question.disabled = not asking

    def picked(self, _=None) -> None:
        """Put the picked question into its field."""
        self.question.value = self.pick.value or self.question.value

    def reply(self, _=None) -> None:
        """Send what the fields hold; where that cannot be, say why and leave all as it is."""
        time.sleep(ARRIVED)
        try:
            turn = ask(self.models, self.task.value, self.text.value, self.question.value)
        except ValueError as error:
            self.message.value = alert(str(error))
            return
        self.turns.append(turn)
        self.message.value = ""
        self.paint()

    def paint(self) -> None:
        """Show the transcript, its last turn in sight."""
        self.picture.value = (
            "<div role='log' aria-label='transcript' tabindex='0' style='max-height:380px;"
            "overflow-y:auto;display:flex;flex-direction:column-reverse'>"
            f"{transcript(self.turns).html}</div>"
        )


def chat_box(models: Mapping[str, Model], ready: Sequence[Example]) -> ChatBox:
    """Ask one model, or several side by side; `ready` are stories to begin with.

    models: name -> model, shown in this order, for example {"base": base, "tuned": tuned}.
    """
    if not models or not ready:
        raise ValueError(
            f"chat_box: expected at least one model and one example, got {len(models)} and "
            f"{len(ready)}; give some"
        )
    return ChatBox(dict(models), list(ready))


def _title(example: Example) -> str:
    _, text, _ = request(example)
    return f"{example.task}: {shorten(text, 60, placeholder=' …')}"
