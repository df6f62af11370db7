"""The parts of the live demo: explorer, chat and endings after each phase, vote."""

import contextlib
import secrets
from functools import cache

import torch
from ipywidgets import HTML, Dropdown, VBox

from ..classroom.recorded import COMPARISONS
from ..finetuning.supervised import respond, with_more_words
from ..finetuning.tasks import ASKED, Example, examples, task_vocabulary
from ..language import lab
from ..models.contract import Model
from ..models.counts import kneser_ney
from ..rlhf.gold import LONGEST, gold, prompts, question
from ..rlhf.preferences import Prompt, read_comparisons
from ..rlhf.votes import VoteFile
from ..training.checkpoints import load
from ..training.states import state_path
from .chat import SHOWN, WIDE, ChatBox, Turn, ask, chat_box, request
from .strips import Html, table
from .voting import VotingBox, voting_box
from .widgets import NextTokenExplorer, next_token_explorer

OPENING = "anna and ben are in the attic . anna takes the red key . ben goes to the garden . anna"
STORIES = 12
COUNTED = 100_000  # words of stories that the counts come from
HEADS = ("phase", "goes on", "points", f"mean of {STORIES} stories")
VOTES = "votes.jsonl"  # in the folder of the demo; every visitor is a voter of their own


@cache
def phases() -> dict[str, Model]:
    """Name -> model with the words of the tasks, in the order of the course.

    The last phase is there once `classroom.aligned` has made it.
    """
    words, rng = task_vocabulary(), torch.Generator().manual_seed(0)
    counts = kneser_ney(words.ids_of(lab.sample(COUNTED, rng)), 4, len(words))
    found = {
        "counts": lambda ids: counts(ids),  # of any length, unlike the context of `counts`
        "foundation": with_more_words(_foundation(), len(words), rng),
        "tuned": load(state_path("assistant"), words).model,
    }
    with contextlib.suppress(FileNotFoundError):
        found["after feedback"] = load(state_path("aligned"), words).model
    return found


@cache
def _foundation() -> Model:
    return load(state_path("foundation"), lab.vocabulary()).model


@cache
def stories() -> list[Prompt]:
    """Stories up to their last question, drawn by chance and not chosen."""
    return prompts(STORIES, torch.Generator().manual_seed(7))


def explorer() -> NextTokenExplorer:
    """What can come next, by the foundation model and by the truth."""
    return next_token_explorer(_foundation(), lab.vocabulary(), OPENING, lab.Truth(), top=6)


@cache
def examples_of_all() -> list[Example]:
    """Two requests of each task, of a kind that no model was tuned on."""
    rng = torch.Generator().manual_seed(0)
    return [example for task in ASKED for example in examples(task, 2, rng, "test")]


@cache
def first_turn() -> Turn:
    """What each phase replies to the first of them."""
    return ask(phases(), *request(examples_of_all()[0]))


def chat() -> ChatBox:
    """The same request to the model of each phase, one turn of it made already.

    On a phone the replies stand one below another.
    """
    box = chat_box(phases(), examples_of_all())
    box.turns.append(first_turn())
    box.paint()
    box.children = (HTML(_phone_style(("", *phases(), "right"))), *box.children)
    return box


def _phone_style(columns: tuple[str, ...]) -> str:
    """On a narrow screen a row of the transcript is a list, with the names of the columns in it."""
    named = "".join(
        f"[role=log] td:nth-child({at})::before{{content:'{name} ';opacity:.75}}"
        for at, name in enumerate(columns, 1)
    )
    lists = "[role=log] thead{display:none}[role=log] :is(table,tbody,tr,td){display:block}"
    return f"<style>@media(max-width:700px){{{lists}{named}}}</style>"


def endings() -> VBox:
    """How each phase ends a story, and what the people of the lab think of it."""
    options = [(question(prompt), place) for place, prompt in enumerate(stories())]
    story = Dropdown(options=options, description="question", layout=WIDE)
    picture = HTML()

    def paint(_=None) -> None:
        picture.value = ending_table(story.value).html

    story.observe(paint, "value")
    paint()
    return VBox([story, picture])


@cache
def ending_table(place: int) -> Html:
    """The likeliest ending of a story after each phase, with its gold reward and that of all."""
    prompt, rows = stories()[place], []
    for name, said in endings_of(prompt).items():
        end = said.index(lab.START) if lab.START in said else SHOWN
        text = " ".join([*said[:end], *(["…"] if lab.START not in said else [])])
        rows.append((name, text, gold(prompt, said), mean_gold()[name]))
    return table(rows, HEADS, " ".join(prompt.words[1:]))


@cache
def endings_of(prompt: Prompt) -> dict[str, list[str]]:
    """Name -> the likeliest response of each phase, word by word."""
    words = task_vocabulary()
    asked, stop = [words.ids_of(prompt.words)], words.ids[lab.START]
    return {
        name: words.tokens_of(respond(model, asked, stop, LONGEST)[0])
        for name, model in phases().items()
    }


@cache
def mean_gold() -> dict[str, float]:
    """Name -> the mean gold reward of a phase's responses to all of `stories`."""
    rewards = {
        name: [gold(prompt, endings_of(prompt)[name]) for prompt in stories()] for name in phases()
    }
    return {name: round(sum(some) / len(some), 2) for name, some in rewards.items()}


def vote() -> VotingBox:
    """Comparisons to vote on, as somebody whom nobody else is."""
    return voting_box(VoteFile(VOTES, read_comparisons(COMPARISONS)), secrets.token_hex(4))
