"""Training as it happens: the loss between floor and baselines, and what the model says by now.

The display is text (HTML and SVG) in the colours of the page's theme: a drawing costs a few
thousandths of a second, and no more than a fiftieth of the time goes into drawing.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from ..classroom.stored import kept
from ..training.interrupts import interrupt_later
from ..training.loop import Recipe, Step
from .curves import block_means
from .progress import bar, duration, in_place
from .sketch import Points, loss_sketch
from .strips import Html
from .style import number

SECONDS_BETWEEN = 0.5
DRAWING, SAMPLING = 0.02, 0.05  # largest shares of the time
POINTS = 100  # of the training curve, each a mean of the steps since the one before
SAMPLES, LETTERS = 4, 200  # the latest are shown beside the first; a longer one is cut


def watch_training(
    steps: Iterable[Step],
    recipe: Recipe,
    *,
    floor: float | None = None,
    baselines: Mapping[str, float] | None = None,
    sample: Callable[[], str] | None = None,
    unit: str = "nats per word",
    of: str = "loss",
) -> Iterator[Step]:
    """Yield the `steps` of `train(..., recipe)` as they come, and show the run in one place.

    floor: the best loss that any model can reach; baselines: {label: loss} of simple models, both
    in `unit`. sample(): a text of the model as it is now; give it a generator of its own, for how
    often it is called depends on the clock. of: the field of a step that is drawn, in `unit`.

    The stop button ends the run with a sentence, the model and the steps so far kept; an error
    comes through after the display says where. Outside a notebook the last state is printed.
    """
    steps, origin, rescue = kept(steps)
    run = Run(recipe, _levels(floor, baselines), unit, sample, of, origin)
    update = in_place(run.picture())
    try:
        for step in steps:
            run.add(step)
            yield step
            if update:
                run.draw(update)
        run.take_sample(last=True)
        run.end = ""
    except KeyboardInterrupt:
        run.end = "; stopped, the model and its history are kept"
    except GeneratorExit:
        run.end = "; left before its end, the model is kept"
        raise
    except Exception as error:
        run.end = f"; ended by {type(error).__name__}, the model is kept{rescue()}"
        raise
    finally:
        (update or print)(run.picture())


@dataclass(slots=True)
class Run:
    """A training run so far: what was heard of it, and when it was drawn."""

    recipe: Recipe
    levels: Mapping[str, float]
    unit: str
    sample: Callable[[], str] | None
    of: str = "loss"
    origin: str = ""  # words on a stored run
    places: list[float] = field(default_factory=list)  # budget spent after each step
    totals: list[float] = field(default_factory=lambda: [0.0])  # sums of the first n values
    held_out: list[tuple[float, float]] = field(default_factory=list)
    samples: list[tuple[int, str]] = field(default_factory=list)
    first: Step | None = None
    last: Step | None = None
    end: str | None = None  # None: it goes on
    began: float = field(default_factory=time.perf_counter)
    next_drawing: float = 0.0
    sampling: float = 0.0  # seconds spent so far

    @property
    def timed(self) -> bool:
        """Whether the budget is in seconds."""
        return self.recipe.steps is None

    @property
    def budget(self) -> float:
        """Steps or seconds in all."""
        return self.recipe.seconds if self.timed else self.recipe.steps

    @property
    def now(self) -> float:
        """Steps or seconds spent."""
        return self.places[-1] if self.places else 0

    def add(self, step: Step) -> None:
        """Hear of one more step."""
        self.first, self.last = self.first or step, step
        self.places.append(min(step.seconds, self.budget) if self.timed else step.step)
        self.totals.append(self.totals[-1] + getattr(step, self.of))
        if step.held_out is not None:
            self.held_out.append((self.now, step.held_out))

    def draw(self, update: Callable[[Html], None]) -> None:
        """Show the run as it stands, if it is time to; an interrupt meanwhile is raised after."""
        if time.perf_counter() < self.next_drawing:
            return
        with interrupt_later() as interrupted:
            self.take_sample()
            began = time.perf_counter()
            update(self.picture())
            ended = time.perf_counter()
            self.next_drawing = ended + max(SECONDS_BETWEEN, (ended - began) / DRAWING)
        if interrupted:
            raise KeyboardInterrupt

    def take_sample(self, last: bool = False) -> None:
        """Note what the model says: each time the steps have doubled, and after the last one."""
        if not self.sample or not self.last or (self.origin and not last):
            return
        began, step = time.perf_counter(), self.last.step
        before = self.samples[-1][0] if self.samples else 0
        affordable = self.sampling <= SAMPLING * (began - self.began)
        if step > before if last else affordable and step >= 2 * before:
            self.samples.append((step, self.sample()))
            self.sampling += time.perf_counter() - began

    def curve(self) -> Points:
        """Training losses: the first as it is, then means of steps that lie close together."""
        count, gap = len(self.places), self.budget / POINTS
        edges = [bisect_right(self.places, gap * i) for i in range(1, POINTS + 1)]
        edges = sorted({0, min(1, count), *edges, count})
        means = block_means(self.totals, edges)
        if len(edges) > 3:  # the last block is still filling: its mean reaches back
            width = max(edges[-1] - edges[-2], edges[-2] - edges[-3])
            means[-1] = (self.totals[-1] - self.totals[-1 - width]) / width
        return list(zip((self.places[edge - 1] for edge in edges[1:]), means, strict=True))

    def picture(self) -> Html:
        """The display: bar, curves, samples; in plain text the numbers and the last sample."""
        title = bar(self.now, self.budget, self.status())
        if not self.last:
            return title
        curves = {"train": self.curve(), "held-out": self.held_out}
        xlabel = "seconds of training" if self.timed else "steps"
        axes = {"unit": self.unit, "xlabel": xlabel, "of": self.of}
        plot = loss_sketch(curves, self.levels, self.budget, **axes)
        ends = {name: points[-1][1] for name, points in curves.items() if points}
        named = ", ".join(f"{k} {number(v)}" for k, v in {**ends, **self.levels}.items())
        first = number(getattr(self.first, self.of))
        losses = f"{self.of} in {self.unit}: {first} at first, {named}"
        said = [f"step {step:,}: {text}" for step, text in self.samples[-1:]]
        rows = _rows([*self.samples[:1], *self.samples[1:][-SAMPLES:]])
        return Html(f"{title.html}{plot}{rows}", "\n".join([title.text, losses, *said]))

    def status(self) -> str:
        """How far it is, how long it takes, how fast it goes, and why it ended early."""
        step = f"step {self.last.step if self.last else 0:,}"
        parts = [f"{step} of {self.budget:,}"]
        if self.timed:
            parts = [f"{self.now:.0f} of {self.budget:g} s", step]
        if self.last:
            seconds = time.perf_counter() - self.began
            done = self.now - (0 if self.timed else self.first.step - 1)
            left = seconds * (self.budget - self.now) / max(done, 1e-9)
            parts.append(f"{duration(left)} left" if self.end is None else duration(seconds))
            parts.append(f"{number(self.last.tokens / max(self.last.seconds, 1e-9))} tokens/s")
        return ", ".join(parts) + (self.end or "") + self.origin


def _levels(floor: float | None, baselines: Mapping[str, float] | None) -> dict[str, float]:
    levels = ({} if floor is None else {"floor": floor}) | dict(baselines or {})
    return {name: float(level) for name, level in levels.items()}


def _rows(samples: Sequence[tuple[int, str]]) -> str:
    """A row for each text: the step at which it was drawn, and what the model said."""
    rows = "".join(
        f"<div style='opacity:.8;text-align:right'>step {step:,}</div><div>{_one_line(text)}</div>"
        for step, text in samples
    )
    style = "display:grid;grid-template-columns:auto 1fr;gap:2px 12px;max-width:680px"
    return f"<div style='{style};line-height:1.35;margin-top:4px'>{rows}</div>" if rows else ""


def _one_line(text: str) -> str:
    cut = text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"
    return escape(cut.replace("\n", " ⏎ "))
