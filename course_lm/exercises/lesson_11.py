"""Exercises of lesson 11: how does a preference become behaviour?"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from course_lm.rlhf.advantages import gae, whiten
from course_lm.rlhf.policy import clipped_objective

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
from .lesson_10 import expect_finite, expect_pull, pair_slips
from .quiz import Question
from .sentences import brief

no_price = Question(
    "Prediction: without a penalty, β = 0, the policy long follows the reward model. What "
    "becomes of the proxy, which it is told to raise, and of the gold reward?",
    (
        (
            "Both rise: the reward model has learned what people want.",
            "Near the texts that were compared. Nothing keeps the policy there.",
        ),
        (
            "The proxy rises and stays high, the gold reward falls behind.",
            "What the reward model wrongly likes is found as well, and then it pays best.",
        ),
        (
            "Both fall: without a penalty the policy forgets how to speak.",
            "It may; but the proxy is the very thing that each step raises.",
        ),
    ),
    correct=1,
)

which_direction = Question(
    "Responses are drawn from the policy π, and log π − log π_ref is averaged. Which KL is that, "
    "and what does it punish?",
    (
        (
            "KL(π_ref ‖ π): not to say what the reference would say.",
            "For that the responses would have to be drawn from the reference.",
        ),
        (
            "KL(π ‖ π_ref): to say what the reference would hardly say.",
            "Where π says something that π_ref finds unlikely, log π − log π_ref is large.",
        ),
        (
            "Both: a distance is the same in the two directions.",
            "KL is no distance: the two directions weigh with different distributions.",
        ),
    ),
    correct=1,
)

best_of_sixteen = Question(
    "Somebody draws 16 responses from the reference and keeps the one of the highest reward. How "
    "far from the reference can that policy be, KL in nats?",
    (
        (
            "16 nats: every draw takes it one further.",
            "Twice as many draws add at most ln 2 when n is large.",
        ),
        (
            "ln 16 − 15/16, about 1.8 nats.",
            "Being the best of n makes a response at most n times as likely, and only the very "
            "best so much.",
        ),
        (
            "0: all responses are the reference's own.",
            "They are; but which of them is kept is no longer left to chance.",
        ),
    ),
    correct=1,
)


def _expect(got: object, right: Tensor, slips: dict[str, Tensor]) -> None:
    """`got` is `right`; slips that give the same are left out."""
    same = {k for k, v in slips.items() if v.shape == right.shape and v.allclose(right, atol=1e-4)}
    expect_tensor(got, right, mistakes={k: v for k, v in slips.items() if k not in same})


@exercise(
    "11.1",
    "Advantages by hand",
    minutes=5,
    hints=(
        "For each response: what did the other three get on average?",
        "The first: the others have 0.5, −1 and −1, on average −0.5. How much better is 2?",
        "`r - (total - r) / 3`, for each of the four.",
    ),
)
def by_hand(student):
    """Four responses to one prompt have the rewards 2, 0.5, −1, −1. Give the four advantages.

    The baseline of each is the mean reward of the other three.
    """
    rewards = torch.tensor([2.0, 0.5, -1.0, -1.0])
    total, mean = rewards.sum(), rewards.mean()
    others_mean = (total - rewards) / 3
    mistakes = {
        "Those are the rewards; subtract the baseline of each.": rewards,
        "Those are the baselines; subtract each from its reward.": others_mean,
        "The sign: reward minus baseline.": others_mean - rewards,
        "The baseline is subtracted, not added.": rewards + others_mean,
        "The baseline holds the response itself; take the mean of the other three.": rewards - mean,
        "That is the sum of the others; their baseline is the mean.": rewards - (total - rewards),
        "The others are three; divide their sum by 3, not by 4.": rewards - (total - rewards) / 4,
        "That is GRPO's, divided by the standard deviation.": (rewards - mean) / rewards.std(),
        "That compares with the best response alone.": rewards - rewards.max(),
    }
    right = rewards - others_mean
    expect_tensor(student.value, right.tolist(), tolerance=1e-3, mistakes=mistakes)
    return "They sum to 0: all that counts is which of the four was better, and by how much."


@exercise(
    "11.2",
    "Write the KL estimator",
    minutes=8,
    hints=(
        "The policy has drawn the tokens. How much likelier is each to it than to the reference?",
        "log π − log π_ref of a response is the sum over its tokens; the KL is its mean.",
        "`(log_probs - reference).sum(1).mean()`.",
    ),
)
def kl(student):
    """Estimate KL(π ‖ π_ref) of a response: (B, R) twice -> one number, in nats.

    log_probs, reference: of the tokens that the policy has drawn, 0 where a row has no token. The
    plain estimate, the mean over rows of log π − log π_ref.
    """
    for log_probs, reference in (
        ([[-0.5, -1.0, -0.2], [-2.0, -0.1, 0.0]], [[-1.5, -0.7, -0.9], [-2.5, -1.1, 0.0]]),
        ([[-1.2, -0.3], [-0.4, 0.0], [-0.9, -2.0]], [[-0.2, -0.5], [-0.3, 0.0], [-0.8, -0.6]]),
        ([[-0.7], [-0.7], [-1.4], [-1.4]], [[-1.4], [-1.4], [-1.4], [-0.7]]),
    ):
        log_probs, reference = torch.tensor(log_probs), torch.tensor(reference)
        right, slips = _kl_slips(log_probs, reference)
        got = one_number(student(log_probs, reference))
        if isinstance(got, Tensor) and got.numel() > 1:
            fail(f"expected one number, got {brief(got)}; sum over a row, then mean over the rows")
        expect_number(got, float(right), mistakes=others(slips, right))
    return "From a few responses it may be below 0; from many it comes near the KL, which is not."


def _kl_slips(log_probs: Tensor, reference: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The right estimate, and what the usual errors give."""
    ratio, known = log_probs - reference, log_probs != 0
    rows = ratio.sum(1)
    right = rows.mean()
    return right, {
        "The direction: log π of the policy comes first, minus that of the reference.": -right,
        "The direction: that weighs the draws so that it estimates KL(π_ref ‖ π).": (
            (-rows * (-rows).exp()).mean()
        ),
        "That weighs with π a second time: the tokens have been drawn from it.": (
            (log_probs.exp() * ratio).sum(1).mean()
        ),
        "That is `kl_div` of two whole distributions; here are the drawn tokens alone.": (
            (reference.exp() * -ratio).sum(1).mean()
        ),
        "That is per place, and counts those without a token; sum over a row first.": ratio.mean(),
        "That is per token; the KL of a response is the sum over its tokens.": ratio[known].mean(),
        "That is the sum over all rows; take their mean.": ratio.sum(),
        "Sum over a row, mean over the rows; not the other way round.": ratio.sum(0).mean(),
        "Take no absolute values: high and low have to cancel.": ratio.abs().sum(1).mean(),
        "Do not cut off the sum below 0; an estimate may be.": right.clamp(min=0),
        "That is k3, another estimate of the same KL; here the plain one is asked.": (
            ((-ratio).expm1() + ratio).sum(1).mean()
        ),
        "That is half the square (k2); take the log-ratio itself.": ratio.square().sum(1).mean()
        / 2,
        "Those are differences of probabilities; take those of their logarithms.": (
            (log_probs.exp() - reference.exp()).sum(1).mean()
        ),
        "That sees the policy alone; subtract the reference.": log_probs.sum(1).mean(),
    }


@exercise(
    "11.3",
    "Write the advantages of PPO",
    minutes=15,
    hints=(
        "First δ_t = r_t + V_{t+1} − V_t, with V 0 wherever `asked` is false: behind the last "
        "token nothing comes.",
        "Then from the last place to the first: A_t = δ_t + trace · A_{t+1}.",
        "`values = values * asked`; `after = torch.cat([values[:, 1:], zeros], 1)`; loop with "
        "`running = deltas[:, t] + trace * running`; at the end `* asked`.",
    ),
)
def advantages(student):
    """Generalised advantage estimation, no discount: (B, R) three times, trace -> (B, R).

    δ_t = r_t + V_{t+1} − V_t, A_t = δ_t + trace · A_{t+1}; r, V and A are 0 where `asked` is false.
    The rewards come like that, the values do not.
    """
    rng = torch.Generator().manual_seed(0)
    masks = (
        ([[0, 1, 1, 1, 0], [0, 0, 1, 1, 1]], 0.5),
        ([[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0], [0, 1, 0, 0, 0, 0]], 0.95),
        ([[1, 1, 1, 1]], 0.0),
        ([[0, 1, 1, 1], [0, 1, 1, 0]], 1.0),
    )
    for mask, trace in masks:
        asked = torch.tensor(mask).bool()
        rewards, values = torch.randn(2, *asked.shape, generator=rng)
        rewards = rewards * asked
        right = gae(rewards, values, asked, trace)
        slips = _gae_slips(rewards, values, asked, trace)
        _expect(student(rewards, values, asked, trace), right, slips)
    return "With trace 1 it is what came minus V; with 0 one reward and V's next word, minus V."


def _gae_slips(rewards: Tensor, values: Tensor, asked: Tensor, trace: float) -> dict[str, Tensor]:
    right, known = gae(rewards, values, asked, trace), values * asked
    after, unmasked_after = _next(known), _next(values)
    nothing = torch.zeros_like(values)
    return {
        "The trace is missing: that is what came minus V.": gae(rewards, values, asked, 1.0),
        "Those are the δ alone; add trace · A of the next place.": gae(rewards, values, asked, 0.0),
        "Behind the last token V is 0: multiply the values by `asked` first.": (
            _run((rewards + unmasked_after - values) * asked, trace) * asked
        ),
        "Behind the last token V is 0: multiply the values by `asked` before, not at the end.": (
            _run(rewards + unmasked_after - values, trace) * asked
        ),
        "Where `asked` is false an advantage is 0; multiply by it at the end.": (
            _run(rewards + after - known, trace)
        ),
        "Nothing is masked; V and A are 0 where `asked` is false.": (
            _run(rewards + unmasked_after - values, trace)
        ),
        "The values are not used.": gae(rewards, nothing, asked, trace),
        "δ has the next value in it, too: r_t + V_{t+1} − V_t.": (
            _run((rewards - known) * asked, trace) * asked
        ),
        "The signs of δ: what comes next is added, what was expected subtracted.": (
            gae(rewards, -values, asked, trace)
        ),
        "The trace is no discount: V_{t+1} counts whole in δ.": (
            _run((rewards + trace * after - known) * asked, trace) * asked
        ),
        "That runs from the first place to the last; A_t needs A_{t+1}.": (
            _run(((rewards + after - known) * asked).flip(1), trace).flip(1) * asked
        ),
        "Those are the critic's targets, A + V; give A.": right + known,
        "That is whitened; PPO does so afterwards.": whiten(right, asked),
        "The rewards are whitened before they are added up; that changes which text is better.": (
            gae(whiten(rewards, asked), values, asked, trace)
        ),
        "The sign: what came minus what was expected.": -right,
    }


def _next(values: Tensor) -> Tensor:
    """Each place's next value, 0 behind the last."""
    return torch.cat([values[:, 1:], torch.zeros(len(values), 1)], 1)


def _run(deltas: Tensor, trace: float) -> Tensor:
    """A_t = δ_t + trace · A_{t+1}, and nothing masked."""
    return gae(deltas, torch.zeros_like(deltas), torch.ones_like(deltas).bool(), trace)


@exercise(
    "11.4",
    "Write the clipped objective",
    minutes=15,
    hints=(
        "ρ = exp(log π − log π_before), and a second ρ that is held between 1 − clip and 1 + clip: "
        "`ratio.clamp(...)`.",
        "Multiply both by the advantages, and then take the smaller of the two at each place.",
        "`torch.minimum(ratio * advantages, held * advantages)[asked].mean()`.",
    ),
)
def clipped(student):
    """Return the mean of min(ρ A, held A) over the places that are asked: one number.

    log_probs, before, advantages, asked: (B, R). ρ = π(token) / π_before(token), and held is ρ
    between 1 − clip and 1 + clip. To be maximised.
    """
    cases = _clip_cases()
    for case in cases:
        slips = _clip_slips(*case)
        expect_mean(student(*case), clipped_objective(*case), slips, "places that are asked")
    for log_probs, *rest in cases:
        log_probs.requires_grad_()
        got = gradients(student(log_probs, *rest))
        (right,) = torch.autograd.grad(clipped_objective(log_probs, *rest), log_probs)
        if len(got) != 1 or not torch.allclose(got[0], right, atol=1e-6):
            fail(
                "expected a gradient through ρ, and 0 where ρ has left 1 ± clip in the direction "
                "of A, got another; leave out `.detach()` and `.data`"
            )
    return "Where ρ has moved far enough in the right direction, nothing pulls any more."


def _clip_cases() -> list[tuple[Tensor, Tensor, Tensor, Tensor, float]]:
    """Both signs of A, with ρ on all sides of 1 ± clip."""
    rng = torch.Generator().manual_seed(1)
    cases = []
    for mask, clip in (([[1, 1, 1, 1, 0], [0, 1, 1, 0, 0]], 0.2), ([[0, 1, 1], [1, 1, 1]], 0.1)):
        asked = torch.tensor(mask).bool()
        log_probs = -torch.rand(asked.shape, generator=rng) - 0.2
        before = log_probs - torch.randn(asked.shape, generator=rng) / 2
        cases.append((log_probs, before, torch.randn(asked.shape, generator=rng), asked, clip))
    log_probs = torch.full((1, 6), -1.0)
    before = log_probs - torch.tensor([[0.5, 0.5, -0.5, -0.5, 0.1, -0.1]])
    both = torch.tensor([[2.0, -1.0, 1.0, -3.0, 1.5, -0.5]])
    return [*cases, (log_probs, before, both, torch.ones(1, 6).bool(), 0.2)]


def _clip_slips(
    log_probs: Tensor, before: Tensor, advantages: Tensor, asked: Tensor, clip: float
) -> dict[str, Tensor]:
    """What the usual errors give."""
    difference, weights = log_probs - before, asked.float()
    ratio = difference.exp()
    held = ratio.clamp(1 - clip, 1 + clip)
    free, tied = ratio * advantages, held * advantages
    each = torch.minimum(free, tied)
    sums = (each * weights).sum(1)
    means = sums / weights.sum(1)

    def of(ratio: Tensor, held: Tensor) -> Tensor:
        return torch.minimum(ratio * advantages, held * advantages)[asked].mean()

    def clipped(ratio: Tensor, clip: float = clip) -> Tensor:
        return of(ratio, ratio.clamp(1 - clip, 1 + clip))

    return {
        "Nothing is clipped: that is the mean of ρ A.": free[asked].mean(),
        "That clips always; take the smaller of ρ A and held A.": tied[asked].mean(),
        "Take the smaller of the two, not the larger.": torch.maximum(free, tied)[asked].mean(),
        "Multiply by A first, then take the smaller: below 0 that is another one.": (
            (torch.minimum(ratio, held) * advantages)[asked].mean()
        ),
        "That is the loss; the objective has no minus.": -each[asked].mean(),
        "ρ is upside down: the policy as it is now over the policy before.": clipped(1 / ratio),
        "The difference of the log-probabilities is log ρ; take exp.": clipped(difference),
        "ρ is no ratio of log-probabilities: subtract them, then exp.": clipped(log_probs / before),
        "That is log π · A, and nothing clipped.": (log_probs * advantages)[asked].mean(),
        "That clips log ρ; clip ρ.": of(ratio, difference.clamp(-clip, clip).exp()),
        "ρ is held between −clip and clip; it lies around 1.": of(ratio, ratio.clamp(-clip, clip)),
        "The clip is not always 0.2; use `clip`.": clipped(ratio, 0.2),
        "That counts every place; take the mean where `asked` is true.": each.mean(),
        "The sum is over `asked`; divide by how many those are.": (each * weights).mean(),
        "The sum has all places; take those that are asked.": each.sum() / weights.sum(),
        "That is the sum; take the mean.": each[asked].sum(),
        "That is a mean of the rows' means; every token counts the same.": means.mean(),
        "That is the mean of the rows' sums; every token counts the same.": sums.mean(),
    }


@exercise(
    "11.5",
    "Write the DPO loss",
    minutes=8,
    hints=(
        "β times a log-ratio is the reward that the policy implies. Which loss did rewards have?",
        "−log σ of the difference of the two implied rewards, then the mean.",
        "`-torch.nn.functional.logsigmoid(beta * (chosen - rejected)).mean()`.",
    ),
)
def dpo(student):
    """Return the mean of −log σ(β (chosen − rejected)): (N,), (N,), β -> one number, in nats.

    chosen, rejected: log π(y|x) − log π_ref(y|x) of whole responses. It has to stay finite for
    differences of 1,000 and more.
    """
    for chosen, rejected, beta in (
        ([2.0, 0.5, -1.0], [0.7, 1.5, -3.0], 0.4),
        ([3.0, -2.0], [-1.0, 2.5], 0.1),
        ([0.4], [0.9], 2.0),
    ):
        chosen, rejected = torch.tensor(chosen), torch.tensor(rejected)
        margins = chosen - rejected
        slips = _dpo_slips(chosen, rejected, beta)
        got = student(chosen, rejected, beta)
        expect_mean(got, softplus(-beta * margins).mean(), slips, "comparisons")
    chosen, rejected = torch.tensor([1000.0, -1000.0, 0.0]), torch.tensor([-1000.0, 1000.0, 0.0])
    expect_finite(student(chosen, rejected, 0.5), (1000 + math.log(2)) / 3)
    chosen, rejected = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([1.0, 1.5, -3.0])
    loss = student(chosen.requires_grad_(), rejected.requires_grad_(), 0.5)
    expect_pull(loss, -0.5 * (0.5 * (rejected - chosen)).sigmoid() / 3)
    return "The loss of the reward model, with a policy in its place: no reward model is needed."


def _dpo_slips(chosen: Tensor, rejected: Tensor, beta: float) -> dict[str, Tensor]:
    """What the usual errors give."""
    margins = chosen - rejected

    def of(scaled: Tensor) -> Tensor:
        return softplus(-scaled).mean()

    return {
        "β is missing; it multiplies the difference.": of(margins),
        "β belongs inside σ, not before the loss.": beta * of(margins),
        "β multiplies, it does not divide.": of(margins / beta),
        "β counts once.": of(beta**2 * margins),
        "β belongs to both, not to the chosen one alone.": of(beta * chosen - rejected),
        "That sees the chosen response alone.": of(beta * chosen),
        "The two are added; take the difference.": of(beta * (chosen + rejected)),
        "Each has a loss of its own; compare the two first.": (
            of(beta * chosen) + of(-beta * rejected)
        ),
        "That is the squared loss of IPO.": (margins - 1 / (2 * beta)).square().mean(),
    } | pair_slips(beta * margins)


def planted_shaped(rewards, log_ratio, asked, beta):
    """Rewards with the penalty, with a planted bug; the page shows it as exercise 11.6."""
    last = asked & (asked.flip(1).cumsum(1).flip(1) == 1)
    return last * rewards[:, None] + beta * log_ratio


@exercise(
    "11.6",
    "Find the planted bug: paid for leaving",
    minutes=8,
    hints=(
        "`log_ratio` is log π − log π_ref. Is it above or below 0 for a token that the reference "
        "would hardly say?",
        "Above 0, and a penalty takes something away. What does the function do with it?",
        "The last line: minus in place of plus.",
    ),
    planted=planted_shaped,
)
def shaped(student):
    """Mend it: the reward at the last token of a response, and the penalty at every token, (B, R).

    rewards: (B,). log_ratio: log π − log π_ref, (B, R), 0 where `asked` is false. beta: the
    price of a nat.
    """
    rng = torch.Generator().manual_seed(0)
    for mask, beta in (
        ([[0, 1, 1, 1, 0], [0, 0, 1, 1, 1]], 0.5),
        ([[1, 1, 0], [0, 1, 0]], 0.1),
        ([[0, 0, 1, 1]], 2.0),
    ):
        asked = torch.tensor(mask).bool()
        rewards = torch.randn(len(asked), generator=rng) + 1.5
        log_ratio = torch.randn(asked.shape, generator=rng) * asked
        slips = _shaped_slips(rewards, log_ratio, asked, beta)
        _expect(student(rewards, log_ratio, asked, beta), slips.pop(""), slips)
    return "With the bug each nat of KL is paid for, and the policy runs away from the reference."


def _shaped_slips(
    rewards: Tensor, log_ratio: Tensor, asked: Tensor, beta: float
) -> dict[str, Tensor]:
    """What the usual errors give; the right rewards under ""."""
    last = asked & (asked.flip(1).cumsum(1).flip(1) == 1)
    end = torch.zeros_like(asked)
    end[:, -1] = True
    given = last * rewards[:, None]
    return {
        "": given - beta * log_ratio,
        "This gives the same as the function on the page: the penalty is added.": (
            planted_shaped(rewards, log_ratio, asked, beta)
        ),
        "The penalty is missing.": given,
        "The reward is missing.": -beta * log_ratio,
        "β is missing.": given - log_ratio,
        "β is the price of the KL, not of the reward.": beta * given - log_ratio,
        "β belongs to the KL alone, not to the reward.": beta * (given - log_ratio),
        "β multiplies, it does not divide.": given - log_ratio / beta,
        "Take no absolute value: its mean would be no KL.": given - beta * log_ratio.abs(),
        "The reward comes once, at the last token.": asked * rewards[:, None] - beta * log_ratio,
        "A row may be filled up behind the last token.": end * rewards[:, None] - beta * log_ratio,
        "Each token pays its own part of the KL; here the last one pays for all.": (
            last * (rewards - beta * log_ratio.sum(1))[:, None]
        ),
        "Every token pays its part of the KL, not the last alone.": (
            last * (rewards[:, None] - beta * log_ratio)
        ),
        "The reward stands at every place, beyond the response, too; it comes once, at the end.": (
            rewards[:, None] - beta * log_ratio
        ),
        "The last token pays its part of the KL, too.": torch.where(last, given, -beta * log_ratio),
        "Now the reward is subtracted.": -given - beta * log_ratio,
    }


def planted_drawn(logits, tokens, temperature):
    """How likely the drawn tokens were, with a planted bug; the page shows it as exercise 11.7."""
    log_probs = logits.log_softmax(-1) / temperature
    return log_probs.gather(-1, tokens[..., None])[..., 0]


@exercise(
    "11.7",
    "Find the planted bug: another temperature",
    minutes=8,
    hints=(
        "Print the sum of `log_probs.exp()` over the vocabulary for temperatures 1 and 0.5.",
        "What is divided after the softmax no longer sums to 1. What did the sampler divide?",
        "It divides the logits, and then takes the softmax.",
    ),
    planted=planted_drawn,
)
def drawn(student):
    """Mend it: log P of tokens drawn with this temperature: (B, T, V), (B, T), number -> (B, T).

    The sampler draws from softmax(logits / temperature).
    """
    rng = torch.Generator().manual_seed(0)
    for temperature, shape in ((0.5, (2, 3, 4)), (2.0, (1, 4, 4)), (1.0, (2, 1, 5))):
        logits = 2 * torch.randn(shape, generator=rng)
        tokens = torch.randint(shape[-1], shape[:-1], generator=rng)
        slips = _drawn_slips(logits, tokens, temperature)
        _expect(student(logits, tokens, temperature), slips.pop(""), slips)
    return "With the bug the chances do not sum to 1, so that ρ and the KL belong to no policy."


def _drawn_slips(logits: Tensor, tokens: Tensor, temperature: float) -> dict[str, Tensor]:
    """What the usual errors give; the right log-probabilities under ""."""

    def of(scores: Tensor) -> Tensor:
        return scores.gather(-1, tokens[..., None])[..., 0]

    right = (logits / temperature).log_softmax(-1)
    return {
        "": of(right),
        "This gives the same as the function on the page: it divides after the softmax.": (
            planted_drawn(logits, tokens, temperature)
        ),
        "The temperature is missing.": of(logits.log_softmax(-1)),
        "Divide the logits, do not multiply.": of((logits * temperature).log_softmax(-1)),
        "Divide before the softmax, not multiply after.": of(logits.log_softmax(-1) * temperature),
        "The temperature counts twice.": of(right / temperature),
        "The softmax is missing: those are logits.": of(logits / temperature),
        "Those are probabilities; give their logarithms.": of(right.exp()),
        "That is every token of the vocabulary; take the drawn ones.": right,
        "One axis too many: take `[..., 0]` behind `gather`.": of(right)[..., None],
        "The softmax runs over the wrong axis; the vocabulary is the last.": (
            of((logits / temperature).log_softmax(1))
        ),
    }
