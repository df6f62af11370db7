"""Exercises of lesson 10: what do people prefer, and can a model learn it?"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .checking import exercise
from .expect import (
    expect_mean,
    expect_number,
    expect_tensor,
    fail,
    gradients,
    one_number,
    others,
)
from .quiz import Question
from .sentences import brief

five_more = Question(
    "Prediction: somebody adds 5 to every reward that the model gives. In which comparisons does "
    "the model now foretell another choice?",
    (
        (
            "In all: every response is liked better than before.",
            "Both responses of a comparison are, by the same 5.",
        ),
        (
            "In those where both rewards were below 0.",
            "A reward has no zero: nobody was asked how good a response is, only which is better.",
        ),
        ("In none.", "σ(r₁ + 5 − r₂ − 5) = σ(r₁ − r₂): comparisons see differences alone."),
    ),
    correct=2,
)

above_the_ceiling = Question(
    "An annotator prefers the better response with a chance of 0.8, in every comparison. Can a "
    "model be expected to foretell more than 80 % of their new votes?",
    (
        (
            "Yes, with enough votes to learn from.",
            "Votes tell the model what the chances are, and not how the next coin will fall.",
        ),
        (
            "No.",
            "The best guess is the likelier side each time, and that comes true in 80 % of them.",
        ),
        (
            "Yes: a model has no noise of its own.",
            "The noise is in what is foretold, and no model takes it out.",
        ),
    ),
    correct=1,
)

longer_and_longer = Question(
    "Prediction: the annotator likes long responses a little, beside right and kind ones. A reward "
    "model learns from their votes. What does it do?",
    (
        (
            "The same as with an honest annotator: a small bias averages out.",
            "Noise averages out over many votes; a bias points the same way in each of them.",
        ),
        (
            "It scores longer responses higher, whether or not more is said.",
            "The reward model has learned what the votes show, and a word more always pays.",
        ),
        (
            "Nothing new: no response of the training data was too long.",
            "It scores responses that nobody has compared, too, and pays for their length.",
        ),
    ),
    correct=1,
)


def expect_finite(got: object, right: float) -> None:
    """`got` is the mean of −log σ for margins so large that σ is 0 in floating point."""
    got = one_number(got)
    try:
        number = float(got)
    except (TypeError, ValueError, RuntimeError):
        number = right  # `expect_number` says what is wrong
    if not math.isfinite(number):
        fail(
            f"expected {brief(right)}, got {brief(number)}. For large differences exp is inf and σ "
            "is 0 in floating point, so that the log is infinite; `logsigmoid` avoids both"
        )
    if number < right - 1:
        fail(
            f"expected {brief(right)}, got {brief(number)}. A loss that is cut off, or a small "
            "number added before the log, hides how wrong a model is; use `logsigmoid`"
        )
    expect_number(got, right)


def expect_pull(loss: object, down: Tensor) -> None:
    """The gradient of `loss` is `down` for what was chosen, and the opposite for the rejected."""
    got = gradients(loss)
    wanted = torch.stack([down, -down])
    if len(got) != 2 or not torch.stack(got).allclose(wanted, rtol=1e-4, atol=1e-5):
        fail(
            "expected a gradient that raises what was chosen by as much as it lowers what was "
            "rejected, got another; leave out `.detach()` and `.data`"
        )


def pair_slips(margins: Tensor) -> dict[str, Tensor]:
    """What the usual errors give where −log σ(margins) is to be averaged, (N,)."""
    chances, losses = margins.sigmoid(), softplus(-margins)
    return {
        "The sign: a loss is −log, and never below 0.": -losses.mean(),
        "Chosen and rejected have changed places.": softplus(margins).mean(),
        "That is the logarithm of the mean; take the mean of the logarithms.": (
            -chances.mean().log()
        ),
        "That is σ of the mean difference; each comparison has a loss of its own.": (
            softplus(-margins.mean())
        ),
        "That is the sum; take the mean over the comparisons.": losses.sum(),
        "That is the mean chance; the loss is −log of each.": chances.mean(),
        "That is 1 minus the mean chance; the loss is −log of each.": 1 - chances.mean(),
        "That is the mean difference; the loss is −log σ of each.": margins.mean(),
        "That is the mean of exp(−difference); log(1 + ...) is missing around it.": (
            (-margins).exp().mean()
        ),
        "That is in bits; take the natural logarithm.": losses.mean() / math.log(2),
        "That is a hinge, max(0, 1 − difference); the loss is −log σ.": (1 - margins).relu().mean(),
        "That is the share of wrong comparisons, which has no gradient.": (
            (margins < 0).float().mean()
        ),
    }


@exercise(
    "10.1",
    "One comparison by hand",
    minutes=4,
    hints=(
        "Only the difference of the two rewards counts.",
        "The chance is σ(difference) = 1 / (1 + exp(−difference)), the loss −log of the chance.",
        "`1 / (1 + math.exp(-1))`, and `-math.log` of that.",
    ),
)
def by_hand(student):
    """Chosen has the reward 2, rejected 1: give (chance, loss), three digits after the point.

    The chance that the model gives to the choice that was made, and its loss in nats.
    """
    chance, loss = torch.sigmoid(torch.tensor(1.0)).item(), math.log(1 + math.exp(-1))
    mistakes = {
        "The two have changed places: the chance first.": (loss, chance),
        "That is rounded too far; give three digits after the point.": (0.73, 0.31),
        "That is the chance that the other one is preferred.": (1 - chance, loss + 1),
        "The chance is right; the loss is −log of that chance, not of the other.": (
            chance,
            loss + 1,
        ),
        "The chance is right; a loss is −log p, which is never negative.": (chance, -loss),
        "The chance is right; the loss is −log of it, not 1 minus it.": (chance, 1 - chance),
        "The chance is right; the loss is in bits, take the natural logarithm.": (
            chance,
            loss / math.log(2),
        ),
        "Rewards are no shares: 2 / (2 + 1) would change if 5 were added to both.": (
            2 / 3,
            math.log(3 / 2),
        ),
        "That is σ of the chosen reward alone; take the difference.": (
            1 / (1 + math.exp(-2)),
            math.log(1 + math.exp(-2)),
        ),
        "Give a chance from 0 to 1, not per cent.": (100 * chance, loss),
    }
    expect_tensor(student.value, [chance, loss], tolerance=4e-4, mistakes=mistakes)
    return "With 7 and 6 both numbers are the same: only the difference counts."


@exercise(
    "10.2",
    "Write the loss of the reward model",
    minutes=10,
    hints=(
        "One difference for each comparison first: `chosen - rejected`, (N,).",
        "Then −log σ of each, then the mean. σ(−1000) is 0 in floating point, and its log −∞.",
        "`torch.nn.functional.logsigmoid` keeps the logarithm finite; mind the sign.",
    ),
)
def bradley_terry(student):
    """Return the mean of −log σ(chosen − rejected): (N,), (N,) -> one number, in nats.

    It has to stay finite for differences of 1,000 and more.
    """
    for chosen, rejected in (
        ([2.0, 0.5, -1.0], [0.7, 1.5, -3.0]),
        ([0.3, -0.2], [-1.2, 2.0]),
        ([4.0], [3.5]),
    ):
        chosen, rejected = torch.tensor(chosen), torch.tensor(rejected)
        margins = chosen - rejected
        slips = pair_slips(margins) | {
            "That sees the chosen reward alone; subtract the rejected one.": softplus(
                -chosen
            ).mean(),
            "The two rewards are added; take the difference.": softplus(-chosen - rejected).mean(),
        }
        expect_mean(student(chosen, rejected), softplus(-margins).mean(), slips, "comparisons")
    chosen, rejected = torch.tensor([1000.0, -1000.0, 0.0]), torch.tensor([-1000.0, 1000.0, 0.0])
    expect_finite(student(chosen, rejected), (2000 + math.log(2)) / 3)
    chosen, rejected = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([1.0, 1.5, -3.0])
    loss = student(chosen.requires_grad_(), rejected.requires_grad_())
    expect_pull(loss, -(rejected - chosen).sigmoid() / 3)
    return "It is cross-entropy once more: two rewards are two logits, and the label is the choice."


@exercise(
    "10.3",
    "Write the ceiling",
    minutes=6,
    hints=(
        "Somebody prefers the first with a chance of 0.9. What do you guess, and how often are "
        "you right? And with 0.2?",
        "The best guess is the likelier side: it comes true with the larger of p and 1 − p.",
        "The mean of `torch.maximum(chances, 1 - chances)`.",
    ),
)
def ceiling(student):
    """Return the share of votes that the best possible guesses foretell: (N,) -> one number.

    chances: P(the first is preferred) of each comparison.
    """
    for chances in ([0.9, 0.2, 0.5], [0.1, 0.3], [0.6], [0.99, 0.97, 0.02, 0.45, 0.7]):
        p = torch.tensor(chances)
        best = torch.maximum(p, 1 - p)
        entropy = -(p * p.log() + (1 - p) * (1 - p).log())
        slips = {
            "That is the mean chance; take the larger of p and 1 − p first each time.": p.mean(),
            "That is the mean chance of the second.": 1 - p.mean(),
            "That is how often the best guesses fail; give how often they come true.": (
                1 - best.mean()
            ),
            "That is how often the annotator agrees with themselves; a guess need not be drawn.": (
                (p**2 + (1 - p) ** 2).mean()
            ),
            "That is the best comparison alone; take the mean of all.": best.max(),
            "That is the sum; divide by the number of comparisons.": best.sum(),
            "Below ½ the guess is the second: count 1 − p there.": ((p > 0.5) * p).mean(),
            "That is how often the first is the likelier one.": (p > 0.5).float().mean(),
            "That is the distance of the chances from ½; add the half.": (p - 0.5).abs().mean(),
            "That is an entropy in nats; the ceiling is a share.": entropy.mean(),
            "That is the median; take the mean.": best.median(),
            "Give a share from 0 to 1, not per cent.": 100 * best.mean(),
        }
        expect_mean(student(p), best.mean(), slips, "comparisons")
    return "No model foretells more. One that comes near may still miss what seldom decides."


@exercise(
    "10.4",
    "Write Cohen's kappa",
    minutes=12,
    hints=(
        "First the agreement: the share of places at which both say the same.",
        "By chance both say v with P(one says v) · P(other says v); add that up over all votes.",
        "`one.count(v) / n * (other.count(v) / n)` for v in `set(one)`, then (agreement − chance) "
        "/ (1 − chance).",
    ),
)
def kappa(student):
    """Return κ = (agreement − chance) / (1 − chance) of two lists of votes: one number.

    Votes are "first", "second" and "tie", and nobody always says the same.
    """
    for one, other in (("fsffsft", "fssssst"), ("ffss", "fsss"), ("fffs", "fsff"), ("fst", "fst")):
        names = {"f": "first", "s": "second", "t": "tie"}
        one, other = ([names[letter] for letter in votes] for votes in (one, other))
        right, slips = _kappa_slips(one, other)
        got = one_number(student(one, other))
        expect_number(got, right, mistakes=others(slips, right))
    return "Two who click the first nine times in ten agree on 82 % by chance alone."


def _kappa_slips(one: Sequence[str], other: Sequence[str]) -> tuple[float, dict[str, float]]:
    """The right κ, and what the usual errors give."""
    n, kinds = len(one), sorted({*one, *other})
    agreed = sum(a == b for a, b in zip(one, other, strict=True)) / n
    shares = [(one.count(kind) / n, other.count(kind) / n) for kind in kinds]

    def beyond(chance: float) -> float:
        return (agreed - chance) / (1 - chance)

    chance = sum(a * b for a, b in shares)
    return beyond(chance), {
        "That is the agreement; take away what chance gives.": agreed,
        "That is what chance gives; κ is the agreement beyond it.": chance,
        "That is the share on which they differ.": 1 - agreed,
        "Divide by 1 − chance, so that full agreement is 1.": agreed - chance,
        "Divide by 1 − chance, not by chance.": (agreed - chance) / chance,
        "Divide the counts by n before you multiply: they are to be shares.": beyond(
            chance * n * n
        ),
        "The sign: agreement − chance.": -beyond(chance),
        "Chance is not always ½; it depends on how often each says what.": beyond(0.5),
        "Chance is not 1 over the kinds of votes; it depends on how often each says what.": (
            beyond(1 / len(kinds)) if len(kinds) > 1 else agreed
        ),
        "That takes the shares of the first person for both.": beyond(
            sum(a * a for a, _ in shares)
        ),
        "That takes the shares of the second person for both.": beyond(
            sum(b * b for _, b in shares)
        ),
        "That pools the votes of both (Scott's π); each has their own shares.": beyond(
            sum(((a + b) / 2) ** 2 for a, b in shares)
        ),
        "That counts chance for `first` alone; add all kinds of votes.": beyond(
            one.count("first") * other.count("first") / n**2
        ),
        "That leaves out the ties; a tie is a vote, too.": beyond(
            sum(a * b for kind, (a, b) in zip(kinds, shares, strict=True) if kind != "tie")
        ),
    }


def planted_pair_loss(rewards, labels):
    """The loss of comparisons with a planted bug; the page shows it as exercise 10.5."""
    chances = rewards.softmax(1).gather(1, labels[:, None])
    return -chances.mean().log()


@exercise(
    "10.5",
    "Find the planted bug: a loss that is too low",
    minutes=8,
    hints=(
        "Give it two comparisons, one with a chance of 0.98 and one of 0.02. What should be paid "
        "for the second?",
        "The loss is the mean of −log p. Which comes first here, the mean or the log?",
        "Swap them: the logarithm of each chance, then the mean.",
    ),
    planted=planted_pair_loss,
)
def pair_loss(student):
    """Mend it: rewards (N, 2), labels (N,) -> the mean of −log P(preferred), one number in nats.

    A label says which of the two was preferred, 0 or 1.
    """
    for rewards, labels in (
        ([[0.5, 1.0], [1.5, -0.5], [0.0, 3.0]], [1, 0, 0]),
        ([[2.0, -2.0], [2.0, -2.0]], [0, 1]),
        ([[1.0, 0.0]], [1]),
    ):
        rewards, labels = torch.tensor(rewards), torch.tensor(labels)
        margins = (rewards[:, 0] - rewards[:, 1]) * (1 - 2 * labels)
        slips = pair_slips(margins)
        known = next(said for said in slips if said.startswith("That is the logarithm of the mean"))
        first = softplus(rewards[:, 1] - rewards[:, 0]).mean()
        chances = rewards.log_softmax(1)
        slips = {
            "This gives the same as the function on the page: the mean comes before the log.": (
                slips.pop(known)
            ),
            "The sign: −log of the mean was minus already; the mean of the logs needs one.": (
                slips.pop("The sign: a loss is −log, and never below 0.")
            ),
            "The softmax is missing: a reward is no log-probability.": (
                -rewards.gather(1, labels[:, None]).mean()
            ),
            "That takes the first as preferred each time; use the labels.": first,
            "That takes the second as preferred each time; use the labels.": (
                first + (rewards[:, 0] - rewards[:, 1]).mean()
            ),
            "That is the mean over both columns; take the one of the label.": -chances.mean(),
            "That adds the losses of both sides; take the one of the label.": -chances.sum(
                1
            ).mean(),
        } | slips
        expect_mean(student(rewards, labels), softplus(-margins).mean(), slips, "comparisons")
    return "With the bug one sure choice hides a bad one: it pays for the mean, not for each."


@exercise(
    "10.6",
    "Measure: what is a word worth?",
    minutes=12,
    hints=(
        "Rewards have no zero, and their scale is that of the votes' noise. So there are three "
        "unknowns: how much a gold point adds, how much a word adds, and a constant.",
        "Least squares: `columns = torch.stack([gold, lengths, torch.ones_like(gold)], 1)` and "
        "`torch.linalg.lstsq(columns, rewards[:, None]).solution`.",
        "The slope of the length divided by the slope of the gold reward.",
    ),
)
def worth_of_a_word(student):
    """Return what a word adds to the reward, in gold points: three times (N,) -> one number.

    rewards ≈ a · gold + b · lengths + c; the answer is b / a. Floating-point numbers, all of them.
    """
    for scale, worth, constant, seed in (
        (1.0, 0.1, -2.0, 0),
        (2.0, 0.25, 1.0, 1),
        (0.5, -0.05, 3.0, 2),
        (1.25, 0.0, -1.0, 3),
    ):
        rng = torch.Generator().manual_seed(seed)
        gold = torch.randint(-4, 5, (40,), generator=rng) / 2
        lengths = 12 + 2 * gold + torch.randint(-3, 4, (40,), generator=rng)
        rewards = scale * (gold + worth * lengths) + constant
        slips = _worth_slips(rewards, gold, lengths, scale, worth)
        got = one_number(student(rewards, gold, lengths))
        expect_number(got, worth, tolerance=1e-3, mistakes=others(slips, worth))
    return "An honest annotator gives 0, up to noise. Try it on the reward model of this page."


def _worth_slips(
    rewards: Tensor, gold: Tensor, lengths: Tensor, scale: float, worth: float
) -> dict[str, float]:
    ones = torch.ones_like(gold)

    def solved(*columns: Tensor) -> list[float]:
        return torch.linalg.lstsq(torch.stack(columns, 1), rewards[:, None]).solution[:, 0].tolist()

    alone, no_constant = solved(lengths, ones)[0], solved(gold, lengths)
    both = torch.corrcoef(torch.stack([lengths, rewards]))[0, 1].item()
    return {
        "That is the slope in the model's own units; divide by the slope of the gold reward.": (
            scale * worth
        ),
        "Right responses are longer here: let the fit know the gold reward, too.": alone,
        "The zero of the rewards is arbitrary: the fit needs a column of ones.": (
            no_constant[1] / no_constant[0]
        ),
        "That is the slope of the gold reward.": scale,
        "Turn it round: the slope of the length over that of the gold reward.": (
            1 / worth if worth else math.inf
        ),
        "That is a correlation, which has no unit; give what a word adds.": both,
        "The sign: what a word adds, not what it takes away.": -worth,
        "That is the mean reward per word; take slopes.": (rewards / lengths).mean().item(),
    }
