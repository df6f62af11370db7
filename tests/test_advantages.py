"""Advantages by hand, against the plainest loop, and in their limits."""

import pytest
import torch
from small_models import seeded

from course_lm.language.windows import IGNORE
from course_lm.rlhf.advantages import (
    METHODS,
    gae,
    group_advantages,
    grpo,
    kl_shaped,
    ppo,
    reinforce,
    rewards_to_go,
    rloo,
    whiten,
)
from course_lm.rlhf.rollouts import Rollouts

SENTENCE = r"^\w+: expected [^\n]+, got [^\n]+; [^\n]+$"
# Prompts of 2, 1, 3 and 1 tokens, responses of 2, 4, 1 and 3.
BEGINS, SIZES = (1, 0, 2, 0), (2, 4, 1, 3)


def made(seed=0, double=True):
    """Rollouts of four rows, whose log-probabilities are random, 0 where nothing is asked."""
    labels = torch.full((4, 4), IGNORE)
    for row, (begin, size) in enumerate(zip(BEGINS, SIZES, strict=True)):
        labels[row, begin : begin + size] = 1
    shape = {"generator": seeded(seed), "dtype": torch.double if double else torch.float}
    log_probs, reference = (-torch.rand(2, 4, 4, **shape) * (labels != IGNORE)).unbind()
    return Rollouts(
        torch.zeros(4, 5).long(), labels, log_probs, reference, [[1] * n for n in SIZES]
    )


def numbers(*shape, seed=7):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.double)


def response(values, row):
    """The numbers of a row's response."""
    return values[row, BEGINS[row] : BEGINS[row] + SIZES[row]].tolist()


# -- rewards with the penalty


def test_the_shaped_rewards_of_a_response_sum_to_its_reward_minus_beta_times_its_ratio():
    rollouts, rewards = made(), numbers(4)
    shaped = kl_shaped(rewards, rollouts, 0.3)
    by_hand = rewards - 0.3 * (rollouts.log_probs.sum(1) - rollouts.reference.sum(1))
    torch.testing.assert_close(shaped.sum(1), by_hand)
    assert (shaped[~rollouts.asked] == 0).all()


def test_the_reward_stands_at_the_last_token_of_each_response():
    shaped = kl_shaped(torch.tensor([1.0, 2.0, 3.0, 4.0]), made(), 0.0)
    assert shaped.tolist() == [[0, 0, 1, 0], [0, 0, 0, 2], [0, 0, 3, 0], [0, 0, 4, 0]]


def test_every_token_that_the_reference_would_not_say_costs():
    rollouts = made()
    shaped = kl_shaped(torch.zeros(4), rollouts, 2.0)
    torch.testing.assert_close(shaped, 2 * (rollouts.reference - rollouts.log_probs))
    assert (shaped[rollouts.log_probs > rollouts.reference] < 0).all()


def test_what_is_still_to_come_by_hand():
    assert rewards_to_go(torch.tensor([[1.0, 2, 3], [0, 0, 5]])).tolist() == [[6, 5, 3], [5, 5, 5]]


# -- generalised advantage estimation


def slow_gae(rewards, values, trace):
    """Σ_k λ^k δ_{t+k}, written out for one response."""
    after = [*values[1:], 0.0]
    deltas = [r + v - w for r, v, w in zip(rewards, after, values, strict=True)]
    return [sum(trace**k * delta for k, delta in enumerate(deltas[t:])) for t in range(len(deltas))]


@pytest.mark.parametrize("trace", [0.0, 0.5, 0.95, 1.0])
def test_gae_is_the_plainest_loop_over_each_response_alone(trace):
    rollouts, rewards, values = made(), numbers(4, 4), numbers(4, 4, seed=8)
    found = gae(rewards, values, rollouts.asked, trace)
    for row in range(4):
        by_hand = slow_gae(response(rewards, row), response(values, row), trace)
        assert response(found, row) == pytest.approx(by_hand, abs=1e-12)
    assert (found[~rollouts.asked] == 0).all()


def test_with_a_trace_of_one_it_is_what_came_minus_the_value_and_with_zero_one_step():
    rewards, values = torch.tensor([[1.0, 0.0, 4.0]]), torch.tensor([[3.0, 2.0, 1.0]])
    everything = torch.ones(1, 3, dtype=torch.bool)
    assert gae(rewards, values, everything, 1.0).tolist() == [[5 - 3, 4 - 2, 4 - 1]]
    assert gae(rewards, values, everything, 0.0).tolist() == [[1 + 2 - 3, 0 + 1 - 2, 4 - 1]]
    assert gae(rewards, values, everything, 0.5).tolist() == [[0.25, 0.5, 3]]


def test_an_exact_critic_leaves_nothing_unexpected():
    rollouts, rewards = made(), numbers(4, 4)
    rewards = rewards * rollouts.asked
    torch.testing.assert_close(
        gae(rewards, rewards_to_go(rewards), rollouts.asked, 0.7), torch.zeros_like(rewards)
    )


@pytest.mark.parametrize("strange", [1e6, float("nan"), float("inf")])
def test_values_on_the_prompt_and_behind_the_end_are_ignored(strange):
    rollouts, rewards, values = made(), numbers(4, 4), numbers(4, 4, seed=8)
    found = gae(rewards, values, rollouts.asked)
    changed = values.where(rollouts.asked, strange)
    assert gae(rewards, changed, rollouts.asked).equal(found)


# -- whitening


def test_whitened_numbers_have_mean_zero_and_spread_one_where_they_count():
    values, mask = 5 + 3 * numbers(4, 4), made().asked
    white = whiten(values, mask)
    assert white[mask].mean().item() == pytest.approx(0, abs=1e-9)
    assert white[mask].std().item() == pytest.approx(1, abs=1e-5)
    assert (white[~mask] == 0).all()
    order = values[mask].argsort()
    assert (white[mask][order].diff() > 0).all()


def test_one_number_and_equal_numbers_are_whitened_to_zero():
    assert whiten(torch.tensor([[4.0, 9.0]]), torch.tensor([[True, False]])).tolist() == [[0, 0]]
    assert whiten(torch.full((2, 3), 7.0), torch.ones(2, 3, dtype=torch.bool)).abs().max() == 0


# -- groups


def test_group_advantages_by_hand():
    found = group_advantages(torch.tensor([1.0, 2.0, 3.0, 0.0, 0.0, 6.0]), 3)
    by_hand = [-1, 0, 1, -2 / 12**0.5, -2 / 12**0.5, 4 / 12**0.5]
    assert found.tolist() == pytest.approx(by_hand, abs=1e-3)


def test_a_prompt_to_which_all_responses_are_alike_teaches_nothing():
    assert group_advantages(torch.tensor([5.0, 5.0, 5.0, 5.0]), 2).tolist() == [0] * 4


@pytest.mark.parametrize("method", [grpo, rloo])
@pytest.mark.parametrize("group", [1, 0, 3])
def test_groups_that_are_none_get_one_sentence(method, group):
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        method(numbers(4, 4), made(), group, None)
    assert f"got 4 in groups of {group}" in str(caught.value)


# -- the methods


def test_reinforce_gives_each_token_what_came_after_it():
    rollouts, shaped = made(), kl_shaped(numbers(4), made(), 0.3)
    found = reinforce(shaped, rollouts, 1, None)
    for row in range(4):
        given = response(shaped, row)
        by_hand = [sum(given[t:]) for t in range(len(given))]
        assert response(found, row) == pytest.approx(by_hand, abs=1e-12)
    assert (found[~rollouts.asked] == 0).all()


def test_the_baseline_is_the_mean_of_the_other_responses_by_hand():
    rollouts = made()
    shaped = kl_shaped(torch.tensor([1.0, 2.0, 4.0, 9.0]), rollouts, 0.0)
    pairs = rloo(shaped, rollouts, 2, None)
    assert [response(pairs, row)[0] for row in range(4)] == [-1, 1, -5, 5]
    four = rloo(shaped, rollouts, 4, None)
    assert [response(four, row)[-1] for row in range(4)] == [1 - 5, 2 - 14 / 3, 4 - 4, 9 - 7 / 3]
    assert (four[~rollouts.asked] == 0).all()


def test_the_baseline_of_a_response_does_not_depend_on_itself():
    """Else it would bias the gradient."""
    rollouts, shaped = made(), numbers(4, 4) * made().asked
    changed = shaped.clone()
    changed[0, 1] += 10
    for method, same in ((rloo, True), (grpo, False)):
        before = method(shaped, rollouts, 2, None) - reinforce(shaped, rollouts, 2, None)
        after = method(changed, rollouts, 2, None) - reinforce(changed, rollouts, 2, None)
        assert torch.allclose(before[0], after[0]) is same


def test_grpo_gives_all_tokens_of_a_response_one_number():
    rollouts, shaped = made(), numbers(4, 4) * made().asked
    found = grpo(shaped, rollouts, 2, None)
    totals = group_advantages(shaped.sum(1), 2)
    for row in range(4):
        assert response(found, row) == [totals[row].item()] * SIZES[row]
    assert (found[~rollouts.asked] == 0).all()


def test_ppo_whitens_after_the_advantages_and_not_before():
    rollouts, shaped, values = made(), numbers(4, 4) * made().asked, numbers(4, 4, seed=8)
    found = ppo(shaped, rollouts, 1, values)
    assert found.equal(whiten(gae(shaped, values, rollouts.asked), rollouts.asked))
    before = gae(whiten(shaped, rollouts.asked), whiten(values, rollouts.asked), rollouts.asked)
    assert not torch.allclose(found, before, atol=0.1)


def test_every_method_gives_nothing_to_a_prompt():
    rollouts, shaped, values = made(), numbers(4, 4) * made().asked, numbers(4, 4, seed=8)
    for name, method in METHODS.items():
        found = method(shaped, rollouts, 2, values)
        assert found.shape == (4, 4), name
        assert (found[~rollouts.asked] == 0).all(), name
        assert found[rollouts.asked].abs().min() > 0, name
