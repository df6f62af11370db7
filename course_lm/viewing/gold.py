"""What is right for a text that somebody typed, where the lab knows it."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product

from ..finetuning.tasks import ASKED, NAMES, Example, answer, sentences, summarise
from ..finetuning.translation import ARTICLES, VERB_FORMS, VERBS, dictionary, translate
from ..language.chances import QUESTIONS, Distribution
from ..language.lab import WORLD
from ..language.stories import story
from ..language.world import NUMBERS

Words = tuple[str, ...]
# Of the draws of `answer`: which thing, which person, what is asked, of whom it is counted.
EVERY_QUESTION = ((0.25, 0.75), (0.25, 0.75), (0.1, 0.3, 0.5, 0.7, 0.9), (0.25, 0.75))
LANDS = (*WORLD.lands, *WORLD.lands.values())


@lru_cache(maxsize=64)
def right_replies(task: str, text: Words) -> dict[str, str]:
    """Question -> right reply, for every question that the lab can ask of `text` in a task.

    A task that asks no question has one entry, for "". Nothing is known of a text that the lab
    cannot tell: the result is empty. A reply has no end token.
    """
    match task:
        case "summarise" | "answer":
            return dict(_of_a_story(task, text))
        case "translate":
            return dict(_of_a_translation(text))
        case "reason" | "solve":
            return dict(_of_sums(task, text))
    raise ValueError(
        f"right_replies: expected a task of {', '.join(ASKED)}, got {task!r}; choose from these"
    )


def _of_a_story(task: str, text: Words) -> Iterator[tuple[str, str]]:
    """The tasks' own replies, from draws that make the lab tell `text`."""
    draws = _draws_of(text)
    if draws and task == "summarise":
        yield _question_and_reply(summarise(iter(draws)))
    elif draws:
        for more in product(*EVERY_QUESTION):
            yield _question_and_reply(answer(iter([*draws, *more])))


def _question_and_reply(example: Example) -> tuple[str, str]:
    question = example.prompt[example.prompt.index(example.task) + 1 : -1]
    return " ".join(question), " ".join(example.response[:-1])


def _draws_of(text: Words) -> list[float]:
    """Chances with which a story says `text`, then asks as soon as it can; [] if it never does."""
    program, draws = story(WORLD), []
    options = next(program)
    try:
        for word in text:
            draws.append(_chance_of(options, word))
            options = program.send(word)
    except (KeyError, StopIteration):  # an impossible word, or one behind the end
        return []
    soon = (*QUESTIONS, "the")  # "the" begins a sentence on animals, which changes nothing
    if text[-1:] != (".",) or not options.keys() & {*soon}:
        return []  # not a whole sentence, or nobody has taken anything yet
    while True:
        word = next((word for word in soon if word in options), next(iter(options)))
        draws.append(_chance_of(options, word))
        try:
            options = program.send(word)
        except StopIteration:
            return draws


def _chance_of(options: Distribution, word: str) -> float:
    """A number for which `draw` draws `word`: the middle of its part of 0 to 1."""
    before = list(options)[: list(options).index(word)] if word in options else []
    return sum(options[other] for other in before) + options[word] / 2


def _of_a_translation(text: Words) -> Iterator[tuple[str, str]]:
    said = sentences(text)
    if said and sum(said, ()) == text and all(map(_is_statement, said)):
        yield "", " ".join(word for sentence in said for word in translate(sentence))


def _is_statement(sentence: Words) -> bool:
    """One verb, a full stop at the end, and no word without a rule."""
    known = (*dictionary(), *NAMES, *LANDS, *ARTICLES, ",")
    verbs = sum(word in VERBS or word in VERB_FORMS for word in sentence)
    return verbs == 1 and sentence[-1] == "." and all(word in known for word in sentence[:-1])


def _of_sums(task: str, text: Words) -> Iterator[tuple[str, str]]:
    """For each person of a text on finding and losing: the sums written out, and the number."""
    totals: dict[str, int] = {}
    steps: dict[str, list[str]] = {}
    items = set()
    for sentence in sentences(text):
        change = _change(sentence)
        if change is None:
            return
        name, amount, item = change
        totals[name] = totals.get(name, 0) + amount
        if not 1 <= totals[name] <= len(NUMBERS):
            return
        items.add(item)
        sum_of = [*sentence[1:3], "so", NUMBERS[totals[name] - 1], "."]
        steps.setdefault(name, []).extend(sum_of if task == "reason" else ())
    if len(items) == 1 and sum(sentences(text), ()) == text:
        for name, total in totals.items():
            reply = [*steps[name], NUMBERS[total - 1], "."]
            yield f"how many {item[1]} does {name} have ?", " ".join(reply)


def _change(sentence: Sequence[str]) -> tuple[str, int, tuple[str, str]] | None:
    """(who, how many more, of what) for "anna finds two coins ."; None for anything else."""
    match tuple(sentence):
        case (name, "finds" | "loses" as verb, number, form, ".") if number in NUMBERS:
            amount = NUMBERS.index(number) + 1
            item = next((item for item in WORLD.items if item[amount > 1] == form), None)
            if name in NAMES and item:
                return name, amount if verb == "finds" else -amount, item
    return None
