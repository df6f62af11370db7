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

from course_lm.models.transformer import Transformer
from course_lm.training import sealed

ALPHA = 16.0  # so that the rate need not change with the rank


class LowRank(nn.Module):
    """A Linear that stands still, and its adapter: (..., in) -> (..., out)."""

    def __init__(self, linear: nn.Linear, rank: int, rng: torch.Generator) -> None:
        super().__init__()
        rows, columns = linear.weight.shape
        if not 1 <= rank <= min(rows, columns):
            raise ValueError(
                f"low rank: expected a rank from 1 to {min(rows, columns)}, the smaller side of a "
                f"matrix of shape {(rows, columns)}, got {rank}; choose a smaller one"
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


def add_adapters(model: Transformer, rank: int, rng: torch.Generator, known: int = 0) -> None:
    """Put an adapter on every matrix of every block; all other weights stand still.

    known: how many words the base knew; the rows of those behind them learn too.
    """
    for weight in model.parameters():
        weight.requires_grad_(False)
    for parent, name, linear in list(_linears(model)):
        setattr(parent, name, LowRank(linear, rank, rng))
    if known < model.config.vocab_size:
        for weight in (model.embed.weight, model.head.weight):
            weight.requires_grad_(True)
            new = (torch.arange(len(weight)) >= known).to(weight)[:, None]
            weight.register_hook(lambda gradient, new=new: gradient * new)


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
    """Write what learns, and nothing of the base."""
    return sealed.write(Path(path), learning(model), {"adapters": len(list(_adapters(model)))})


@torch.no_grad()
def load_adapters(path: str | Path, model: Transformer) -> None:
    """Put the adapters of a file into a model that has such.

    Raises ValueError where shapes differ, the model untouched, and what `sealed.read` raises.
    """
    _, tensors = sealed.read(Path(path))
    own = learning(model)
    for name in sorted(own | tensors):
        sides = [tuple(side[name].shape) if name in side else "none" for side in (own, tensors)]
        if sides[0] != sides[1]:
            raise ValueError(
                f"low rank: expected {name} of shape {sides[0]}, got {sides[1]} in {path}; add "
                "adapters of the rank in the file to the same base"
            )
    for name, weight in own.items():
        weight.copy_(tensors[name])


def _linears(model: Transformer) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    for parent in model.blocks.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear) and not isinstance(parent, LowRank):
                yield parent, name, child


def _adapters(model: Transformer) -> Iterator[tuple[nn.Module, str, LowRank]]:
    for parent in model.blocks.modules():
        for name, child in parent.named_children():
            if isinstance(child, LowRank):
                yield parent, name, child
