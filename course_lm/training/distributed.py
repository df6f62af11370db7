"""The same loop on several processes, under torchrun. Nothing changes in the model or in the loss.

    with processes() as (rank, world):  # model and optimisers begin alike: one seed
        shard(model, optimisers)        # FSDP2; without this line, data parallel
        for step in train_together(model, batches, recipe, optimisers): ...

Every process draws the same batch and takes its rows: row r goes to process r mod W. Its loss is
its share of the mean over all labels of the batch, so the gradient of the whole batch is the *sum*
of the processes' gradients, however many labels each of them has.

- Data parallel: each keeps all weights and memory, and adds up all gradients (all-reduce).
- Sharded (FSDP2): each keeps 1/W of every weight, gradient and optimiser's memory. The weights of a
  block are gathered when it works (all-gather), its gradients are added up and dealt out again
  (reduce-scatter). The optimisers see DTensors, which gather a matrix again for Muon's products.

Departures: every process draws all rows; a message for each weight; full precision, gloo only.
Source: Li 2020 (PyTorch's data parallel); Rajbhandari 2020 (ZeRO); Zhao 2023 (FSDP).
"""

import copy
import os
import signal
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_lm.language.windows import IGNORE, Batch

from .interrupts import interrupt_later
from .loop import Loss, Optimisers, Recipe, Step, train
from .losses import cross_entropy


@contextmanager
def processes(patience: float = 30.0) -> Iterator[tuple[int, int]]:
    """Join the processes that torchrun started: (own number, from 0; how many). Leave at the end.

    Raises OSError where torchrun did not start this process. In the block, ConnectionError says
    that another process ended: at once if its connection closes, else after `patience` seconds.
    """
    if "RANK" not in os.environ:
        raise OSError(
            "processes: expected a process that torchrun started, got one without a rank; begin "
            "the command with torchrun --standalone --nproc-per-node 2 -m, in place of python -m"
        )
    if os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]:  # one machine: stay inside it
        os.environ["MASTER_ADDR"] = "localhost"
        for name in {"lo", "lo0"} & {name for _, name in socket.if_nameindex()}:
            os.environ["GLOO_SOCKET_IFNAME"] = name
    dist.init_process_group("gloo", timeout=timedelta(seconds=patience))
    before = signal.signal(signal.SIGTERM, _lost)  # torchrun sends it when another process ended
    try:
        yield dist.get_rank(), dist.get_world_size()
    except RuntimeError as error:
        if "gloo" not in str(error) and not isinstance(error, dist.DistError):
            raise
        _lost()
    finally:
        dist.destroy_process_group()
        if signal.getsignal(signal.SIGTERM) is _lost:
            signal.signal(signal.SIGTERM, before)


def _lost(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends anyway, and has time to say why
    raise ConnectionError(
        f"processes: expected {dist.get_world_size()} processes that answer each other, got none "
        f"from another one in process {dist.get_rank()}; look for the first error above, and start "
        "the same command again: it goes on from the last checkpoint"
    )


def train_together(
    model: nn.Module,
    batches: Iterable[Batch],
    recipe: Recipe,
    optimisers: Optimisers,
    *,
    loss: Loss = cross_entropy,
    **options: Any,
) -> Iterator[Step]:
    """`train` by all processes with the same arguments: the steps of one alone, up to rounding.

    Batches hold all rows, each Step tells of the whole batch. Ctrl-C on one process raises
    KeyboardInterrupt("all processes") on all after the same step. Raises what `train` raises, and
    ValueError for a budget in seconds or fewer rows than processes.
    """
    if recipe.steps is None:
        raise ValueError("train_together: expected a budget in steps, got seconds; give steps=...")
    sharded = _is_sharded(model)
    loss = _of_all_rows(loss, _undo_mean() if sharded else 1.0)
    hooks = [] if sharded else [weight.register_hook(add_up) for weight in model.parameters()]
    try:
        with interrupt_later() as stop:
            together = _until_stopped(iter(batches), recipe.accumulate, stop)
            options |= {"loss": loss, "optimisers": optimisers}
            while True:
                try:
                    yield from train(_OwnRows(model), together, recipe, **options)
                    return
                except KeyboardInterrupt:
                    if stop:
                        raise
                    stop.append(signal.SIGINT)  # the others hear of it before the next batch
    finally:
        for hook in hooks:
            hook.remove()


def add_up(tensor: Tensor) -> Tensor:
    """The sum of the processes' tensors, on each of them the same."""
    total = (tensor if tensor.is_sparse else tensor.contiguous()).detach().clone()
    dist.all_reduce(total)
    return total


class _Sum(torch.autograd.Function):
    """The sum over processes; going back, each gets the gradient times `scale`."""

    @staticmethod
    def forward(ctx: Any, share: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return add_up(share)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None


def _of_all_rows(loss: Loss, scale: float) -> Loss:
    """The same mean over the labels of all rows, from the logits of this process's own rows."""

    def mean(logits: Tensor, labels: Tensor) -> Tensor:
        own = _own_rows(labels)
        share = (own != IGNORE).sum() / (labels != IGNORE).sum()
        return _Sum.apply(loss(logits, own) * share if share else logits.sum() * 0.0, scale)

    return mean


class _OwnRows(nn.Module):
    """The model on this process's rows, rank, rank + W, ...: (B, T) -> (about B / W, T, V)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        if len(ids) < dist.get_world_size():
            raise ValueError(
                f"train_together: expected a row for each of {dist.get_world_size()} processes, "
                f"got a batch of {len(ids)}; give larger batches, or start fewer processes"
            )
        with torch.autocast(ids.device.type, enabled=False):  # one precision for all processes
            return self.model(_own_rows(ids))


def _own_rows(batch: Tensor) -> Tensor:
    return batch[dist.get_rank() :: dist.get_world_size()]


def _until_stopped(batches: Iterator[Batch], count: int, stop: list[int]) -> Iterator[Batch]:
    """The batches, `count` to a step; KeyboardInterrupt before a step if any process stops."""
    while not add_up(torch.tensor(len(stop))):
        parts = list(islice(batches, count))
        yield from parts
        if len(parts) < count:
            return
    stop.append(signal.SIGINT)
    raise KeyboardInterrupt("all processes")


def shard(model: nn.Module, optimisers: Optimisers) -> None:
    """Keep only this process's part of weights, gradients and optimisers' memory (FSDP2)."""
    if not hasattr(torch.cpu.Stream, "record_event"):
        raise ValueError(f"shard: expected FSDP2 on CPU, got torch {torch.__version__}; update it")
    from torch.distributed.fsdp import fully_shard  # 9 s of imports
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = dist.init_device_mesh("cpu", (dist.get_world_size(),))
    for part in [*getattr(model, "blocks", ()), model]:  # each is gathered as one
        fully_shard(part, mesh=mesh)
    for optimiser in optimisers:
        optimiser.weights = {name: model.get_parameter(name) for name in optimiser.weights}
        for memory in optimiser.memory().values():
            for name, whole in memory.items():
                memory[name] = distribute_tensor(whole, mesh, [Shard(0)])


def gather(model: nn.Module, optimisers: Optimisers) -> tuple[nn.Module, Optimisers]:
    """The whole model and its optimisers, for a checkpoint; every process has to call it."""
    if not _is_sharded(model):
        return model, optimisers
    _, make = type(model).__bases__  # fully_shard made a class of its own and the model's
    whole = make(model.config, torch.Generator())
    whole.load_state_dict({name: part.full_tensor() for name, part in model.state_dict().items()})
    copies = [copy.copy(optimiser) for optimiser in optimisers]
    for optimiser in copies:
        optimiser.weights = {name: whole.get_parameter(name) for name in optimiser.weights}
        for kind, memory in optimiser.memory().items():
            setattr(optimiser, kind, {name: part.full_tensor() for name, part in memory.items()})
    return whole, copies


def _is_sharded(model: nn.Module) -> bool:
    return hasattr(next(model.parameters()), "full_tensor")


def _undo_mean() -> float:
    """What makes FSDP2's mean over processes a sum; gloo in older torch does not divide."""
    mean = torch.empty(1)
    dist.reduce_scatter_tensor(mean, torch.ones(dist.get_world_size()), op=dist.ReduceOp.AVG)
    return dist.get_world_size() / mean.item()
