"""Exercises of lesson 06: where do labels come from when nobody labels?"""

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from course_lm.language import lab
from course_lm.language.windows import IGNORE, Batch
from course_lm.training.pretext import RATE, Extra, hidden_places

from .checking import exercise
from .expect import expect_number, expect_shape, expect_tensor, fail
from .quiz import Question
from .sentences import brief

Hide = Callable[[Tensor, Tensor, Tensor, Tensor, int], Batch]

below = Question(
    "Prediction: labels stand on every word, hidden or not, and the model sees both sides. Where "
    "does the loss go, with 15 % of the words hidden?",
    (
        (
            "To the same floor: the hidden words are as hard as before.",
            "They are, but most labels now belong to words that can be read off.",
        ),
        (
            "Far below the floor of hidden words.",
            "85 % of the labels stand in the input: to copy them costs almost nothing.",
        ),
        ("It rises: there is more to learn.", "More labels, but easy ones."),
    ),
    correct=1,
)

two_sides = Question(
    "Prediction: a word is guessed from all words before it, or from all words on both sides. What "
    "does the right side do to the lowest possible loss?",
    (
        ("Nothing: a text is written from left to right.", "What is written later tells of it."),
        (
            "It lowers it a little, by a few per cent.",
            "In the lab a word often decides those after it; read backwards, that tells much.",
        ),
        (
            "It lowers it to less than half.",
            "What comes later repeats and answers: it gives most of the surprise away.",
        ),
    ),
    correct=2,
)


@exercise(
    "6.1",
    "Masks by hand",
    minutes=3,
    hints=(
        "First: how many of the 200 words are chosen at all?",
        "Of the 30 chosen words 80 % show the mask and 10 % another word. Which is left?",
        "The 170 words that are not chosen, and 10 % of the 30.",
    ),
)
def by_hand(student):
    """200 words, 15 % chosen, 80/10/10: how many of the words are read as they are in the text?

    On average; a random word that happens to be the same does not count.
    """
    mistakes = {
        "That leaves out the chosen words that show themselves.": 170.0,
        "That is how many words are chosen; the others can be read, too.": 30.0,
        "That is how many show the mask.": 24.0,
        "That is how many chosen words show themselves; the others can be read, too.": 3.0,
        "The chosen words that show another word cannot be read.": 176.0,
        "That takes 80 % of all words; only the chosen ones show a mask.": 40.0,
        "That is how many are not as in the text.": 27.0,
        "Give a number of words, not a share.": 173 / 200,
    }
    expect_number(student.value, 173.0, tolerance=5e-4, mistakes=mistakes)
    return "And 3 of those 173 are asked for all the same, so no word can be trusted."


@exercise(
    "6.2",
    "Both sides by hand",
    minutes=6,
    hints=(
        "For each word: how likely is the whole line with it in the gap?",
        "Left times right: 0.5 · 0.1, 0.3 · 0.5 and 0.2 · 0. Then the three have to sum to 1.",
        "0.15 / (0.05 + 0.15 + 0).",
    ),
)
def both_sides(student):
    """P(word | left) is 0.5, 0.3, 0.2 for a, b, c; P(right | left, word) is 0.1, 0.5, 0.

    Give P(b | left and right).
    """
    mistakes = {
        "That knows the left side only.": 0.3,
        "That is P(right | left, b); multiply it by P(b | left).": 0.5,
        "That is the chance of the line with b; divide by the sum over the three words.": 0.15,
        "That leaves out how likely each word is after the left side.": 0.5 / 0.6,
        "That is P(a | left and right).": 0.25,
        "That divides by the largest; divide by the sum over the three words.": 1.0,
        "Give a chance from 0 to 1, not per cent.": 75.0,
    }
    expect_number(student.value, 0.75, tolerance=1e-3, mistakes=mistakes)
    return "`lab.between` does this with every word that the left side allows."


def drawn_by(hide: Hide) -> Callable[[Tensor, Extra, torch.Generator], Batch]:
    """A label maker like `pretext.masked_word` that draws at random and lets `hide` do the rest."""

    def maker(ids: Tensor, extra: Extra, rng: torch.Generator, rate: float = RATE) -> Batch:
        chosen = hidden_places(ids, rate, rng)
        chance = torch.rand(ids.shape, generator=rng)
        others = torch.randint(extra.size, ids.shape, generator=rng)
        return hide(ids, chosen, chance, others, extra.mask)

    return maker


def _hide(
    ids: Tensor,
    chosen: Tensor,
    chance: Tensor,
    others: Tensor,
    mask: int,
    edges: tuple[float, float] = (0.8, 0.9),
) -> Batch:
    masked, random = chance < edges[0], (chance >= edges[0]) & (chance < edges[1])
    inputs = ids.where(~(chosen & masked), mask).where(~(chosen & random), others)
    return inputs, ids.where(chosen, IGNORE)


def _pair(got: object, shape: tuple[int, ...]) -> Batch:
    """Inputs and labels as whole numbers, or a sentence."""
    if not isinstance(got, tuple | list) or len(got) != 2:
        fail(f"expected inputs and labels, got {brief(got)}; end with `return inputs, labels`")
    for name, part in zip(("inputs", "labels"), got, strict=True):
        if not isinstance(part, Tensor) or part.is_floating_point() or part.dtype is torch.bool:
            fail(f"expected {name} as a tensor of whole numbers, got {brief(part)}")
        expect_shape(part, shape)
    return tuple(got)


def _compare(got: Tensor, right: Tensor, mistakes: dict[str, Tensor]) -> None:
    others = {text: slip for text, slip in mistakes.items() if not torch.equal(slip, right)}
    expect_tensor(got, right, mistakes=others)


@exercise(
    "6.3",
    "Write the mask",
    minutes=12,
    hints=(
        "Labels first: the word where `chosen` is true, IGNORE elsewhere. `torch.where` does it.",
        "Inputs begin as the words. Where `chosen` and `chance < 0.8` they are the mask; where "
        "`chosen` and the chance lies from 0.8 to 0.9 they come from `others`.",
        "`inputs = torch.where(chosen & (chance < 0.9), others, ids)`, then the mask over it where "
        "`chosen & (chance < 0.8)`; `labels = torch.where(chosen, ids, IGNORE)`.",
    ),
)
def hide(student):
    """Return (inputs, labels), (B, T) each: hide the `chosen` words as masked-word training does.

    chance < 0.8: `mask`; from 0.8 to below 0.9: the word of `others`; else the word itself.
    """
    rng = torch.Generator().manual_seed(0)
    for shape in ((4, 50), (1, 3)):
        ids = torch.randint(1, 90, shape, generator=rng)
        chosen = torch.rand(shape, generator=rng) < 0.5
        chosen[:, 1], chosen[:, 2] = True, False
        chance = torch.rand(shape, generator=rng)
        others = torch.randint(100, 190, shape, generator=rng)
        draws = ids, chosen, chance, others, 200
        inputs, labels = _pair(student(*draws), shape)
        _compare(labels, _hide(*draws)[1], _wrong_labels(draws))
        _compare(inputs, _hide(*draws)[0], _wrong_inputs(draws))
    return "Ten of a hundred chosen words stand there openly: the model has to check every word."


def _wrong_labels(draws) -> dict[str, Tensor]:
    ids, chosen, chance, _, mask = draws
    inputs, labels = _hide(*draws)
    return {
        "The two have changed places: `return inputs, labels`.": inputs,
        "Labels stand on every word; those that can be read are not asked for: IGNORE.": ids,
        "Labels stand where no word is chosen.": ids.where(~chosen, IGNORE),
        "The labels are what is read, not the words of the text.": inputs.where(chosen, IGNORE),
        "The label is the mask itself; it should be the word that it hides.": (
            torch.full_like(ids, mask).where(chosen, IGNORE)
        ),
        "Only masked words are asked for; all chosen ones should be.": (
            ids.where(chosen & (chance < 0.8), IGNORE)
        ),
        "Only words that changed are asked for; those that show themselves should be, too.": (
            ids.where(chosen & (chance < 0.9), IGNORE)
        ),
        "Where nothing is asked the label is IGNORE, −100, not 0.": ids.where(chosen, 0),
        "Where nothing is asked the label is IGNORE, −100, not −1.": ids.where(chosen, -1),
        "The labels are moved by one place; here a word is asked for where it stands.": (
            labels.roll(-1, 1)
        ),
    }


def _wrong_inputs(draws) -> dict[str, Tensor]:
    ids, chosen, chance, others, mask = draws
    everywhere = torch.ones_like(chosen)
    return {
        "Nothing is hidden: the answer can be read.": ids,
        "Every chosen word shows the mask; 10 % show another word, 10 % themselves.": (
            ids.where(~chosen, mask)
        ),
        "Words are hidden that are not chosen: look at `chosen`, too.": (
            _hide(ids, everywhere, chance, others, mask)[0]
        ),
        "The words that are not chosen are hidden.": _hide(ids, ~chosen, chance, others, mask)[0],
        "20 % show another word; half of those should show themselves.": (
            _hide(*draws, edges=(0.8, 1.0))[0]
        ),
        "No word is replaced by another one; 10 % should be.": _hide(*draws, edges=(0.8, 0.8))[0],
        "The shares of mask and other word have changed places.": (
            ids.where(~(chosen & (chance < 0.9)), mask).where(~(chosen & (chance < 0.8)), others)
        ),
    }


def planted_hide_all(ids, chosen, mask):
    """Hides words with a planted bug; the page shows it as exercise 6.4."""
    inputs = ids
    inputs[chosen] = mask
    labels = ids.where(chosen, IGNORE)
    return inputs, labels


@exercise(
    "6.4",
    "Find the planted bug: a loss of zero",
    minutes=6,
    hints=(
        "Call it with `torch.tensor([[5, 6, 7]])`, the middle word chosen, mask 9. What are the "
        "labels?",
        "`inputs = ids` makes a second name, not a second tensor.",
        "`inputs = ids.clone()`, or `inputs = ids.where(~chosen, mask)`.",
    ),
    planted=planted_hide_all,
)
def hide_all(student):
    """Mend it: each chosen word shows the mask, and its label is the word. The text stays."""
    rng = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 90, (3, 20), generator=rng)
    chosen = torch.rand(ids.shape, generator=rng) < 0.3
    inputs, labels = _pair(student(ids, chosen, 200), ids.shape)
    mistakes = {
        "The labels are still the mask: they are read after it was written over the words.": (
            torch.full_like(ids, 200).where(chosen, IGNORE)
        ),
        "Labels stand on every word; those that can be read are not asked for: IGNORE.": ids,
        "Labels stand where no word is chosen.": ids.where(~chosen, IGNORE),
    }
    _compare(labels, ids.where(chosen, IGNORE), mistakes)
    mistakes = {
        "Nothing is hidden: the answer can be read.": ids,
        "The words that are not chosen are hidden.": ids.where(chosen, 200),
    }
    _compare(inputs, ids.where(~chosen, 200), mistakes)
    return "With the bug every label was the mask: one answer for all, and a loss of zero."


@exercise(
    "6.5",
    "Measure: what does the right side tell?",
    minutes=10,
    hints=(
        "`lab.between(words, place)` gives the chances of every word at that place, from both "
        "sides. Which one do you need?",
        "The surprise of the true word: `-math.log(lab.between(words, place)[words[place]])`.",
        "Its mean over `range(1, 400)`, with `words` as it is: 400 words.",
    ),
)
def right_side(student):
    """Give the mean surprise, in nats, of words 1 to 399 when both sides of each are known."""
    two, one = _surprises()
    mean = sum(two) / len(two)
    mistakes = {
        "That knows the left side only.": sum(one) / len(one),
        "That is the sum; divide by the number of words.": sum(two),
        "A surprise is −log p, with a minus.": -mean,
        "That is in bits; give nats, `math.log`.": mean / math.log(2),
        "That is how much the right side takes away; give what is left.": (
            sum(one) / len(one) - mean
        ),
        "That is a share of the one-sided surprise; give the mean itself.": sum(two) / sum(one),
    }
    expect_number(student.value, mean, tolerance=5e-4, mistakes=mistakes)
    share = 1 - sum(two) / sum(one)
    return f"The right side takes {share:.0%} of the surprise away."


@cache
def _surprises() -> tuple[list[float], list[float]]:
    """Of words 1 to 399, in nats: from both sides, from the left."""
    words = lab.sample(2000, torch.Generator().manual_seed(0))[:400]
    two = [-math.log(lab.between(words, place)[words[place]]) for place in range(1, 400)]
    return two, [-value for value in lab.log_probs(words)[1:]]
