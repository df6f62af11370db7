"""What every model of the course keeps to: model(ids) -> logits, (B, T) -> (B, T, V)."""

from functools import cache

import pytest
import torch
from small_models import small_rnn, small_transformer

from course_lm.language import lab
from course_lm.models.counts import add_k, kneser_ney, maximum_likelihood

SIZE = len(lab.vocabulary())


@cache
def training_ids():
    words = lab.sample(5_000, torch.Generator().manual_seed(0))
    return torch.tensor(lab.vocabulary().ids_of(words))


def transformer(**changes):
    return lambda: small_transformer(vocab_size=SIZE, context=32, **changes)


# One line a model; all of them have the vocabulary of the lab.
MODELS = {
    "truth": lab.Truth,
    "unigram": lambda: maximum_likelihood(training_ids(), 1, SIZE),
    "trigram": lambda: maximum_likelihood(training_ids(), 3, SIZE),
    "add-k": lambda: add_k(training_ids(), 2, SIZE, 0.1),
    "Kneser–Ney": lambda: kneser_ney(training_ids(), 4, SIZE),
    "transformer": transformer(),
    "grouped heads, tied": transformer(kv_heads=2, tied=True),
    "both ways": transformer(causal=False),
    "transformer with tables": transformer(grams=3),
    "plain RNN": lambda: small_rnn("plain", vocab_size=SIZE),
    "GRU": lambda: small_rnn("gru", vocab_size=SIZE, layers=2),
    "LSTM": lambda: small_rnn("lstm", vocab_size=SIZE),
    "LSTM with tables": lambda: small_rnn("lstm", vocab_size=SIZE, grams=4),
}
CAUSAL = [name for name in MODELS if name != "both ways"]
NETWORKS = list(MODELS)[5:]


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


@pytest.fixture(params=CAUSAL)
def causal_model(request):
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
def test_the_future_changes_nothing(causal_model, ids, first):
    assert not torch.equal(other_ids(ids, first), ids)
    before, after = causal_model(ids)[:, :first], causal_model(other_ids(ids, first))[:, :first]
    assert torch.allclose(before.softmax(-1), after.softmax(-1), atol=1e-6)
    short = causal_model(ids[:, :first])
    assert torch.allclose(before.softmax(-1), short.softmax(-1), atol=1e-6)


@pytest.mark.parametrize("first", [1, 7, 23])
def test_the_future_changes_the_guesses_of_a_model_that_looks_both_ways(ids, first):
    model = MODELS["both ways"]()
    before, after = model(ids)[:, :first], model(other_ids(ids, first))[:, :first]
    changed = (before.softmax(-1) - after.softmax(-1)).abs().amax(-1)
    assert (changed > 1e-5).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_word_before_changes_the_guess_of_a_network(name, ids):
    model, before = MODELS[name](), MODELS[name]()(ids)[:, 3]
    for place in range(4):
        changed = ids.clone()
        changed[:, place] = (changed[:, place] + 1) % SIZE
        after = model(changed)[:, 3]
        assert ((before.softmax(-1) - after.softmax(-1)).abs().amax(-1) > 1e-5).all()


@pytest.mark.parametrize("wrong", [-1, SIZE])
def test_ids_outside_the_vocabulary_are_refused(model, ids, wrong):
    changed = ids.clone()
    changed[2, 5] = wrong
    with pytest.raises(ValueError, match="expected"):
        model(changed)


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
