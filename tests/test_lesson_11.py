import math

import numpy
import pytest
import torch
from torch.nn import functional
from verdicts import said

from course_lm.exercises import lesson_11 as lesson
from course_lm.exercises.checking import Exercise
from course_lm.language.windows import IGNORE
from course_lm.rlhf import advantages, direct, optimum, policy
from course_lm.rlhf.rollouts import Rollouts

EXERCISES = [item for item in vars(lesson).values() if isinstance(item, Exercise)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- the questions ----


def test_the_best_of_sixteen_is_about_as_far_from_the_reference_as_the_question_says():
    """With many responses, each of another reward, the KL comes near its bound."""
    reference = torch.full((2_000,), 1 / 2_000).log()
    rewards = torch.randn(2_000, generator=seeded())
    best = optimum.best_of_n(reference, rewards, 16)
    _, kl = optimum.reward_and_kl(best, reference, rewards)
    bound = math.log(16) - 15 / 16
    assert bound - 0.05 < kl <= bound + 1e-5
    said_to_be = lesson.best_of_sixteen.options[lesson.best_of_sixteen.correct][0]
    assert said_to_be == f"ln 16 − 15/16, about {bound:.1f} nats."


def test_draws_of_the_policy_estimate_the_direction_that_the_question_says():
    pi, ref = (torch.randn(5, generator=seeded(seed)).log_softmax(0) for seed in (0, 1))
    drawn = torch.multinomial(pi.exp(), 50_000, replacement=True, generator=seeded(2))
    estimate = (pi - ref)[drawn].mean().item()
    forward, backward = (pi.exp() @ (pi - ref)).item(), (ref.exp() @ (ref - pi)).item()
    assert abs(estimate - forward) < 0.03 < abs(estimate - backward)
    assert "KL(π ‖ π_ref)" in lesson.which_direction.options[lesson.which_direction.correct][0]


# ---- 11.1 ----


FOUR = torch.tensor([2.0, 0.5, -1.0, -1.0])
BASELINES = torch.tensor([-0.5, 0.0, 0.5, 0.5])


@pytest.mark.parametrize(
    "answer",
    [
        [2.5, 0.5, -1.5, -1.5],
        (2.5, 0.5, -1.5, -1.5),
        FOUR - BASELINES,
        numpy.array([2.5, 0.5, -1.5, -1.5]),
        4 / 3 * (FOUR - FOUR.mean()),
    ],
)
def test_four_advantages_pass_as_any_kind_of_list(answer, capsys):
    assert "passed" in said(lesson.by_hand, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (FOUR, "Those are the rewards"),
        (BASELINES, "Those are the baselines"),
        (BASELINES - FOUR, "The sign: reward minus baseline"),
        (FOUR + BASELINES, "not added"),
        (FOUR - FOUR.mean(), "The baseline holds the response itself"),
        (FOUR - 3 * BASELINES, "the sum of the others"),
        (FOUR - 3 * BASELINES / 4, "not by 4"),
        (advantages.group_advantages(FOUR, 4), "That is GRPO's"),
        (FOUR - 2, "compares with the best response"),
        (2.5, "expected shape (4,)"),
        ([2.5, 0.5, -1.5], "expected shape (4,)"),
        ([2.5, 0.5, -1.5, 1.5], "at position 3, got 1.5 (1 of 4 differ)"),
        ("2.5", "expected"),
    ],
)
def test_wrong_advantages_by_hand_are_named(answer, words, capsys):
    out = said(lesson.by_hand, answer, capsys)
    assert words in out
    assert "not yet" in out


def rollouts_of(asked, ratio=None):
    """Rollouts in which these places are asked, and log π − log π_ref is this."""
    labels = torch.where(asked, 1, IGNORE)
    ratio = torch.zeros(asked.shape) if ratio is None else ratio
    return Rollouts(labels, labels, ratio, torch.zeros_like(ratio), [])


def test_the_advantages_by_hand_are_those_of_the_package():
    asked = torch.ones(4, 1, dtype=torch.bool)
    got = advantages.rloo(FOUR[:, None], rollouts_of(asked), 4, None)
    assert got.flatten().tolist() == pytest.approx([2.5, 0.5, -1.5, -1.5])


# ---- 11.2 ----


def kl_by_sums(log_probs, reference):
    return (log_probs - reference).sum(1).mean()


def kl_by_total(log_probs, reference):
    return (log_probs.sum() - reference.sum()) / len(log_probs)


def kl_by_python(log_probs, reference):
    rows = zip(log_probs.tolist(), reference.tolist(), strict=True)
    return sum(sum(one) - sum(other) for one, other in rows) / len(log_probs)


def kl_with_an_axis(log_probs, reference):
    return (log_probs - reference).sum(-1, keepdim=True).mean(0, keepdim=True)


@pytest.mark.parametrize("answer", [kl_by_sums, kl_by_total, kl_by_python, kl_with_an_axis])
def test_every_right_estimate_passes(answer, capsys):
    assert "passed" in said(lesson.kl, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda p, q: kl_by_sums(q, p), "log π of the policy comes first"),
        (lambda p, q: ((q - p).sum(1).exp() * (q - p).sum(1)).mean(), "it estimates KL(π_ref ‖ π)"),
        (lambda p, q: (p.exp() * (p - q)).sum(1).mean(), "weighs with π a second time"),
        (
            lambda p, q: functional.kl_div(p, q, log_target=True, reduction="batchmean"),
            "`kl_div` of two whole distributions",
        ),
        (lambda p, q: (p - q).mean(), "counts those without a token"),
        (lambda p, q: (p - q)[p != 0].mean(), "That is per token"),
        (lambda p, q: (p - q).sum(), "the sum over all rows"),
        (lambda p, q: (p - q).sum(0).mean(), "not the other way round"),
        (lambda p, q: (p - q).sum(1), "sum over a row, then mean over the rows"),
        (lambda p, q: (p - q).abs().sum(1).mean(), "no absolute values"),
        (lambda p, q: kl_by_sums(p, q).clamp(min=0), "an estimate may be"),
        (lambda p, q: ((q - p).exp() - 1 + p - q).sum(1).mean(), "That is k3"),
        (lambda p, q: (0.5 * (p - q) ** 2).sum(1).mean(), "half the square (k2)"),
        (lambda p, q: kl_by_sums(p.exp(), q.exp()), "differences of probabilities"),
        (lambda p, q: p.sum(1).mean(), "the policy alone"),
        (lambda p, q: p.sub_(q).sum(1).mean(), "changed its input"),
        (lambda p, q: str(p), "expected a number"),
    ],
)
def test_a_wrong_estimate_is_named(answer, words, capsys):
    assert words in said(lesson.kl, answer, capsys)


def test_the_estimate_of_draws_in_their_true_shares_is_the_exact_kl():
    """Three tokens, the policy (½, ¼, ¼) and the reference (¼, ¼, ½): KL = ¼ ln 2."""
    pi, ref = torch.tensor([0.5, 0.25, 0.25]).log(), torch.tensor([0.25, 0.25, 0.5]).log()
    drawn = torch.tensor([0, 0, 1, 2])
    exact = (pi.exp() @ (pi - ref)).item()
    assert kl_by_sums(pi[drawn][:, None], ref[drawn][:, None]).item() == pytest.approx(exact)
    assert exact == pytest.approx(math.log(2) / 4)


# ---- 11.3 ----


def gae_by_definition(rewards, values, asked, trace):
    """A_t = Σ_l trace^l δ_{t+l}, written out."""
    result = torch.zeros_like(rewards)
    for row, mask in enumerate(asked):
        places = mask.nonzero().flatten().tolist()
        for t in places:
            for s in (place for place in places if place >= t):
                after = values[row, s + 1] if s + 1 in places else 0.0
                delta = rewards[row, s] + after - values[row, s]
                result[row, t] += trace ** (s - t) * delta
    return result


def gae_by_mixing(rewards, values, asked, trace):
    """Returns: G_t = r_t + (1 − trace) V_{t+1} + trace G_{t+1}; A = G − V."""
    values, returns = values.masked_fill(~asked, 0.0), torch.zeros_like(values)
    after, later = torch.zeros(len(values)), torch.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        later = (rewards[:, t] + (1 - trace) * after + trace * later) * asked[:, t]
        returns[:, t], after = later, values[:, t]
    return returns - values


def gae_by_matrix(rewards, values, asked, trace):
    values = values * asked
    after = functional.pad(values, (0, 1))[:, 1:]
    steps = torch.arange(values.shape[1])
    powers = steps[:, None] - steps
    weights = torch.where(powers >= 0, float(trace) ** powers.clamp(min=0), 0.0)
    return torch.einsum("bs,st->bt", (rewards + after - values) * asked, weights) * asked


@pytest.mark.parametrize(
    "answer", [advantages.gae, gae_by_definition, gae_by_mixing, gae_by_matrix]
)
def test_every_right_gae_passes(answer, capsys):
    assert "passed" in said(lesson.advantages, answer, capsys)


def backward(deltas, trace):
    result, running = torch.zeros_like(deltas), torch.zeros(len(deltas))
    for t in reversed(range(deltas.shape[1])):
        running = deltas[:, t] + trace * running
        result[:, t] = running
    return result


def shifted(values):
    return functional.pad(values, (0, 1))[:, 1:]


def forward(r, v, m, trace):
    v = v * m
    result, running = torch.zeros_like(r), torch.zeros(len(r))
    deltas = (r + shifted(v) - v) * m
    for t in range(r.shape[1]):
        running = deltas[:, t] + trace * running
        result[:, t] = running
    return result * m


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda r, v, m, trace: advantages.gae(r, v, m, 1.0), "The trace is missing"),
        (lambda r, v, m, trace: (r + shifted(v * m) - v) * m, "Those are the δ alone"),
        (
            lambda r, v, m, trace: backward((r + shifted(v) - v) * m, trace) * m,
            "Behind the last token V is 0",
        ),
        (
            lambda r, v, m, trace: backward(r + shifted(v * m) - v * m, trace),
            "multiply by it at the end",
        ),
        (lambda r, v, m, trace: backward(r + shifted(v) - v, trace), "Nothing is masked"),
        (lambda r, v, m, trace: backward(r + shifted(v) - v, trace) * m, "before, not at the end"),
        (lambda r, v, m, trace: backward(r, trace) * m, "The values are not used"),
        (lambda r, v, m, trace: backward((r - v) * m, trace) * m, "δ has the next value in it"),
        (
            lambda r, v, m, trace: backward((r + v - shifted(v * m)) * m, trace) * m,
            "The signs of δ",
        ),
        (
            lambda r, v, m, trace: backward((r + trace * shifted(v * m) - v) * m, trace) * m,
            "The trace is no discount",
        ),
        (forward, "from the first place to the last"),
        (lambda r, v, m, trace: advantages.gae(r, v, m, trace) + v * m, "critic's targets"),
        (
            lambda r, v, m, trace: advantages.whiten(advantages.gae(r, v, m, trace), m),
            "That is whitened",
        ),
        (
            lambda r, v, m, trace: advantages.gae(advantages.whiten(r, m), v, m, trace),
            "The rewards are whitened before",
        ),
        (lambda r, v, m, trace: -advantages.gae(r, v, m, trace), "The sign"),
        (lambda r, v, m, trace: advantages.gae(r, v, m, trace).sum(1), "expected shape (2, 5)"),
        (lambda r, v, m, trace: advantages.gae(r, v, m, trace).tolist(), "expected a tensor"),
        (lambda r, v, m, trace: v.mul_(m) - r, "changed its input"),
        (lambda r, v, m: r, "expected a function of 4 arguments"),
    ],
)
def test_a_wrong_gae_is_named(answer, words, capsys):
    assert words in said(lesson.advantages, answer, capsys)


# ---- 11.4 ----


def by_minimum(log_probs, before, advantages, asked, clip=0.2):
    ratio = (log_probs - before).exp()
    held = ratio.clamp(1 - clip, 1 + clip)
    return torch.min(ratio * advantages, held * advantages)[asked].mean()


def by_weights(log_probs, before, advantages, asked, clip):
    ratio = log_probs.exp() / before.exp()
    held = torch.minimum(torch.maximum(ratio, torch.tensor(1 - clip)), torch.tensor(1 + clip))
    each = torch.stack([ratio * advantages, held * advantages]).amin(0)
    return (each * asked).sum() / asked.sum()


def by_sides(log_probs, before, advantages, asked, clip):
    """For A above 0 ρ is held from above, for A below 0 from below: Schulman's figure 1."""
    ratio = torch.exp(log_probs - before)
    held = torch.where(advantages > 0, ratio.clamp(max=1 + clip), ratio.clamp(min=1 - clip))
    return (held * advantages).masked_select(asked).mean(0, keepdim=True)


def as_a_loss(log_probs, before, advantages, asked, clip):
    """The maximum of two losses, turned round."""
    ratio = (log_probs - before).exp()
    losses = torch.max(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip))
    return -losses[asked].mean()


@pytest.mark.parametrize(
    "answer", [policy.clipped_objective, by_minimum, by_weights, by_sides, as_a_loss]
)
def test_every_right_objective_passes(answer, capsys):
    assert "passed" in said(lesson.clipped, answer, capsys)


def each(log_probs, before, advantages, clip):
    ratio = (log_probs - before).exp()
    return torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def with_ratio(change):
    """The objective of another ratio."""

    def answer(log_probs, before, advantages, asked, clip):
        ratio = change(log_probs, before)
        held = ratio.clamp(1 - clip, 1 + clip)
        return torch.min(ratio * advantages, held * advantages)[asked].mean()

    return answer


def with_held(change):
    """The objective of another clipped ratio."""

    def answer(log_probs, before, advantages, asked, clip):
        ratio = (log_probs - before).exp()
        held = change(ratio, clip)
        return torch.min(ratio * advantages, held * advantages)[asked].mean()

    return answer


def averaged(reduce):
    def answer(log_probs, before, advantages, asked, clip):
        return reduce(each(log_probs, before, advantages, clip), asked)

    return answer


def smaller_ratio(p, b, a, m, clip):
    ratio = (p - b).exp()
    return (torch.min(ratio, ratio.clamp(1 - clip, 1 + clip)) * a)[m].mean()


def larger(p, b, a, m, clip):
    ratio = (p - b).exp()
    return torch.max(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a)[m].mean()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda p, b, a, m, clip: ((p - b).exp() * a)[m].mean(), "Nothing is clipped"),
        (
            lambda p, b, a, m, clip: ((p - b).exp().clamp(1 - clip, 1 + clip) * a)[m].mean(),
            "That clips always",
        ),
        (larger, "not the larger"),
        (smaller_ratio, "Multiply by A first"),
        (averaged(lambda values, m: -values[m].mean()), "the objective has no minus"),
        (with_ratio(lambda p, b: (b - p).exp()), "ρ is upside down"),
        (with_ratio(lambda p, b: p - b), "is log ρ; take exp"),
        (with_ratio(lambda p, b: p / b), "no ratio of log-probabilities"),
        (lambda p, b, a, m, clip: (p * a)[m].mean(), "log π · A"),
        (with_held(lambda ratio, clip: ratio.log().clamp(-clip, clip).exp()), "That clips log ρ"),
        (with_held(lambda ratio, clip: ratio.clamp(-clip, clip)), "it lies around 1"),
        (with_held(lambda ratio, clip: ratio.clamp(0.8, 1.2)), "use `clip`"),
        (averaged(lambda values, m: values.mean()), "That counts every place"),
        (averaged(lambda values, m: (values * m).mean()), "divide by how many those are"),
        (averaged(lambda values, m: values.sum() / m.sum()), "The sum has all places"),
        (averaged(lambda values, m: values[m].sum()), "That is the sum"),
        (
            averaged(lambda values, m: ((values * m).sum(1) / m.sum(1)).mean()),
            "a mean of the rows' means",
        ),
        (averaged(lambda values, m: (values * m).sum(1).mean()), "the mean of the rows' sums"),
        (averaged(lambda values, m: values * m), "take the mean over the places that are asked"),
        (averaged(lambda values, m: values[m].mean().item()), "gradients can flow through"),
        (
            with_held(lambda ratio, clip: ratio.detach().clamp(1 - clip, 1 + clip)),
            "leave out `.detach()`",
        ),
        (lambda p, b, a, m: p, "expected a function of 5 arguments"),
        (lambda p, b, a, m, clip: p.sub_(b).exp().mean(), "changed its input"),
    ],
)
def test_a_wrong_objective_is_named(answer, words, capsys):
    out = said(lesson.clipped, answer, capsys)
    assert words in out
    assert "not yet" in out


# ---- 11.5 ----


def dpo_by_softplus(chosen, rejected, beta):
    return functional.softplus(beta * rejected - beta * chosen).mean()


def dpo_by_cross_entropy(chosen, rejected, beta):
    logits = beta * torch.stack([rejected, chosen], 1)
    return functional.cross_entropy(logits, torch.ones(len(chosen), dtype=torch.long))


def dpo_with_an_axis(chosen, rejected, beta):
    return -functional.logsigmoid((chosen - rejected) * beta).mean(-1, keepdim=True)


@pytest.mark.parametrize(
    "answer", [direct.dpo_loss, dpo_by_softplus, dpo_by_cross_entropy, dpo_with_an_axis]
)
def test_every_right_dpo_loss_passes(answer, capsys):
    assert "passed" in said(lesson.dpo, answer, capsys)


def log_sigma(margins):
    return functional.logsigmoid(margins).mean()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda c, r, beta: -log_sigma(c - r), "β is missing"),
        (lambda c, r, beta: -beta * log_sigma(c - r), "β belongs inside σ"),
        (lambda c, r, beta: -log_sigma((c - r) / beta), "it does not divide"),
        (lambda c, r, beta: -log_sigma(beta**2 * (c - r)), "β counts once"),
        (lambda c, r, beta: -log_sigma(beta * c - r), "not to the chosen one alone"),
        (lambda c, r, beta: -log_sigma(beta * c), "the chosen response alone"),
        (lambda c, r, beta: -log_sigma(beta * (c + r)), "The two are added"),
        (lambda c, r, beta: -log_sigma(beta * c) - log_sigma(-beta * r), "compare the two first"),
        (lambda c, r, beta: ((c - r - 0.5 / beta) ** 2).mean(), "the squared loss of IPO"),
        (lambda c, r, beta: log_sigma(beta * (c - r)), "The sign"),
        (lambda c, r, beta: -log_sigma(beta * (r - c)), "have changed places"),
        (lambda c, r, beta: -(beta * (c - r)).sigmoid().mean().log(), "the logarithm of the mean"),
        (lambda c, r, beta: 1 - (beta * (c - r)).sigmoid().mean(), "1 minus the mean chance"),
        (lambda c, r, beta: len(c) * dpo_by_softplus(c, r, beta), "That is the sum"),
        (lambda c, r, beta: functional.softplus(beta * (r - c)), "over the comparisons"),
        (
            lambda c, r, beta: -(beta * (c - r)).sigmoid().log().mean(),
            "`logsigmoid` avoids both",
        ),
        (
            lambda c, r, beta: -(beta * (c - r)).sigmoid().clamp(min=1e-20).log().mean(),
            "hides how wrong",
        ),
        (lambda c, r, beta: dpo_by_softplus(c, r, beta).item(), "gradients can flow through"),
        (lambda c, r, beta: dpo_by_softplus(c.detach(), r, beta), "leave out `.detach()`"),
        (lambda c, r, beta: {}, "expected a number"),
        (lambda c, r: c, "expected a function of 3 arguments"),
    ],
)
def test_a_wrong_dpo_loss_is_named(answer, words, capsys):
    out = said(lesson.dpo, answer, capsys)
    assert words in out
    assert "not yet" in out


# ---- 11.6 ----


def minus_in_place_of_plus(rewards, ratio, asked, beta):
    last = asked & (asked.flip(1).cumsum(1).flip(1) == 1)
    return last * rewards[:, None] - beta * ratio


def shaped_by_loops(rewards, ratio, asked, beta):
    result = torch.zeros_like(ratio)
    for row, reward in enumerate(rewards):
        places = asked[row].nonzero().flatten()
        result[row, places] = -beta * ratio[row, places]
        result[row, places[-1]] += reward
    return result


def shaped_by_scatter(rewards, ratio, asked, beta):
    last = (asked * torch.arange(asked.shape[1])).argmax(1, keepdim=True)
    return (-beta * ratio).scatter_add(1, last, rewards[:, None])


def of_the_package(rewards, ratio, asked, beta):
    return advantages.kl_shaped(rewards, rollouts_of(asked, ratio), beta)


@pytest.mark.parametrize(
    "answer", [minus_in_place_of_plus, shaped_by_loops, shaped_by_scatter, of_the_package]
)
def test_every_right_shaped_reward_passes(answer, capsys):
    assert "passed" in said(lesson.shaped, answer, capsys)


def at_last(asked):
    return asked & (asked.flip(1).cumsum(1).flip(1) == 1)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            lambda r, k, m, beta: beta * k + at_last(m) * r[:, None],
            "the same as the function on the page",
        ),
        (lambda r, k, m, beta: at_last(m) * r[:, None], "The penalty is missing"),
        (lambda r, k, m, beta: -beta * k, "The reward is missing"),
        (lambda r, k, m, beta: at_last(m) * r[:, None] - k, "β is missing"),
        (lambda r, k, m, beta: beta * at_last(m) * r[:, None] - k, "not of the reward"),
        (lambda r, k, m, beta: beta * (at_last(m) * r[:, None] - k), "not to the reward"),
        (lambda r, k, m, beta: at_last(m) * r[:, None] - k / beta, "it does not divide"),
        (lambda r, k, m, beta: at_last(m) * r[:, None] - beta * k.abs(), "no absolute value"),
        (lambda r, k, m, beta: m * r[:, None] - beta * k, "The reward comes once"),
        (
            lambda r, k, m, beta: functional.pad(r[:, None], (k.shape[1] - 1, 0)) - beta * k,
            "A row may be filled up",
        ),
        (
            lambda r, k, m, beta: at_last(m) * (r[:, None] - beta * k),
            "Every token pays its part of the KL",
        ),
        (lambda r, k, m, beta: r[:, None] - beta * k, "The reward stands at every place"),
        (
            lambda r, k, m, beta: at_last(m) * (r - beta * k.sum(1))[:, None],
            "here the last one pays for all",
        ),
        (
            lambda r, k, m, beta: torch.where(at_last(m), r[:, None], -beta * k),
            "The last token pays its part",
        ),
        (lambda r, k, m, beta: -beta * k - at_last(m) * r[:, None], "Now the reward is subtracted"),
        (lambda r, k, m, beta: r - beta * k.sum(1), "expected shape (2, 5)"),
        (lambda r, k, m, beta: shaped_by_loops(r, k, m, beta).numpy(), "expected a tensor"),
    ],
)
def test_a_wrong_shaped_reward_is_named(answer, words, capsys):
    out = said(lesson.shaped, answer, capsys)
    assert words in out
    assert "not yet" in out


# ---- 11.7 ----


def divided_first(logits, tokens, temperature):
    log_probs = (logits / temperature).log_softmax(-1)
    return log_probs.gather(-1, tokens[..., None])[..., 0]


def by_logsumexp(logits, tokens, temperature):
    chosen = logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return chosen / temperature - (logits / temperature).logsumexp(-1)


def by_cross_entropy(logits, tokens, temperature):
    scaled = (logits / temperature).transpose(1, 2)
    return -functional.cross_entropy(scaled, tokens, reduction="none")


def normalised_again(logits, tokens, temperature):
    """Log-probabilities are logits, too: divided, and normalised once more."""
    log_probs = (logits.log_softmax(-1) / temperature).log_softmax(-1)
    return log_probs.gather(-1, tokens[..., None])[..., 0]


@pytest.mark.parametrize(
    "answer", [divided_first, by_logsumexp, by_cross_entropy, normalised_again]
)
def test_every_right_log_prob_passes(answer, capsys):
    assert "passed" in said(lesson.drawn, answer, capsys)


def of_tokens(scores, tokens):
    return scores.gather(-1, tokens[..., None])[..., 0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda z, y, t: of_tokens(z.log_softmax(-1), y) / t, "the function on the page"),
        (lambda z, y, t: of_tokens(z.log_softmax(-1), y), "The temperature is missing"),
        (lambda z, y, t: divided_first(z, y, 1 / t), "Divide the logits, do not multiply"),
        (lambda z, y, t: t * of_tokens(z.log_softmax(-1), y), "not multiply after"),
        (lambda z, y, t: divided_first(z, y, t) / t, "The temperature counts twice"),
        (lambda z, y, t: of_tokens(z / t, y), "The softmax is missing"),
        (lambda z, y, t: divided_first(z, y, t).exp(), "Those are probabilities"),
        (lambda z, y, t: (z / t).log_softmax(-1), "every token of the vocabulary"),
        (lambda z, y, t: divided_first(z, y, t)[..., None], "One axis too many"),
        (lambda z, y, t: of_tokens((z / t).log_softmax(1), y), "the wrong axis"),
        (lambda z, y, t: divided_first(z, y, t).sum(1), "expected shape (2, 3)"),
        (lambda z, y, t: divided_first(z, y, t).tolist(), "expected a tensor"),
        (lambda z, y, t: divided_first(z.div_(t), y, 1), "changed its input"),
    ],
)
def test_a_wrong_log_prob_is_named(answer, words, capsys):
    out = said(lesson.drawn, answer, capsys)
    assert words in out
    assert "not yet" in out


def test_tokens_drawn_at_a_temperature_come_as_often_as_a_right_answer_says():
    logits = torch.tensor([2.0, 0.0, -1.0, 0.5])
    drawn = torch.multinomial((logits / 0.5).softmax(0), 50_000, True, generator=seeded())
    every = divided_first(logits.expand(1, 4, 4), torch.arange(4)[None], 0.5).exp()[0]
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    torch.testing.assert_close(shares, every, atol=0.01, rtol=0)
    bug = lesson.planted_drawn(logits.expand(1, 4, 4), torch.arange(4)[None], 0.5).exp()[0]
    assert bug.sum() < 0.9


# ---- the page ----


@pytest.mark.parametrize("check", [lesson.shaped, lesson.drawn], ids=lambda check: check.number)
def test_a_planted_function_is_an_attempt_only_once_edited(check, capsys):
    assert "not attempted yet" in said(check, check.planted, capsys)
    assert "the function on the page" in said(check, lambda *args: check.planted(*args), capsys)


def of_any_arguments(*args): ...


STUBS = {"11.1": ..., "11.6": lesson.planted_shaped, "11.7": lesson.planted_drawn}


@pytest.mark.parametrize("check", EXERCISES, ids=lambda check: check.number)
def test_the_stub_of_the_page_is_not_attempted_yet_and_shows_the_task(check, capsys):
    out = said(check, STUBS.get(check.number, of_any_arguments), capsys)
    assert out.endswith(f"not attempted yet.\n{check.task}\n")
