"""The one loop: guess, pay, follow the gradient, again. Every phase of the course uses it.

Training is a generator of `Step` records. Whoever pulls decides what to draw and when to stop; the
model keeps what it has learned whenever that is.
"""

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor, nn

from course_lm.language.windows import IGNORE, Batch
from course_lm.models.contract import Model

from .hardware import half_precision_pays
from .interrupts import interrupt_later
from .losses import cross_entropy, token_log_probs
from .optimisers import Adagrad, AdamW, Muon, Optimisers, clip, schedule, split_weights

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train; the budget is in steps (the same result each time) or in seconds (live).

    rate: AdamW's learning rate. matrix_rate: Muon's, for the matrices; None gives these to AdamW.
    warmup, decay: shares of the budget in which the rates rise, and fall to 0. weight_decay: of
    matrices. clip: largest norm of the gradient. accumulate: batches to a step.
    """

    steps: int | None = None
    seconds: float | None = None
    rate: float = 0.003
    matrix_rate: float | None = 0.02
    warmup: float = 0.02
    decay: float = 0.9
    weight_decay: float = 0.0
    clip: float = 1.0
    accumulate: int = 1

    def __post_init__(self) -> None:
        budget = self.seconds if self.steps is None else self.steps
        rates = (self.rate, self.rate if self.matrix_rate is None else self.matrix_rate, self.clip)
        if (self.steps is None) == (self.seconds is None) or not 0 < budget < math.inf:
            raise ValueError(
                "recipe: expected a budget above 0, in steps or in seconds, got "
                f"steps={self.steps} and seconds={self.seconds}; give one of them"
            )
        if not all(0 < rate < math.inf for rate in rates) or self.accumulate < 1:
            raise ValueError(
                "recipe: expected learning rates, clip and accumulate above 0, got "
                f"{self}; choose for instance rate=0.003"
            )
        if not all(0 <= share <= 1 for share in (self.warmup, self.decay, self.weight_decay)):
            raise ValueError(
                "recipe: expected warmup, decay and weight_decay from 0 to 1, got "
                f"{self.warmup}, {self.decay} and {self.weight_decay}; give shares"
            )


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did: mean loss of its labels (nats) before it, norm of their gradient.

    seconds: of training in this call, evaluation left out. tokens: labels in this call. held_out:
    loss on held-out text after the step, None where it was not measured.
    """

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    seconds: float
    tokens: int
    held_out: float | None = None


def make_optimisers(model: nn.Module, recipe: Recipe) -> Optimisers:
    """AdamW, or, if the recipe has a `matrix_rate`, Muon for the matrices; Adagrad for tables."""
    matrices, tables, others = split_weights(model)
    sparse = [Adagrad(tables)] if tables else []
    if recipe.matrix_rate is None or not matrices:
        return [AdamW(others | matrices, recipe.rate, recipe.weight_decay), *sparse]
    muon = Muon(matrices, recipe.matrix_rate, recipe.weight_decay)
    return [AdamW(others, recipe.rate), muon, *sparse]


def train(
    model: nn.Module,
    batches: Iterable[Batch],
    recipe: Recipe,
    *,
    loss: Loss = cross_entropy,
    optimisers: Optimisers | None = None,
    held_out: Callable[[], float] | None = None,
    every: int = 100,
) -> Iterator[Step]:
    """Train `model` on `batches` and yield a Step after each step, until the budget is spent.

    held_out() is measured every so many steps and after the last. Given `optimisers` go on after
    their steps; a budget in seconds begins anew. An interrupt (Ctrl-C, stop button) is raised after
    the step in progress and its record; a second one at once. Raises FloatingPointError, weights
    kept, for a loss or gradient that is not finite; ValueError for batches that end or lack labels.
    """
    optimisers = optimisers or make_optimisers(model, recipe)
    stream, tokens, seconds, done = iter(batches), 0, 0.0, optimisers[0].steps
    while _spent(recipe, done, seconds) < 1:
        record = None
        try:
            with interrupt_later() as stop:
                began = time.perf_counter()
                value, norm, labels = _learn(model, stream, recipe, loss, done + 1)
                share = _share(recipe, done, seconds, time.perf_counter() - began)
                for optimiser in optimisers:
                    optimiser.step(share)
                done, tokens = done + 1, tokens + labels
                seconds += time.perf_counter() - began
                record = Step(done, value, norm, share * optimisers[0].rate, seconds, tokens)
            if held_out and not stop and (done % every == 0 or _spent(recipe, done, seconds) >= 1):
                record = replace(record, held_out=held_out())
        except KeyboardInterrupt:  # the second in a step, or the first while measuring
            if record is None:
                raise
            stop.append(signal.SIGINT)
        yield record
        if stop:
            raise KeyboardInterrupt


def _spent(recipe: Recipe, done: float, seconds: float) -> float:
    """Share of the budget."""
    return done / recipe.steps if recipe.steps else seconds / recipe.seconds


def _share(recipe: Recipe, done: int, seconds: float, took: float) -> float:
    """Share of the rates in the middle of a step that has taken so long; 0 in none."""
    half = min(took, (recipe.seconds or math.inf) - seconds) / 2  # of what lies in the budget
    return schedule(_spent(recipe, done + 0.5, seconds + half), recipe.warmup, recipe.decay)


def _next_batches(stream: Iterator[Batch], count: int, step: int) -> list[Batch]:
    """The next batches that hold a label."""
    parts = list(islice(stream, count))
    if len(parts) < count:
        raise ValueError(
            f"train: expected a batch for every step, got the end of the batches at step {step}; "
            "give more, or a smaller budget"
        )
    parts = [(inputs, labels) for inputs, labels in parts if (labels != IGNORE).any()]
    if not parts:
        raise ValueError(
            f"train: expected a batch with at least one label, got none at step {step}; check the "
            "windows and the mask"
        )
    return parts


def _learn(
    model: nn.Module, stream: Iterator[Batch], recipe: Recipe, loss: Loss, step: int
) -> tuple[float, float, int]:
    """Leave the clipped gradient of the mean loss in the weights; (loss, norm, labels)."""
    parts = _next_batches(stream, recipe.accumulate, step)
    device = next(model.parameters()).device
    counts = [int((labels != IGNORE).sum()) for _, labels in parts]
    model.zero_grad()
    value = 0.0
    for (inputs, labels), count in zip(parts, counts, strict=True):
        with torch.autocast(device.type, torch.bfloat16, enabled=half_precision_pays(device)):
            logits = model(inputs.to(device))
        if not logits.amax().isfinite():
            raise _not_finite(math.nan, math.nan, step, inputs)
        share = loss(logits.float(), labels.to(device)) * (count / sum(counts))
        share.backward()
        value += share.item()
    norm = clip(model, recipe.clip)
    if not math.isfinite(value) or not math.isfinite(norm):
        raise _not_finite(value, norm, step, inputs)
    return value, norm, sum(counts)


def _not_finite(value: float, norm: float, step: int, inputs: Tensor) -> FloatingPointError:
    return FloatingPointError(
        f"train: expected a finite loss and gradient, got a loss of {value} with a gradient norm "
        f"of {norm} at step {step} on a batch of shape {tuple(inputs.shape)}; lower the learning "
        "rate; the weights are those before this step"
    )


@torch.no_grad()
def evaluate(model: Model, batches: Iterable[Batch]) -> float:
    """Mean of −log P(label) over all labels of all batches, each once, in nats per token."""
    total, count = 0.0, 0
    for inputs, labels in batches:
        logits = model(inputs)
        total -= token_log_probs(logits, labels.to(logits.device)).sum().item()
        count += int((labels != IGNORE).sum())
    if not count:
        raise ValueError("evaluate: expected at least one label, got none; give a longer text")
    return total / count
