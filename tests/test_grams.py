"""A group of neighbouring tokens has a vector of its own, whatever stands before it."""

import pytest
import torch
from small_models import random_ids, seeded, small_rnn, small_transformer

from course_lm.models.grams import FACTOR, PRIME, ROWS, Grams
from course_lm.models.rnn import RNN, RNNConfig
from course_lm.models.transformer import Transformer, TransformerConfig

WIDTH = 3


def filled(longest):
    grams = Grams(longest, WIDTH)
    for table in grams.tables:
        torch.nn.init.normal_(table.weight, generator=seeded(longest))
    return grams


def by_hand(grams, row):
    """The sum over groups, token by token, with Python's own integers."""
    sums = []
    for place in range(len(row)):
        total, key = torch.zeros(WIDTH), row[place]
        for back, table in enumerate(grams.tables, 1):
            earlier = row[place - back] if place >= back else -1
            key = (FACTOR * key + earlier + 1) % PRIME
            total = total + table.weight[key % ROWS]
        sums.append(total)
    return torch.stack(sums)


@pytest.mark.parametrize("longest", [2, 3, 6])
def test_the_sum_is_the_one_by_hand(longest):
    grams, ids = filled(longest), random_ids(4, 9, size=90)
    vectors = torch.zeros(4, 9, WIDTH)
    sums = torch.stack([by_hand(grams, row) for row in ids.tolist()])
    assert torch.allclose(grams(vectors, ids)[0], sums)
    assert torch.allclose(grams(vectors + 1, ids)[0], sums + 1)


def test_only_the_group_counts():
    ids = torch.tensor([[5, 1, 2, 9, 1, 2, 1, 3]])
    sums = filled(2)(torch.zeros(1, 8, WIDTH), ids)[0][0]
    assert torch.equal(sums[2], sums[5])  # 1 2 both times
    assert not torch.equal(sums[1], sums[4])  # 5 1 and 9 1


@pytest.mark.parametrize("cut", [1, 2, 5, 8])
def test_read_in_two_parts_the_sums_are_the_same(cut):
    grams, ids = filled(4), random_ids(3, 9, size=90)
    whole, last = grams(torch.zeros(3, 9, WIDTH), ids)
    first, recent = grams(torch.zeros(3, cut, WIDTH), ids[:, :cut])
    second, again = grams(torch.zeros(3, 9 - cut, WIDTH), ids[:, cut:], recent)
    assert torch.equal(torch.cat([first, second], dim=1), whole)
    assert torch.equal(again, last)
    assert torch.equal(last, ids[:, -3:])


def test_empty_columns_at_the_left_change_nothing():
    grams, ids = filled(3), random_ids(1, 5, size=90)
    padded = torch.cat([torch.zeros(1, 2, dtype=torch.long), ids], dim=1)
    sums, recent = grams(torch.zeros(1, 7, WIDTH), padded, pads=torch.tensor([2]))
    alone, last = grams(torch.zeros(1, 5, WIDTH), ids)
    assert torch.equal(sums[:, 2:], alone)
    assert torch.equal(recent, last)


def test_pairs_of_a_small_vocabulary_nearly_all_have_a_row_of_their_own():
    ids = torch.cartesian_prod(torch.arange(70), torch.arange(70))
    rows = (FACTOR * ids[:, 1] + ids[:, 0] + 1) % PRIME % ROWS
    assert len(rows.unique()) > 0.9 * len(ids)


def test_without_groups_there_is_nothing_to_learn_and_nothing_to_remember():
    vectors, ids = torch.ones(2, 4, WIDTH), random_ids(2, 4)
    assert Grams(1, WIDTH)(vectors, ids) == (vectors, None)
    assert not list(Grams(1, WIDTH).parameters())


@pytest.mark.parametrize("make", [small_transformer, small_rnn])
def test_only_rows_that_were_looked_up_have_a_gradient(make):
    model = make(grams=2)
    model(torch.tensor([[1, 2, 1, 2]])).square().sum().backward()
    gradient = model.grams.tables[0].weight.grad.coalesce()
    assert gradient.values().abs().sum() > 0
    assert len(gradient.indices()[0]) == 3  # nothing 1, 1 2, 2 1


def test_tables_begin_at_0_and_change_no_other_weight():
    sizes = {"vocab_size": 9, "width": 8, "layers": 1}
    for make, config in ((RNN, RNNConfig), (Transformer, TransformerConfig)):
        plain = make(config(**sizes), seeded(0))
        tabled = make(config(**sizes, grams=3), seeded(0))
        assert torch.equal(plain(random_ids(2, 6, size=9)), tabled(random_ids(2, 6, size=9)))


@pytest.mark.parametrize("config", [RNNConfig, TransformerConfig])
def test_a_group_of_no_token_is_refused(config):
    with pytest.raises(ValueError, match="at least 1"):
        config(vocab_size=9, grams=0)
