"""Rows that share a beginning against the same rows read one by one."""

import math

import pytest
import torch
from small_models import random_ids, small_rnn, small_transformer
from torch import nn

from course_lm.models.shared import Shared, common_beginning

GROUPS = [(2, 3, 5, 4), (4, 2, 1, 7), (1, 6, 9, 1), (3, 6, 4, 6)]  # prompts, group, begin, after


def in_groups(prompts, group, begin, after, seed=0):
    """Rows of which each `group` neighbours have the first `begin` tokens in common."""
    beginnings = random_ids(prompts, begin, seed=seed).repeat_interleave(group, 0)
    return torch.cat([beginnings, random_ids(prompts * group, after, seed=seed + 1)], 1)


def gradients(model, network, ids):
    """Of a loss in which each logit has a part."""
    network.zero_grad()
    logits = model(ids)
    wanted = random_ids(*ids.shape, seed=9)
    nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten()).backward()
    return [weight.grad.clone() for weight in network.parameters()]


def assert_same_gradients(network, ids):
    """Those of the rows read together are those of the rows read whole."""
    for ours, alone in zip(
        gradients(Shared(network), network, ids), gradients(network, network, ids), strict=True
    ):
        torch.testing.assert_close(ours, alone, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("sizes", GROUPS)
@pytest.mark.parametrize("shape", [{}, {"heads": 4, "kv_heads": 2, "width": 16}, {"tied": True}])
def test_logits_are_those_of_the_rows_read_one_by_one(sizes, shape):
    network, ids = small_transformer(**shape), in_groups(*sizes)
    alone = torch.cat([network(row[None]) for row in ids])
    torch.testing.assert_close(Shared(network)(ids), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sizes", GROUPS)
def test_gradients_are_those_of_the_rows_read_one_by_one(sizes):
    network, ids = small_transformer(), in_groups(*sizes)
    assert common_beginning(ids) == (sizes[2], sizes[1])
    assert_same_gradients(network, ids)


def test_a_row_does_not_see_what_its_neighbour_says():
    network, ids = small_transformer(), in_groups(1, 2, 4, 3)
    other = ids.clone()
    other[0, 4:] = (ids[0, 4:] + 1) % 13
    before, after = (Shared(network)(some) for some in (ids, other))
    torch.testing.assert_close(before[1], after[1])
    assert not before[0, 4:].allclose(after[0, 4:])


def test_a_prompt_is_read_once_for_all_its_responses():
    network, ids = small_transformer(), in_groups(2, 4, 6, 2)
    sizes = []
    network.embed.register_forward_hook(lambda layer, given, out: sizes.append(given[0].shape))
    Shared(network)(ids)
    assert sizes == [(2, 6 + 4 * 2)]


def test_equal_rows_are_told_from_their_last_column_on():
    network, ids = small_transformer(), random_ids(1, 6).repeat(4, 1)
    assert common_beginning(ids) == (5, 4)
    torch.testing.assert_close(Shared(network)(ids), network(ids), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([[1, 2, 3], [1, 2, 4], [5, 2, 3], [5, 2, 4]], (2, 2)),
        ([[1, 2, 3], [1, 2, 4], [1, 2, 5]], (2, 3)),
        ([[1, 2, 3], [1, 2, 4], [5, 2, 3]], (2, 2)),  # groups of two and of one
        ([[1, 2, 3], [2, 2, 3]], (0, 1)),
        ([[1], [1]], (0, 1)),  # the last column is always read
        ([[1, 2, 3]], (0, 1)),
        ([[1, 7, 7, 3], [1, 7, 7, 4], [1, 8, 8, 3], [1, 8, 8, 4]], (3, 2)),  # 10 tokens, not 13
        ([[1, 2, 7, 3, 1], [1, 2, 7, 4, 1], [1, 2, 8, 3, 1], [1, 2, 9, 4, 1]], (2, 4)),
        ([[1, 2, 3, n] for n in range(7)], (3, 4)),  # two groups, the last has three rows
        ([[n // 4, 2, 3, n] for n in range(10)], (3, 4)),  # the last group has two rows
    ],
)
def test_the_choice_with_the_fewest_tokens_is_found(rows, found):
    assert common_beginning(torch.tensor(rows)) == found


@pytest.mark.parametrize(
    "network", [small_rnn(), small_transformer(grams=3), small_transformer(causal=False)]
)
def test_other_models_read_every_row_whole(network):
    ids = in_groups(2, 3, 5, 4)
    torch.testing.assert_close(Shared(network)(ids), network(ids), atol=0, rtol=0)


def test_ids_and_lengths_are_checked_as_the_model_does():
    network = small_transformer(context=8)
    for ids in (in_groups(1, 2, 6, 3), torch.tensor([[1, 2, 3], [1, 2, 99]])):
        with pytest.raises(ValueError, match=r"^transformer: expected [^\n]+, got [^\n]+; "):
            Shared(network)(ids)


def test_a_long_run_of_equal_prompts_is_read_in_smaller_groups():
    assert common_beginning(in_groups(2, 8, 6, 2)) == (6, 4)


@pytest.mark.parametrize("sizes", [*GROUPS, (1, 7, 5, 2), (2, 5, 4, 1), (1, 23, 3, 3)])
def test_no_other_choice_reads_fewer_tokens(sizes):
    ids = in_groups(*sizes)

    def tokens(cut, group):
        return math.ceil(len(ids) / group) * (cut + group * (ids.shape[1] - cut))

    def fits(cut, group):
        return all((rows[:, :cut] == rows[0, :cut]).all() for rows in ids.split(group))

    fewest = min(
        tokens(cut, group)
        for cut in range(ids.shape[1])
        for group in (1, 2, 3, 4, 6, 12)
        if fits(cut, group)
    )
    assert tokens(*common_beginning(ids)) == fewest


@pytest.mark.parametrize("rows", [5, 13, 23])
def test_the_last_group_may_be_smaller(rows):
    network, ids = small_transformer(), in_groups(1, rows, 6, 3)
    assert rows % common_beginning(ids)[1]
    torch.testing.assert_close(Shared(network)(ids), network(ids), atol=1e-5, rtol=0)
    assert_same_gradients(network, ids)


def test_a_joined_row_may_be_longer_than_the_context():
    network, ids = small_transformer(context=9), in_groups(2, 6, 5, 4)
    torch.testing.assert_close(Shared(network)(ids), network(ids), atol=1e-5, rtol=0)
