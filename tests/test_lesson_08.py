import math

import numpy
import pytest
import torch
from verdicts import said

from course_lm.exercises import lesson_08 as lesson
from course_lm.language import lab
from course_lm.language.harbour import HARBOUR
from course_lm.language.windows import mix_rows

# ---- the questions ----


def test_the_question_counts_the_words_that_both_worlds_have():
    town, harbour = set(lab.vocabulary().tokens), set(lab.vocabulary(HARBOUR).tokens)
    counts = f"{len(town & harbour)} of the town's {len(town)} words"
    assert counts in lesson.what_happens.options[0][1]


# ---- 8.1 ----


@pytest.mark.parametrize(
    "answer", [(0.75, 0.9), [0.75, 0.9], numpy.array([0.75, 0.9]), torch.tensor([0.75, 0.9])]
)
def test_both_shares_pass_as_any_kind_of_pair(answer, capsys):
    assert "passed" in said(lesson.by_hand, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((0.25, 0.9), "The first is the share still forgotten"),
        ((0.75, 0.1), "The second is the share of the gain that is lost"),
        ((0.25, 0.1), "Both are the shares that are lost"),
        ((0.9, 0.75), "changed places"),
        ((75, 90), "not per cent"),
        ((1.2, 2.7), "Those are nats"),
        ((0.5, 0.9), "Divide by what was lost without replay"),
        ((0.75, 0.675), "Divide by what was won without replay"),
        ((0.5, 0.675), "lost or won, not by a loss"),
        ((0.4, 0.3), "nats against the wrong run"),
        (0.75, "expected shape (2,)"),
        ((0.7, 0.9), "expected another number at position 0"),
    ],
)
def test_wrong_shares_are_named(answer, words, capsys):
    assert words in said(lesson.by_hand, answer, capsys)


# ---- 8.2 ----


@pytest.mark.parametrize("answer", [math.log(4) / 50, 0.028, torch.tensor(0.0277)])
def test_the_price_passes_as_any_kind_of_number(answer, capsys):
    assert "passed" in said(lesson.price, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (-math.log(0.75) / 50, "the price of the other world"),
        (math.log(4), "divide it by its 50 words"),
        (2 / 50, "in bits"),
        (math.log(0.25) / 50, "A price is positive"),
        (math.log(2) / 50, "of equal share"),
        (-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) / 50, "the mean price of both"),
        (0.005, "A share is no price"),
        (math.log(4) / 200, "Do not weigh the price by the share"),
        (math.log10(4) / 50, "log to base 10"),
        (-math.log(0.75), "the other world's price, once a story"),
        ("little", "expected a number"),
    ],
)
def test_a_wrong_price_is_named(answer, words, capsys):
    assert words in said(lesson.price, answer, capsys)


def test_the_price_is_what_the_exact_mixture_of_both_worlds_pays():
    """P(story) = 1/4 P(story in the town) + 3/4 · 0: no town story is possible in the harbour."""
    text = lab.sample(2_000, torch.Generator().manual_seed(0))
    stories = text.count(lab.START)
    own = sum(lab.log_probs(text)[1:])
    mixed = own + stories * math.log(1 / 4)
    assert (own - mixed) / len(text) == pytest.approx(math.log(4) / (len(text) / stories))
    assert 35 < len(text) / stories < 65


# ---- 8.3 ----


def by_rows(batches, shares, rng):
    rows = []
    for b in range(len(batches[0][0])):
        chance, stream = torch.rand((), generator=rng).item(), 0
        while stream < len(shares) - 1 and chance >= shares[stream]:
            chance, stream = chance - shares[stream], stream + 1
        rows.append((batches[stream][0][b], batches[stream][1][b]))
    inputs, labels = zip(*rows, strict=True)
    return torch.stack(inputs), torch.stack(labels)


def by_where(batches, shares, rng):
    inputs, labels = batches[0]
    edges = torch.tensor(shares).cumsum(0)
    chance = torch.rand(len(inputs), 1, generator=rng)
    for stream, edge in enumerate(edges[:-1], start=1):
        inputs = torch.where(chance > edge, batches[stream][0], inputs)
        labels = torch.where(chance > edge, batches[stream][1], labels)
    return inputs, labels


def any_row(batches, shares, rng):
    count = len(batches[0][0])
    stream = torch.multinomial(torch.tensor(shares), count, replacement=True, generator=rng)
    row = torch.randint(count, (count,), generator=rng)
    inputs, labels = (torch.stack(part) for part in zip(*batches, strict=True))
    return [inputs[stream, row], labels[stream, row]]


@pytest.mark.parametrize("answer", [mix_rows, by_rows, by_where, any_row])
def test_every_right_mixture_passes(answer, capsys):
    assert "passed" in said(lesson.mix, answer, capsys)


def stacked(batches):
    return [torch.stack(part) for part in zip(*batches, strict=True)]


def drawn(shares, count, rng):
    return torch.multinomial(torch.tensor(shares), count, replacement=True, generator=rng)


def whole_batch(batches, shares, rng):
    return batches[int(drawn(shares, 1, rng))]


def rounded(batches, shares, rng):
    inputs, labels = stacked(batches)
    count = inputs.shape[1]
    edges = (torch.tensor([0.0, *shares]).cumsum(0) * count).round().int().tolist()
    order = torch.randperm(count, generator=rng)
    stream = torch.zeros(count, dtype=torch.long)
    for place in range(len(shares)):
        stream[order[edges[place] : edges[place + 1]]] = place
    return inputs[stream, torch.arange(count)], labels[stream, torch.arange(count)]


def with_shares(change):
    def answer(batches, shares, rng):
        return mix_rows(batches, change(shares), rng)

    return answer


def unseeded(batches, shares, rng):
    return mix_rows(batches, shares, torch.Generator().manual_seed(torch.randint(9**9, ()).item()))


def always_the_same(batches, shares, rng):
    return mix_rows(batches, shares, torch.Generator().manual_seed(3))


def two_draws(batches, shares, rng):
    return mix_rows(batches, shares, rng)[0], mix_rows(batches, shares, rng)[1]


def by_tokens(batches, shares, rng):
    inputs, labels = stacked(batches)
    stream = drawn(shares, inputs[0].numel(), rng).view_as(inputs[0])[None]
    return inputs.gather(0, stream)[0], labels.gather(0, stream)[0]


def inputs_alone(batches, shares, rng):
    return mix_rows(batches, shares, rng)[0], batches[0][1]


def row_0(batches, shares, rng):
    chosen = drawn(shares, len(batches[0][0]), rng).tolist()
    return tuple(torch.stack([batches[i][part][0] for i in chosen]) for part in (0, 1))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (row_0, "got the same row again and again; take row b"),
        (lambda *given: mix_rows(*given)[::-1], "inputs and labels have changed places"),
        (whole_batch, "draw for each row, not for the batch"),
        (rounded, "draw for each row"),
        (with_shares(lambda shares: shares[::-1]), "changed places"),
        (with_shares(lambda shares: [1 / len(shares)] * len(shares)), "use the shares"),
        (with_shares(lambda shares: [1.0, *[0.0] * (len(shares) - 1)]), "come from one stream"),
        (unseeded, "expected the same rows for the same seed"),
        (always_the_same, "expected other rows for another seed"),
        (two_draws, "expected the labels of the row that the inputs come from"),
        (inputs_alone, "expected the labels of the row that the inputs come from"),
        (by_tokens, "tokens of two texts in one row"),
        (lambda batches, shares, rng: stacked(batches), "expected inputs of shape (600, 4)"),
        (lambda b, shares, rng: (b[0][0] / 1, b[0][1]), "whole numbers"),
        (lambda b, shares, rng: tuple(part - 80_000 for part in b[0]), "leave them as they are"),
        (lambda b, shares, rng: tuple(part + 80_000 for part in b[0]), "leave them as they are"),
        (lambda batches, shares, rng: mix_rows(batches, shares, rng)[0], "expected a pair"),
        (lambda batches, shares, rng: iter(batches), "expected a finished result"),
        (lambda batches, shares, rng: batches[0][0].add_(1), "changed its input"),
    ],
)
def test_a_wrong_mixture_is_named(answer, words, capsys):
    assert words in said(lesson.mix, answer, capsys)


# ---- 8.4 ----


def with_dict(old, new):
    return list(dict.fromkeys([*old, *new]))


def by_appending(old, new):
    joined = list(old)
    for word in new:
        if word not in joined:
            joined.append(word)
    return tuple(joined)


@pytest.mark.parametrize("answer", [with_dict, by_appending])
def test_every_right_join_passes(answer, capsys):
    assert "passed" in said(lesson.join, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda old, new: sorted([*set(old) | set(new)]), "sorting moves the old words"),
        (lambda old, new: with_dict(new, old), "The new words stand first"),
        (lambda old, new: [*old, *new], "stands twice"),
        (lambda old, new: new, "the old ones are lost"),
        (lambda old, new: old, "what is new has no id"),
        (lambda old, new: with_dict(old, new[::-1]), "keep the order of `new`"),
        (lambda old, new: with_dict(sorted(old), new), "keep their order, too"),
        (lambda old, new: set(old) | set(new), "expected a list"),
        (lambda old, new: old.extend(new), "expected a result, got None"),
    ],
)
def test_a_wrong_join_is_named(answer, words, capsys):
    assert words in said(lesson.join, answer, capsys)


def test_the_joint_vocabulary_of_the_lab_is_joined_in_the_right_way():
    town, harbour = lab.vocabulary().tokens, lab.vocabulary(HARBOUR).tokens
    assert lab.vocabulary(lab.WORLD, HARBOUR).tokens == tuple(with_dict(town, harbour))


# ---- 8.5 ----


def by_share(gradients, counts):
    return sum(g * (n / sum(counts)) for g, n in zip(gradients, counts, strict=True) if n)


def by_stack(gradients, counts):
    shares = torch.tensor(counts) / sum(counts)
    return (torch.stack(gradients).nan_to_num() * shares[:, None, None]).sum(0)


def by_label(gradients, counts):
    """The mean over labels that all have the mean gradient of their machine."""
    return torch.repeat_interleave(torch.stack(gradients), torch.tensor(counts), 0).mean(0)


@pytest.mark.parametrize("answer", [by_share, by_stack, by_label])
def test_every_right_mean_over_machines_passes(answer, capsys):
    assert "passed" in said(lesson.average, answer, capsys)


def test_the_mean_of_the_worked_pair_is_that_of_the_page():
    assert by_share([torch.tensor(1.0), torch.tensor(3.0)], [6, 2]).item() == 1.5


def labelled(gradients, counts):
    return [(g, n) for g, n in zip(gradients, counts, strict=True) if n]


def upside_down(gradients, counts):
    known = labelled(gradients, counts)
    return sum(g / n for g, n in known) / sum(1 / n for _, n in known)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda g, c: torch.stack(g).mean(0), "the mean of the means; weigh each"),
        (lambda g, c: torch.stack(g).nanmean(0), "the mean of the means; weigh each"),
        (lambda g, c: sum(g), "added up and divided by nothing"),
        (lambda g, c: sum(a * n for a, n in labelled(g, c)), "not divided by their number"),
        (lambda g, c: sum(a * n for a, n in labelled(g, c)) / len(c), "divide by the labels"),
        (upside_down, "The weights are upside down"),
        (lambda g, c: sum(a / n for a, n in labelled(g, c)) / sum(c), "once more; multiply"),
        (lambda g, c: sum(a * n for a, n in zip(g, c, strict=True)) / sum(c), "0 · nan is nan"),
        (lambda g, c: by_share(g, c).tolist()[0], "expected shape (2, 3), got shape (3,)"),
        (lambda g, c: g[0].mul_(6).add_(2 * g[1]) / 8, "changed its input"),
    ],
)
def test_a_wrong_mean_over_machines_is_named(answer, words, capsys):
    assert words in said(lesson.average, answer, capsys)


# ---- 8.6 ----


WORDS = lab.sample(20_000, torch.Generator().manual_seed(0), HARBOUR)
TOWN = lab.vocabulary().ids
NEW = float(numpy.isin(WORDS, list(TOWN), invert=True).mean())


@pytest.mark.parametrize("answer", [NEW, torch.tensor(NEW), round(NEW, 4), round(NEW, 3)])
def test_the_share_of_new_words_passes_as_any_kind_of_number(answer, capsys):
    assert 0.1 < NEW < 0.5
    assert "passed" in said(lesson.new_words, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (1 - NEW, "the share that the town knows"),
        (len({*WORDS} - {*TOWN}) / len({*WORDS}), "the share of different words"),
        (NEW * len(WORDS), "not their share"),
        (100 * NEW, "not per cent"),
        (NEW * len(WORDS) / 20_000, "Divide by the words of the text"),
        (
            len({*WORDS} - {*TOWN}) / len({*TOWN, *lab.vocabulary(HARBOUR).tokens}),
            "a share of the joint vocabulary",
        ),
        ([0.3], "expected a number, got [0.3]"),
    ],
)
def test_a_wrong_share_of_new_words_is_named(answer, words, capsys):
    out = said(lesson.new_words, answer, capsys)
    assert words in out
    assert f"{NEW:.4f}" not in out
