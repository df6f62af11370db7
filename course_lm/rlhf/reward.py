"""The reward model: a language model that gives one number instead of a next token.

    P(chosen is preferred to rejected) = σ(r(chosen) − r(rejected))

It is trained on comparisons alone, with the loss of the whole course: two scores are two logits,
and −log softmax(r₁, r₂)[chosen] = −log σ(r_chosen − r_rejected).

Source: Bradley and Terry 1952; Ziegler 2019, Stiennon 2020 (a language model with a scalar head).
"""

import copy
import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from course_lm.language.windows import IGNORE, Batch
from course_lm.models.contract import check_rewards
from course_lm.models.shared import Shared
from course_lm.models.transformer import Transformer


def bradley_terry(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Mean of −log σ(r_chosen − r_rejected): (N,), (N,) -> scalar, nats per comparison.

    Only differences count: a constant added to all rewards changes nothing. Raises ValueError for
    no comparison, and for rewards that are NaN or infinite.

    >>> bradley_terry(torch.tensor([1.0]), torch.tensor([1.0]))
    tensor(0.6931)
    """
    if chosen.shape != rejected.shape or not chosen.numel():
        raise ValueError(
            "bradley_terry: expected as many chosen as rejected rewards, and at least one, got "
            f"{tuple(chosen.shape)} and {tuple(rejected.shape)}; give one of each for a comparison"
        )
    check_rewards("bradley_terry, chosen", chosen)
    check_rewards("bradley_terry, rejected", rejected)
    return -logsigmoid(chosen - rejected).mean()


@torch.random.fork_rng(devices=[])  # torch's own first weights, set to 0 below
def scalar_headed(base: Transformer, layers: int | None = None) -> Transformer:
    """A copy of `base` that gives one number at each place, 0 at first: (B, T) -> (B, T, 1).

    layers: keep only so many of its blocks, the first ones. Raises ValueError for more than it has.
    """
    if layers is not None and not 1 <= layers <= len(base.blocks):
        raise ValueError(
            f"scalar_headed: expected 1 to {len(base.blocks)} layers, those of the base, got "
            f"{layers}; keep some of them, or give None for all"
        )
    model = copy.deepcopy(base).requires_grad_(True)
    model.blocks = model.blocks[:layers]
    model.config = dataclasses.replace(base.config, layers=len(model.blocks))
    model.head = nn.Linear(base.config.width, 1, bias=False)
    nn.init.zeros_(model.head.weight)
    return model


class RewardModel(nn.Module):
    """The reward of each whole text, read behind its last token: ids (..., T) -> (...)."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """(..., T), filled up on the right with IGNORE, -> (...)."""
        rows = ids.flatten(0, -2)
        last = (rows != IGNORE).sum(1) - 1
        if last.min() < 0:
            raise ValueError(
                "reward model: expected texts of at least one token, got an empty one; give each "
                "response its prompt"
            )
        everywhere = Shared(self.model)(rows.clamp(min=0))[..., 0]  # (rows, T)
        return everywhere.gather(1, last[:, None]).view(ids.shape[:-1])


def pairs(ids: Tensor, labels: Tensor, batch: int, rng: torch.Generator) -> Iterator[Batch]:
    """Endless batches of comparisons, (batch, 2, T), and which was preferred, (batch,).

    Ties and skipped ones, labelled IGNORE, are left out. Raises ValueError where none is left.
    """
    known = (labels != IGNORE).nonzero().flatten()
    if not len(known):
        raise ValueError(
            "reward model: expected at least one comparison with a preference, got none; compare "
            "some responses"
        )
    while True:
        order = known[torch.randperm(len(known), generator=rng)]
        for some in order.split(min(batch, len(known))):
            if len(some) == min(batch, len(known)):
                yield ids[some], labels[some]


@torch.no_grad()
def rewards_of(judge: nn.Module, ids: Tensor, batch: int = 128) -> Tensor:
    """The rewards of many texts, (..., T) -> (...), a part at a time."""
    rows = [judge(part) for part in ids.flatten(0, -2).split(batch)]
    return torch.cat(rows).view(ids.shape[:-1]).float()


def accuracy(rewards: Tensor, labels: Tensor) -> float:
    """Share of comparisons whose preferred response has the higher reward: (N, 2), (N,).

    Equal rewards are half right.
    """
    known = labels != IGNORE
    if not known.any():
        raise ValueError(
            "accuracy: expected at least one comparison with a preference, got none; compare some "
            "responses"
        )
    check_rewards("accuracy", rewards)
    margins = (rewards[:, 0] - rewards[:, 1])[known] * (1 - 2 * labels[known])
    return (0.5 + margins.sign().double() / 2).mean().item()


def calibration(chances: Tensor, happened: Tensor, bins: int = 5) -> list[tuple[float, float, int]]:
    """(mean chance, share that happened, how many) for equally many of the sorted chances: (N,)."""
    order = chances.argsort()
    return [
        (chances[part].mean().item(), happened[part].double().mean().item(), len(part))
        for part in order.tensor_split(bins)
        if len(part)
    ]
