import math
from itertools import combinations

import numpy
import pytest
import torch
from torch.nn import functional
from verdicts import said

from course_lm.exercises import lesson_05 as lesson
from course_lm.language import lab
from course_lm.models.transformer import Transformer, TransformerConfig

# ---- 5.1 ----


@pytest.mark.parametrize("answer", [7, 7.0, numpy.float32(7), torch.tensor(7.0)])
def test_seven_passes_as_any_kind_of_number(answer, capsys):
    assert "passed" in said(lesson.by_hand, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (0.9 * 8 + 0.1 * 4, "The scores are not divided by √d"),
        ((math.sqrt(3) * 8 + 4) / (math.sqrt(3) + 1), "divided by d; divide by √d"),
        ((3 * 8 + 4) / (4 + math.exp(2.5)), "The third word is the future"),
        (6, "the plain mean"),
        (8, "the largest score"),
        (0.75, "the weight of the first word"),
        (5, "3/4 belongs to the first"),
        (8 * math.log(3), "Scores are no weights"),
        (28, "have to sum to 1"),
        ("7", "expected a number, got '7'"),
    ],
)
def test_a_wrong_sum_is_named(answer, words, capsys):
    assert words in said(lesson.by_hand, answer, capsys)


# ---- 5.2 ----


def by_filling(length):
    allowed = torch.ones(length, length, dtype=torch.bool).tril()
    return torch.zeros(length, length).masked_fill(~allowed, float("-inf"))


def by_places(length):
    places = torch.arange(length)
    return torch.where(places[None, :] <= places[:, None], 0.0, -torch.inf).double()


def triangle(diagonal, by=-torch.inf):
    return lambda length: torch.full((length, length), by).triu(diagonal)


@pytest.mark.parametrize("answer", [triangle(1), by_filling, by_places, triangle(1, by=-1e9)])
def test_every_right_mask_passes(answer, capsys):
    assert "passed" in said(lesson.causal_mask, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (triangle(0), "the diagonal is 0"),
        (triangle(2), "Each word sees one word ahead"),
        (lambda length: triangle(1)(length).T, "this is the transpose"),
        (lambda length: torch.ones(length, length).tril(), "0 means allowed and −inf hidden"),
        (lambda length: torch.ones(length, length).tril() - 1, "can still be looked at"),
        (lambda length: torch.zeros(length, length), "Nothing is hidden"),
        (lambda length: torch.ones(length, length).tril().bool(), "got true and false"),
        (lambda length: torch.ones(length, length).triu(1) * -torch.inf, "do not multiply"),
        (lambda length: torch.full((4, 4), -torch.inf).triu(1), "expected shape (1, 1)"),
        (lambda length: print(triangle(1)(length)), "end the function"),
    ],
)
def test_a_wrong_mask_is_named(answer, words, capsys):
    assert words in said(lesson.causal_mask, answer, capsys)


# ---- 5.3 ----


def causal(scores, diagonal=1, by=-torch.inf):
    return scores + torch.full(scores.shape[-2:], by).triu(diagonal)


def scaled(q, k):
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


def right_attention(q, k, v):
    return causal(scaled(q, k)).softmax(-1) @ v


def of_torch(q, k, v):
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def word_by_word(q, k, v):
    rows = [
        torch.softmax((q[:, :, t : t + 1] * k[:, :, : t + 1]).sum(-1) / q.shape[-1] ** 0.5, -1)
        for t in range(q.shape[2])
    ]
    return torch.stack(
        [(row[..., None] * v[:, :, : t + 1]).sum(2) for t, row in enumerate(rows)], dim=2
    )


def renormalised(q, k, v):
    weights = scaled(q, k).softmax(-1).tril()
    return weights / weights.sum(-1, keepdim=True) @ v


@pytest.mark.parametrize("answer", [right_attention, of_torch, word_by_word, renormalised])
def test_every_right_attention_passes(answer, capsys):
    assert "passed" in said(lesson.attention, answer, capsys)


def tril_scores(q, k, v):
    return scaled(q, k).tril().softmax(-1) @ v


def in_place(q, k, v):
    q.mul_(q.shape[-1] ** -0.5)
    return causal(q @ k.transpose(-2, -1)).softmax(-1) @ v


def without_gradient(q, k, v):
    return right_attention(q, k, v).detach()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda q, k, v: causal(q @ k.mT).softmax(-1) @ v, "not divided by √d"),
        (lambda q, k, v: causal(q @ k.mT / q.shape[-1]).softmax(-1) @ v, "divide by √d"),
        (
            lambda q, k, v: causal(q @ k.mT * math.sqrt(q.shape[-1])).softmax(-1) @ v,
            "multiplied by √d",
        ),
        (lambda q, k, v: scaled(q, k).softmax(-1) @ v, "every word sees the future"),
        (lambda q, k, v: causal(scaled(q, k), 2).softmax(-1) @ v, "one word too many"),
        (lambda q, k, v: causal(scaled(q, k), 0).softmax(-1) @ v, "got nan. Each word sees itself"),
        (lambda q, k, v: causal(scaled(q, k), 0, -1e9).softmax(-1) @ v, "has to see itself, too"),
        (lambda q, k, v: (scaled(q, k) + causal(scaled(q, k) * 0).mT).softmax(-1) @ v, "upside"),
        (lambda q, k, v: causal(scaled(q, k)).softmax(-2) @ v, "over the words that look"),
        (lambda q, k, v: scaled(q, k).softmax(-1).tril() @ v, "The mask comes after the softmax"),
        (tril_scores, "A score of 0 is not hidden"),
        (lambda q, k, v: scaled(q, k).tril() @ v, "The softmax is missing"),
        (lambda q, k, v: right_attention(k, q, v), "have changed places"),
        (lambda q, k, v: right_attention(q, k, k), "Keys are gathered instead of values"),
        (lambda q, k, v: causal(scaled(q, k)).softmax(-1), "expected shape (2, 3, 5, 4)"),
        (lambda q, k, v: causal(q @ k).softmax(-1) @ v, "got RuntimeError in line"),
        (in_place, "changed its input"),
        (without_gradient, "that gradients can flow through"),
    ],
)
def test_a_wrong_attention_is_named(answer, words, capsys):
    assert words in said(lesson.attention, answer, capsys)


def test_the_named_slips_are_different_tensors():
    q, k, v = torch.randn(3, 2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    slips = [*lesson._slips(q, k, v).values(), right_attention(q, k, v)]
    assert min((a - b).abs().max() for a, b in combinations(slips, 2)) > 1e-3


def test_the_attention_that_is_put_in_makes_the_logits():
    config = {"vocab_size": 7, "context": 8, "width": 16, "heads": 2, "kv_heads": 2, "hidden": 24}
    models = [
        Transformer(TransformerConfig(layers=2, **config), torch.Generator().manual_seed(0))
        for _ in range(2)
    ]
    with torch.no_grad():
        for model in models:
            for block in model.blocks:  # it begins with adding nothing
                block.attention.out.weight.copy_(torch.eye(16))
    ids = torch.tensor([[1, 5, 0, 2, 6]])
    lesson.put_in(models[1], right_attention)
    torch.testing.assert_close(models[1](ids), models[0](ids))
    lesson.put_in(models[1], lambda q, k, v: scaled(q, k).softmax(-1) @ v)
    assert not torch.allclose(models[1](ids), models[0](ids), atol=1e-4)


# ---- 5.4 ----


def mended(tokens, heads):
    batch, length, width = tokens.shape
    return tokens.reshape(batch, length, heads, width // heads).transpose(1, 2)


def by_chunks(tokens, heads):
    return torch.stack(tokens.chunk(heads, dim=-1), dim=1)


@pytest.mark.parametrize(
    "answer",
    [mended, by_chunks, lambda tokens, heads: tokens.unflatten(-1, (heads, -1)).transpose(1, 2)],
)
def test_every_right_split_passes(answer, capsys):
    assert "passed" in said(lesson.split_heads, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            lambda tokens, heads: lesson.planted_split_heads(tokens, heads),
            "This gives the same as the function on the page",
        ),
        (lambda t, heads: t.unflatten(-1, (heads, -1)), "belong before the words"),
        (lambda t, heads: t.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2), "so many-th number"),
        (lambda t, heads: mended(t, heads).mT, "should be (T, d)"),
        (lambda t, heads: mended(t, heads)[:, 0], "expected shape (2, 2, 3, 4)"),
        (lambda t, heads: mended(t, heads).tolist(), "expected a tensor"),
        (lambda t, heads: t.view(heads, 5), "got RuntimeError in line"),
    ],
)
def test_a_wrong_split_is_named(answer, words, capsys):
    assert words in said(lesson.split_heads, answer, capsys)


# ---- 5.5 ----


def shares():
    """Found in another way: each story apart, its question by its answer's sentence."""
    text = " ".join(lab.sample(60_000, torch.Generator().manual_seed(0)))
    last, first = [], []
    for story in text.split(lab.START):
        words = story.split()
        for at, word in enumerate(words):
            if word == "?" and words[at - 5] == "who":
                colour = words[at - 2]
                mentions = [i for i in range(at - 5) if words[i] == colour]
                last.append(at + 1 - mentions[-1])
                first.append(at + 1 - mentions[0])
    return numpy.array(last), numpy.array(first)


LAST, FIRST = shares()
FAR = (LAST > 16).mean()


@pytest.mark.parametrize("answer", [FAR, float(FAR), torch.tensor(FAR), round(float(FAR), 4)])
def test_the_share_of_far_facts_passes_as_any_kind_of_number(answer, capsys):
    assert "passed" in said(lesson.far_facts, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (1 - FAR, "those that are near"),
        (100 * FAR, "not per cent"),
        ((LAST > 16).sum(), "not their share"),
        ((FIRST > 16).mean(), "not the first"),
        ((LAST - 3 > 16).mean(), "three after the colour"),
        ((LAST - 6 > 16).mean(), "six after `who`"),
        ((LAST >= 16).mean(), "Exactly 16"),
        ([0.7], "expected a number, got [0.7]"),
    ],
)
def test_a_wrong_share_is_named(answer, words, capsys):
    out = said(lesson.far_facts, answer, capsys)
    assert words in out
    assert f"{FAR:.4f}" not in out
