"""What every model of the course keeps to: model(ids) -> logits, (B, T) -> (B, T, V)."""

from functools import cache

import pytest
import torch

from course_lm.language import lab
from course_lm.models.counts import add_k, kneser_ney, maximum_likelihood

SIZE = len(lab.vocabulary())


@cache
def training_ids():
    words = lab.sample(5_000, torch.Generator().manual_seed(0))
    return torch.tensor(lab.vocabulary().ids_of(words))


# One line a model; all of them have the vocabulary of the lab.
MODELS = {
    "truth": lab.Truth,
    "unigram": lambda: maximum_likelihood(training_ids(), 1, SIZE),
    "trigram": lambda: maximum_likelihood(training_ids(), 3, SIZE),
    "add-k": lambda: add_k(training_ids(), 2, SIZE, 0.1),
    "Kneser–Ney": lambda: kneser_ney(training_ids(), 4, SIZE),
}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


@pytest.fixture
def ids():
    """Five beginnings of stories that no model was fitted on: (5, 24)."""
    words = lab.sample(1_000, torch.Generator().manual_seed(1))
    text = torch.tensor(lab.vocabulary().ids_of(words))
    starts = (text == 0).nonzero().flatten()[:5]
    return text[starts[:, None] + torch.arange(24)]


def other_ids(ids, first):
    """The same ids up to place `first`, then any others, possible or not."""
    rng = torch.Generator().manual_seed(first)
    changed = ids.clone()
    changed[:, first:] = torch.randint(SIZE, changed[:, first:].shape, generator=rng)
    return changed


@pytest.mark.parametrize("shape", [(5, 24), (1, 24), (5, 1), (1, 1), (2, 3)])
def test_a_model_gives_one_row_of_logits_for_each_place(model, ids, shape):
    logits = model(ids[: shape[0], : shape[1]])
    assert logits.shape == (*shape, SIZE)
    assert logits.is_floating_point()


def test_logits_are_numbers_that_make_a_distribution(model, ids):
    logits = model(other_ids(ids, 12))
    assert not logits.isnan().any()
    assert not (logits == torch.inf).any()
    assert torch.allclose(logits.softmax(-1).sum(-1), torch.ones(ids.shape))


@pytest.mark.parametrize("first", [1, 2, 7, 23])
def test_the_future_changes_nothing(model, ids, first):
    assert not torch.equal(other_ids(ids, first), ids)
    before, after = model(ids)[:, :first], model(other_ids(ids, first))[:, :first]
    assert torch.allclose(before.softmax(-1), after.softmax(-1), atol=1e-6)
    short = model(ids[:, :first])
    assert torch.allclose(before.softmax(-1), short.softmax(-1), atol=1e-6)


def test_asked_twice_a_model_answers_the_same(model, ids):
    assert torch.equal(model(ids), model(ids))


def test_a_row_does_not_depend_on_its_batch(model, ids):
    together = model(ids).softmax(-1)
    for index, row in enumerate(ids):
        alone = model(row[None]).softmax(-1)
        assert torch.allclose(together[index], alone[0], atol=1e-6)
    assert torch.allclose(model(ids.flip(0)).softmax(-1), together.flip(0), atol=1e-6)


def test_a_model_leaves_its_input_as_it_is(model, ids):
    before = ids.clone()
    model(ids)
    assert torch.equal(ids, before)
