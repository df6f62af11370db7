"""How likely what is in the lab's stories: distributions over next words, made once and kept."""

from collections.abc import Iterator
from functools import cache

import torch

from .world import NUMBERS, Person, World

ADJECTIVES = ("old", "young", "small")
QUESTIONS = ("who", "where", "how")

Distribution = dict[str, float]


def drawn(rng: torch.Generator) -> Iterator[float]:
    """Numbers from 0 to 1 without end, drawn many at a time."""
    while True:
        yield from torch.rand(4096, generator=rng, dtype=torch.float64).tolist()


def draw(options: Distribution, chances: Iterator[float]) -> str:
    """One word of a distribution, as the next of the chances decides."""
    chance = next(chances)
    for word in options:
        chance -= options[word]
        if chance < 0:
            break
    return word


@cache
def one_of(words: tuple[str, ...], weights: tuple[float, ...] = ()) -> Distribution:
    """The distribution over `words` in proportion to `weights`; equal weights by default."""
    weights = weights or (1.0,) * len(words)
    total = sum(weights)
    return {word: weight / total for word, weight in zip(words, weights, strict=True) if weight}


def mixture(one: Distribution, other: Distribution, share: float) -> Distribution:
    """(1 - share) * one + share * other, for distributions that have no word in common."""
    return {word: (1 - share) * p for word, p in one.items()} | {
        word: share * p for word, p in other.items()
    }


@cache
def sentence_starts(names: tuple[str, ...], may_ask: bool, counted: bool) -> Distribution:
    """First words of the next sentence: somebody of the scene, an animal or, later, a question."""
    starts = one_of((*names, "the"), (0.42, 0.42, 0.16))
    return mixture(starts, questions(counted), 0.3) if may_ask else starts


@cache
def questions(counted: bool) -> Distribution:
    """First words of a question; "how many" only if something was counted."""
    return one_of(QUESTIONS, (0.4, 0.4, 0.2 * counted))


@cache
def verbs(person: Person, can_give: bool, can_take: bool, have: int) -> Distribution:
    """What `person` may do next, of what is possible now; facts are weighted by person."""
    weights = {
        "goes": 0.25,
        "and": 0.1,
        "takes": 0.2 * can_take,
        "gives": 0.4 * can_give,
        "finds": 0.25 * (have < len(NUMBERS)),
        "loses": 0.1 * (have > 1),
        "now": 0.3 * (have > 0),
        "lives": person.lives,
        "comes": person.comes,
    }
    return one_of(tuple(weights), tuple(weights.values()))


@cache
def nouns(world: World) -> Distribution:
    """Every animal, one or many."""
    forms = tuple(form for animal in world.animals for form in (animal.one, animal.many))
    return one_of(forms, tuple(animal.weight for animal in world.animals for _ in range(2)))


@cache
def animal_starts(world: World) -> Distribution:
    """An adjective in two of five sentences, otherwise the animal at once."""
    return mixture(nouns(world), one_of(ADJECTIVES), 0.4)


@cache
def ending_starts(world: World, manner: str) -> Distribution:
    """First words of the ending: its style depends on who opened the story, many words ago."""
    starts, weights = [], []
    for style, weight in zip(world.endings, world.manners[manner], strict=True):
        sentences = world.endings[style]
        starts += [sentence.split()[0] for sentence in sentences]
        weights += [weight / len(sentences)] * len(sentences)
    return one_of(tuple(starts), tuple(weights))


@cache
def after_an_answer(world: World, manner: str, counted: bool) -> Distribution:
    """A second question in three of ten stories, otherwise the ending."""
    return mixture(ending_starts(world, manner), questions(counted), 0.3)


@cache
def ending_after(world: World, start: str) -> str:
    """The rest of the ending that begins with the word `start`."""
    sentences = [sentence for sentences in world.endings.values() for sentence in sentences]
    return next(s.removeprefix(start) for s in sentences if s.split()[0] == start)
