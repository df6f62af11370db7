"""Gradients against finite differences of what is to be raised, steps against their responses."""

import copy
import itertools
import math

import pytest
import torch
from small_models import random_ids, seeded, small_transformer

from course_lm.rlhf import rollouts
from course_lm.rlhf.advantages import METHODS, gae, kl_shaped, reinforce, rloo
from course_lm.rlhf.policy import (
    Experience,
    PolicyStep,
    Practice,
    clipped_objective,
    optimise,
)
from course_lm.rlhf.reward import scalar_headed
from course_lm.rlhf.rollouts import Rollouts, with_labels
from course_lm.training import loop
from course_lm.training.loop import Recipe
from course_lm.training.losses import token_log_probs

SENTENCE = r"^\w+: expected [^\n]+, got [^\n]+; [^\n]+$"
STOP, WANTED = 12, 5
PROMPTS = [random_ids(size, seed=size).tolist() for size in (3, 5, 2, 4)]


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    for place in (rollouts, loop):
        monkeypatch.setattr(place, "half_precision_pays", lambda device: False)


# -- the clipped objective


@pytest.mark.parametrize(
    ("advantage", "ratio", "value", "slope"),  # slope: with respect to log π
    [
        (2.0, 0.5, 1.0, 1.0),
        (2.0, 1.0, 2.0, 2.0),
        (2.0, 1.1, 2.2, 2.2),
        (2.0, 1.5, 2.4, 0.0),  # already likelier by more than ε: no further
        (-2.0, 1.5, -3.0, -3.0),
        (-2.0, 1.0, -2.0, -2.0),
        (-2.0, 0.9, -1.8, -1.8),
        (-2.0, 0.5, -1.6, 0.0),  # already rarer by more than ε: no further
    ],
)
def test_the_clipped_objective_and_its_gradient_by_hand(advantage, ratio, value, slope):
    log_probs = torch.tensor([[math.log(0.3 * ratio)]], requires_grad=True)
    before = torch.tensor([[math.log(0.3)]])
    asked = torch.ones(1, 1, dtype=torch.bool)
    found = clipped_objective(log_probs, before, torch.tensor([[advantage]]), asked, clip=0.2)
    found.backward()
    assert found.item() == pytest.approx(value, abs=1e-5)
    assert log_probs.grad.item() == pytest.approx(slope, abs=1e-5)


def test_the_objective_is_a_mean_over_all_response_tokens_and_nothing_else():
    asked = torch.tensor([[False, True, True], [True, False, False]])
    advantages = torch.tensor([[100.0, 1.0, 2.0], [6.0, 100.0, 100.0]])
    assert clipped_objective(torch.zeros(2, 3), torch.zeros(2, 3), advantages, asked).item() == 3


def difference(value, weight, size=1e-5):
    """The gradient of value() with respect to a weight, by central differences."""
    gradient = torch.zeros_like(weight)
    with torch.no_grad():
        for place in range(weight.numel()):
            flat = weight.view(-1)
            flat[place] += size
            above = value()
            flat[place] -= 2 * size
            gradient.view(-1)[place] = (above - value()) / (2 * size)
            flat[place] += size
    return gradient


def test_at_a_ratio_of_one_the_gradient_is_the_policy_gradient():
    """Of the mean of A log π(token), by finite differences."""
    logits = torch.randn(4, generator=seeded(), dtype=torch.double).requires_grad_()
    tokens = random_ids(3, 5, size=4)
    advantages = torch.randn(3, 5, generator=seeded(1), dtype=torch.double)

    def log_probs():
        return logits.log_softmax(0)[tokens]

    everything = torch.ones(3, 5, dtype=torch.bool)
    clipped_objective(log_probs(), log_probs().detach(), advantages, everything).backward()
    by_hand = difference(lambda: (advantages * log_probs()).mean(), logits)
    torch.testing.assert_close(logits.grad, by_hand, rtol=0, atol=1e-8)


# -- the expected gradient, by exact enumeration of all responses of a policy of nine numbers

RESPONSES = [[0], *([first, second] for first in (1, 2) for second in range(3))]  # 0 stops
TINY_PROMPT, BETA = [2], 0.7


class Table(torch.nn.Module):
    """Logits of the next of three tokens after each of three."""

    def __init__(self, seed):
        super().__init__()
        drawn = torch.randn(3, 3, generator=seeded(seed), dtype=torch.double)
        self.weight = torch.nn.Parameter(drawn)

    def forward(self, ids):
        return self.weight[ids]


TINY_REWARD = torch.randn(len(RESPONSES), generator=seeded(9), dtype=torch.double)


def tiny():
    """A policy, its log-probs of the tokens of all responses, and the rollouts that hold them."""
    policy, reference = Table(1), Table(2)
    ids, labels = with_labels([TINY_PROMPT] * len(RESPONSES), RESPONSES)
    inputs = ids[:, :-1].clamp(min=0)

    def log_probs(model=policy):
        return token_log_probs(model(inputs), labels)

    drawn = Rollouts(ids, labels, log_probs().detach(), log_probs(reference).detach(), RESPONSES)
    return policy, log_probs, drawn


def exact_gradient(policy, log_probs, rollouts):
    """Of J = E[r] − β KL(π ‖ π_ref), all seven responses summed up, by finite differences."""

    def value():
        whole, reference = log_probs().sum(1), rollouts.reference.sum(1)
        return (whole.exp() * (TINY_REWARD - BETA * (whole - reference))).sum()

    return difference(value, policy.weight)


def test_all_responses_of_the_tiny_policy_are_enumerated():
    _, log_probs, drawn = tiny()
    assert log_probs().sum(1).exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert drawn.log_ratio.sum(1).abs().min() > 0.01


def test_the_expected_gradient_of_reinforce_is_that_of_the_reward_minus_the_penalty():
    policy, log_probs, drawn = tiny()
    advantages = reinforce(kl_shaped(TINY_REWARD, drawn, BETA), drawn, 1, None)
    chances = drawn.log_probs.sum(1).exp()
    for row, chance in enumerate(chances):
        one = slice(row, row + 1)
        count = drawn.asked[one].sum()  # the objective is a mean over tokens
        objective = clipped_objective(
            log_probs()[one], drawn.log_probs[one], advantages[one], drawn.asked[one]
        )
        (chance * count * objective).backward()
    exact = exact_gradient(policy, log_probs, drawn)
    torch.testing.assert_close(policy.weight.grad, exact, rtol=0, atol=1e-8)
    assert exact.norm() > 0.1


def test_the_mean_of_the_others_as_baseline_leaves_the_expected_gradient_as_it_is():
    """All 49 pairs of responses."""
    policy, log_probs, drawn = tiny()
    shaped, chances = kl_shaped(TINY_REWARD, drawn, BETA), drawn.log_probs.sum(1).exp()
    for pair in itertools.product(range(len(RESPONSES)), repeat=2):
        rows = list(pair)
        asked = drawn.asked[rows]
        some = Rollouts(*(t[rows] for t in (drawn.ids, drawn.labels)), None, None, [])
        advantages = rloo(shaped[rows], some, 2, None)
        objective = clipped_objective(log_probs()[rows], drawn.log_probs[rows], advantages, asked)
        (chances[rows].prod() * asked.sum() / 2 * objective).backward()
    exact = exact_gradient(policy, log_probs, drawn)
    torch.testing.assert_close(policy.weight.grad, exact, rtol=0, atol=1e-8)


def test_a_critic_that_is_wrong_leaves_the_expected_gradient_as_it_is_with_a_trace_of_one():
    policy, log_probs, drawn = tiny()
    values = torch.tensor([[3.0, -1.0]], dtype=torch.double).expand(len(RESPONSES), 2)
    seen = values + drawn.ids[:, :2].double().clamp(min=0)  # of what was read so far
    advantages = gae(kl_shaped(TINY_REWARD, drawn, BETA), seen, drawn.asked, trace=1.0)
    (log_probs().sum(1).exp().detach() * (log_probs() * advantages).sum(1)).sum().backward()
    exact = exact_gradient(policy, log_probs, drawn)
    torch.testing.assert_close(policy.weight.grad, exact, rtol=0, atol=1e-8)


def test_a_penalty_of_the_wrong_sign_or_direction_has_another_gradient():
    policy, log_probs, drawn = tiny()
    exact = exact_gradient(policy, log_probs, drawn)
    swapped = Rollouts(drawn.ids, drawn.labels, drawn.reference, drawn.log_probs, RESPONSES)
    advantages = reinforce(kl_shaped(TINY_REWARD, swapped, BETA), swapped, 1, None)
    (log_probs().sum(1).exp().detach() * (log_probs() * advantages).sum(1)).sum().backward()
    assert (policy.weight.grad - exact).abs().max() > 0.05


# -- the whole run


def wanted(places, drawn):
    """The number of wanted tokens in each response."""
    return torch.tensor([float(response.count(WANTED)) for response in drawn.responses])


def run(method="GRPO", steps=30, seed=0, score=wanted, recipe=None, **changes):
    """The steps of a run, the policy and its reference."""
    reference = small_transformer(3)
    policy = copy.deepcopy(reference)
    given = {"beta": 0.02, "prompts": 8, "group": 4, "stop": STOP, "longest": 6}
    practice = Practice(method=method, **(given | changes))
    critic = scalar_headed(reference) if method == "PPO" else None
    recipe = recipe or Recipe(steps=steps, rate=0.01, matrix_rate=0.02)
    steps = optimise(
        policy, reference, PROMPTS, score, recipe, practice, seeded(seed), critic=critic
    )
    return steps, policy, reference


@pytest.mark.parametrize("method", METHODS)
def test_every_method_raises_the_reward(method):
    steps, _, reference = run(method, steps=40)
    before = copy.deepcopy(reference.state_dict())
    steps = list(steps)
    first, last = (sum(step.reward for step in some) / 6 for some in (steps[:6], steps[-6:]))
    assert last > 2 * first
    assert last > 1
    assert steps[-1].kl > 1
    assert all(before[name].equal(weight) for name, weight in reference.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_a_step_says_what_happened_to_its_responses(method):
    steps = list(run(method, steps=6)[0])
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    for step in steps:
        assert isinstance(step, PolicyStep)
        places, responses = zip(*step.responses, strict=True)
        assert len(responses) == 32
        assert {*places} <= {*range(len(PROMPTS))}
        assert all(len({*places[n : n + 4]}) == 1 for n in range(0, 32, 4))  # groups
        counts = [response.count(WANTED) for response in responses]
        assert step.reward == pytest.approx(sum(counts) / 32)
        assert step.length == pytest.approx(sum(map(len, responses)) / 32)
        assert 0 < step.entropy < 4
        assert 0 <= step.clip_share <= 1
        assert all(map(math.isfinite, (step.loss, step.grad_norm, step.kl)))
    assert steps[0].kl == pytest.approx(0, abs=1e-4)  # the policy is still its reference
    assert steps[0].entropy < math.log(13) + 0.5


def test_each_batch_is_learned_so_many_times_and_only_then_comes_the_next():
    steps = list(run(steps=9, updates=3)[0])
    said = [step.responses for step in steps]
    assert said[0] == said[1] == said[2] != said[3] == said[4] == said[5] != said[6]
    assert [step.clip_share for step in steps[::3]] == [0, 0, 0]  # nothing has moved yet
    assert all(step.clip_share > 0 for step in steps[1::3])


def test_the_loss_of_the_first_update_is_minus_the_mean_advantage():
    for step in list(run("REINFORCE", steps=6, beta=0.0)[0])[::2]:
        responses = [response for _, response in step.responses]
        total = sum(response.count(WANTED) * len(response) for response in responses)
        assert step.loss == pytest.approx(-total / sum(map(len, responses)), abs=1e-4)


def test_a_high_price_keeps_the_policy_near_its_reference():
    cheap, dear = (list(run(steps=40, beta=beta)[0])[-6:] for beta in (0.02, 2.0))
    assert sum(step.kl for step in dear) < sum(step.kl for step in cheap) / 3


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_gives_one_result(method):
    (one, first, _), (again, second, _) = run(method, 4), run(method, 4)
    for step, twin in zip(one, again, strict=True):
        assert (step.loss, step.kl, step.responses) == (twin.loss, twin.kl, twin.responses)
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(a.equal(b) for a, b in pairs)
    other = list(run(method, 4, seed=1)[0])
    assert other[0].responses != step.responses


def test_the_critic_learns_what_is_to_come():
    policy, critic = small_transformer(3), scalar_headed(small_transformer(3))
    practice = Practice(
        method="PPO", beta=0.02, prompts=16, group=4, updates=1, stop=STOP, longest=6
    )
    own = Experience(policy, copy.deepcopy(policy), PROMPTS, wanted, practice, seeded(), critic)
    again = iter(lambda: (own.inputs, own.rollouts.labels), None)
    expect = loop.train(critic, again, Recipe(steps=60), loss=own.value_loss)
    batches = own.batches(expect)
    errors = []
    for _ in range(60):  # the policy stands still
        _, labels = next(batches)
        values, rewards = own.values(), own.rewards[:, None]  # all of it comes at the end
        errors.append((values - rewards)[own.rollouts.asked].square().mean().item())
        assert own.value_loss(values[..., None], labels).item() == pytest.approx(
            errors[-1], abs=1e-4
        )
    assert sum(errors[-10:]) < 0.7 * sum(errors[:3]) / 3 * 10


def test_a_student_may_score_with_whole_numbers_in_a_list_and_with_a_gradient():
    weight = torch.ones(1, requires_grad=True)
    for score in (
        lambda places, drawn: [response.count(WANTED) for response in drawn.responses],
        lambda places, drawn: wanted(places, drawn) * weight,
    ):
        assert len(list(run("REINFORCE", steps=3, score=score)[0])) == 3
    assert weight.grad is None


# -- what goes wrong


def weights(model):
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def same(model, before):
    return all(before[name].equal(weight) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("method", METHODS)
def test_a_reward_that_is_no_number_ends_the_run_before_any_weight_changes(method, bad):
    def score(places, drawn):
        return wanted(places, drawn).index_fill(0, torch.tensor([3]), bad)

    steps, policy, reference = run(method, score=score)
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        next(steps)
    assert f"got {bad} at place 3" in str(caught.value)
    assert same(policy, weights(reference))


@pytest.mark.parametrize("shape", [(32, 1), (31,), ()])
def test_rewards_that_are_not_one_for_each_response_get_one_sentence(shape):
    steps, policy, reference = run(score=lambda places, drawn: torch.zeros(shape))
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        next(steps)
    assert f"expected 32 rewards, one for each response, got shape {shape}" in str(caught.value)
    assert same(policy, weights(reference))


@pytest.mark.parametrize("updates", [1, 3])
def test_a_kl_that_explodes_ends_the_run_and_leaves_the_last_good_weights(updates):
    recipe = Recipe(steps=200, rate=0.02, matrix_rate=0.05)
    steps, policy, _ = run(recipe=recipe, beta=0.0, most_kl=3.0, updates=updates)
    seen, kls = [weights(policy)], []

    def watch():
        for step in steps:
            kls.append(step.kl)
            seen.append(weights(policy))

    with pytest.raises(FloatingPointError, match=SENTENCE) as caught:
        watch()
    done = len(seen) - 1
    assert max(kls) <= 3
    assert "a KL of at most 3 nats" in str(caught.value)
    assert f"after {done} steps" in str(caught.value)
    assert done >= 2 * updates
    assert same(policy, seen[done - updates])
    assert not same(policy, seen[done])


@pytest.mark.parametrize("method", METHODS)
def test_a_critic_belongs_to_ppo_and_to_no_other_method(method):
    policy, practice = small_transformer(3), Practice(method=method)
    critic = None if method == "PPO" else scalar_headed(policy)
    steps = optimise(
        policy, small_transformer(3), PROMPTS, wanted, Recipe(steps=1), practice, seeded(), critic
    )
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        next(steps)
    assert f"got {method} {'without' if method == 'PPO' else 'with'} one" in str(caught.value)


def test_a_policy_that_is_its_own_reference_and_several_batches_to_a_step_get_one_sentence():
    policy = small_transformer(3)
    for reference, recipe, said in (
        (policy, Recipe(steps=1), "4 prompts and the policy itself"),
        (small_transformer(3), Recipe(steps=1, accumulate=2), "got accumulate=2"),
    ):
        steps = optimise(policy, reference, PROMPTS, wanted, recipe, Practice(), seeded())
        with pytest.raises(ValueError, match=SENTENCE) as caught:
            next(steps)
        assert said in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "TRPO"},
        {"beta": -0.1},
        {"beta": math.nan},
        {"prompts": 0},
        {"group": 0},
        {"updates": 0},
        {"longest": 0},
    ],
)
def test_a_practice_that_cannot_be_gets_one_sentence(changes):
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        Practice(**changes)
    ((name, value),) = changes.items()
    assert f"{name}={value!r}" in str(caught.value)


@pytest.mark.parametrize("method", ["GRPO", "RLOO"])
def test_a_response_that_has_no_other_to_compare_with_gets_one_sentence(method):
    steps, policy, reference = run(method, group=1)
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        next(steps)
    assert "groups of at least 2 responses, got 8 in groups of 1" in str(caught.value)
    assert same(policy, weights(reference))


def test_a_rate_far_too_high_ends_the_run_and_leaves_weights_that_have_responded():
    recipe = Recipe(steps=20, rate=1e20, matrix_rate=None)
    steps, policy, reference = run(recipe=recipe, updates=3)
    with pytest.raises(FloatingPointError):
        list(steps)
    assert same(policy, reference.state_dict())


def test_no_prompt_gets_one_sentence():
    reference = small_transformer(3)
    steps = optimise(
        copy.deepcopy(reference), reference, [], wanted, Recipe(steps=2), Practice(), seeded()
    )
    with pytest.raises(ValueError, match=SENTENCE):
        next(steps)


def test_experience_without_optimise_wants_what_optimise_wants():
    model = small_transformer(3)
    for reference, prompts, practice in (
        (model, PROMPTS, Practice()),
        (small_transformer(3), [], Practice()),
        (small_transformer(3), PROMPTS, Practice(method="PPO")),
    ):
        with pytest.raises(ValueError, match=SENTENCE):
            Experience(model, reference, prompts, wanted, practice, seeded())
