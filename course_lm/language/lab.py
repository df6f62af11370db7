"""The lab language: stories whose next-word probabilities are known exactly.

The program in `stories.py` yields P(next word | all words before) and is told which word came.
Letting it draw its own words gives text; telling it the words of a text scores that text. Nothing
here is English: a number measured on this language says nothing about English.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

import torch

from .chances import ADJECTIVES, Distribution, draw, drawn
from .stories import GRAMMAR, START, language
from .tokens import Vocabulary
from .world import NUMBERS, World

WORLD = World()


class ImpossibleText(ValueError):
    """A word stands where its exact probability is 0."""


@cache
def vocabulary(*worlds: World) -> Vocabulary:
    """All words of a world, `WORLD` if none is given, or of several together; START is id 0.

    The words of the first world come first and have the ids that they have without the others.
    """
    return Vocabulary(dict.fromkeys(word for world in worlds or (WORLD,) for word in _words(world)))


def _words(world: World) -> list[str]:
    words = [
        START,
        *GRAMMAR.split(),
        *ADJECTIVES,
        *NUMBERS,
        *world.places,
        *world.things,
        *world.colours,
    ]
    words += [person.name for person in world.people]
    words += [form for item in world.items for form in item]
    words += [form for animal in world.animals for form in (animal.one, animal.many)]
    words += [form for animal in world.animals for pair, _ in animal.verbs for form in pair]
    words += [*world.spots, *world.lands, *world.lands.values()]
    endings = [sentence for style in world.endings.values() for sentence in style]
    return words + [word for sentence in endings for word in sentence.split()]


def sample(length: int, rng: torch.Generator, world: World = WORLD) -> list[str]:
    """Draw whole stories, at least `length` words in all; each story begins with START."""
    if length < 1:
        raise ValueError(
            f"lab.sample: expected a length of at least 1 word, got {length}; raise it"
        )
    words: list[str] = []
    program, chances = language(world), drawn(rng)
    options = next(program)
    while True:
        word = draw(options, chances)
        if word == START and len(words) >= length:
            return words
        words.append(word)
        options = program.send(word)


def sentences(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Cut behind every full stop and question mark."""
    ends = [i + 1 for i, word in enumerate(words) if word in (".", "?")]
    return [tuple(words[a:b]) for a, b in pairwise([0, *ends])]


def distributions(words: Sequence[str], world: World = WORLD) -> Iterator[Distribution]:
    """The exact distribution of each word given those before it, then of the word after the last.

    `words` begins with START. After an impossible word nothing is known: every word is equally
    likely, until START opens the next story. Telling the program the true word is teacher forcing.
    """
    known = vocabulary(world)
    anything = dict.fromkeys(known.tokens, 1 / len(known))
    program, lost = language(world), False
    options = next(program)
    for word in words:
        yield dict(options)  # a copy: the language keeps its own
        if word == START and (lost or START not in options):
            program, lost = language(world), False
            options = next(program)
        if lost or word not in options:
            known.ids_of([word])  # raises if the lab has no such word
            options, lost = anything, True
        else:
            options = program.send(word)
    yield dict(options)


def log_probs(words: Sequence[str], world: World = WORLD) -> list[float]:
    """log P(word | words before), in nats, for each word; −inf for an impossible word.

    What follows an impossible word scores ln 1/V each, until START opens the next story.
    """
    vocabulary(world).ids_of(words)  # raises if the lab has no such word
    pairs = zip(words, distributions(words, world), strict=False)
    return [math.log(options[word]) if word in options else -math.inf for word, options in pairs]


def floor(words: Sequence[str], world: World = WORLD) -> float:
    """Mean of −log P(word | words before) in nats per word, the first START left out.

    It is the lowest loss on these words that can be expected of any model.
    """
    if len(words) < 2 or words[0] != START:
        raise ValueError(
            f"lab.floor: expected at least 2 words that begin with {START!r}, got "
            f"{len(words)} that begin {' '.join(words[:3])!r}; cut the text where a story begins"
        )
    return -math.fsum(log_probs(words, world)[1:]) / (len(words) - 1)


def next_word(prefix: Sequence[str], world: World = WORLD) -> Distribution:
    """Exact P(next word | prefix), possible words only. START may be left out at the start.

    Raises ImpossibleText if the prefix cannot occur.
    """
    words = [*prefix] if prefix and prefix[0] == START else [START, *prefix]
    vocabulary(world).ids_of(words)
    *seen, options = distributions(words, world)
    for index, (word, possible) in enumerate(zip(words, seen, strict=True)):
        if word not in possible:
            likely = ", ".join(
                repr(word) for word in sorted(possible, key=possible.get, reverse=True)[:6]
            )
            raise ImpossibleText(
                f"lab: expected one of {likely}{', ...' if len(possible) > 6 else ''} after "
                f"{' '.join(words[:index])!r}, got {word!r}, which has probability 0; "
                "change that word"
            )
    return options


def between(words: Sequence[str], place: int, world: World = WORLD) -> Distribution:
    """Exact P(word at `place` | all other words), possible words only; `words` begin with START.

    P(w | left, right) = P(left w right) / Σ_v P(left v right): each candidate is scored in its
    place. The word that stands there now is not read. Raises ImpossibleText where no word fits.
    """
    words = [*words]
    if place not in range(len(words)) or words[0] != START:
        raise ValueError(
            f"lab.between: expected a place among words that begin with {START!r}, got place "
            f"{place} of {len(words)} that begin {' '.join(words[:3])!r}; count from a story's "
            "start"
        )
    first = max((i for i in range(place) if words[i] == START), default=0)
    last = next((i + 1 for i in range(place + 1, len(words)) if words[i] == START), len(words))
    left, right = words[first:place], words[place + 1 : last]  # other stories say nothing
    vocabulary(world).ids_of(right)
    options = next_word(left, world) if left else {START: 1.0}
    chances = {word: _chance(left, word, right, world) * options[word] for word in options}
    total = sum(chances.values())
    if not total:
        raise ImpossibleText(
            f"lab: expected words that can stand after {' '.join([*left, '...'])!r}, got "
            f"{' '.join(right)!r}, which none can join; change a word"
        )
    return {word: chance / total for word, chance in chances.items() if chance}


def _chance(left: Sequence[str], word: str, right: Sequence[str], world: World) -> float:
    """P(right | left, word); 0 as soon as a word cannot come."""
    program, chance = language(world), 1.0
    next(program)
    for known in left:
        program.send(known)
    options = program.send(word)
    for known in right:
        chance *= options.get(known, 0.0)
        if not chance:
            break
        options = program.send(known)
    return chance


class Truth:
    """The lab itself as a model: the best there can be.

    model(ids) -> logits, (B, T) -> (B, T, V), float32: log P(next word | row so far), −inf where
    impossible. Each row begins with START; ids are those of `vocabulary(world)`.
    """

    def __init__(self, world: World = WORLD) -> None:
        self.world = world
        self.vocabulary = vocabulary(world)

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits of the word after each place: (B, T) -> (B, T, V)."""
        start = self.vocabulary.ids[START]
        if ids.dim() != 2 or (ids[:, :1] != start).any():
            raise ValueError(
                f"lab.Truth: expected ids of shape (B, T), each row beginning with {START!r} "
                f"(id {start}), got shape {tuple(ids.shape)}; cut rows where stories begin"
            )
        logits = torch.full((*ids.shape, len(self.vocabulary)), -math.inf)
        for row, row_ids in zip(logits, ids.tolist(), strict=True):
            words = self.vocabulary.tokens_of(row_ids)
            after_first = list(distributions(words, self.world))[1:]
            for position, options in zip(row, after_first, strict=True):
                place = torch.tensor(self.vocabulary.ids_of(tuple(options)))
                position[place] = (
                    torch.tensor(list(options.values()), dtype=torch.float64).log().float()
                )
        return logits
