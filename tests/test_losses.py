"""Losses against torch, against hand numbers and against full enumeration."""

import math

import pytest
import torch

from course_lm.language.windows import IGNORE
from course_lm.training.losses import (
    bits,
    bits_per_character,
    cross_entropy,
    entropy,
    expected_cross_entropy,
    kl_divergence,
    masked_mean,
    perplexity,
    token_log_probs,
)

P, Q = [0.5, 0.25, 0.25], [0.1, 0.1, 0.8]


def logs(chances):
    return torch.tensor(chances, dtype=torch.float64).log()


@pytest.fixture
def batch():
    rng = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 6, 11, generator=rng)
    labels = torch.randint(11, (4, 6), generator=rng)
    labels[0, :3] = IGNORE
    return logits, labels


def test_the_loss_is_torchs_own(batch):
    logits, labels = batch
    torchs = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    assert float(cross_entropy(logits, labels)) == pytest.approx(float(torchs), abs=1e-6)


def test_the_log_probs_of_tokens_are_torchs_own(batch):
    logits, labels = batch
    torchs = -torch.nn.functional.cross_entropy(logits.mT, labels, reduction="none")
    log_probs = token_log_probs(logits, labels)
    assert log_probs.shape == labels.shape
    assert torch.allclose(log_probs, torchs, atol=1e-6)
    assert (log_probs[0, :3] == 0).all()


def test_the_loss_of_a_uniform_model_is_log_v():
    assert float(cross_entropy(torch.zeros(5, 7, 131), torch.ones(5, 7).long())) == pytest.approx(
        math.log(131)
    )


def test_a_loss_by_hand():
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).log()
    loss = cross_entropy(logits, torch.tensor([1, 2]))
    assert float(loss) == pytest.approx((math.log(4) + math.log(1.25)) / 2, abs=1e-6)


def test_ignored_places_count_neither_in_the_sum_nor_in_the_number(batch):
    logits, labels = batch
    known = labels != IGNORE
    assert cross_entropy(logits, labels) == cross_entropy(logits[known], labels[known])
    changed = torch.where(known.unsqueeze(-1), logits, 1e3)
    assert cross_entropy(changed, labels) == cross_entropy(logits, labels)


@pytest.mark.parametrize(
    ("logit", "label", "by_hand"),
    [(1e4, 0, 0.0), (1e4, 1, 1e4), (-1e4, 0, 1e4 + math.log(2)), (-1e4, 1, math.log(2))],
)
def test_huge_logits_give_finite_losses_and_gradients(logit, label, by_hand):
    logits = torch.tensor([[logit, 0.0, 0.0]], requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([label]))
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)
    assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_the_gradient_is_softmax_minus_one_hot_over_the_number_of_labels(batch):
    logits, labels = batch
    logits = logits.double().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(logits, labels), logits)
    known = labels != IGNORE
    one_hot = torch.nn.functional.one_hot(labels.where(known, 0), logits.shape[-1])
    by_hand = (logits.softmax(-1) - one_hot) * known.unsqueeze(-1) / known.sum()
    assert (gradient - by_hand).abs().max() < 1e-6
    assert (gradient[0, :3] == 0).all()


# -- what is refused


def test_labels_that_are_all_ignored_are_refused():
    with pytest.raises(ValueError, match="check that not all labels are IGNORE"):
        cross_entropy(torch.zeros(2, 3, 5), torch.full((2, 3), IGNORE))
    with pytest.raises(ValueError, match="expected at least one place to count"):
        cross_entropy(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long))


def test_nan_in_the_logits_is_refused():
    logits = torch.zeros(2, 5)
    logits[1, 3] = math.nan
    with pytest.raises(ValueError, match="expected logits that are numbers"):
        cross_entropy(logits, torch.tensor([0, 1]))


@pytest.mark.parametrize("shape", [(2,), (3, 2), (2, 3, 5), ()])
def test_labels_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected labels of shape \(2, 3\).*got shape"):
        cross_entropy(torch.zeros(2, 3, 5), torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize("label", [5, -1, -99])
def test_a_label_outside_the_vocabulary_is_refused(label):
    with pytest.raises(ValueError, match=f"expected labels from 0 to 4 or IGNORE, got {label}"):
        cross_entropy(torch.zeros(2, 5), torch.tensor([0, label]))


# -- means and units


def test_a_masked_mean_by_hand():
    values = torch.tensor([[1.0, 2.0], [3.0, 50.0]])
    mask = torch.tensor([[1, 1], [1, 0]])
    assert float(masked_mean(values, mask.bool())) == 2.0
    assert float(masked_mean(values, mask)) == 2.0
    assert float(masked_mean(values, mask.double())) == 2.0


def test_a_mask_of_another_shape_or_without_a_place_is_refused():
    with pytest.raises(ValueError, match=r"one shape, got \(2, 2\) and \(2,\)"):
        masked_mean(torch.zeros(2, 2), torch.ones(2).bool())
    with pytest.raises(ValueError, match="false everywhere"):
        masked_mean(torch.zeros(2), torch.zeros(2).bool())


def test_units_by_hand():
    assert perplexity(math.log(131)) == pytest.approx(131)
    assert perplexity(0.0) == 1
    assert bits(math.log(8)) == pytest.approx(3)
    # 10 words at 8 bits each are 80 bits, for a text of 40 characters
    assert bits_per_character(math.log(256), tokens=10, characters=40) == pytest.approx(2)


@pytest.mark.parametrize(("tokens", "characters"), [(0, 5), (5, 0)])
def test_an_empty_text_has_no_bits_per_character(tokens, characters):
    with pytest.raises(ValueError, match=f"got {tokens} and {characters}; give a text"):
        bits_per_character(1.0, tokens, characters)


# -- entropy and divergence


def test_the_entropy_by_hand():
    assert float(entropy(logs(P))) == pytest.approx(1.5 * math.log(2))
    assert float(entropy(torch.zeros(131))) == pytest.approx(math.log(131))
    assert float(entropy(torch.tensor([0.0, -math.inf, -math.inf]))) == 0
    assert entropy(torch.zeros(2, 3, 5)).shape == (2, 3)


def test_the_divergence_goes_from_the_truth_to_the_model():
    forward = sum(p * math.log(p / q) for p, q in zip(P, Q, strict=True))
    backward = sum(q * math.log(q / p) for p, q in zip(P, Q, strict=True))
    assert abs(forward - backward) > 0.03
    assert float(kl_divergence(logs(P), logs(Q))) == pytest.approx(forward)
    assert float(kl_divergence(logs(Q), logs(P))) == pytest.approx(backward)
    assert float(kl_divergence(logs(P), logs(P))) == pytest.approx(0, abs=1e-12)


def test_the_divergence_is_infinite_if_a_possible_word_is_ruled_out():
    sure, open_ = torch.tensor([0.0, -math.inf]), torch.tensor([0.0, 0.0])
    assert float(kl_divergence(open_, sure)) == math.inf
    assert float(expected_cross_entropy(open_, sure)) == math.inf
    assert float(kl_divergence(sure, open_)) == pytest.approx(math.log(2))


def test_the_expected_loss_is_the_mean_over_all_words_that_can_come():
    losses = [cross_entropy(logs(Q)[None], torch.tensor([word])) for word in range(3)]
    by_hand = sum(p * float(loss) for p, loss in zip(P, losses, strict=True))
    assert float(expected_cross_entropy(logs(P), logs(Q))) == pytest.approx(by_hand)


def test_the_expected_loss_is_entropy_plus_divergence_and_lowest_for_the_truth():
    rng = torch.Generator().manual_seed(0)
    p, q = torch.randn(2, 100, 20, generator=rng, dtype=torch.float64)
    whole = expected_cross_entropy(p, q)
    assert torch.allclose(whole, entropy(p) + kl_divergence(p, q), atol=1e-9)
    assert (whole > entropy(p)).all()


def test_a_constant_added_to_all_logits_changes_nothing(batch):
    logits, labels = batch
    logits = logits.double()
    assert torch.allclose(cross_entropy(logits + 7, labels), cross_entropy(logits, labels))
    assert torch.allclose(entropy(logits - 9), entropy(logits))
    assert torch.allclose(kl_divergence(logits + 3, -logits), kl_divergence(logits, -logits))


@pytest.mark.parametrize("row", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_logits_that_are_no_distribution_are_refused_by_every_measure(row):
    bad, good = torch.tensor([row]), torch.zeros(1, 2)
    for measure in (
        lambda: token_log_probs(bad, torch.tensor([0])),
        lambda: entropy(bad),
        lambda: kl_divergence(bad, good),
        lambda: kl_divergence(good, bad),
        lambda: expected_cross_entropy(good, bad),
    ):
        with pytest.raises(ValueError, match="expected logits that are numbers"):
            measure()


def test_a_word_too_unlikely_for_a_float_costs_nothing_even_if_the_model_rules_it_out():
    true, model = torch.tensor([0.0, -1000.0]), torch.tensor([0.0, -math.inf])
    assert kl_divergence(true, model) == expected_cross_entropy(true, model) == 0


def test_the_gradient_of_the_entropy_is_finite_beside_an_impossible_token():
    logits = torch.tensor([0.0, 1.0, -math.inf], requires_grad=True)
    entropy(logits).backward()
    assert logits.grad.isfinite().all()


def test_a_hopeless_loss_has_an_infinite_perplexity():
    assert perplexity(1e4) == math.inf
