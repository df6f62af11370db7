"""Rows of the table: two numbers, measured in turn, and their ratio."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import torch

NOT_MEASURED, NOT_REACHED = "not measured", "not reached"
MORE_IS_BETTER = ("/s", "% of peak")  # ends of units; of all others less is better

Row = dict[str, str | float]
Work = Callable[[], object]


def seconds(work: Work) -> float:
    """How long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def medians(ours: Work, peer: Work, repetitions: int) -> list[float]:
    """Median seconds of both, which take turns, so that a busy minute hits both."""
    pairs = [(seconds(ours), seconds(peer)) for _ in range(repetitions)]
    return [statistics.median(column) for column in zip(*pairs, strict=True)]


def step_seconds(*trainings: Iterator[object], rounds: int) -> list[float]:
    """Seconds of one step of each training, which take turns: the 25th percentile of `rounds`."""
    for training in trainings:
        next(training)  # the first step warms up
    times = [[seconds(lambda t=training: next(t)) for training in trainings] for _ in range(rounds)]
    return [clean(column) for column in zip(*times, strict=True)]


def clean(times: Sequence[float]) -> float:
    """The 25th percentile: a step that nothing else on the machine disturbed."""
    return float(torch.tensor(times, dtype=torch.float64).quantile(0.25))


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """p of cost ∝ size^p: the slope of log cost against log size, by least squares."""
    x, y = (torch.tensor(column, dtype=torch.float64).log() for column in (sizes, costs))
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())


def row(what: str, unit: str, ours: float | str, peer: float | str, about: str) -> Row:
    """One comparison; the ratio says how many times better ours is, where there is one."""
    ratio = ""
    if unit != "exponent" and not isinstance(ours, str) and not isinstance(peer, str):
        ratio = ours / peer if unit.endswith(MORE_IS_BETTER) else peer / ours
    return {
        "what": what,
        "unit": unit,
        "ours": ours,
        "peer": peer,
        "ratio": ratio,
        "about": about,
    }


def not_measured(what: str, unit: str, package: str) -> Row:
    """In place of a row that needs a package which is not there."""
    about = f"{package} is not installed"
    return {**row(what, unit, NOT_MEASURED, NOT_MEASURED, about), "ratio": NOT_MEASURED}


def line(new: Row) -> str:
    """One row of the table."""
    shown = [
        value if isinstance(value, str) else f"{value:,.2f}" if value < 1e3 else f"{value:,.0f}"
        for value in (new["ours"], new["peer"], new["ratio"])
    ]
    ours, peer, ratio = shown
    return f"{new['what']:34}{new['unit']:>15}{ours:>13}{peer:>13}{ratio:>13}  {new['about']}"


def heading() -> str:
    """The line above the table."""
    return f"{'':34}{'unit':>15}{'ours':>13}{'peer':>13}{'ratio':>13}  peer"
