import math
from collections import Counter

import numpy
import pytest
import torch
from torch.nn import functional
from verdicts import said

from course_lm.exercises import lesson_10 as lesson
from course_lm.exercises.checking import Exercise
from course_lm.rlhf import preferences, reward

EXERCISES = [item for item in vars(lesson).values() if isinstance(item, Exercise)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- the questions ----


def test_five_more_for_every_reward_changes_no_chance_and_no_loss():
    chosen, rejected = torch.randn(2, 50, generator=seeded())
    moved = reward.bradley_terry(chosen + 5, rejected + 5)
    assert moved.item() == pytest.approx(reward.bradley_terry(chosen, rejected).item(), abs=1e-6)
    assert "In none" in lesson.five_more.options[lesson.five_more.correct][0]


def test_no_guess_comes_true_more_often_than_the_ceiling():
    chances = torch.full((20_000,), 0.8)
    votes = torch.rand(20_000, generator=seeded()) < chances
    best = votes.float().mean().item()
    drawn = (torch.rand(20_000, generator=seeded(1)) < chances).eq(votes).float().mean().item()
    assert drawn < best
    assert best == pytest.approx(preferences.ceiling(chances), abs=0.01)
    assert lesson.above_the_ceiling.options[lesson.above_the_ceiling.correct][0] == "No."


# ---- 10.1 ----


CHANCE, LOSS = 1 / (1 + math.exp(-1)), math.log(1 + math.exp(-1))


@pytest.mark.parametrize(
    "answer",
    [
        (CHANCE, LOSS),
        [0.731, 0.313],
        (0.7311, 0.3133),
        numpy.array([CHANCE, LOSS]),
        torch.tensor([CHANCE, LOSS]),
        (torch.tensor(CHANCE), LOSS),
    ],
)
def test_chance_and_loss_pass_as_any_kind_of_pair(answer, capsys):
    assert "passed" in said(lesson.by_hand, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((LOSS, CHANCE), "changed places"),
        ((0.73, 0.31), "rounded too far"),
        ((1 - CHANCE, math.log(1 + math.e)), "the chance that the other one is preferred"),
        ((CHANCE, math.log(1 + math.e)), "−log of that chance, not of the other"),
        ((CHANCE, -LOSS), "which is never negative"),
        ((CHANCE, 1 - CHANCE), "not 1 minus it"),
        ((CHANCE, -math.log2(CHANCE)), "the loss is in bits"),
        ((2 / 3, -math.log(2 / 3)), "Rewards are no shares"),
        ((1 / (1 + math.exp(-2)), 0.126928), "σ of the chosen reward alone"),
        ((73.106, LOSS), "not per cent"),
        (CHANCE, "expected shape (2,)"),
        ((CHANCE, 0.5), "expected another number at position 1"),
        ("0.731", "expected"),
    ],
)
def test_a_wrong_chance_or_loss_is_named(answer, words, capsys):
    out = said(lesson.by_hand, answer, capsys)
    assert words in out
    assert "not yet" in out


def test_the_loss_by_hand_is_that_of_the_package():
    loss = reward.bradley_terry(torch.tensor([2.0]), torch.tensor([1.0])).item()
    assert loss == pytest.approx(LOSS, abs=1e-6)


# ---- 10.2 ----


def by_softplus(chosen, rejected):
    return functional.softplus(rejected - chosen).mean()


def by_cross_entropy(chosen, rejected):
    pairs = torch.stack([chosen, rejected], 1)
    return functional.cross_entropy(pairs, torch.zeros(len(chosen), dtype=torch.long))


def by_binary(chosen, rejected):
    margins = chosen - rejected
    return functional.binary_cross_entropy_with_logits(margins, torch.ones_like(margins))


def by_logaddexp(chosen, rejected):
    return torch.logaddexp(torch.zeros(()), rejected - chosen).sum() / len(chosen)


def with_an_axis(chosen, rejected):
    return -functional.logsigmoid(chosen - rejected).mean(0, keepdim=True)


def by_loop(chosen, rejected):
    losses = [-functional.logsigmoid(c - r) for c, r in zip(chosen, rejected, strict=True)]
    return sum(losses) / len(losses)


@pytest.mark.parametrize(
    "answer",
    [
        reward.bradley_terry,
        by_softplus,
        by_cross_entropy,
        by_binary,
        by_logaddexp,
        with_an_axis,
        by_loop,
    ],
)
def test_every_right_loss_passes(answer, capsys):
    assert "passed" in said(lesson.bradley_terry, answer, capsys)


log_sigma = functional.logsigmoid


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda c, r: log_sigma(c - r).mean(), "The sign"),
        (lambda c, r: -log_sigma(r - c).mean(), "Chosen and rejected have changed places"),
        (lambda c, r: -(c - r).sigmoid().mean().log(), "the logarithm of the mean"),
        (lambda c, r: -log_sigma((c - r).mean()), "σ of the mean difference"),
        (lambda c, r: -log_sigma(c.mean() - r.mean()), "σ of the mean difference"),
        (lambda c, r: -log_sigma(c - r).sum(), "That is the sum"),
        (lambda c, r: -log_sigma(c - r), "take the mean over the comparisons"),
        (lambda c, r: (c - r).sigmoid().mean(), "the mean chance"),
        (lambda c, r: 1 - (c - r).sigmoid().mean(), "1 minus the mean chance"),
        (lambda c, r: (r - c).sigmoid().mean(), "1 minus the mean chance"),
        (lambda c, r: (c - r).mean(), "the mean difference"),
        (lambda c, r: (r - c).exp().mean(), "log(1 + ...) is missing"),
        (lambda c, r: -log_sigma(c - r).mean() / math.log(2), "in bits"),
        (lambda c, r: (1 - c + r).clamp(min=0).mean(), "a hinge"),
        (lambda c, r: (c < r).float().mean(), "the share of wrong comparisons"),
        (lambda c, r: -log_sigma(c).mean(), "the chosen reward alone"),
        (lambda c, r: -log_sigma(c + r).mean(), "take the difference"),
        (lambda c, r: -(c - r).sigmoid().log().mean(), "`logsigmoid` avoids both"),
        (lambda c, r: (1 + (r - c).exp()).log().mean(), "`logsigmoid` avoids both"),
        (lambda c, r: -((c - r).sigmoid() + 1e-30).log().mean(), "hides how wrong"),
        (lambda c, r: -log_sigma((c - r).clamp(-100, 100)).mean(), "hides how wrong"),
        (lambda c, r: by_softplus(c, r).item(), "gradients can flow through"),
        (lambda c, r: by_softplus(c, r).detach(), "gradients can flow through"),
        (lambda c, r: by_softplus(c, r.detach()), "leave out `.detach()`"),
        (lambda c, r: torch.tensor(numpy.logaddexp(0, r.numpy() - c.numpy()).mean()), "RuntimeE"),
        (lambda c, r: print(by_softplus(c, r)), "expected a result, got None"),
        (lambda c, r: c.sub_(r).mean(), "changed its input"),
    ],
)
def test_a_wrong_loss_is_named(answer, words, capsys):
    out = said(lesson.bradley_terry, answer, capsys)
    assert words in out
    assert "not yet" in out


# ---- 10.3 ----


def ceiling_by_python(chances):
    return sum(max(p, 1 - p) for p in chances.tolist()) / len(chances)


def ceiling_by_distance(chances):
    return 0.5 + (chances - 0.5).abs().mean(0, keepdim=True)


def ceiling_by_choice(chances):
    return torch.where(chances > 0.5, chances, 1 - chances).mean()


def ceiling_by_columns(chances):
    return torch.stack([chances, 1 - chances]).max(0).values.mean().item()


@pytest.mark.parametrize(
    "answer",
    [
        preferences.ceiling,
        ceiling_by_python,
        ceiling_by_distance,
        ceiling_by_choice,
        ceiling_by_columns,
    ],
)
def test_every_right_ceiling_passes(answer, capsys):
    assert "passed" in said(lesson.ceiling, answer, capsys)


def best_chances(chances):
    return torch.maximum(chances, 1 - chances)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda p: p.mean(), "the larger of p and 1 − p first"),
        (lambda p: 1 - p.mean(), "the mean chance of the second"),
        (lambda p: torch.minimum(p, 1 - p).mean(), "how often the best guesses fail"),
        (lambda p: max(p.mean(), 1 - p.mean()), "the larger of p and 1 − p first"),
        (lambda p: (p * p + (1 - p) * (1 - p)).mean(), "agrees with themselves"),
        (lambda p: best_chances(p).max(), "the best comparison alone"),
        (lambda p: best_chances(p).sum(), "That is the sum"),
        (best_chances, "take the mean over the comparisons"),
        (lambda p: (p > 0.5).float().mean(), "how often the first is the likelier one"),
        (lambda p: ((p > 0.5) * p).mean(), "Below ½ the guess is the second"),
        (lambda p: (p - 0.5).abs().mean(), "add the half"),
        (lambda p: best_chances(p).median(), "That is the median"),
        (lambda p: 100 * best_chances(p).mean(), "not per cent"),
        (lambda p: 0.8, "expected 0.733333, got 0.8"),
        (
            lambda p: functional.binary_cross_entropy(p, p),
            "an entropy in nats",
        ),
        (lambda p: "often", "expected a number"),
    ],
)
def test_a_wrong_ceiling_is_named(answer, words, capsys):
    assert words in said(lesson.ceiling, answer, capsys)


# ---- 10.4 ----


def kappa_by_counts(one, other):
    n, ones, others = len(one), Counter(one), Counter(other)
    chance = sum(ones[vote] / n * others[vote] / n for vote in ones | others)
    agreed = sum(map(str.__eq__, one, other)) / n
    return (agreed - chance) / (1 - chance)


def kappa_by_table(one, other):
    kinds = ["first", "second", "tie"]
    table = torch.zeros(3, 3)
    for a, b in zip(one, other, strict=True):
        table[kinds.index(a), kinds.index(b)] += 1
    table /= table.sum()
    expected = table.sum(1, keepdim=True) * table.sum(0, keepdim=True)
    return 1 - (1 - table.trace()) / (1 - expected.trace())


def kappa_by_pairs(one, other):
    """Chance is the agreement of all pairs of votes, one from each."""
    agreed = numpy.mean([a == b for a, b in zip(one, other, strict=True)])
    chance = numpy.mean([a == b for a in one for b in other])
    return (agreed - chance) / (1 - chance)


@pytest.mark.parametrize(
    "answer", [preferences.kappa, kappa_by_counts, kappa_by_table, kappa_by_pairs]
)
def test_every_right_kappa_passes(answer, capsys):
    assert "passed" in said(lesson.kappa, answer, capsys)


def agreed(one, other):
    return preferences.agreement(one, other)


def chance_of(one, other, kinds=("first", "second", "tie")):
    return sum(one.count(kind) * other.count(kind) for kind in kinds) / len(one) ** 2


def kappa_with(chance):
    def answer(one, other):
        by_chance = chance(one, other)
        return (agreed(one, other) - by_chance) / (1 - by_chance)

    return answer


def counted_chance(a, b):
    """κ with a chance of counts, not of shares."""
    chance = chance_of(a, b) * len(a) ** 2
    return (agreed(a, b) - chance) / (1 - chance)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (agreed, "That is the agreement"),
        (chance_of, "That is what chance gives"),
        (counted_chance, "Divide the counts by n"),
        (lambda a, b: 1 - agreed(a, b), "the share on which they differ"),
        (lambda a, b: agreed(a, b) - chance_of(a, b), "so that full agreement is 1"),
        (lambda a, b: agreed(a, b) / chance_of(a, b) - 1, "not by chance"),
        (lambda a, b: -preferences.kappa(a, b), "The sign"),
        (kappa_with(lambda a, b: 0.5), "Chance is not always ½"),
        (kappa_with(lambda a, b: 1 / len({*a, *b})), "how often each says what"),
        (kappa_with(lambda a, b: chance_of(a, a)), "the shares of the first person for both"),
        (kappa_with(lambda a, b: chance_of(b, b)), "the shares of the second person for both"),
        (kappa_with(lambda a, b: chance_of(a + b, a + b)), "Scott's π"),
        (kappa_with(lambda a, b: chance_of(a, b, ["first"])), "for `first` alone"),
        (kappa_with(lambda a, b: chance_of(a, b, ["first", "second"])), "a tie is a vote"),
        (lambda a, b: [agreed(a, b)], "expected a number"),
        (lambda a, b: math.nan, "got nan"),
        (lambda a, b: a.append("tie") or 0.5, "changed its input"),
    ],
)
def test_a_wrong_kappa_is_named(answer, words, capsys):
    out = said(lesson.kappa, answer, capsys)
    assert words in out
    assert "not yet" in out


# ---- 10.5 ----


def log_first(rewards, labels):
    return -rewards.softmax(1).gather(1, labels[:, None]).log().mean()


def signed(rewards, labels):
    signs = 1 - 2 * labels
    return by_softplus(signs * rewards[:, 0], signs * rewards[:, 1])


def picked(rewards, labels):
    rows = torch.arange(len(labels))
    return reward.bradley_terry(rewards[rows, labels], rewards[rows, 1 - labels])


@pytest.mark.parametrize("answer", [log_first, signed, picked, functional.cross_entropy])
def test_every_mended_pair_loss_passes(answer, capsys):
    assert "passed" in said(lesson.pair_loss, answer, capsys)


def log_chances(rewards, labels):
    return rewards.log_softmax(1).gather(1, labels[:, None])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            lambda r, y: -r.softmax(1).gather(1, y[:, None]).mean().log(),
            "the same as the function on the page",
        ),
        (lambda r, y: log_chances(r, y).mean(), "the mean of the logs needs one"),
        (lambda r, y: -r.gather(1, y[:, None]).mean(), "The softmax is missing"),
        (lambda r, y: -log_chances(r, 1 - y).mean(), "Chosen and rejected have changed places"),
        (lambda r, y: -r.log_softmax(1)[:, 0].mean(), "takes the first as preferred"),
        (lambda r, y: -r.log_softmax(1)[:, 1].mean(), "takes the second as preferred"),
        (lambda r, y: -r.log_softmax(1).mean(), "the mean over both columns"),
        (lambda r, y: -r.log_softmax(1).sum(1).mean(), "the losses of both sides"),
        (lambda r, y: -log_chances(r, y).sum(), "That is the sum"),
        (lambda r, y: -log_chances(r, y), "take the mean over the comparisons"),
        (lambda r, y: -log_chances(r, y)[:, 0], "take the mean over the comparisons"),
        (lambda r, y: 1 - log_chances(r, y).exp().mean(), "1 minus the mean chance"),
        (lambda r, y: log_chances(r, y).exp().mean(), "the mean chance"),
        (lambda r, y: -log_chances(r, y).mean() / math.log(2), "in bits"),
        (lambda r, y: str(r), "expected a number"),
    ],
)
def test_a_wrong_pair_loss_is_named(answer, words, capsys):
    out = said(lesson.pair_loss, answer, capsys)
    assert words in out
    assert "not yet" in out


def test_the_bug_of_the_pair_loss_is_an_attempt_only_once_edited(capsys):
    assert "not attempted yet" in said(lesson.pair_loss, lesson.planted_pair_loss, capsys)
    out = said(lesson.pair_loss, lambda *given: lesson.planted_pair_loss(*given), capsys)
    assert "the function on the page" in out


def test_the_bug_makes_the_loss_too_low_as_its_title_says():
    """Jensen: −log of a mean is at most the mean of −log."""
    rewards = 3 * torch.randn(200, 2, generator=seeded())
    labels = torch.randint(2, (200,), generator=seeded(1))
    assert lesson.planted_pair_loss(rewards, labels) < log_first(rewards, labels) - 0.2


# ---- 10.6 ----


def by_least_squares(rewards, gold, lengths):
    columns = torch.stack([gold, lengths, torch.ones_like(gold)], 1)
    a, b, _ = torch.linalg.lstsq(columns, rewards[:, None]).solution[:, 0]
    return b / a


def by_normal_equations(rewards, gold, lengths):
    columns = torch.stack([gold, lengths, torch.ones_like(gold)], 1).double()
    solution = torch.linalg.solve(columns.T @ columns, columns.T @ rewards[:, None].double())
    return solution[1] / solution[0]


def by_numpy(rewards, gold, lengths):
    columns = numpy.stack([lengths, gold, numpy.ones(len(gold))], 1)
    b, a, _ = numpy.linalg.lstsq(columns, rewards.numpy(), rcond=None)[0]
    return b / a


def centred(values):
    return values - values.mean()


def by_centring(rewards, gold, lengths):
    columns = torch.stack([centred(gold), centred(lengths)], 1)
    solution = torch.linalg.lstsq(columns, centred(rewards)[:, None]).solution
    return (solution[1] / solution[0]).item()


def by_pairs(rewards, gold, lengths):
    """Differences between neighbours: the constant cancels, as in a comparison."""
    columns = torch.stack([gold.diff(), lengths.diff()], 1)
    solution = torch.linalg.lstsq(columns, rewards.diff()[:, None]).solution[:, 0]
    return solution[1] / solution[0]


@pytest.mark.parametrize(
    "answer", [by_least_squares, by_normal_equations, by_numpy, by_centring, by_pairs]
)
def test_every_right_worth_passes(answer, capsys):
    assert "passed" in said(lesson.worth_of_a_word, answer, capsys)


def slopes(rewards, *columns):
    return torch.linalg.lstsq(torch.stack(columns, 1), rewards[:, None]).solution[:, 0]


def inverse(rewards, gold, lengths):
    return 1 / by_least_squares(rewards, gold, lengths)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda r, g, n: slopes(r, n, g, torch.ones_like(g))[0], "divide by the slope of the gold"),
        (lambda r, g, n: slopes(r, n, torch.ones_like(g))[0], "Right responses are longer here"),
        (lambda r, g, n: slopes(r, n, g)[0] / slopes(r, n, g)[1], "needs a column of ones"),
        (lambda r, g, n: slopes(r, g, n, torch.ones_like(g))[0], "the slope of the gold reward"),
        (inverse, "Turn it round"),
        (lambda r, g, n: torch.corrcoef(torch.stack([r, n]))[0, 1], "That is a correlation"),
        (lambda r, g, n: -by_least_squares(r, g, n), "The sign"),
        (lambda r, g, n: (r / n).mean(), "the mean reward per word"),
        (lambda r, g, n: 0.1, "expected 0.25, got 0.1"),
        (lambda r, g, n: slopes(r, g, n, torch.ones_like(g)), "expected a number"),
    ],
)
def test_a_wrong_worth_is_named(answer, words, capsys):
    out = said(lesson.worth_of_a_word, answer, capsys)
    assert words in out
    assert "not yet" in out


def test_a_right_answer_finds_the_bias_of_an_annotator_in_what_they_are_worth_to_them():
    """The reward that explains the votes is u / noise, u = gold + length · words."""
    gold = torch.randint(-4, 5, (60,), generator=seeded()) / 2
    lengths = torch.randint(8, 20, (60,), generator=seeded(1)).float()
    rewards = (gold + 0.15 * lengths) / 0.5 + 7
    assert by_least_squares(rewards, gold, lengths).item() == pytest.approx(0.15, abs=1e-4)


# ---- the page ----


def of_any_arguments(*args): ...


STUBS = {"10.1": ..., "10.5": lesson.planted_pair_loss}


@pytest.mark.parametrize("check", EXERCISES, ids=lambda check: check.number)
def test_the_stub_of_the_page_is_not_attempted_yet_and_shows_the_task(check, capsys):
    out = said(check, STUBS.get(check.number, of_any_arguments), capsys)
    assert out.endswith(f"not attempted yet.\n{check.task}\n")
