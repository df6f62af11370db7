"""How wrong a prediction is. Everything is in nats unless a name ends in `_bits` or says bits.

One loss serves the whole course: −log P(the token that came). Only the labels change.
"""

import math

import torch

from course_lm.language.windows import IGNORE
from course_lm.models.contract import check_logits


def token_log_probs(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log P(label) at each place, 0 where the label is IGNORE: (..., V), (...) -> (...), nats.

    log softmax(z)_y = z_y − log Σ_j exp z_j, computed with the largest logit taken out first.

    >>> token_log_probs(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor([-0.6931])
    """
    if logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"token_log_probs: expected labels of shape {tuple(logits.shape[:-1])}, one for each "
            f"row of logits, got shape {tuple(labels.shape)}; bring both to one (B, T)"
        )
    known = labels != IGNORE
    wrong = labels[known & ((labels < 0) | (labels >= logits.shape[-1]))]
    if len(wrong):
        raise ValueError(
            f"token_log_probs: expected labels from 0 to {logits.shape[-1] - 1} or IGNORE, "
            f"got {int(wrong[0])}; use the vocabulary that the model was made for"
        )
    check_logits("losses", logits)
    chosen = logits.gather(-1, labels.where(known, 0).unsqueeze(-1)).squeeze(-1)
    return torch.where(known, chosen - logits.logsumexp(-1), 0.0)


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean of −log P(label) over labels that are not IGNORE: (..., V), (...) -> scalar, nats/token.

    Its gradient with respect to the logits of one place is (softmax − one-hot) / number of labels.
    Raises ValueError for wrong shapes, labels outside the vocabulary, NaN, and no label at all.
    Source: Shannon 1948; as a training loss for language models, Bengio 2003.

    >>> cross_entropy(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([1, IGNORE]))
    tensor(0.6931)
    """
    return masked_mean(-token_log_probs(logits, labels), labels != IGNORE)


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of the values where the mask is true: (...), (...) -> scalar.

    Raises ValueError if it is true nowhere.
    """
    if values.shape != mask.shape:
        raise ValueError(
            f"masked_mean: expected values and mask of one shape, got {tuple(values.shape)} and "
            f"{tuple(mask.shape)}; give every value its own mask entry"
        )
    if not mask.any():
        raise ValueError(
            "masked_mean: expected at least one place to count, got a mask that is false "
            "everywhere; check that not all labels are IGNORE"
        )
    return values[mask.bool()].mean()


def perplexity(nats: float) -> float:
    """exp(loss): how many equally likely tokens would be as hard to guess. From nats per token."""
    return math.exp(nats) if nats < 709 else math.inf  # the largest float is about exp(709.8)


def bits(nats: float) -> float:
    """Nats to bits: divided by ln 2."""
    return nats / math.log(2)


def bits_per_character(nats_per_token: float, tokens: int, characters: int) -> float:
    """Total bits / characters: a measure by which models with different tokens compare."""
    if tokens < 1 or characters < 1:
        raise ValueError(
            "bits_per_character: expected at least one token and one character, "
            f"got {tokens} and {characters}; give a text that is not empty"
        )
    return bits(nats_per_token) * tokens / characters


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """H(p) = −Σ_w p(w) log p(w), p = softmax(logits): (..., V) -> (...), nats. 0 log 0 is 0."""
    return expected_cross_entropy(logits, logits)


def kl_divergence(true_logits: torch.Tensor, model_logits: torch.Tensor) -> torch.Tensor:
    """KL(p ‖ q) = Σ_w p(w) (log p(w) − log q(w)): (..., V), (..., V) -> (...), nats.

    p is the truth, q the model. What the model loses beyond the entropy; ∞ if it rules out a word
    that can come.
    """
    check_logits("losses", true_logits, model_logits)
    log_p, log_q = true_logits.log_softmax(-1), model_logits.log_softmax(-1)
    p = log_p.exp()
    return (p * (log_p - log_q).masked_fill(p == 0, 0.0)).sum(-1)


def expected_cross_entropy(true_logits: torch.Tensor, model_logits: torch.Tensor) -> torch.Tensor:
    """H(p, q) = −Σ_w p(w) log q(w) = H(p) + KL(p ‖ q): (..., V), (..., V) -> (...), nats."""
    check_logits("losses", true_logits, model_logits)
    p, log_q = true_logits.softmax(-1), model_logits.log_softmax(-1)
    return -(p * log_q.masked_fill(p == 0, 0.0)).sum(-1)
