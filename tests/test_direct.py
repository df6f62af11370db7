"""The loss by hand, implicit rewards against the plainest sum, what cancels and what learns."""

import copy
import math

import pytest
import torch
from small_models import random_ids, seeded, small_transformer

from course_lm.language.windows import IGNORE, joined
from course_lm.rlhf.direct import ImplicitReward, dpo_loss, text_log_probs
from course_lm.rlhf.reward import accuracy, pairs, rewards_of
from course_lm.rlhf.rollouts import with_labels
from course_lm.training import loop
from course_lm.training.loop import Recipe, train
from course_lm.training.losses import cross_entropy, token_log_probs

SENTENCE = r"^[\w, ]+: expected [^\n]+, got [^\n]+; [^\n]+$"


@pytest.fixture
def full_precision(monkeypatch):
    monkeypatch.setattr(loop, "half_precision_pays", lambda device: False)


def comparisons(count=6):
    """Prompts, each with a first and a second response, and the ids of both texts, (N, 2, T)."""
    prompts = [random_ids(2 + n % 4, seed=n).tolist() for n in range(count)]
    firsts, seconds = (
        [random_ids(1 + (n + more) % 5, seed=100 * more + n).tolist() for n in range(count)]
        for more in (1, 2)
    )
    rows = [
        [*prompt, *response]
        for prompt, *both in zip(prompts, firsts, seconds, strict=True)
        for response in both
    ]
    return prompts, firsts, seconds, joined(rows).view(count, 2, -1)


# -- the loss


@pytest.mark.parametrize(
    ("chosen", "rejected", "beta", "by_hand"),
    [
        ([0.0], [0.0], 0.1, math.log(2)),
        ([2.0], [-1.0], 0.5, math.log(1 + math.exp(-1.5))),
        ([-4.0], [1.0], 0.2, math.log(1 + math.exp(1.0))),
        ([2.0, 0.0], [0.0, 0.0], 1.0, (math.log(1 + math.exp(-2)) + math.log(2)) / 2),
        ([1e4], [-1e4], 1.0, 0.0),
        ([-1e4], [1e4], 1.0, 2e4),
    ],
)
def test_the_loss_by_hand(chosen, rejected, beta, by_hand):
    loss = dpo_loss(torch.tensor(chosen), torch.tensor(rejected), beta)
    assert loss.item() == pytest.approx(by_hand, abs=1e-6)


def test_the_loss_is_cross_entropy_on_two_implicit_rewards():
    ratios = 5 * torch.randn(20, 2, generator=seeded(), dtype=torch.double)
    labels = torch.zeros(20, dtype=torch.long)
    ours = dpo_loss(ratios[:, 0], ratios[:, 1], 0.3)
    assert ours.item() == pytest.approx(cross_entropy(0.3 * ratios, labels).item(), abs=1e-12)


def test_the_gradient_by_hand_and_what_both_have_in_common_has_none():
    chosen, rejected = (torch.tensor([v], requires_grad=True) for v in (1.0, -2.0))
    common = torch.zeros(1, requires_grad=True)
    dpo_loss(chosen + common, rejected + common, 0.5).backward()
    by_hand = 0.5 / (1 + math.exp(1.5))
    assert chosen.grad.item() == pytest.approx(-by_hand, abs=1e-7)
    assert rejected.grad.item() == pytest.approx(by_hand, abs=1e-7)
    assert common.grad.item() == 0


@pytest.mark.parametrize("beta", [0, -0.1, math.nan])
def test_without_a_price_nothing_could_be_learned(beta):
    for call in (
        lambda: dpo_loss(torch.ones(1), torch.ones(1), beta),
        lambda: ImplicitReward(small_transformer(), small_transformer(), beta),
    ):
        with pytest.raises(ValueError, match=SENTENCE) as caught:
            call()
        assert f"beta above 0, got {beta}" in str(caught.value)


@pytest.mark.parametrize(
    ("chosen", "said"), [([], "at least one, got (0,)"), ([math.nan], "finite, got nan at place 0")]
)
def test_comparisons_that_are_none_get_one_sentence(chosen, said):
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        dpo_loss(torch.tensor(chosen), torch.zeros(len(chosen)), 0.1)
    assert said in str(caught.value)


# -- implicit rewards


def test_the_log_prob_of_a_text_is_the_sum_over_its_tokens_whatever_fills_the_row():
    model, (*_, ids) = small_transformer(), comparisons()
    found = text_log_probs(model, ids)
    assert found.shape == (6, 2)
    for row, sum_ in zip(ids.flatten(0, 1), found.flatten().tolist(), strict=True):
        text = row[row != IGNORE]
        logs = model(text[None])[0].log_softmax(-1)
        by_hand = sum(logs[place - 1, text[place]].item() for place in range(1, len(text)))
        assert sum_ == pytest.approx(by_hand, abs=1e-4)


def test_an_implicit_reward_is_beta_times_the_log_ratio():
    policy, reference, (*_, ids) = small_transformer(1), small_transformer(2), comparisons()
    by_hand = 0.3 * (text_log_probs(policy, ids) - text_log_probs(reference, ids))
    torch.testing.assert_close(ImplicitReward(policy, reference, 0.3)(ids), by_hand)
    assert by_hand.abs().min() > 0


def gradient(model):
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


def test_the_prompt_cancels_in_the_loss_and_in_its_gradient():
    """Whole texts through `ImplicitReward`, against the tokens of the responses alone."""
    reference = small_transformer(2)
    prompts, firsts, seconds, ids = comparisons()
    whole, alone = small_transformer(1), small_transformer(1)
    loss = cross_entropy(
        ImplicitReward(whole, reference, 0.3)(ids), torch.zeros(6, dtype=torch.long)
    )
    loss.backward()

    def ratio(responses):
        ids, labels = with_labels(prompts, responses)
        inputs = ids[:, :-1].clamp(min=0)
        ours, theirs = (token_log_probs(m(inputs), labels).sum(1) for m in (alone, reference))
        return ours - theirs.detach()

    other = dpo_loss(ratio(firsts), ratio(seconds), 0.3)
    other.backward()
    assert loss.item() == pytest.approx(other.item(), abs=1e-5)
    assert abs(loss.item() - math.log(2)) > 0.01
    torch.testing.assert_close(gradient(whole), gradient(alone), rtol=1e-4, atol=1e-5)
    assert gradient(whole).norm() > 0.1


def test_other_prompts_do_not_cancel():
    """So the two texts of a comparison need one prompt."""
    policy, reference, (*_, ids) = small_transformer(1), small_transformer(2), comparisons()
    implicit, changed = ImplicitReward(policy, reference, 0.3), ids.clone()
    changed[:, 1, 0] = (changed[:, 1, 0] + 1) % 13
    labels = torch.zeros(6, dtype=torch.long)
    there, moved = (cross_entropy(implicit(some), labels).item() for some in (ids, changed))
    assert there != pytest.approx(moved, abs=1e-3)


def test_the_reference_is_no_part_of_what_learns():
    policy, reference, (*_, ids) = small_transformer(1), small_transformer(2), comparisons()
    implicit, before = ImplicitReward(policy, reference, 0.3), copy.deepcopy(reference.state_dict())
    assert {*map(id, implicit.parameters())} == {*map(id, policy.parameters())}
    assert all(name.startswith("policy.") for name in implicit.state_dict())
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    list(train(implicit, [(ids, labels)] * 3, Recipe(steps=3)))
    assert all(weight.grad is None for weight in reference.parameters())
    assert all(before[name].equal(weight) for name, weight in reference.state_dict().items())


@pytest.mark.usefixtures("full_precision")
def test_a_policy_learns_from_comparisons_without_a_reward_model():
    """Whoever compares wants the token 5."""
    base = small_transformer(1)
    prompt = random_ids(1200, 1, 3)
    responses = random_ids(1200, 2, 4, seed=1)
    ids = torch.cat([prompt.expand(-1, 2, -1), responses], 2)
    counts = (responses == 5).sum(-1)
    labels = torch.where(counts[:, 0] == counts[:, 1], IGNORE, (counts[:, 1] > counts[:, 0]).long())
    implicit = ImplicitReward(copy.deepcopy(base), base, 0.5)
    assert rewards_of(implicit, ids).abs().max() == 0  # at first it is the reference
    steps = list(train(implicit, pairs(ids[:1000], labels[:1000], 32, seeded()), Recipe(steps=40)))
    assert steps[0].loss == pytest.approx(math.log(2), abs=1e-6)
    assert accuracy(rewards_of(implicit, ids[1000:]), labels[1000:]) > 0.9
    there, before = (
        m(prompt[:, 0])[:, -1].softmax(-1)[:, 5].mean() for m in (implicit.policy, base)
    )
    assert there > 2 * before


def test_a_policy_that_is_its_own_reference_gets_one_sentence():
    model = small_transformer()
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        ImplicitReward(model, model, 0.5)
    assert "the policy itself" in str(caught.value)
