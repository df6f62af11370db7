"""Whose loss falls faster on 1.1 MB of text by characters: ours, GPT-2 and plain counting.

Budgets are chosen on validation text; losses in the table are those of test text. Models read the
held-out text in windows of their own context, recurrent ones, which have none, in long ones, the
n-gram model in one piece.
Seconds are clean: the 25th percentile of a step's seconds, times the number of steps.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import peers
import torch
from language import best_ngram, ngram_loss
from recipes import LLAMA, LSTM, MINUTE, Effort, Setup
from table import NOT_REACHED, Row, clean, medians, row
from torch import nn

from course_lm.language.corpora import own_file, shakespeare
from course_lm.language.tokens import characters
from course_lm.language.windows import all_windows, random_windows
from course_lm.models.contract import Model
from course_lm.training.loop import Recipe, Step, evaluate, train

TRAIN, HELD_OUT = 1_000_000, 55_000  # characters at most, to learn from, and to validate and test
ROWS = 32  # windows that are evaluated together
START = 10  # steps of the process whose start is timed
LOSS = "nats/character"


@dataclass(frozen=True, slots=True)
class Text:
    """Ids to learn from, to choose on and to report on."""

    train: torch.Tensor
    validation: torch.Tensor
    test: torch.Tensor
    vocab_size: int


@dataclass(frozen=True, slots=True)
class Run:
    """How a training ended: seconds, clean and as the clock showed them, and held-out losses."""

    steps: int
    clean: float
    wall: float
    validation: float
    test: float

    def __str__(self) -> str:
        return f"{self.steps:,} steps, wall {self.wall:,.0f} s, test {self.test:.3f}"


def read_text(path: Path | None) -> Text:
    """Shakespeare's plays, or a file of your own, cut to about 1.1 MB."""
    corpus = own_file(path) if path else shakespeare()
    parts = corpus.train[:TRAIN], corpus.validation[:HELD_OUT], corpus.test[:HELD_OUT]
    vocabulary = characters("".join(parts))
    return Text(*(torch.tensor(vocabulary.encode(part)) for part in parts), len(vocabulary))


def start(setup: Setup, text: Text, **budget: float) -> tuple[nn.Module, Iterator[Step]]:
    """Our model and its training, which goes on as its steps are pulled."""
    rng = torch.Generator().manual_seed(0)
    model = setup.model(text.vocab_size, rng)
    batches = random_windows(text.train, setup.context, setup.batch, rng)
    return model, train(model, batches, Recipe(**setup.recipe, **budget))


def start_peer(text: Text, steps: int) -> tuple[nn.Module, Iterator[float]]:
    """The GPT-2 recipe and its training."""
    model, rng = peers.gpt2(text.vocab_size), torch.Generator().manual_seed(0)
    batches = random_windows(text.train, peers.CONTEXT, peers.BATCH, rng)
    return model, peers.training(model, batches, steps)


def finish(model: Model, context: int, steps: Iterator[object], text: Text) -> Run:
    """Train to the end of the budget and measure."""
    times, began = [], time.perf_counter()
    for _ in steps:
        times.append(time.perf_counter() - began)
        began = time.perf_counter()
    return measured(model, context, times, text)


def measured(model: Model, context: int, times: list[float], text: Text) -> Run:
    """The held-out losses of a model whose steps took `times`."""
    losses = [
        evaluate(model, all_windows(ids, context, ROWS)) for ids in (text.validation, text.test)
    ]
    return Run(len(times), clean(times) * len(times), sum(times), *losses)


def reach(loss: float, ladder: tuple[int, ...], run: Callable[[int], Run]) -> Run | None:
    """The run with the first budget on the ladder that reaches a validation loss, if any does."""
    runs = map(run, ladder)
    return next((done for done in runs if done.validation <= loss), None)


def run_ours(setup: Setup, text: Text, **budget: float) -> Run:
    """Train ours from the beginning."""
    model, steps = start(setup, text, **budget)
    return finish(model, setup.window, steps, text)


def in_steps(setup: Setup, text: Text) -> Callable[[int], Run]:
    """The training of `setup` for a number of steps."""
    return lambda steps: run_ours(setup, text, steps=steps)


def race_rows(effort: Effort, path: Path | None) -> Iterator[Row]:
    """Ours against the GPT-2 recipe and the best n-gram."""
    text = read_text(path)
    model, steps = start_peer(text, effort.peer_steps)
    peer = finish(lambda ids: model(ids).logits, peers.CONTEXT, steps, text)
    goals = (
        ("to the GPT-2 recipe's loss", LSTM, effort.short),
        ("in the Llama shape", LLAMA, effort.llama),
    )
    for name, setup, ladder in goals:
        ours = reach(peer.validation, ladder, in_steps(setup, text))
        about = f"GPT-2: {peer}; ours: {ours or NOT_REACHED}"
        yield row(name, "seconds", _clean(ours), peer.clean, about)
        if ours and setup is LSTM:
            both = process_seconds(ours, peer, effort.repetitions, path)
            yield row("the whole process to it", "seconds", *both, "imports, text, model included")

    counts = best_ngram(text.train, text.validation, text.vocab_size)
    loss = ngram_loss(counts, text.validation)
    ours = reach(loss, effort.middle, in_steps(LSTM, text))
    bound = "" if peer.validation <= loss else ", not there yet: its time is a lower bound"
    about = f"GPT-2{bound}; order {counts.order}: test {ngram_loss(counts, text.test):.3f}"
    about += f"; ours: {ours or NOT_REACHED}"
    yield row("to the best n-gram's loss", "seconds", _clean(ours), peer.clean, about)

    ours = ours or run_ours(LSTM, text, steps=effort.middle[-1])
    about = f"GPT-2: {peer}; ours, which may take less: {ours}"
    yield row("test loss in GPT-2's time", LOSS, ours.test, peer.test, about)


def _clean(run: Run | None) -> float | str:
    return run.clean if run else NOT_REACHED


def process_seconds(ours: Run, peer: Run, repetitions: int, path: Path | None) -> list[float]:
    """Of a new process: imports, text, model and a few steps by the clock, then the other steps."""

    def process(who: str) -> object:
        command = [sys.executable, __file__, who, *([path] if path else [])]
        return subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    times = medians(lambda: process("ours"), lambda: process("peer"), repetitions)
    runs = zip(times, (ours, peer), strict=True)
    return [begun + run.clean * (1 - START / run.steps) for begun, run in runs]


def rival_rows(effort: Effort, path: Path | None) -> Iterator[Row]:
    """Transformer, LSTM and plain RNN within equal seconds, against counting and each other.

    Of the runs with each budget the one with the lowest validation loss counts.
    """
    text = read_text(path)
    counts = best_ngram(text.train, text.validation, text.vocab_size)
    line = ngram_loss(counts, text.test)
    tried = [side_by_side(text, seconds) for seconds in effort.budgets]
    runs = {
        name: min((runs[name] for runs in tried), key=lambda r: r.validation) for name in MINUTE
    }
    for name, run in runs.items():
        about = f"best n-gram, order {counts.order}; {run}"
        yield row(f"{name}, {max(effort.budgets):.0f} s: test loss", LOSS, run.test, line, about)
    both = runs["Transformer"].test, runs["LSTM"].test
    yield row("Transformer against LSTM", LOSS, *both, "LSTM; within equal seconds, test loss")


def side_by_side(text: Text, seconds: float) -> dict[str, Run]:
    """Every rival, trained from the beginning for so long."""
    begun = {name: start(setup, text, seconds=seconds) for name, setup in MINUTE.items()}
    times = share_time({name: steps for name, (_, steps) in begun.items()})
    return {
        name: measured(model, MINUTE[name].window, times[name], text)
        for name, (model, _) in begun.items()
    }


def share_time(trainings: dict[str, Iterator[Step]]) -> dict[str, list[float]]:
    """Run trainings side by side, the next step to the one that had least time; their seconds."""
    times: dict[str, list[float]] = {name: [] for name in trainings}
    waiting, spent = dict(trainings), dict.fromkeys(trainings, 0.0)
    while waiting:
        name = min(waiting, key=spent.get)
        step = next(waiting[name], None)
        if step is None:
            del waiting[name]
        else:
            times[name].append(step.seconds - spent[name])
            spent[name] = step.seconds
    return times


def main() -> None:
    """Begin one training in this process: `race.py ours` or `race.py peer`, then a file, if any."""
    who, *path = sys.argv[1:]
    text = read_text(Path(path[0]) if path else None)
    _, steps = start_peer(text, START) if who == "peer" else start(LSTM, text, steps=START)
    for _ in steps:
        pass


if __name__ == "__main__":
    main()
