"""What a policy says, and how likely each of its words is: to itself, and to the reference.

    log π(y|x) = Σ_t log π(y_t | x, y_1 .. y_{t−1})
    KL(π ‖ π_ref) = E_{y ~ π} [log π(y|x) − log π_ref(y|x)]

The policy is the model that learns; the reference is the model that it was, and stands still. The
direction matters: words are drawn from the policy, so it pays for what the reference would not say.

Source: Ziegler 2019 (the penalty); Schulman 2020, *Approximating KL divergence* (the estimators).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lm.language.windows import IGNORE, joined, next_token
from course_lm.models.contract import Model
from course_lm.models.sampling import generate_batch
from course_lm.models.shared import Shared
from course_lm.training.hardware import half_precision_pays
from course_lm.training.losses import token_log_probs

Ids = Sequence[int]
ROWS = 64  # responses drawn at a time


@dataclass(frozen=True, slots=True)
class Rollouts:
    """Responses of a policy with their prompts: B rows of T tokens.

    ids (B, T): filled up on the right with IGNORE. labels (B, T − 1): the next token, IGNORE where
    it is not of the response. log_probs, reference (B, T − 1): log π and log π_ref of each label,
    nats, 0 where there is none. responses: the new tokens of each row.
    """

    ids: Tensor
    labels: Tensor
    log_probs: Tensor
    reference: Tensor
    responses: list[list[int]]

    @property
    def asked(self) -> Tensor:
        """Where a label is a token of the response, (B, T − 1)."""
        return self.labels != IGNORE

    @property
    def log_ratio(self) -> Tensor:
        """log π − log π_ref of each token, (B, T − 1): its mean sum over rows estimates the KL."""
        return self.log_probs - self.reference


def roll_out(
    policy: Model,
    reference: Model,
    prompts: Sequence[Ids],
    stop: int | None,
    longest: int,
    rng: torch.Generator,
) -> Rollouts:
    """One response to each prompt, drawn from the policy as it is (temperature 1).

    Log-probabilities under another temperature would be those of another policy.
    """
    responses = [
        response
        for begin in range(0, len(prompts), ROWS)
        for response in generate_batch(policy, prompts[begin : begin + ROWS], longest, rng, stop)
    ]
    ids, labels = with_labels(prompts, responses)
    log_probs, known = (label_log_probs(model, ids, labels) for model in (policy, reference))
    return Rollouts(ids, labels, log_probs, known, responses)


def with_labels(prompts: Sequence[Ids], responses: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Prompts and responses as rows, (B, T), and labels on the responses alone, (B, T − 1).

    Raises ValueError for a response of no token.
    """
    if not all(map(len, responses)) or not len(responses):
        raise ValueError(
            "rollouts: expected responses of at least one token, got an empty one or none; a model "
            "that has nothing to say still says its stop token"
        )
    ids = joined([[*p, *r] for p, r in zip(prompts, responses, strict=True)])
    begins = torch.tensor([len(prompt) - 1 for prompt in prompts])
    labels = next_token(ids)[1]
    return ids, labels.where(torch.arange(labels.shape[1]) >= begins[:, None], IGNORE)


@torch.no_grad()
def label_log_probs(model: Model, ids: Tensor, labels: Tensor) -> Tensor:
    """log P(label) at each place, 0 where it is IGNORE: (B, T), (B, T − 1) -> (B, T − 1), nats."""
    device = ids.device
    with torch.autocast(device.type, torch.bfloat16, enabled=half_precision_pays(device)):
        parts = [
            token_log_probs(Shared(model)(next_token(some)[0].clamp(min=0)).float(), asked)
            for some, asked in zip(ids.split(ROWS), labels.split(ROWS), strict=True)
        ]
    return torch.cat(parts)


def k1(log_ratio: Tensor) -> Tensor:
    """d = log π − log π_ref of drawn tokens: its mean is KL(π ‖ π_ref); may be below 0. (...)."""
    return log_ratio


def k3(log_ratio: Tensor) -> Tensor:
    """exp(−d) − 1 + d with d = log π − log π_ref: the same mean, never below 0. (...)."""
    return (-log_ratio).expm1() + log_ratio
