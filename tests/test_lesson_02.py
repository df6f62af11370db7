import math
import statistics
from itertools import combinations

import numpy
import pytest
import torch
from torch.nn import functional
from verdicts import said

from course_lm.exercises import lesson_02 as lesson
from course_lm.language import lab
from course_lm.language.windows import IGNORE
from course_lm.training import losses

# ---- 2.1 ----


@pytest.mark.parametrize("answer", [2, 2.0, numpy.float32(2), torch.tensor(2.0)])
def test_two_bits_pass_as_any_kind_of_number(answer, capsys):
    assert "passed" in said(lesson.by_hand, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (6, "That is the sum of the three"),
        (1.386, "That is in nats"),
        (4.159, "That is the sum, in nats"),
        (0.602, "to base 10"),
        (-math.log2(7 / 24), "each word pays on its own"),
        (-2, "The sign: log p is negative"),
        (4, "That is the perplexity"),
        (7 / 24, "That is the mean probability"),
        (1 / 64, "all three together"),
        ([1, 2, 3], "expected a number, got [1, 2, 3]"),
    ],
)
def test_a_wrong_number_of_bits_is_named(answer, words, capsys):
    assert words in said(lesson.by_hand, answer, capsys)


# ---- 2.2 ----


def flattened(logits, labels):
    return functional.cross_entropy(logits.flatten(0, -2), labels.flatten())


def with_ignored_places_at_zero(logits, labels):
    known = labels != IGNORE
    each = logits.logsumexp(-1) - logits.gather(-1, labels.where(known, 0)[..., None])[..., 0]
    return (each * known).sum() / known.sum()


def by_a_loop(logits, labels):
    rows = zip(logits.reshape(-1, logits.shape[-1]), labels.flatten(), strict=True)
    each = [-row.log_softmax(-1)[label] for row, label in rows if label != IGNORE]
    return sum(each) / len(each)


@pytest.mark.parametrize(
    "answer",
    [
        losses.cross_entropy,
        flattened,
        with_ignored_places_at_zero,
        by_a_loop,
        lambda logits, labels: flattened(logits.double(), labels),
    ],
)
def test_every_right_loss_passes(answer, capsys):
    assert "passed" in said(lesson.cross_entropy, answer, capsys)


def chosen(values, labels):
    """The value of each known label, one after the other."""
    known = labels != IGNORE
    return values[known][torch.arange(int(known.sum())), labels[known]]


def from_log_probs(finish):
    return lambda logits, labels: finish(chosen(logits.log_softmax(-1), labels))


def clamped(logits, labels):
    log_p = logits.log_softmax(-1)
    return -log_p.gather(-1, labels.clamp(min=0)[..., None]).mean()


def over_all_places(logits, labels):
    return -chosen(logits.log_softmax(-1), labels).sum() / labels.numel()


def without_label_0(logits, labels):
    return flattened(logits, labels.where(labels > 0, IGNORE))


def every_label_in_every_row(logits, labels):
    known = labels != IGNORE
    return -logits[known].log_softmax(-1)[:, labels[known]].mean()


def ignores_nothing(logits, labels):
    return -logits.log_softmax(-1)[torch.arange(len(labels)), labels].mean()


def mean_of_the_rows(logits, labels):
    if logits.dim() == 2:
        return flattened(logits, labels)
    return sum(map(flattened, logits, labels)) / len(logits)


def with_a_small_number(logits, labels):
    return -(chosen(logits.softmax(-1), labels) + 1e-9).log().mean()


def by_exp(logits, labels):
    powers = logits.exp()
    return -(chosen(powers, labels) / powers.sum(-1)[labels != IGNORE]).log().mean()


def in_place(logits, labels):
    loss = flattened(logits, labels)
    labels[labels == IGNORE] = 0
    return loss


@torch.no_grad()
def without_gradient(logits, labels):
    return flattened(logits, labels)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (from_log_probs(lambda log_p: -log_p.sum()), "That is the sum; take the mean"),
        (from_log_probs(lambda log_p: log_p.mean()), "The sign: the loss is −log P."),
        (from_log_probs(lambda log_p: log_p.exp().mean()), "That is the mean of P;"),
        (from_log_probs(lambda log_p: -log_p.exp().mean()), "That is the mean of −P;"),
        (from_log_probs(lambda log_p: -log_p.exp().mean().log()), "Take the logarithm of each P"),
        (from_log_probs(lambda log_p: -log_p.mean() / math.log(2)), "That is in bits"),
        (from_log_probs(lambda log_p: -log_p), "take the mean over the places"),
        (from_log_probs(lambda log_p: (-log_p.mean()).exp()), "leave out the exp"),
        (lambda logits, labels: -chosen(logits, labels).mean(), "make log-probabilities first"),
        (lambda logits, labels: logits.logsumexp(-1).mean(), "subtract the label's logit"),
        (lambda logits, labels: -logits.log_softmax(-1).mean(), "the mean over all V words"),
        (
            lambda logits, labels: -chosen(logits.log_softmax(0), labels).mean(),
            "V is the last axis",
        ),
        (every_label_in_every_row, "every label in every row"),
        (without_label_0, "The place with label 0 is left out"),
        (over_all_places, "The sum is divided by all places. (the label −100 is IGNORE)"),
        (clamped, "The ignored place counts as label 0."),
        (ignores_nothing, "with size 3 (the label −100 is IGNORE)"),
        (in_place, "your function changed its input"),
        (mean_of_the_rows, "Each label counts the same, whatever its row."),
        (functional.cross_entropy, "(any number of axes, the last is V)"),
        (with_a_small_number, "expected 5000, got 10.3616 (exp(10000) is inf"),
        (by_exp, "expected 5000, got inf (exp(10000) is inf"),
        (lambda logits, labels: flattened(logits, labels).item(), "leave out `.item()`"),
        (without_gradient, "gradients can flow through, got tensor(0.67"),
        (lambda logits, labels: print(flattened(logits, labels)), "got None; end the function"),
        (lambda logits, labels: -sum(logits[labels]), "got IndexError in line"),
    ],
)
def test_a_wrong_loss_is_named(answer, words, capsys):
    assert words in said(lesson.cross_entropy, answer, capsys)


def test_the_named_losses_are_different_numbers():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5]])
    slips = [float(slip) for slip in lesson._slips(logits, torch.tensor([0, 2])).values()]
    assert min(abs(one - other) for one, other in combinations(slips, 2)) > 1e-3


# ---- 2.3 ----


def right_gradient(logits, label):
    gradient = logits.softmax(-1)
    gradient[label] -= 1
    return gradient


def by_autograd(logits, label):
    logits = logits.clone().requires_grad_()
    functional.cross_entropy(logits, torch.tensor(label)).backward()
    return logits.grad


def one_hot(logits, label):
    return functional.one_hot(torch.tensor(label), len(logits))


@pytest.mark.parametrize(
    "answer",
    [
        right_gradient,
        by_autograd,
        lambda logits, label: logits.softmax(-1) - one_hot(logits, label),
        lambda logits, label: right_gradient(logits.double(), label),
    ],
)
def test_every_right_gradient_passes(answer, capsys):
    assert "passed" in said(lesson.gradient, answer, capsys)


def minus_one_itself(logits, label):
    gradient = logits.softmax(-1)
    gradient[label] = -1
    return gradient


def one_off(logits, label):
    return right_gradient(logits, label - 1)


def in_place_gradient(logits, label):
    logits[label] -= 1
    return logits


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda z, label: -right_gradient(z, label), "the gradient points uphill"),
        (lambda z, label: z.softmax(-1), "The one-hot part is missing."),
        (lambda z, label: z.softmax(-1) + one_hot(z, label), "1 less, not 1 more"),
        (lambda z, label: z.softmax(-1) - 1, "Take 1 from the label's place alone."),
        (minus_one_itself, "holds P − 1, not −1"),
        (one_off, "one place too early"),
        (lambda z, label: z - one_hot(z, label), "Make probabilities of the logits first."),
        (lambda z, label: z.log_softmax(-1) - one_hot(z, label), "leave out the logarithm"),
        (lambda z, label: -one_hot(z, label) / z.softmax(-1), "by the probabilities"),
        (lambda z, label: right_gradient(z, label) / len(z), "do not divide"),
        (lambda z, label: z.softmax(-1)[label] - 1, "expected shape (4,), got shape ()"),
        (lambda z, label: right_gradient(z, label).tolist(), "expected a tensor, got ["),
        (in_place_gradient, "expected `logits` to stay as it was"),
        (lambda z, label: z.softmax(-1)[label + 9], "got IndexError in line"),
    ],
)
def test_a_wrong_gradient_is_named(answer, words, capsys):
    assert words in said(lesson.gradient, answer, capsys)


# ---- 2.4 ----


def weighed(loss, batches, weights, total):
    return sum(w * float(loss(*batch)) for w, batch in zip(weights, batches, strict=True)) / total


def number_of_labels(batches):
    return [int((labels != IGNORE).sum()) for _, labels in batches]


def mended(loss, batches):
    counts = number_of_labels(batches)
    return weighed(loss, batches, counts, sum(counts))


def of_all_at_once(loss, batches):
    logits, labels = zip(*batches, strict=True)
    return loss(
        torch.cat([z.flatten(0, -2) for z in logits]), torch.cat([y.ravel() for y in labels])
    )


@pytest.mark.parametrize(
    "answer",
    [
        mended,
        of_all_at_once,
        lambda loss, batches: numpy.float64(mended(loss, batches)),
        lambda loss, batches: torch.tensor(mended(loss, batches)),
    ],
)
def test_every_right_mean_over_batches_passes(answer, capsys):
    assert "passed" in said(lesson.held_out_loss, answer, capsys)


def with_weights(weigh):
    def held_out_loss(loss, batches):
        weights = [int(weigh(labels)) for _, labels in batches]
        return weighed(loss, batches, weights, sum(weights))

    return held_out_loss


def divided_by(divisor):
    return lambda loss, batches: weighed(loss, batches, number_of_labels(batches), divisor(batches))


def unweighed_over_labels(loss, batches):
    return sum(float(loss(*batch)) for batch in batches) / sum(number_of_labels(batches))


def returns_in_the_loop(loss, batches):
    for batch in batches:
        return float(loss(*batch))


def mean_of_a_stack(loss, batches):
    return torch.stack([loss(*batch) for batch in batches]).mean()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (mean_of_a_stack, "This gives the same as the function on the page: each batch counts the"),
        (with_weights(len), "That counts rows, not labels."),
        (with_weights(torch.numel), "Labels that are IGNORE have no weight."),
        (with_weights(lambda labels: (labels > 0).sum()), "Label 0 is a word, too"),
        (with_weights(lambda labels: (labels == IGNORE).sum()), "That is the last batch alone."),
        (divided_by(lambda batches: 1), "That is the sum over the labels"),
        (divided_by(len), "Divide by the number of labels, not of batches."),
        (divided_by(lambda batches: 7), "do not count when you divide"),
        (divided_by(lambda batches: 3), "Divide by the number of labels, not of rows."),
        (unweighed_over_labels, "Weigh each batch with its number of labels."),
        (returns_in_the_loop, "is `return` inside the loop?"),
        (lambda loss, batches: [mended(loss, batches)], "expected a number, got ["),
        (lambda loss, batches: mended(loss, [batches.pop()]), "changed its input"),
        (lambda loss, batches: loss(batches), "got TypeError in line"),
    ],
)
def test_a_wrong_mean_over_batches_is_named(answer, words, capsys):
    assert words in said(lesson.held_out_loss, answer, capsys)


# ---- 2.5 ----


RARE = next(word for word in lab.vocabulary().tokens if word not in lesson._entropies_after())


def test_the_code_of_the_hints_runs_and_finds_the_hardest_word(capsys):
    first, _, third = lesson.hardest_word.hints
    pairs = "chances = list(lab.distributions(words))[1:]", "zip(words, chances)"
    entropy = "-sum(p * math.log(p) for p in d.values())"
    assert [f"`{pair}`" in third for pair in pairs] == [True, True]
    assert f"`{entropy}`" in first
    words = lab.sample(60_000, torch.Generator().manual_seed(0))
    space = {"lab": lab, "math": math, "words": words}
    exec(f"{pairs[0]}\nfound = [(word, {entropy}) for word, d in {pairs[1]}]", space)
    after = {}
    for word, nats in space["found"]:
        after.setdefault(word, []).append(nats)
    often = [word for word in after if len(after[word]) >= 100]
    hardest = max(often, key=lambda word: statistics.mean(after[word]))
    assert "passed" in said(lesson.hardest_word, hardest, capsys)


@pytest.mark.parametrize("answer", ["<s>", numpy.str_("<s>")])
def test_the_hardest_word_passes_as_any_kind_of_text(answer, capsys):
    assert "passed" in said(lesson.hardest_word, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (".", "It has the largest sum; take the mean."),
        ("small", "another word, got 'small'. After it the mean is 1.97 nats; after another"),
        ("the", "another word, got 'the'. After it the mean is 1.31 nats; after another"),
        (RARE, f"expected another word, got '{RARE}'. It came fewer than 100 times."),
        ("zebra", "expected another word, got 'zebra'. The lab has no such word."),
        (2.08, "expected a word in quotation marks, got 2.08"),
        (["<s>"], "expected a word in quotation marks, got ['<s>']"),
    ],
)
def test_a_wrong_hardest_word_is_named_and_the_right_one_is_not_told(answer, words, capsys):
    out = said(lesson.hardest_word, answer, capsys)
    assert words in out
    assert out.count("<s>") == str(answer).count("<s>")
