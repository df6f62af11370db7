"""Exercises of lesson 05: what if every word can look back?"""

import math
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from course_lm.language import lab
from course_lm.models.transformer import Attention, Transformer, rotate

from .checking import exercise
from .expect import expect_number, expect_shape, expect_tensor, fail
from .quiz import Question
from .sentences import brief

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # queries, keys, values -> what was gathered

no_mask = Question(
    "Prediction: a Transformer is trained without the mask, so that every word sees the whole line."
    " What will its training loss do?",
    (
        (
            "It stays near ln V: too much to look at.",
            "Attention finds what is useful among many words; that is its strength.",
        ),
        (
            "It ends at the floor, only sooner.",
            "The floor holds for models that predict; this one need not.",
        ),
        (
            "It falls below the floor, toward 0.",
            "The label of each place is the input of the next: one look ahead, and it is copied.",
        ),
    ),
    correct=2,
)

same_words = Question(
    "Prediction: one layer of attention without positions reads `anna and ben meet .` and then "
    "`ben and anna meet .`. Which prediction does it make after the last sign?",
    (
        ("Two different ones: the words come in another order.", "Nothing it computes uses order."),
        (
            "The same: it sees the same words with the same scores.",
            "A sum over words does not depend on their order.",
        ),
        ("None: without positions the scores are not defined.", "q · k needs no position."),
    ),
    correct=1,
)


def put_in(model: Transformer, attend: Attend) -> Transformer:
    """Let every attention layer of `model` call `attend`; equal numbers of heads and keys only.

    `attend` sees whole texts: to generate, give partial(model), which has no `read`.
    """
    for block in model.blocks:
        block.attention.forward = partial(_forward, block.attention, attend)
    return model


def _forward(layer: Attention, attend: Attend, tokens: Tensor, angles, mask, memory) -> Tensor:
    if memory is not None:  # `attend` would see the new word alone
        raise ValueError(
            "put_in: expected a whole text, got a word with the memory of those before it; "
            "give partial(model) to generate"
        )
    joined = layer.qkv(tokens).unflatten(-1, (-1, layer.size)).transpose(1, 2)
    queries, keys, values = joined.chunk(3, dim=1)
    gathered = attend(rotate(queries, *angles), rotate(keys, *angles), values)
    return layer.out(gathered.transpose(1, 2).flatten(2))


@exercise(
    "5.1",
    "Attention by hand",
    minutes=5,
    hints=(
        "Which of the three words may the second word see? Leave the others out first.",
        "Divide the scores that are left by √4, then take e to that power: which two numbers?",
        "e^(ln 3) = 3 and e^0 = 1, so the weights are 3/4 and 1/4.",
    ),
)
def by_hand(student):
    """The second of three words has q · k = (2 ln 3, 0, 5), d = 4, values 8, 4, 0. What is its sum?

    The mask is causal.
    """
    seen = torch.tensor([2 * math.log(3), 0.0, 5.0])
    values = torch.tensor([8.0, 4.0, 0.0])

    def gathered(scores):
        return float(scores.softmax(0) @ values[: len(scores)])

    mistakes = {
        "The scores are not divided by √d.": gathered(seen[:2]),
        "The scores are divided by d; divide by √d.": gathered(seen[:2] / 4),
        "The third word is the future; the second word cannot see it.": gathered(seen / 2),
        "That is the plain mean of two values; weigh them by the softmax.": 6.0,
        "That is the value of the word with the largest score; take the weighted sum.": 8.0,
        "That is the weight of the first word; take the weighted sum of the values.": 0.75,
        "The weights stand at the wrong words: 3/4 belongs to the first.": 5.0,
        "Scores are no weights; take the softmax of them.": float((seen[:2] / 2) @ values[:2]),
        "The weights have to sum to 1; divide by 3 + 1.": 28.0,
    }
    expect_number(student.value, 7.0, tolerance=5e-4, mistakes=mistakes)
    return "Twice the score would give 9/10 and 1/10: without √d the softmax is sharper."


@exercise(
    "5.2",
    "Write the causal mask",
    minutes=5,
    hints=(
        "Row t is the word that looks, column s the word that is looked at. Which s are allowed?",
        "Begin with a square full of −inf and keep a triangle of it: `triu` keeps the upper one.",
        "`torch.full((length, length), -torch.inf).triu(1)`: the diagonal itself is 0.",
    ),
)
def causal_mask(student):
    """Return what is added to the scores: 0 where row may look at column, −inf where not."""
    for length in (4, 1, 7):
        right = torch.full((length, length), -torch.inf).triu(1)
        ahead, itself = (torch.full_like(right, -torch.inf).triu(k) for k in (2, 0))
        allowed = torch.ones(length, length).tril()
        got = student(length)
        values = expect_shape(got, (length, length))
        if values.dtype is torch.bool or values.isnan().any():
            fail("expected 0 and −inf, got true and false, or nan; 0 · inf is nan: do not multiply")
        values = values.float()
        mistakes = {
            "A word cannot see itself here; the diagonal is 0.": itself,
            "Each word sees one word ahead; hide the diagonal's neighbour, too.": ahead,
            "Rows look, columns are looked at; this is the transpose.": right.T,
            "That is 1 and 0; it is added, so 0 means allowed and −inf hidden.": allowed,
            "A score of 0 − 1 can still be looked at; use −inf.": allowed - 1,
            "Nothing is hidden.": torch.zeros_like(right),
        }
        values = values.where(values > -1e8, -torch.inf)
        expect_tensor(values, right, mistakes=_others(mistakes, right))
    return "e^(−inf) = 0: a hidden word gets no weight, and the others share all of it."


@exercise(
    "5.3",
    "Write causal attention",
    minutes=15,
    hints=(
        "Scores first: `queries @ keys.transpose(-2, -1)` is (B, heads, T, T). By what is it "
        "divided?",
        "Add the mask of exercise 5.2 before the softmax, which runs over the words looked at.",
        "`(scores / queries.shape[-1] ** 0.5 + mask).softmax(-1) @ values`.",
    ),
)
def attention(student):
    """Return softmax(q kᵀ / √d + mask) v, causal: (B, heads, T, d) each -> (B, heads, T, d)."""
    rng = torch.Generator().manual_seed(0)
    for shape in ((2, 3, 5, 4), (1, 2, 1, 6)):
        q, k, v = torch.randn(3, *shape, generator=rng)
        right, slips = _attend(q, k, v), _slips(q, k, v)
        got = student(q, k, v)
        values = expect_shape(got, shape)
        if values.isnan().any():
            fail("expected numbers, got nan. Each word sees itself: its row of the mask holds a 0")
        expect_tensor(got, right, mistakes=_others(slips, right))
    got = student(q.requires_grad_(), k, v)
    if got.grad_fn is None:
        fail(f"expected a tensor that gradients can flow through, got {brief(got)}")
    return "These few lines are what GPT adds to a feed-forward network."


def _others(mistakes: dict[str, Tensor], right: Tensor) -> dict[str, Tensor]:
    return {text: slip for text, slip in mistakes.items() if not torch.allclose(slip, right)}


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float = -0.5, diagonal: int = 1) -> Tensor:
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** scale
    return (scores + torch.full(scores.shape[-2:], -1e9).triu(diagonal)).softmax(-1) @ v


def _slips(q: Tensor, k: Tensor, v: Tensor) -> dict[str, Tensor]:
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    future = torch.ones(scores.shape[-2:]).triu(1).bool()

    def hidden(mask: Tensor, by: float = -1e9) -> Tensor:
        return scores.masked_fill(mask, by)

    return {
        "The scores are not divided by √d.": _attend(q, k, v, scale=0.0),
        "The scores are divided by d; divide by √d.": _attend(q, k, v, scale=-1.0),
        "The scores are multiplied by √d; divide.": _attend(q, k, v, scale=0.5),
        "Nothing is hidden: every word sees the future.": scores.softmax(-1) @ v,
        "Each word sees one word too many, its next one.": _attend(q, k, v, diagonal=2),
        "Each word has to see itself, too.": _attend(q, k, v, diagonal=0),
        "The mask is upside down: words see the future only.": hidden(future.T).softmax(-1) @ v,
        "The softmax runs over the words that look, not those looked at.": (
            hidden(future).softmax(-2) @ v
        ),
        "The mask comes after the softmax, so the weights no longer sum to 1.": (
            scores.softmax(-1).masked_fill(future, 0.0) @ v
        ),
        "A score of 0 is not hidden, e^0 = 1; use −inf.": hidden(future, 0.0).softmax(-1) @ v,
        "The softmax is missing.": hidden(future, 0.0) @ v,
        "Queries and keys have changed places.": _attend(k, q, v),
        "Keys are gathered instead of values.": _attend(q, k, k),
    }


def planted_split_heads(tokens, heads):
    """Vectors cut into heads with a planted bug; the page shows it as exercise 5.4."""
    batch, length, width = tokens.shape
    return tokens.reshape(batch, heads, length, width // heads)


@exercise(
    "5.4",
    "Find the planted bug: a shape that lies",
    minutes=8,
    hints=(
        "Call it with `torch.arange(12).view(1, 3, 4)` and 2 heads. What should head 0 hold?",
        "`reshape` never moves a number. Cut only the last axis first: (B, T, heads, d).",
        "`tokens.reshape(batch, length, heads, width // heads)`, then `.transpose(1, 2)`.",
    ),
    planted=planted_split_heads,
)
def split_heads(student):
    """Mend it: (B, T, D) -> (B, heads, T, d); head h of a word is the h-th part of its vector."""
    for shape, heads in (((2, 3, 8), 2), ((1, 5, 6), 3)):
        batch, length, width = shape
        tokens = torch.arange(batch * length * width, dtype=torch.float32).view(shape)
        parts = tokens.unflatten(-1, (heads, -1))  # (B, T, heads, d)
        right = parts.transpose(1, 2)
        mistakes = {
            "This gives the same as the function on the page: head 0 holds whole words of the "
            "beginning, not a part of every word.": planted_split_heads(tokens, heads),
            "The axes are (B, T, heads, d); the heads belong before the words.": parts,
            "Each head takes every so many-th number; it should take a part that hangs together.": (
                tokens.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)
            ),
            "The last two axes are (d, T); they should be (T, d).": right.transpose(-2, -1),
        }
        expect_tensor(student(tokens, heads), right, mistakes=mistakes)
    return "With the bug one row held parts of several words, so the mask hid the wrong ones."


@exercise(
    "5.5",
    "Measure: how far back lies the fact?",
    minutes=12,
    hints=(
        "`words[i : i + 3] == ['who', 'has', 'the']` finds a question; its colour is words[i + 3].",
        "Go back from the question to the last place of the colour in this story. The answer "
        "stands at i + 6.",
        "`back = next(s for s in range(i - 1, 0, -1) if words[s] == words[i + 3])`; the distance "
        "is i + 6 − back.",
    ),
)
def far_facts(student):
    """Give the share of `who has the ...` answers whose fact lies more than 16 words back."""
    last, first = _distances()
    far = _share(last, 16)
    mistakes = {
        "That is the share of those that are near; give the others.": 1 - far,
        "Give a share from 0 to 1, not per cent.": 100 * far,
        "That counts answers, not their share.": far * len(last),
        "Take the last mention of the colour before the question, not the first.": _share(
            first, 16
        ),
        "Count from the answer's place, three after the colour in the question.": _share(last, 19),
        "Count from the answer's place, six after `who`.": _share(last, 22),
        "Exactly 16 words back is not more than 16.": _share(last, 15),
    }
    expect_number(student.value, far, tolerance=1e-3, mistakes=mistakes)
    return "So many answers no 17-gram can know, however much it has counted."


def _share(distances: list[int], beyond: int) -> float:
    return sum(distance > beyond for distance in distances) / len(distances)


@cache
def _distances() -> tuple[list[int], list[int]]:
    """From each `who` answer back to the last, and to the first, mention of its colour."""
    words = lab.sample(60_000, torch.Generator().manual_seed(0))
    last, first, begin = [], [], 0
    for i, word in enumerate(words):
        begin = i if word == lab.START else begin
        if word == "who":
            mentions = [s for s in range(begin, i) if words[s] == words[i + 3]]
            last.append(i + 6 - mentions[-1])
            first.append(i + 6 - mentions[0])
    return last, first
