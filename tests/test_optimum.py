"""The best policy against brute force, enumeration against samples, best-of-n against all draws."""

import itertools
import math

import pytest
import torch
from small_models import random_ids, seeded, small_transformer

from course_lm.models.sampling import generate_batch
from course_lm.rlhf import rollouts
from course_lm.rlhf.optimum import (
    best_of_n,
    best_value,
    enumerate_responses,
    optimal,
    reward_and_kl,
)
from course_lm.rlhf.rollouts import label_log_probs, with_labels

SENTENCE = r"^\w+: expected [^\n]+, got [^\n]+; [^\n]+$"
CHANCES, REWARDS = [0.5, 0.2, 0.2, 0.1], [0.0, 1.0, 2.0, -1.0]
REFERENCE = torch.tensor(CHANCES, dtype=torch.double).log()
REWARD = torch.tensor(REWARDS, dtype=torch.double)
BETAS = [0.1, 0.5, 1.0, 5.0]


def objective(policy, beta):
    """J of a policy, written out."""
    return sum(
        p * (r - beta * math.log(p / q))
        for p, q, r in zip(policy, CHANCES, REWARDS, strict=True)
        if p > 0
    )


def random_policies(count):
    """From nearly uniform to nearly certain ones."""
    logits = torch.randn(count, 4, generator=seeded(), dtype=torch.double)
    return (logits * torch.linspace(0.1, 8, count)[:, None]).softmax(1).tolist()


# -- the optimum


@pytest.mark.parametrize("beta", BETAS)
def test_the_best_policy_is_the_reference_reweighted(beta):
    weights = [q * math.exp(r / beta) for q, r in zip(CHANCES, REWARDS, strict=True)]
    by_hand = [weight / sum(weights) for weight in weights]
    assert optimal(REFERENCE, REWARD, beta).exp().tolist() == pytest.approx(by_hand, abs=1e-12)
    assert best_value(REFERENCE, REWARD, beta) == pytest.approx(beta * math.log(sum(weights)))


@pytest.mark.parametrize("beta", BETAS)
def test_no_other_policy_is_as_good_and_each_lacks_beta_times_its_kl_from_the_best(beta):
    best, most = optimal(REFERENCE, REWARD, beta), best_value(REFERENCE, REWARD, beta)
    assert objective(best.exp().tolist(), beta) == pytest.approx(most, abs=1e-9)
    for policy in random_policies(300):
        lack = sum(p * (math.log(p) - b) for p, b in zip(policy, best.tolist(), strict=True))
        assert objective(policy, beta) < most
        assert objective(policy, beta) == pytest.approx(most - beta * lack, abs=1e-9)


def test_the_best_value_is_found_by_search_over_a_grid():
    steps = [n / 40 for n in range(41)]
    grid = [(a, b, c, 1 - a - b - c) for a, b, c in itertools.product(steps, repeat=3)]
    found = max(objective(policy, 0.5) for policy in grid if min(policy) >= 0)
    most = best_value(REFERENCE, REWARD, 0.5)
    assert most - 0.01 < found < most


@pytest.mark.parametrize("beta", BETAS)
def test_the_reward_and_the_kl_of_a_policy_are_the_parts_of_its_objective(beta):
    for policy in random_policies(20):
        logs = torch.tensor(policy, dtype=torch.double).log()
        reward, kl = reward_and_kl(logs, REFERENCE, REWARD)
        by_hand = sum(p * r for p, r in zip(policy, REWARDS, strict=True))
        assert reward == pytest.approx(by_hand, abs=1e-12)
        assert reward - beta * kl == pytest.approx(objective(policy, beta), abs=1e-9)


def test_the_kl_goes_from_the_policy_to_the_reference():
    policy = torch.tensor([0.1, 0.1, 0.1, 0.7], dtype=torch.double).log()
    there, back = (
        sum(math.exp(p) * (p - q) for p, q in zip(one.tolist(), other.tolist(), strict=True))
        for one, other in ((policy, REFERENCE), (REFERENCE, policy))
    )
    assert abs(there - back) > 0.1
    assert reward_and_kl(policy, REFERENCE, REWARD)[1] == pytest.approx(there, abs=1e-12)
    assert reward_and_kl(REFERENCE, REFERENCE, REWARD)[1] == 0


def test_a_policy_that_gives_one_response_has_a_finite_kl_and_one_beyond_the_reference_none():
    sure = torch.tensor([0.0, -math.inf, -math.inf, -math.inf], dtype=torch.double)
    assert reward_and_kl(sure, REFERENCE, REWARD) == pytest.approx((0.0, math.log(2)))
    assert reward_and_kl(REFERENCE, sure, REWARD)[1] == math.inf


def test_a_high_price_keeps_the_reference_and_a_low_one_takes_the_highest_reward():
    kept = optimal(REFERENCE, REWARD, 1e6).exp()
    torch.testing.assert_close(kept, REFERENCE.exp(), rtol=0, atol=1e-5)
    assert optimal(REFERENCE, REWARD, 0.01).exp()[2] > 0.999
    assert best_value(REFERENCE, REWARD, 1e6) == pytest.approx(0.5, abs=1e-4)  # E_ref[r]
    assert best_value(REFERENCE, REWARD, 0.01) == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("beta", BETAS)
def test_the_reward_can_be_read_off_the_best_policy_but_for_a_constant(beta):
    """What direct preference optimisation rests on."""
    implied = beta * (optimal(REFERENCE, REWARD, beta) - REFERENCE)
    torch.testing.assert_close(implied - implied[0], REWARD - REWARD[0])


@pytest.mark.parametrize("limit", [optimal, best_value])
@pytest.mark.parametrize("beta", [0, -1, math.nan])
def test_without_a_price_there_is_no_limit(limit, beta):
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        limit(REFERENCE, REWARD, beta)
    assert f"beta above 0, got {beta}" in str(caught.value)


@pytest.mark.parametrize("limit", [optimal, best_value, best_of_n])
def test_a_reward_that_is_no_number_gets_one_sentence(limit):
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        limit(REFERENCE, torch.tensor([0.0, math.nan, 0.0, 0.0]), 1)
    assert "got nan at place 1" in str(caught.value)


# -- the best of n


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_best_of_n_is_that_of_all_draws(n):
    rewards = [0.0, 1.0, 1.0, -1.0]  # two are equally good
    by_hand = [0.0] * 4
    for draw in itertools.product(range(4), repeat=n):
        chance = math.prod(CHANCES[one] for one in draw)
        most = max(rewards[one] for one in draw)
        best = [one for one in draw if rewards[one] == most]
        for one in best:
            by_hand[one] += chance / len(best)
    found = best_of_n(REFERENCE, torch.tensor(rewards), n).exp().tolist()
    assert found == pytest.approx(by_hand, abs=1e-6)


def test_the_best_of_one_is_the_reference():
    torch.testing.assert_close(best_of_n(REFERENCE, REWARD, 1), REFERENCE.float())


def test_the_best_of_n_is_what_a_simulation_finds():
    n, draws = 4, 20_000
    drawn = torch.multinomial(REFERENCE.exp().expand(draws, -1), n, True, generator=seeded())
    best = drawn.gather(1, REWARD[drawn].argmax(1, keepdim=True)).flatten()
    shares = best.bincount(minlength=4) / draws
    exact = best_of_n(REFERENCE, REWARD, n).exp()
    assert ((shares - exact).abs() < 4 * (exact / draws).sqrt() + 1e-4).all()


def test_with_n_the_reward_rises_and_the_kl_stays_below_its_bound():
    logs = torch.randn(200, generator=seeded()).log_softmax(0)
    rewards = torch.randn(200, generator=seeded(1))
    before = -math.inf
    for n in (1, 2, 4, 8, 64):
        reward, kl = reward_and_kl(best_of_n(logs, rewards, n), logs, rewards)
        assert reward > before
        assert -1e-6 <= kl <= math.log(n) - (n - 1) / n + 1e-5
        before = reward


def test_what_is_never_drawn_is_never_the_best():
    logs = torch.tensor([0.0, -math.inf])
    assert best_of_n(logs, torch.tensor([0.0, 1.0]), 3).tolist() == [0, -math.inf]


def test_the_best_of_none_gets_one_sentence():
    with pytest.raises(ValueError, match=SENTENCE):
        best_of_n(REFERENCE, REWARD, 0)


# -- enumeration

PROMPT, STOP = [3, 7, 1], 12


@pytest.fixture
def full_precision(monkeypatch):
    monkeypatch.setattr(rollouts, "half_precision_pays", lambda device: False)


def test_all_responses_together_are_certain_and_each_is_there_once():
    found, log_probs = enumerate_responses(small_transformer(), PROMPT, STOP, 3, least=1e-30)
    assert log_probs.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert len(found) == len({*map(tuple, found)}) == 1 + 12 + 12 * 12 * 13
    for response in found:
        assert STOP not in response[:-1]
        assert len(response) == 3 or response[-1] == STOP


@pytest.mark.usefixtures("full_precision")
def test_each_has_the_log_prob_that_the_model_gives_it():
    model = small_transformer()
    found, log_probs = enumerate_responses(model, PROMPT, STOP, 4, least=1e-3)
    ids, labels = with_labels([PROMPT] * len(found), found)
    called = label_log_probs(model, ids, labels).sum(1)
    torch.testing.assert_close(log_probs, called, rtol=0, atol=1e-5)
    assert len({*map(len, found)}) > 1


def test_the_rare_ones_are_left_out_and_no_other():
    model = small_transformer()
    everything, chances = enumerate_responses(model, PROMPT, STOP, 3, least=1e-30)
    likely, known = enumerate_responses(model, PROMPT, STOP, 3, least=0.002)
    wanted = {
        tuple(response)
        for response, chance in zip(everything, chances.exp().tolist(), strict=True)
        if chance >= 0.002
    }
    assert 10 < len(wanted) < len(everything) / 5
    assert {*map(tuple, likely)} == wanted
    assert 0.3 < known.exp().sum().item() < 1


def test_responses_are_sampled_as_often_as_the_enumeration_says():
    model, draws = small_transformer(), 6000
    found, log_probs = enumerate_responses(model, PROMPT, STOP, 2, least=1e-30)
    chances = dict(zip(map(tuple, found), log_probs.exp().tolist(), strict=True))
    said = [*map(tuple, generate_batch(model, [PROMPT] * draws, 2, seeded(), STOP))]
    assert {*said} <= chances.keys()
    distance = sum(abs(said.count(one) / draws - chance) for one, chance in chances.items()) / 2
    expected = sum((chance / draws) ** 0.5 for chance in chances.values()) * 0.4
    assert distance < 1.2 * expected
    assert max(chances.values()) > 0.03


def test_a_model_that_ends_at_once_has_one_response():
    model = small_transformer()
    stop = int(model(torch.tensor([PROMPT]))[0, -1].argmax())
    found, log_probs = enumerate_responses(model, PROMPT, stop, 1, least=1e-30)
    assert len(found) == 13
    sure = small_transformer(tied=False)
    with torch.no_grad():
        sure.head.weight.mul_(1e4)
    found, log_probs = enumerate_responses(
        sure, PROMPT, int(sure(torch.tensor([PROMPT]))[0, -1].argmax()), 9
    )
    assert (len(found), len(found[0]), log_probs.item()) == (1, 1, 0.0)


@pytest.mark.parametrize(("longest", "least"), [(0, 0.1), (3, 0.0), (3, -1.0), (3, 2.0)])
def test_an_enumeration_that_would_never_end_or_find_nothing_gets_one_sentence(longest, least):
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        enumerate_responses(small_transformer(), PROMPT, STOP, longest, least)
    assert f"got {least} and {longest};" in str(caught.value)


def test_a_response_beyond_the_context_gets_one_sentence():
    with pytest.raises(ValueError, match=SENTENCE):
        enumerate_responses(small_transformer(), random_ids(15).tolist(), 99, 9, least=0.01)
