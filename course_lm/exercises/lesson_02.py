"""Exercises of lesson 02: how wrong is a prediction?"""

import math
from functools import cache

import torch

from course_lm.language import lab
from course_lm.language.windows import IGNORE
from course_lm.training import losses

from .checking import exercise
from .expect import expect_number, expect_tensor, fail
from .quiz import Question
from .sentences import Problem, brief

first_loss = Question(
    "Prediction: a network that has learned nothing chooses among V words. About how large is its "
    "first loss?",
    (
        (
            "1: it is wrong all the time.",
            "It is no share of errors; it has no upper end.",
        ),
        (
            "ln V: every word is about equally likely to it.",
            "Small random weights give almost equal logits, so each word gets about 1/V, and "
            "−ln(1/V) = ln V.",
        ),
        ("V / 2: it needs half of the words on average.", "That counts guesses; it is no loss."),
    ),
    correct=1,
)

ten_times_rarer = Question(
    "Prediction: one word has a probability of 0.01 and then comes. Which loss does the model pay, "
    "compared with a word of probability 0.1?",
    (
        ("Ten times as much.", "Probabilities differ by a factor; their logarithms by a sum."),
        (
            "2.3 nats more.",
            "−ln 0.01 = 4.6, −ln 0.1 = 2.3: a factor of ten costs 2.3 nats.",
        ),
        ("0.09 more.", "That is the difference of the probabilities, not of their logarithms."),
    ),
    correct=1,
)


@exercise(
    "2.1",
    "Cross-entropy by hand",
    minutes=4,
    hints=(
        "For each word: how often must you halve 1 to get its probability?",
        "−log2(1/2) is 1 bit. How many bits are the other two, and what is the mean?",
        "(1 + 2 + 3) / 3.",
    ),
)
def by_hand(student):
    """A model gave the three words that came 1/2, 1/4 and 1/8. Give the bits per word."""
    mistakes = {
        "That is the sum of the three; cross-entropy is the mean over the words.": 6.0,
        "That is in nats; divide by ln 2 for bits.": 2 * math.log(2),
        "That is the sum, in nats; take the mean, and divide by ln 2 for bits.": 6 * math.log(2),
        "That takes the logarithm to base 10; bits need base 2.": 2 * math.log10(2),
        "That is −log2 of the mean probability; each word pays on its own.": -math.log2(7 / 24),
        "The sign: log p is negative, the loss is −log p.": -2.0,
        "That is the perplexity, 2 to the power of the bits.": 4.0,
        "That is the mean probability; take −log2 of each first.": 7 / 24,
        "That is the probability of all three together; give the mean of −log2.": 1 / 64,
    }
    expect_number(student.value, 2.0, tolerance=5e-4, mistakes=mistakes)
    return "Its perplexity is 2 ** 2 = 4: as hard as guessing among four equally likely words."


@exercise(
    "2.2",
    "Write the loss",
    minutes=12,
    hints=(
        "log softmax(z)_y = z_y − log Σ exp z; `torch.logsumexp` does the last part, stable.",
        "Keep only the places whose label is not IGNORE, then take the mean over them.",
        "`known = labels != IGNORE`, `rows = logits[known]`, and the mean of `rows.logsumexp(-1) - "
        "rows[torch.arange(len(rows)), labels[known]]`.",
    ),
)
def cross_entropy(student):
    """Return the mean of −log P(label) over labels that are not IGNORE: (..., V), (...) -> nats."""
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5], [0.3, 0.2, 0.1]])
    labels, more = torch.tensor([0, 2, IGNORE]), torch.tensor([1, 0, 2])
    two = logits[:2], labels[:2]
    _expect_loss(student, *two, _slips(*two))
    each = -logits.log_softmax(-1)
    known = each[0, 0] + each[1, 2]
    slips = {"The sum is divided by all places.": known / 3}
    slips |= {f"The ignored place counts as label {w}.": (known + each[2, w]) / 3 for w in range(3)}
    _expect_loss(student, logits, labels, slips, "the label −100 is IGNORE")
    batch = torch.stack([logits, logits.flip(-1)]), torch.stack([labels, more])
    rows = [losses.cross_entropy(*row) for row in zip(*batch, strict=True)]
    slips = {"Each label counts the same, whatever its row.": sum(rows) / 2}
    _expect_loss(student, *batch, slips, "any number of axes, the last is V")
    huge = torch.tensor([[1e4, 0.0], [0.0, -1e4]]), torch.tensor([1, 0])
    _expect_loss(student, *huge, {}, "exp(10000) is inf, exp(−10000) is 0; `logsumexp` avoids both")
    loss = student(logits.clone().requires_grad_(), labels)
    if not isinstance(loss, torch.Tensor) or loss.grad_fn is None:
        fail(
            f"expected a tensor that gradients can flow through, got {brief(loss)}; "
            "leave out `.item()`, `float(...)`, `.detach()` and `torch.no_grad()`"
        )
    return "The same function serves pretraining, fine-tuning and the reward model."


def _expect_loss(student, logits, labels, slips: dict[str, torch.Tensor], remark: str = "") -> None:
    right = float(losses.cross_entropy(logits, labels))
    try:
        got = student(logits, labels)
        if getattr(got, "ndim", 0):
            fail(f"expected one number, got {brief(got)}; take the mean over the places")
        expect_number(got, right, mistakes={text: float(slip) for text, slip in slips.items()})
    except Problem as problem:
        fail(problem.revealed + (f" ({remark})" if remark else ""))


def _slips(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    rows, log_p = torch.arange(len(labels)), logits.log_softmax(-1)
    each, probs = -log_p[rows, labels], log_p[rows, labels].exp()
    wrong_axis = logits.log_softmax(0)[rows, labels]
    return {
        "That is the sum; take the mean over the places.": each.sum(),
        "The sign: the loss is −log P.": -each.mean(),
        "That is the mean of P; the loss is that of −log P.": probs.mean(),
        "That is the mean of −P; the loss is that of −log P.": -probs.mean(),
        "Take the logarithm of each P, and then the mean.": -probs.mean().log(),
        "That is in bits; take the natural logarithm.": each.mean() / math.log(2),
        "These are −logits; make log-probabilities first.": -logits[rows, labels].mean(),
        "That is log Σ exp z; subtract the label's logit.": logits.logsumexp(-1).mean(),
        "That is the mean over all V words; take the label's alone.": -log_p.mean(),
        "`[:, labels]` takes every label in every row.": -log_p[:, labels].mean(),
        "The softmax runs over the places; V is the last axis.": -wrong_axis.mean(),
        "That is the perplexity; leave out the exp.": each.mean().exp(),
        "The sum is divided by V, not by the number of places.": each.sum() / logits.shape[-1],
        "The place with label 0 is left out; only IGNORE should be.": each[labels > 0].mean(),
    }


@exercise(
    "2.3",
    "Write its gradient",
    minutes=6,
    hints=(
        "What should the gradient be for a model that gives the true word probability 1?",
        "softmax(logits), and then 1 less at one place.",
        "`gradient = logits.softmax(-1)`, then `gradient[label] -= 1`.",
    ),
)
def gradient(student):
    """Return the gradient of −log softmax(logits)[label] by the logits: (V,), int -> (V,)."""
    for logits, label in ((torch.tensor([1, 0, -2, 0.5]), 1), (torch.tensor([0.3, -0.3, 2]), 2)):
        probs, one_hot = logits.softmax(-1), torch.eye(len(logits))[label]
        right = probs - one_hot
        mistakes = {
            "The sign: that points downhill; the gradient points uphill.": -right,
            "The one-hot part is missing.": probs,
            "The sign of the one-hot part: 1 less, not 1 more.": probs + one_hot,
            "Take 1 from the label's place alone.": probs - 1,
            "The label's place holds P − 1, not −1.": probs.where(one_hot == 0, -1),
            "That is 1 less one place too early; ids begin at 0.": probs - one_hot.roll(-1),
            "Make probabilities of the logits first.": logits - one_hot,
            "These are log-probabilities; leave out the logarithm.": probs.log() - one_hot,
            "That is the gradient by the probabilities, not the logits.": -one_hot / probs,
            "There is one loss, not a mean of V; do not divide.": right / len(logits),
        }
        expect_tensor(student(logits, label), right, mistakes=mistakes)
    return "It sums to 0: what the true word gains, the others lose."


def planted_held_out_loss(loss, batches):
    """The mean loss of batches with a planted bug; the page shows it as exercise 2.4."""
    losses = [float(loss(logits, labels)) for logits, labels in batches]
    return sum(losses) / len(losses)


@exercise(
    "2.4",
    "Find the planted bug: the mean of the means",
    minutes=8,
    hints=(
        "99 labels with loss 1 in one batch, a label with loss 11 in another: what is their mean?",
        "Weigh each batch's loss with its number of labels. Which labels do not count?",
        "Divide the weighted sum by `sum(counts)`, with "
        "`counts = [int((labels != IGNORE).sum()) for _, labels in batches]`.",
    ),
    planted=planted_held_out_loss,
)
def held_out_loss(student):
    """Mend the function: return the mean loss per label over all batches, whatever their sizes."""
    full = torch.tensor([[[2, 0], [0, 1]], [[3.0, 0], [0, 2]]]), torch.tensor([[0, 1], [1, 1]])
    short = torch.tensor([[[0, 1.5], [0, 0], [0, 0]]]), torch.tensor([[1, IGNORE, IGNORE]])
    batches = [full, short]  # 2 rows, then 1; 4 places, then 3; 4 labels, then 1
    first, last = (float(losses.cross_entropy(*batch)) for batch in batches)
    got = student(losses.cross_entropy, batches)
    mistakes = {
        "This gives the same as the function on the page: each batch counts the same, but each "
        "label should.": (first + last) / 2,
        "That counts rows, not labels.": (2 * first + last) / 3,
        "Labels that are IGNORE have no weight.": (4 * first + 3 * last) / 7,
        "Label 0 is a word, too; only IGNORE has no weight.": (3 * first + last) / 4,
        "That is the sum over the labels; divide by their number.": 4 * first + last,
        "Divide by the number of labels, not of batches.": (4 * first + last) / 2,
        "Labels that are IGNORE do not count when you divide.": (4 * first + last) / 7,
        "Divide by the number of labels, not of rows.": (4 * first + last) / 3,
        "Weigh each batch with its number of labels.": (first + last) / 5,
        "That is the first batch alone; is `return` inside the loop?": first,
        "That is the last batch alone.": last,
    }
    expect_number(got, (4 * first + last) / 5, mistakes=mistakes)
    expect_number(student(losses.cross_entropy, batches[:1]), first)
    return "A last, shorter batch is the usual place where this bug hides."


@exercise(
    "2.5",
    "Measure: after which word is the lab hardest to predict?",
    minutes=10,
    hints=(
        "For each place take the entropy of `lab.distributions(words)` and the word before it; "
        "each is a dict; its entropy is `-sum(p * math.log(p) for p in d.values())`.",
        "Group the entropies by the word before, take the mean of each group, then the largest.",
        "`chances = list(lab.distributions(words))[1:]`; `zip(words, chances)` pairs each word "
        "with what can follow it.",
    ),
)
def hardest_word(student):
    """Give the word that came 100 times or more after which the mean entropy is highest.

    The start mark `<s>` and the signs count as words.
    """
    answer, after = student.value, _entropies_after()
    mean = {word: sum(entropies) / len(entropies) for word, entropies in after.items()}
    if not isinstance(answer, str):
        fail(f"expected a word in quotation marks, got {brief(answer)}")
    if answer not in lab.vocabulary().ids:
        fail(f"expected another word, got {brief(answer)}. The lab has no such word.")
    if answer not in mean:
        fail(f"expected another word, got {brief(answer)}. It came fewer than 100 times.")
    if answer == max(after, key=lambda word: sum(after[word])):
        fail(f"expected another word, got {brief(answer)}. It has the largest sum; take the mean.")
    if answer != max(mean, key=mean.get):
        fail(
            f"expected another word, got {brief(answer)}. After it the mean is "
            f"{mean[answer]:.2f} nats; after another word it is higher."
        )
    return f"{max(mean.values()):.2f} nats on average; no model, however large, pays less there."


@cache
def _entropies_after() -> dict[str, list[float]]:
    words = lab.sample(60_000, torch.Generator().manual_seed(0))
    after: dict[str, list[float]] = {}
    for word, chances in zip(words, list(lab.distributions(words))[1:], strict=True):
        after.setdefault(word, []).append(-sum(p * math.log(p) for p in chances.values()))
    return {word: entropies for word, entropies in after.items() if len(entropies) >= 100}
