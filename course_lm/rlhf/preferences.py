"""Which of two responses is better? Comparisons, votes on them, and how far two voters agree.

Source: agreement beyond chance, Cohen 1960.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from course_lm.language.windows import IGNORE

FIRST, SECOND, TIE, SKIP = VOTES = ("first", "second", "tie", "skip")
MANY = 10  # votes; by chance all of so many fall on one side once in 512 times

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """words: START up to the last question mark of a story. answer: the right one, to its stop."""

    words: tuple[str, ...]
    answer: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two responses to one prompt, in the order in which they are shown."""

    prompt: Prompt
    first: Words
    second: Words


def write_comparisons(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Keep comparisons as JSON, one list of four texts each: prompt, answer, first, second."""
    texts = [(c.prompt.words, c.prompt.answer, c.first, c.second) for c in comparisons]
    path.write_text(json.dumps([list(map(" ".join, four)) for four in texts], indent=1), "utf-8")


def read_comparisons(path: Path) -> list[Comparison]:
    """The comparisons of a file that `write_comparisons` wrote; ValueError for another file."""
    try:
        rows = [
            tuple(tuple(text.split()) for text in four)
            for four in map(list.copy, json.loads(path.read_text("utf-8")))  # lists, no texts
        ]
        return [Comparison(Prompt(words, answer), *both) for words, answer, *both in rows]
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"preferences: expected comparisons of four texts each in {path.name}, got "
            f"{type(error).__name__}: {error}; write them with write_comparisons"
        ) from error


def ceiling(chances: Tensor) -> float:
    """Mean of max(p, 1 − p), (N,) -> share: how often the best guess of a vote comes true.

    No reward model can be expected to foretell more of the votes that are drawn with these chances.

    >>> round(ceiling(torch.tensor([0.5, 0.9])), 4)
    0.7
    """
    if not len(chances) or not ((chances >= 0) & (chances <= 1)).all():
        raise ValueError(
            "ceiling: expected chances from 0 to 1, at least one, got "
            f"{chances.tolist()[:3]}; give P(first is preferred) of each comparison"
        )
    return torch.maximum(chances, 1 - chances).double().mean().item()


def agreement(one: Sequence[str | None], other: Sequence[str | None]) -> float:
    """Share of comparisons on which two say the same; those that either skipped are left out.

    One vote, or None for a comparison not judged yet, for each comparison, in the same order.
    """
    both = _judged(one, other)
    return sum(a == b for a, b in both) / len(both)


def kappa(one: Sequence[str | None], other: Sequence[str | None]) -> float:
    """Cohen's κ = (agreement − chance) / (1 − chance): 1 is full agreement, 0 what chance gives.

    chance: Σ_v P(one says v) · P(other says v). NaN where both always say one and the same.

    >>> kappa(["first", "first", "second", "second"], ["first", "second", "second", "second"])
    0.5
    """
    both = _judged(one, other)
    ones, others = zip(*both, strict=True)
    chance = sum(ones.count(vote) * others.count(vote) for vote in {*ones}) / len(both) ** 2
    return (agreement(one, other) - chance) / (1 - chance) if chance < 1 else math.nan


def _judged(one: Sequence[str | None], other: Sequence[str | None]) -> list[tuple[str, str]]:
    if len(one) != len(other):
        raise ValueError(
            "agreement: expected votes on the same comparisons, got "
            f"{len(one)} and {len(other)}; give a vote, or None, for each"
        )
    both = [pair for pair in zip(one, other, strict=True) if not {SKIP, None} & {*pair}]
    if not both:
        raise ValueError(
            "agreement: expected at least one comparison that both judged, got none; let both "
            "judge the same comparisons"
        )
    return both


def labels(votes: Sequence[str | None]) -> Tensor:
    """0 where the first is preferred, 1 the second, IGNORE for a tie, a skip or None: (N,).

    Raises ValueError where nothing is preferred, and where `MANY` or more fall on one side alone.
    """
    if wrong := [vote for vote in votes if vote not in (*VOTES, None)]:
        raise ValueError(
            f"preferences: expected votes out of {', '.join(VOTES)}, got {wrong[0]!r}; correct it"
        )
    places = torch.tensor([{FIRST: 0, SECOND: 1}.get(vote, IGNORE) for vote in votes])
    known = places[places != IGNORE]
    sides = known.unique()
    if not len(sides):
        raise ValueError(
            f"preferences: expected a vote for one of two responses, got {len(votes)} votes, all "
            "ties or skipped; compare some more"
            if votes
            else "preferences: expected at least one vote, got none; compare some responses"
        )
    if len(sides) == 1 and len(known) >= MANY:
        side = VOTES[int(sides)]
        raise ValueError(
            f"preferences: expected votes for both sides, got {side!r} every time in {len(known)}; "
            "whoever always clicks one side has not read, leave them out"
        )
    return places
