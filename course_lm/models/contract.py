"""What every model of the course keeps to: model(ids) -> logits, (B, T) -> (B, T, V)."""

import math
from collections.abc import Callable

import torch

Model = Callable[[torch.Tensor], torch.Tensor]


def check_ids(
    subject: str, ids: torch.Tensor, vocab_size: int, context: float | None = None
) -> None:
    """Raise ValueError unless all ids lie in the vocabulary and rows are 1 to `context` long."""
    if context is not None and (ids.dim() != 2 or not 1 <= ids.shape[1] <= context):
        most = "at least 1" if context == math.inf else f"from 1 to {context}, its context"
        raise ValueError(
            f"{subject}: expected ids of shape (B, T), T {most}, got shape {tuple(ids.shape)}; "
            "give rows of tokens, or a model with a longer context"
        )
    lowest, highest = map(int, ids.aminmax()) if ids.numel() else (0, 0)
    if lowest < 0 or highest >= vocab_size:
        raise ValueError(
            f"{subject}: expected ids from 0 to {vocab_size - 1}, got {lowest} to {highest}; use "
            "the vocabulary that the model was made for"
        )


def check_logits(subject: str, *all_logits: torch.Tensor) -> None:
    """Raise ValueError unless each row of logits, (..., V), holds numbers and a possible token."""
    for logits in all_logits:
        if not logits.amax(-1).isfinite().all():  # NaN, +inf, or nothing is possible
            raise ValueError(
                f"{subject}: expected logits that are numbers, with a possible token in each row, "
                "got NaN, +inf or a row of −inf; look at the model, and at the temperature, if any"
            )


def check_rewards(subject: str, rewards: torch.Tensor) -> None:
    """Raise ValueError for a reward that is NaN or infinite."""
    if not rewards.isfinite().all():
        place = int((~rewards.flatten().isfinite()).nonzero()[0])
        raise ValueError(
            f"{subject}: expected rewards that are finite, got {rewards.flatten()[place]} at place "
            f"{place}; look at the reward model and at what it was given"
        )
