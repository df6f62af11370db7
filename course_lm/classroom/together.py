"""Train a small model of the lab language on several processes, with one command:

    torchrun --standalone --nproc-per-node 2 -m course_lm.classroom.together --steps 60

The same command with `--checkpoint FILE` goes on where it stopped, however it was stopped, and also
with another number of processes.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lm.language import lab
from course_lm.language.windows import Batch, random_windows
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.training import checkpoints
from course_lm.training.distributed import gather, processes, shard, train_together
from course_lm.training.loop import Optimisers, Recipe, Step, make_optimisers

CONTEXT = 32


def begin(recipe: Recipe) -> checkpoints.Saved:
    """A new model of the lab language with its optimisers, and the rng of its batches."""
    rng = torch.Generator().manual_seed(0)
    shape = {"context": CONTEXT, "width": 64, "layers": 2, "hidden": 176}
    model = Transformer(TransformerConfig(vocab_size=len(lab.vocabulary()), **shape), rng)
    return checkpoints.Saved(model, make_optimisers(model, recipe), rng, {})


def lab_batches(rows: int, rng: torch.Generator) -> Iterator[Batch]:
    """Windows of one fixed lab text, drawn by `rng`."""
    words = lab.sample(20_000, torch.Generator().manual_seed(0))
    return random_windows(lab.vocabulary().ids_of(words), CONTEXT, rows, rng)


def held_bytes(model: nn.Module, optimisers: Optimisers, shares: int = 1) -> dict[str, int]:
    """Bytes of this process: weights, as many again for gradients, the optimisers' memory.

    shares: what the first of so many processes would hold of them, sharded by rows.
    """
    memories = [memory for optimiser in optimisers for memory in optimiser.memory().values()]
    weights = sum(_bytes(weight, shares) for weight in model.parameters())
    memory = sum(_bytes(tensor, shares) for tensors in memories for tensor in tensors.values())
    return {"weights": weights, "gradients": weights, "optimisers": memory}


def _bytes(tensor: Tensor, shares: int) -> int:
    held = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return math.ceil(len(held) / shares) * held[:1].nbytes


def main(arguments: Sequence[str] | None = None) -> None:
    """Join the other processes, train, and end with one sentence if something is wrong."""
    parser = argparse.ArgumentParser(prog="together", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300, help="steps in all")
    parser.add_argument("--batch", type=int, default=32, help="rows of a batch, of all processes")
    parser.add_argument("--every", type=int, default=10, help="steps between lines and checkpoints")
    parser.add_argument("--checkpoint", type=Path, help="file to go on from and to write to")
    parser.add_argument("--shard", action="store_true", help="FSDP2 in place of data parallel")
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error(f"--every: expected at least 1, got {options.every}; give a number of steps")
    try:
        with processes() as (rank, world):
            _train(options, rank, world)
    except (OSError, ValueError, FloatingPointError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("together: stopped; the same command goes on from here if it has a --checkpoint")


def _train(options: argparse.Namespace, rank: int, world: int) -> None:
    recipe, path = Recipe(steps=options.steps), options.checkpoint
    saved = checkpoints.load(path) if path and path.exists() else begin(recipe)
    model, optimisers, rng = saved.model, saved.optimisers, saved.rng
    if options.shard:
        shard(model, optimisers)
    held = ", ".join(f"{k} {v:,}" for k, v in held_bytes(model, optimisers).items())
    _say(f"process {rank} of {world} holds bytes: {held}")

    def keep() -> None:
        whole, memories = gather(model, optimisers)  # all processes take part, one writes
        if path and rank == 0:
            checkpoints.save(path, whole, optimisers=memories, rng=rng)

    try:
        steps = train_together(model, lab_batches(options.batch, rng), recipe, optimisers)
        for step in steps:
            if step.step % options.every == 0 or step.step in (1, options.steps):
                keep()
                if rank == 0:
                    _say(_line(step))
    except KeyboardInterrupt as stop:
        if stop.args:  # all processes stand after the same step
            keep()
        raise


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # in one piece: the processes share one output
    sys.stdout.flush()


def _line(step: Step) -> str:
    speed = step.tokens / step.seconds
    return f"step {step.step:5d}   loss {step.loss:.7f}   {speed:8,.0f} tokens/s"


if __name__ == "__main__":
    main()
