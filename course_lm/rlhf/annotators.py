"""Pairs of responses that a model gives, and simulated people who compare them.

    P(first is preferred) = σ((u₁ − u₂ + first) / noise),   u = gold reward + length · words

Source: Bradley and Terry 1952.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lm.language.lab import START
from course_lm.language.tokens import Vocabulary
from course_lm.language.windows import joined
from course_lm.models.contract import Model
from course_lm.models.sampling import generate_batch

from .gold import LONGEST, gold
from .preferences import FIRST, SECOND, Comparison, Prompt

ROWS = 32  # prompts at a time


def compared(
    model: Model, vocabulary: Vocabulary, prompts: Sequence[Prompt], rng: torch.Generator
) -> Iterator[Comparison]:
    """Two responses of a model to each prompt; where both are the same, there is none."""
    stop = vocabulary.ids[START]
    for begin in range(0, len(prompts), ROWS):
        some = [prompt for prompt in prompts[begin : begin + ROWS] for _ in range(2)]
        ids = [vocabulary.ids_of(prompt.words) for prompt in some]
        responses = generate_batch(model, ids, LONGEST, rng, stop)
        said = [tuple(vocabulary.tokens_of(response)) for response in responses]
        for prompt, first, second in zip(some[::2], said[::2], said[1::2], strict=True):
            if first != second:
                yield Comparison(prompt, first, second)


def as_ids(vocabulary: Vocabulary, comparisons: Sequence[Comparison]) -> Tensor:
    """The prompt with each response, filled up on the right with IGNORE: (N, 2, T)."""
    if not comparisons or not all(c.first and c.second for c in comparisons):
        raise ValueError(
            "comparisons: expected at least one, with two responses of at least one token, got "
            "none or an empty response; leave that comparison out"
        )
    rows = [(*c.prompt.words, *said) for c in comparisons for said in (c.first, c.second)]
    return joined([vocabulary.ids_of(row) for row in rows]).view(len(comparisons), 2, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotator:
    """Somebody who compares: wants what `gold` says, and more or less reliably says so.

    noise: 1 is the Bradley-Terry model of the gold reward, near 0 never errs. length: what each
    word of a response is worth to them. first: what it is worth to be shown first.
    """

    noise: float = 1.0
    length: float = 0.0
    first: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.noise < math.inf or not math.isfinite(self.length + self.first):
            raise ValueError(
                f"annotator: expected a noise above 0 and finite biases, got {self}; take 0.01 for "
                "one who hardly errs and 0 for no bias"
            )

    def chances(self, comparisons: Sequence[Comparison]) -> Tensor:
        """P(first is preferred) of each comparison, (N,)."""
        margins = [
            gold(c.prompt, c.first)
            - gold(c.prompt, c.second)
            + self.length * (len(c.first) - len(c.second))
            + self.first
            for c in comparisons
        ]
        return torch.tensor(margins, dtype=torch.double).div(self.noise).sigmoid().float()

    def votes(self, comparisons: Sequence[Comparison], rng: torch.Generator) -> list[str]:
        """One vote for each comparison, FIRST or SECOND, drawn from `chances`."""
        chances = self.chances(comparisons)
        drawn = torch.rand(len(chances), generator=rng) < chances
        return [FIRST if first else SECOND for first in drawn.tolist()]
