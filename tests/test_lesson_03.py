import math
import statistics
from itertools import combinations

import numpy
import pytest
import torch
from torch import nn
from verdicts import said

from course_lm.exercises import lesson_03 as lesson
from course_lm.language import lab

# ---- 3.1 ----


@pytest.mark.parametrize(
    "answer", [math.tanh(0.5 * math.tanh(1)), 0.363, numpy.float32(0.3634), torch.tensor(0.3634)]
)
def test_two_steps_pass_as_any_kind_of_number(answer, capsys):
    assert "passed" in said(lesson.two_steps, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (math.tanh(1), "That is h_1; one more step."),
        (0.5 * math.tanh(1), "The second step has a tanh, too."),
        (math.tanh(0.5), "The first step has a tanh, too."),
        (0.5, "Both steps have a tanh."),
        (math.tanh(math.tanh(1)), "multiplied by u = 0.5"),
        (math.tanh(1 + 0.5 * math.tanh(1)), "The second word is 0, not 1 again."),
        (0.5904, "That takes the sigmoid"),
        (0, "That forgets the state"),
        ([0.76, 0.36], "expected a number, got [0.76, 0.36]"),
    ],
)
def test_a_wrong_second_state_is_named(answer, words, capsys):
    assert words in said(lesson.two_steps, answer, capsys)


# ---- 3.2 ----


def with_linear(e, h, W, U, b):
    return torch.tanh(nn.functional.linear(e, W, b) + nn.functional.linear(h, U))


def by_einsum(e, h, W, U, b):
    return (torch.einsum("bi,oi->bo", e, W) + torch.einsum("bi,oi->bo", h, U) + b).tanh()


def row_by_row(e, h, W, U, b):
    return torch.stack([torch.tanh(W @ a + U @ s + b) for a, s in zip(e, h, strict=True)])


def side_by_side(e, h, W, U, b):
    return torch.tanh(torch.cat([e, h], dim=1) @ torch.cat([W, U], dim=1).T + b)


@pytest.mark.parametrize("answer", [with_linear, by_einsum, row_by_row, side_by_side])
def test_every_right_step_passes(answer, capsys):
    assert "passed" in said(lesson.rnn_step, answer, capsys)


def no_gradient(e, h, W, U, b):
    return with_linear(e, h, W, U, b).detach()


@torch.no_grad()
def without_a_record(e, h, W, U, b):
    return with_linear(e, h, W, U, b)


def in_place(e, h, W, U, b):
    h += 1
    return with_linear(e, h, W, U, b)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda e, h, W, U, b: torch.tanh(e @ W.T + b), "has no memory"),
        (lambda e, h, W, U, b: torch.tanh(h @ U.T + b), "The word is left out."),
        (lambda e, h, W, U, b: torch.tanh(e @ W.T + h @ U.T), "The bias is left out."),
        (lambda e, h, W, U, b: e @ W.T + h @ U.T + b, "The tanh is missing"),
        (lambda e, h, W, U, b: torch.sigmoid(e @ W.T + h @ U.T + b), "take tanh"),
        (lambda e, h, W, U, b: with_linear(h, e, W, U, b), "W is for the word, U for the state."),
        (lambda e, h, W, U, b: with_linear(e, h, W.T, U.T, b), "and U h is `h @ U.T`"),
        (lambda e, h, W, U, b: with_linear(e, h, W, U.T, b), "For each row U h is"),
        (lambda e, h, W, U, b: with_linear(e, h, W.T, U, b), "For each row W e is"),
        (lambda e, h, W, U, b: torch.tanh(e @ W.T + h @ U.T) + b, "stands inside the tanh"),
        (lambda e, h, W, U, b: h + with_linear(e, h, W, U, b), "added outside the tanh"),
        (lambda e, h, W, U, b: with_linear(e, h, W, U, b)[0], "expected shape (2, 3), got"),
        (lambda e, h, W, U, b: with_linear(e, h, W, U, b).tolist(), "expected a tensor, got"),
        (lambda e, h, W, U, b: with_linear(e, h, W, -U, b), "U h is added, not subtracted."),
        (lambda e, h, W, U, b: with_linear(e, h, W, U, -b), "The bias is added, not subtracted."),
        (no_gradient, "leave out `.detach()`"),
        (without_a_record, "and `torch.no_grad()`"),
        (in_place, "expected `h` to stay as it was"),
        (lambda e, h, W, U, b: torch.tanh(e * W), "got RuntimeError in line"),
    ],
)
def test_a_wrong_step_is_named(answer, words, capsys):
    assert words in said(lesson.rnn_step, answer, capsys)


def test_the_named_steps_are_different_numbers():
    rng = torch.Generator().manual_seed(3)
    shapes = (2, 3), (2, 3), (3, 3), (3, 3), (3,)
    slips = lesson._slips_of_a_step(*(torch.randn(shape, generator=rng) for shape in shapes))
    for one, other in combinations(slips.values(), 2):
        assert not torch.allclose(one, other, atol=1e-3)


# ---- 3.3 ----


def norm_of(gradients):
    return torch.cat([g.flatten() for g in gradients]).norm()


def clipped(gradients, largest):
    norm = norm_of(gradients)
    return [g * largest / norm for g in gradients] if norm > largest else gradients


def with_a_small_number(gradients, largest):
    share = torch.clamp(largest / (norm_of(gradients) + 1e-8), max=1)
    return [g * share for g in gradients]


def by_hand(gradients, largest):
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    return tuple(g / max(1.0, norm / largest) for g in gradients)


def by_torch(gradients, largest):
    weights = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient.clone()
    nn.utils.clip_grad_norm_(weights, largest)
    return [weight.grad for weight in weights]


@pytest.mark.parametrize("answer", [clipped, with_a_small_number, by_hand, by_torch])
def test_every_right_clipping_passes(answer, capsys):
    assert "passed" in said(lesson.clip_by_norm, answer, capsys)


def times(share):
    return lambda gradients, largest: [g * share(gradients, largest) for g in gradients]


def where(condition, norm=lambda gs: norm_of(gs)):
    """Shrinks to `largest`, by `norm`, where `condition` says so."""
    return lambda gs, m: [g * m / norm(gs) for g in gs] if condition(gs, m) else list(gs)


def of_the_first_two(gradients):
    return norm_of(gradients[:2])


def in_place_clipping(gradients, largest):
    norm = norm_of(gradients)
    for g in gradients:
        g *= largest / norm
    return gradients


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda gs, m: [g.clamp(-m, m) for g in gs], "bends the direction"),
        (lambda gs, m: [g * m / g.norm() for g in gs], "take one norm for all"),
        (lambda gs, m: gs, "Nothing was shrunk."),
        (times(lambda gs, m: m / sum(g.norm() for g in gs)), "the sum of the norms"),
        (times(lambda gs, m: m / norm_of(gs) ** 2), "The root is missing"),
        (times(lambda gs, m: 1 / norm_of(gs)), "That has the norm 1"),
        (times(lambda gs, m: m / max(g.abs().max() for g in gs)), "the largest number for the"),
        (times(lambda gs, m: m / sum(g.abs().sum() for g in gs)), "the sum of the sizes"),
        (times(lambda gs, m: norm_of(gs) / m), "Multiply by `largest / norm`"),
        (times(lambda gs, m: m / norm_of(gs)), "Their norm is 2, below `largest`"),
        (times(lambda gs, m: -m / norm_of(gs)), "That turns the step around"),
        (times(lambda gs, m: m / max(g.norm() for g in gs)), "That takes the largest of the norms"),
        (times(lambda gs, m: m / gs[0].norm()), "That takes the first tensor alone"),
        (
            times(lambda gs, m: m / torch.cat([g.flatten() for g in gs]).square().mean().sqrt()),
            "That takes the mean of the squares",
        ),
        (where(lambda gs, m: norm_of(gs) ** 2 > m), "Their norm is 2, below `largest`"),
        (
            where(lambda gs, m: norm_of(gs) > m and norm_of(gs) ** 2 > m),
            "Their norm is 0.5, above `largest`",
        ),
        (where(lambda gs, m: any(g.norm() > m for g in gs)), "but the norm of all is 5"),
        (where(lambda gs, m: max(g.abs().max() for g in gs) > m), "but the norm of all is 5"),
        (where(lambda gs, m: of_the_first_two(gs) > m, of_the_first_two), "all of them count"),
        (where(lambda gs, m: of_the_first_two(gs) > m), "all of them count"),
        (lambda gs, m: [g.tolist() for g in clipped(gs, m)], "a list of tensors, got one with"),
        (lambda gs, m: [g.numpy() for g in clipped(gs, m)], "a list of tensors, got one with"),
        (
            lambda gs, m: [
                g * (m / norm_of(gs)).nan_to_num(0).clamp(max=1) + 0 / g.norm() for g in gs
            ],
            "nan",
        ),
        (lambda gs, m: norm_of(gs), "expected a list of 2 tensors, got"),
        (lambda gs, m: [torch.cat([g.flatten() for g in gs])], "expected a list of 2 tensors"),
        (lambda gs, m: [g.flatten() for g in clipped(gs, m)], "expected shape (2, 2), got"),
        (in_place_clipping, "your function changed its input"),
    ],
)
def test_a_wrong_clipping_is_named(answer, words, capsys):
    assert words in said(lesson.clip_by_norm, answer, capsys)


def test_the_named_clippings_are_different_numbers():
    large = [torch.tensor([[3.0, 0.0], [0.0, -4.0]]), torch.tensor([7.2, -9.6])]
    slips = lesson._slips_of_clipping(large, 2.6)
    right = torch.cat([g.flatten() for g in clipped(large, 2.6)])
    for one, other in combinations([right, *slips.values()], 2):
        assert not torch.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize(("numbers", "largest", "slip"), lesson._EDGES)
def test_the_edges_of_clipping_have_the_norm_that_their_sentence_states(numbers, largest, slip):
    norm = math.hypot(*numbers)
    assert ("below `largest` (" in slip) == (norm < largest)
    assert not any(text in slip for text in ("norm is", "norm of all is")) or f" {norm:g}" in slip


# ---- 3.4 ----


def mended(model, ids, size):
    parts, memory = [], None
    for piece in ids.split(size, dim=1):
        logits, memory = model.read(piece, memory)
        parts.append(logits)
    return torch.cat(parts, dim=1)


def word_by_word(model, ids, size):
    return mended(model, ids, 1)


def by_places(model, ids, size):
    logits, memory = model.read(ids[:, :size])
    for place in range(size, ids.shape[1], size):
        more, memory = model.read(ids[:, place : place + size], memory)
        logits = torch.cat([logits, more], dim=1)
    return logits


@pytest.mark.parametrize("answer", [mended, word_by_word, by_places])
def test_every_right_reading_in_pieces_passes(answer, capsys):
    assert "passed" in said(lesson.read_in_pieces, answer, capsys)


def starting_each_from(choose):
    """Each piece begins with what `choose` picks of the memories so far (None is the first)."""

    def read(model, ids, size):
        parts, memories = [], [None]
        for piece in ids.split(size, dim=1):
            logits, memory = model.read(piece, choose(memories))
            parts.append(logits)
            memories.append(memory)
        return torch.cat(parts, dim=1)

    return read


def never_forgetting():
    kept = [None]

    def read(model, ids, size):
        parts = []
        for piece in ids.split(size, dim=1):
            logits, kept[0] = model.read(piece, kept[0])
            parts.append(logits)
        return torch.cat(parts, dim=1)

    return read


def without_the_rest(model, ids, size):
    return mended(model, ids[:, : ids.shape[1] // size * size], size)


def first_piece_forgotten(model, ids, size):
    first, memory = [], None
    for place, piece in enumerate(ids.split(size, dim=1)):
        logits, memory = model.read(piece, memory if place > 1 else None)
        first.append(logits)
    return torch.cat(first, dim=1)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (starting_each_from(lambda memories: None), "gives the same as the function on the page"),
        (starting_each_from(lambda memories: memories[min(1, len(memories) - 1)]), "the first;"),
        (starting_each_from(lambda m: m[-2] if len(m) > 1 else None), "comes a piece late"),
        (first_piece_forgotten, "The second piece begins with an empty memory."),
        (never_forgetting(), "The state of the text before is still there"),
        (without_the_rest, "expected shape (2, 7, 5), got shape (2, 6, 5)"),
        (lambda model, ids, size: model(ids), "reads at most 3 tokens at once"),
        (lambda model, ids, size: mended(model, ids, size)[0], "expected shape (2, 7, 5), got"),
        (lambda model, ids, size: model.read(ids[:, :size]), "expected a tensor, got ("),
    ],
)
def test_a_wrong_reading_in_pieces_is_named(answer, words, capsys):
    assert words in said(lesson.read_in_pieces, answer, capsys)


# ---- 3.5 ----


def distances():
    """As the third hint says it, over the whole text, with no look at where stories begin."""
    words = lab.sample(60_000, torch.Generator().manual_seed(0))
    for i, word in enumerate(words):
        if word == "who":
            yield i + 6 - max(j for j in range(i) if words[j] == words[i + 3])


def test_the_code_of_the_hint_finds_the_median_distance(capsys):
    assert (
        "`j = max(j for j in range(i) if words[j] == words[i + 3])`"
        in lesson.median_distance.hints[2]
    )
    assert "passed" in said(lesson.median_distance, statistics.median(distances()), capsys)


MIDDLE = statistics.median(end for end, _ in lesson._distances())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (statistics.mean(end for end, _ in lesson._distances()), "That is the mean"),
        (MIDDLE - 6, "counts to the word `who`"),
        (MIDDLE - 3, "counts to the colour in the question"),
        (MIDDLE + 1, "one word too many"),
        (MIDDLE - 1, "one word too few; count from the colour to the answer"),
        (max(lesson._distances())[0], "That is the longest"),
        (3, "from the colour in the question itself"),
        (statistics.median(first for _, first in lesson._distances()), "from the first mention"),
        (MIDDLE + 0.3, "expected another number, got"),
        ("far", "expected a number, got 'far'"),
    ],
)
def test_a_wrong_distance_is_named_and_the_right_one_is_not_told(answer, words, capsys):
    out = said(lesson.median_distance, answer, capsys)
    assert words in out
    assert f"expected {MIDDLE:g}" not in out
