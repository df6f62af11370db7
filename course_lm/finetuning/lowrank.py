"""Low-rank adapters: the big matrix stands still, two thin ones learn the difference.

    W x  ->  W x + (α / r) · B (A x),   A (r × in), B (out × r), B = 0 at first

With rank r an adapter has r (in + out) numbers where W has in · out. After training the product is
added to W, and nothing is left to compute at run time.

Source: Hu 2021 (LoRA). Departures: adapters on every matrix of a block, not on attention alone; the
rows of words that the base has never seen learn as a whole.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from course_lm.models.transformer import Transformer
from course_lm.training import sealed

ALPHA = 16.0  # so that the rate need not change with the rank


class LowRank(nn.Module):
    """A Linear that stands still, and its adapter: (..., in) -> (..., out).

    Raises ValueError for a rank below 1 or above the smaller side of the matrix.
    """

    def __init__(self, linear: nn.Linear, rank: int, rng: torch.Generator) -> None:
        super().__init__()
        rows, columns = linear.weight.shape
        if not 1 <= rank <= min(rows, columns):
            raise ValueError(
                f"low rank: expected a rank from 1 to {min(rows, columns)}, the smaller side of a "
                f"matrix of shape {(rows, columns)}, got {rank}; choose one of these"
            )
        self.linear = linear
        self.down = nn.Parameter(torch.randn(rank, columns, generator=rng) * columns**-0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, inputs: Tensor) -> Tensor:
        """W x + (α / r) B A x."""
        return self.linear(inputs) + inputs @ self.down.T @ self.up.T * (ALPHA / len(self.down))

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The Linear with W + (α / r) B A, and nothing beside it."""
        self.linear.weight += self.up @ self.down * (ALPHA / len(self.down))
        return self.linear


class MoreRows(nn.Module):
    """An embedding or output whose first `known` rows stand still; the others, `rows`, learn."""

    def __init__(self, table: nn.Embedding | nn.Linear, known: int) -> None:
        super().__init__()
        self.table, self.known = table, known
        self.rows = nn.Parameter(table.weight.detach()[known:].clone())

    @property
    def weight(self) -> Tensor:
        """All rows, (V, D)."""
        return torch.cat([self.table.weight[: self.known], self.rows])

    def forward(self, inputs: Tensor) -> Tensor:
        """What the table gives: (...) ids -> (..., D), or (..., D) -> (..., V) logits."""
        if isinstance(self.table, nn.Embedding):
            return functional.embedding(inputs, self.weight)
        return functional.linear(inputs, self.weight)

    @torch.no_grad()
    def merged(self) -> nn.Embedding | nn.Linear:
        """The table with the learned rows in their places."""
        self.table.weight[self.known :] = self.rows
        return self.table


def add_adapters(
    model: Transformer, rank: int, rng: torch.Generator, known: int | None = None
) -> None:
    """Put an adapter on every matrix of every block; all other weights stand still.

    known: how many words the base knew, if not all; the rows of those behind them learn, too.
    Raises ValueError, the model untouched, for a rank that a matrix cannot have and for a model
    that has adapters.
    """
    if any(_adapters(model)):
        raise ValueError(
            "low rank: expected a model without adapters, got one that has some; merge it first"
        )
    adapters = [(*place, LowRank(linear, rank, rng)) for *place, linear in _linears(model)]
    for weight in model.parameters():
        weight.requires_grad_(False)
    for parent, name, adapter in adapters:
        setattr(parent, name, adapter)
    if known is not None and known < model.config.vocab_size:
        model.embed, model.head = MoreRows(model.embed, known), MoreRows(model.head, known)
        if model.config.tied:
            model.head.rows = model.embed.rows


def merge(model: Transformer) -> None:
    """Add every adapter to its matrix; the model is a plain Transformer again, which can learn."""
    for parent, name, adapter in list(_adapters(model)):
        setattr(parent, name, adapter.merged())
    for weight in model.parameters():
        weight.requires_grad_(True)


def learning(model: nn.Module) -> dict[str, Tensor]:
    """The weights that learn, by name: with adapters, all that has to be kept of a fine-tuning."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def save_adapters(path: str | Path, model: Transformer) -> Path:
    """Write what learns, and nothing of the base; the path.

    Raises ValueError for a model without adapters, and what `sealed.write` raises.
    """
    if not any(_adapters(model)):
        raise ValueError(
            "low rank: expected a model with adapters, got one without; save it as a checkpoint"
        )
    return sealed.write(Path(path), learning(model), {})


def load_adapters(path: str | Path, model: Transformer) -> None:
    """Put the adapters of a file into a model that has such.

    Raises ValueError where shapes differ, the model untouched, and what `sealed.read` raises.
    """
    _, tensors = sealed.read(Path(path))
    instead = "add adapters of the rank in the file to the same base"
    sealed.put(Path(path), tensors, learning(model), instead)


def _linears(model: Transformer) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    for parent in model.blocks.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                yield parent, name, child


def _adapters(model: Transformer) -> Iterator[tuple[nn.Module, str, LowRank | MoreRows]]:
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, LowRank | MoreRows):
                yield parent, name, child
