"""Rollouts against the model called directly on each row; the KL by exact enumeration."""

import math

import pytest
import torch
from small_models import random_ids, seeded, small_rnn, small_transformer

from course_lm.language.windows import IGNORE
from course_lm.rlhf import rollouts
from course_lm.rlhf.rollouts import k1, k3, label_log_probs, roll_out, with_labels

SENTENCE = r"^\w+: expected [^\n]+, got [^\n]+; [^\n]+$"
STOP = 12
POLICY, REFERENCE = (
    torch.tensor(chances, dtype=torch.double).log()
    for chances in ([0.5, 0.3, 0.2], [0.1, 0.3, 0.6])
)


@pytest.fixture
def full_precision(monkeypatch):
    monkeypatch.setattr(rollouts, "half_precision_pays", lambda device: False)


@pytest.fixture
def half_precision(monkeypatch):
    monkeypatch.setattr(rollouts, "half_precision_pays", lambda device: True)


def asked(*sizes):
    return [random_ids(size, seed=size).tolist() for size in sizes]


@torch.no_grad()
def directly(model, prompt, response):
    """log P of each token of a response, one call of the model for each."""
    ids = [*prompt, *response]
    return [
        model(torch.tensor([ids[:place]]))[0, -1].log_softmax(-1)[ids[place]].item()
        for place in range(len(prompt), len(ids))
    ]


# -- responses and their probabilities


def check_log_probs(policy, reference, tolerance):
    prompts = asked(5, 2, 7, 1, 4) * 15  # more than one part
    drawn = roll_out(policy, reference, prompts, STOP, 6, seeded())
    assert drawn.log_probs.shape == drawn.reference.shape == drawn.labels.shape
    for row, (prompt, response) in enumerate(zip(prompts, drawn.responses, strict=True)):
        begin, end = len(prompt) - 1, len(prompt) + len(response) - 1
        assert drawn.ids[row, : end + 1].tolist() == [*prompt, *response]
        assert drawn.labels[row, begin:end].tolist() == response
        assert drawn.asked[row].sum() == len(response)
        for model, found in ((policy, drawn.log_probs), (reference, drawn.reference)):
            by_hand = directly(model, prompt, response)
            assert found[row, begin:end].tolist() == pytest.approx(by_hand, abs=tolerance)
            assert not found[row, :begin].any()
            assert not found[row, end:].any()
    assert drawn.log_ratio.equal(drawn.log_probs - drawn.reference)


@pytest.mark.usefixtures("full_precision")
def test_the_log_probs_are_those_of_the_model_called_on_each_row():
    check_log_probs(small_transformer(1), small_transformer(2), 2e-5)


@pytest.mark.usefixtures("half_precision")
def test_in_half_precision_the_log_probs_are_nearly_those():
    check_log_probs(small_transformer(1), small_transformer(2), 0.15)


@pytest.mark.usefixtures("full_precision")
def test_any_model_may_be_policy_or_reference():
    check_log_probs(small_rnn(), small_transformer(2), 2e-5)


def test_a_response_ends_with_its_stop_or_is_as_long_as_allowed():
    drawn = roll_out(small_transformer(1), small_transformer(2), asked(3) * 60, STOP, 6, seeded())
    ends = 0
    for response in drawn.responses:
        assert 1 <= len(response) <= 6
        assert STOP not in response[:-1]
        assert response[-1] == STOP or len(response) == 6
        ends += response[-1] == STOP
    assert 0 < ends < 60


def test_a_policy_that_is_its_reference_has_no_ratio_and_nothing_learns_from_a_rollout():
    policy = small_transformer(1)
    drawn = roll_out(policy, policy, asked(3, 4), STOP, 6, seeded())
    assert not drawn.log_ratio.any()
    assert not drawn.log_probs.requires_grad


def test_rollouts_follow_the_seed():
    models = small_transformer(1), small_transformer(2)
    one, again, other = (roll_out(*models, asked(3) * 9, STOP, 6, seeded(n)) for n in (4, 4, 5))
    assert one.responses == again.responses != other.responses
    assert one.log_probs.equal(again.log_probs)


@pytest.mark.usefixtures("full_precision")
def test_responses_come_as_often_as_their_log_probs_say():
    drawn = roll_out(
        small_transformer(1), small_transformer(2), asked(3) * 3000, STOP, 1, seeded(0)
    )
    said = torch.tensor(drawn.responses).flatten()
    for token, count in enumerate(said.bincount(minlength=13).tolist()):
        if count:
            chance = drawn.log_probs.sum(1)[said == token][0].exp().item()
            assert count / 3000 == pytest.approx(chance, abs=4 * math.sqrt(chance / 3000))


# -- labels


def test_labels_stand_on_the_responses_alone():
    ids, labels = with_labels([[1, 2, 3], [4]], [[5], [6, 7]])
    assert ids.tolist() == [[1, 2, 3, 5], [4, 6, 7, IGNORE]]
    assert labels.tolist() == [[IGNORE, IGNORE, 5], [6, 7, IGNORE]]


@pytest.mark.parametrize(
    ("prompts", "responses"), [([[1], [2]], [[3], []]), ([[1]], [[]]), ([], [])]
)
def test_an_empty_response_gets_one_sentence(prompts, responses):
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        with_labels(prompts, responses)
    assert "at least one token, got an empty one or none" in str(caught.value)


def test_no_prompts_and_no_length_get_one_sentence():
    models = small_transformer(1), small_transformer(2)
    for prompts, longest in (([], 3), ([[1]], 0)):
        with pytest.raises(ValueError, match=SENTENCE):
            roll_out(*models, prompts, STOP, longest, seeded())


@pytest.mark.usefixtures("full_precision")
def test_log_probs_of_many_rows_are_those_of_each_row():
    ids = random_ids(150, 8)
    labels = ids[:, 1:].where(random_ids(150, 7, seed=1) > 5, IGNORE)
    together = label_log_probs(small_transformer(), ids, labels)
    assert (together[labels == IGNORE] == 0).all()
    for row in (0, 63, 64, 149):
        alone = label_log_probs(small_transformer(), ids[row : row + 1], labels[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-5)


# -- the direction of the KL, by exact enumeration over three tokens


def kl(one, other):
    return sum(
        p * (math.log(p) - q) for p, q in zip(one.exp().tolist(), other.tolist(), strict=True)
    )


@pytest.mark.parametrize("estimator", [k1, k3])
def test_the_mean_under_the_policy_is_the_kl_from_policy_to_reference(estimator):
    there, back = kl(POLICY, REFERENCE), kl(REFERENCE, POLICY)
    mean = (POLICY.exp() * estimator(POLICY - REFERENCE)).sum().item()
    assert mean == pytest.approx(there, abs=1e-12)
    assert abs(mean - back) > 0.05
    assert abs(mean + there) > 0.5


def test_the_swapped_ratio_gives_neither_direction():
    """The planted mistake of the field: log π_ref − log π in place of log π − log π_ref."""
    there, back = kl(POLICY, REFERENCE), kl(REFERENCE, POLICY)
    for estimator in (k1, k3):
        swapped = (POLICY.exp() * estimator(REFERENCE - POLICY)).sum().item()
        assert min(abs(swapped - there), abs(swapped - back)) > 0.05


def test_k3_is_never_below_zero_and_k1_may_be():
    ratio = torch.linspace(-5, 5, 201, dtype=torch.double)
    assert (k3(ratio) >= 0).all()
    assert (k3(torch.randn(10_000, generator=seeded()) / 1e3) >= 0).all()
    assert k3(torch.zeros(1)).item() == 0
    assert (k1(ratio) < 0).any()
    by_hand = [math.exp(-r) - 1 + r for r in (-1.0, 0.5)]
    assert k3(torch.tensor([-1.0, 0.5])).tolist() == pytest.approx(by_hand, abs=1e-6)


def test_k3_is_exact_for_tiny_ratios():
    assert k3(torch.tensor([1e-6], dtype=torch.double)).item() == pytest.approx(5e-13, rel=1e-3)


def test_k3_wobbles_less_than_k1_near_the_reference():
    near = (POLICY + torch.tensor([0.05, -0.02, 0.04])).log_softmax(0)
    chances, ratio = POLICY.exp(), POLICY - near
    spread = [(chances * (e(ratio) - kl(POLICY, near)) ** 2).sum() for e in (k1, k3)]
    assert spread[1] < spread[0] / 10


class Fixed:
    """A model that gives every token the same three chances, whatever came before."""

    def __init__(self, log_probs):
        self.log_probs = log_probs.float()

    def __call__(self, ids):
        return self.log_probs.expand(*ids.shape, 3)


@pytest.mark.usefixtures("full_precision")
def test_the_mean_ratio_of_whole_responses_is_the_kl_of_whole_responses():
    drawn = roll_out(Fixed(POLICY), Fixed(REFERENCE), [[0]] * 4000, 9, 2, seeded())
    ratio = drawn.log_ratio.sum(1)
    exact = 2 * kl(POLICY, REFERENCE)  # two tokens, drawn apart
    assert ratio.mean().item() == pytest.approx(exact, abs=4 * ratio.std().item() / 4000**0.5)
