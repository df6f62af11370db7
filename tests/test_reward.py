"""The loss of comparisons against cross-entropy, the judge against single rows, by hand."""

import math
from itertools import islice

import pytest
import torch
from small_models import random_ids, seeded, small_transformer

from course_lm.language.windows import IGNORE, joined
from course_lm.models.contract import check_rewards
from course_lm.models.transformer import Transformer
from course_lm.rlhf.reward import (
    RewardModel,
    accuracy,
    bradley_terry,
    calibration,
    pairs,
    rewards_of,
    scalar_headed,
)
from course_lm.training.loop import Recipe, train
from course_lm.training.losses import cross_entropy

SENTENCE = r"^[\w, ]+: expected [^\n]+, got [^\n]+; [^\n]+$"


def judged(seed=0, **changes):
    """A judge whose head is random, so that no two texts have one reward."""
    model = scalar_headed(small_transformer(seed, **changes))
    with torch.no_grad():
        model.head.weight.normal_(generator=seeded(seed))
    return RewardModel(model)


# -- the loss


@pytest.mark.parametrize("label", [0, 1])
def test_the_loss_of_a_comparison_is_cross_entropy_on_two_rewards(label):
    rewards = 3 * torch.randn(20, 2, generator=seeded(), dtype=torch.double)
    by_label = cross_entropy(rewards, torch.full((20,), label))
    ours = bradley_terry(rewards[:, label], rewards[:, 1 - label])
    assert ours.item() == pytest.approx(by_label.item(), abs=1e-12)


def test_the_loss_by_hand():
    loss = bradley_terry(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0]))
    by_hand = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert loss.item() == pytest.approx(by_hand, abs=1e-6)


def test_a_constant_added_to_all_rewards_changes_nothing():
    chosen, rejected = torch.randn(2, 30, generator=seeded(), dtype=torch.double)
    there, moved = bradley_terry(chosen, rejected), bradley_terry(chosen + 7, rejected + 7)
    assert moved.item() == pytest.approx(there.item(), abs=1e-12)


def test_the_gradient_of_a_comparison_is_minus_the_chance_of_the_other_vote():
    chosen = torch.tensor([0.5], requires_grad=True)
    bradley_terry(chosen, torch.tensor([-1.0])).backward()
    assert chosen.grad.item() == pytest.approx(-1 / (1 + math.exp(1.5)), abs=1e-6)


def test_huge_rewards_give_a_finite_loss():
    assert bradley_terry(torch.tensor([-1e4]), torch.tensor([1e4])).item() == 2e4
    assert bradley_terry(torch.tensor([1e4]), torch.tensor([-1e4])).item() == 0


@pytest.mark.parametrize(
    ("chosen", "rejected", "said"),
    [
        ([1.0, math.nan], [0.0, 0.0], "chosen: expected rewards that are finite, got nan at place"),
        ([1.0, 0.0], [-math.inf, 0.0], "rejected: expected rewards that are finite, got -inf at"),
        ([], [], "at least one, got (0,) and (0,)"),
        ([1.0], [1.0, 2.0], "as many chosen as rejected rewards, and at least one, got (1,)"),
    ],
)
def test_rewards_that_cannot_be_compared_get_one_sentence(chosen, rejected, said):
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        bradley_terry(torch.tensor(chosen), torch.tensor(rejected))
    assert said in str(caught.value)


def test_the_place_of_a_reward_that_is_no_number_is_told():
    with pytest.raises(ValueError, match=r"^mine: .* got inf at place 5;"):
        check_rewards("mine", torch.tensor([[0.0, 1, 2], [3, 4, math.inf]]))
    check_rewards("mine", torch.zeros(2, 3))


# -- the model


@pytest.mark.parametrize("layers", [None, 1, 2])
def test_a_model_with_a_scalar_head_says_nothing_at_first_and_keeps_so_many_blocks(layers):
    model = scalar_headed(small_transformer(), layers)
    assert len(model.blocks) == model.config.layers == (layers or 2)
    assert model(random_ids(3, 5)).equal(torch.zeros(3, 5, 1))


def test_the_base_is_left_as_it_was_when_the_copy_learns():
    base, ids = small_transformer(tied=True), random_ids(4, 2, 7)
    before, logits = {k: v.clone() for k, v in base.state_dict().items()}, base(ids[:, 0])
    base.requires_grad_(False)
    judge = RewardModel(scalar_headed(base, layers=1))
    list(train(judge, [(ids, torch.tensor([0, 1, 1, 0]))] * 5, Recipe(steps=5)))
    assert judge(ids).abs().min() > 0
    assert len(base.blocks) == base.config.layers == 2
    assert all(before[name].equal(weight) for name, weight in base.state_dict().items())
    assert base(ids[:, 0]).equal(logits)
    assert not any(weight.requires_grad for weight in base.parameters())


def test_the_first_blocks_alone_compute_what_the_whole_model_computes_there():
    base, ids = small_transformer(), random_ids(2, 6)
    short, seen = scalar_headed(base, layers=1), []
    base.blocks[1].register_forward_pre_hook(lambda block, given: seen.append(given[0]))
    short.norm.register_forward_pre_hook(lambda norm, given: seen.append(given[0]))
    base(ids), short(ids)
    assert seen[0].equal(seen[1])


def test_a_scalar_head_draws_nothing_from_the_chances_of_others():
    before = torch.get_rng_state()
    scalar_headed(small_transformer())
    assert torch.get_rng_state().equal(before)


def test_a_shortened_model_is_a_transformer_of_the_shape_that_it_says():
    model = scalar_headed(small_transformer(), layers=1)
    same = Transformer(model.config, seeded())
    same.head = torch.nn.Linear(16, 1, bias=False)
    same.load_state_dict(model.state_dict())
    assert same(random_ids(1, 4)).equal(model(random_ids(1, 4)))


# -- the judge


def test_the_reward_is_read_behind_the_last_token_whatever_fills_the_row():
    judge, rows = judged(), [random_ids(size, seed=size).tolist() for size in (3, 9, 1, 16)]
    together = judge(joined(rows))
    for row, reward in zip(rows, together, strict=True):
        alone = judge.model(torch.tensor([row]))[0, -1, 0]
        torch.testing.assert_close(reward, alone, rtol=0, atol=1e-5)
        wider = judge(torch.tensor([row + [IGNORE] * (16 - len(row))]))
        torch.testing.assert_close(wider[0], alone, rtol=0, atol=1e-5)
    assert len({round(reward, 4) for reward in together.tolist()}) == 4


def test_a_batch_of_comparisons_has_the_rewards_of_its_rows():
    judge, rows = judged(), [random_ids(4 + n % 5, seed=n).tolist() for n in range(10)]
    ids = joined(rows)
    rewards = judge(ids.view(5, 2, -1))
    assert rewards.shape == (5, 2)
    torch.testing.assert_close(rewards.flatten(), judge(ids), rtol=0, atol=1e-6)
    for batch in (1, 3, 128):
        many = rewards_of(judge, ids.view(5, 2, -1), batch)
        torch.testing.assert_close(many, rewards, rtol=0, atol=1e-6)
        assert not many.requires_grad


def test_the_prompt_of_a_comparison_is_read_once():
    judge, prompt = judged(), random_ids(1, 6)
    ids = torch.cat([prompt.repeat(2, 1), random_ids(2, 3, seed=1)], 1)
    read = []
    judge.model.embed.register_forward_hook(lambda layer, given, out: read.append(given[0].shape))
    judge(ids[None])
    assert read == [(1, 6 + 2 * 3)]


def test_an_empty_text_gets_one_sentence():
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        judged()(joined([[1, 2], []]))
    assert "at least one token, got an empty one" in str(caught.value)


def test_rows_are_filled_up_on_the_right():
    assert joined([[1, 2, 3], [], [4]]).tolist() == [
        [1, 2, 3],
        [IGNORE] * 3,
        [4, IGNORE, IGNORE],
    ]
    assert joined([]).shape == (0, 0)


def test_a_judge_learns_from_comparisons_alone_which_word_is_wanted():
    ids = random_ids(200, 2, 6)
    counts = (ids == 5).sum(-1)
    labels = torch.where(counts[:, 0] == counts[:, 1], IGNORE, (counts[:, 1] > counts[:, 0]).long())
    judge = RewardModel(scalar_headed(small_transformer()))
    before = accuracy(rewards_of(judge, ids), labels)
    batches = pairs(ids[:150], labels[:150], 32, seeded())
    steps = list(train(judge, batches, Recipe(steps=40)))
    assert before == 0.5
    assert steps[0].loss == pytest.approx(math.log(2), abs=1e-5)
    assert accuracy(rewards_of(judge, ids[150:]), labels[150:]) > 0.9


# -- batches and scores


def test_every_known_comparison_comes_once_a_round_with_its_label_and_ties_never():
    ids = torch.arange(11)[:, None, None] * torch.ones(1, 2, 3, dtype=torch.long)
    labels = torch.tensor([0, 1, IGNORE, 1, 0, 1, IGNORE, 0, 1, 1, IGNORE])  # eight known
    batches = list(islice(pairs(ids, labels, 4, seeded()), 10))
    for one, other in zip(batches[::2], batches[1::2], strict=True):
        seen = torch.cat([one[0], other[0]])[:, 0, 0]
        assert sorted(seen.tolist()) == [0, 1, 3, 4, 5, 7, 8, 9]
        assert torch.cat([one[1], other[1]]).equal(labels[seen])
    assert not batches[0][0].equal(batches[2][0])
    again = list(islice(pairs(ids, labels, 4, seeded()), 10))
    assert all(a[0].equal(b[0]) for a, b in zip(batches, again, strict=True))


def test_batches_have_one_size_and_never_more_than_there_are():
    ids, labels = torch.zeros(5, 2, 3, dtype=torch.long), torch.tensor([0, 1, IGNORE, 1, 0])
    for asked, size in ((3, 3), (4, 4), (100, 4)):
        assert {len(some) for some, _ in islice(pairs(ids, labels, asked, seeded()), 7)} == {size}


def test_ties_alone_get_one_sentence():
    with pytest.raises(ValueError, match=SENTENCE):
        next(pairs(torch.zeros(2, 2, 3), torch.tensor([IGNORE, IGNORE]), 2, seeded()))


def test_accuracy_by_hand_and_equal_rewards_are_half_right():
    rewards = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 3.0], [2.0, 2.0], [9.0, 0.0]])
    labels = torch.tensor([0, 1, 1, 0, IGNORE])
    assert accuracy(rewards, labels) == 2.5 / 4
    assert accuracy(torch.zeros(3, 2), torch.tensor([0, 0, 1])) == 0.5


def test_calibration_by_hand():
    chances = torch.tensor([0.9, 0.1, 0.7, 0.3])
    happened = torch.tensor([True, False, True, True])
    low, high = calibration(chances, happened, bins=2)
    assert low == pytest.approx((0.2, 0.5, 2))
    assert high == pytest.approx((0.8, 1.0, 2))
    assert sum(count for *_, count in calibration(chances, happened, bins=9)) == 4


def test_chances_that_are_true_are_calibrated():
    chances = torch.rand(20_000, generator=seeded())
    happened = torch.rand(20_000, generator=seeded(1)) < chances
    for chance, share, count in calibration(chances, happened):
        assert count == 4000
        assert share == pytest.approx(chance, abs=4 * 0.5 / math.sqrt(4000))


@pytest.mark.parametrize("rewards", [[[math.nan, 0.0]], [[math.inf, math.inf]]])
def test_the_accuracy_of_rewards_that_are_no_numbers_gets_one_sentence(rewards):
    with pytest.raises(ValueError, match=SENTENCE):
        accuracy(torch.tensor(rewards), torch.tensor([0]))


def test_the_accuracy_on_ties_alone_gets_one_sentence():
    with pytest.raises(ValueError, match=SENTENCE):
        accuracy(torch.zeros(2, 2), torch.tensor([IGNORE, IGNORE]))


@pytest.mark.parametrize("layers", [0, 9])
def test_layers_that_the_base_has_not_get_one_sentence(layers):
    with pytest.raises(ValueError, match=SENTENCE):
        scalar_headed(small_transformer(), layers)
