"""Gain against forgetting: what continued pretraining won in one domain and lost in another."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from ipywidgets import VBox
from matplotlib.axes import Axes

from .dials import picture_dial
from .figures import png
from .strips import Html, aligned
from .style import COLOURS, INK, MARKERS, Drawing, blank, colour_of, literal, number, styled

Point = tuple[float, float]  # (loss in the new domain, loss in the old domain), nats per token


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run ended with: held-out loss in the new and in the old domain, texts by domain."""

    name: str
    new: float
    old: float
    texts: Mapping[str, str] = field(default_factory=dict)


def spared_and_kept(base: Outcome, alone: Outcome, run: Outcome) -> tuple[float, float]:
    """(share of the forgetting that `run` spares, share of the gain that it keeps).

    spared = 1 − (old − old_base) / (old_alone − old_base), kept = (new_base − new) / (new_base −
    new_alone): base is the model before, alone the run without replay, so that alone has (0, 1).
    Raises ValueError unless `alone` has forgotten and gained something.
    """
    forgotten, gained = alone.old - base.old, base.new - alone.new
    if not (forgotten > 0 and gained > 0):
        raise ValueError(
            "spared_and_kept: expected a run without replay that lost in the old domain and won in "
            f"the new one, got {-forgotten:.3f} and {gained:.3f} nats; train it longer"
        )
    return 1 - (run.old - base.old) / forgotten, (base.new - run.new) / gained


def trade_off(
    curves: Mapping[str, Sequence[Outcome]],
    *,
    floors: Point | None = None,
    best: Sequence[Point] = (),
    chosen: str | None = None,
    unit: str = "nats per word",
) -> Drawing:
    """Runs by their losses, new domain across and old domain up; lower left is better.

    Every run carries its name, the first one its curve's label, too; `chosen` is the name of the
    one to ring. floors: the exact ones of both domains; best: points that no model can pass.
    """
    with styled():
        figure, (axes,) = blank(height=3.6)
        axes.set(xlabel=f"loss in the new domain, {unit}", ylabel=f"loss in the old domain, {unit}")
        axes.grid()
        axes.margins(0.14)
        for position, (label, runs) in enumerate(curves.items()):
            _draw_runs(axes, label, runs, position, chosen)
        if best:
            axes.plot(*zip(*best, strict=True), color=COLOURS["floor"], lw=1.2, marker=".")
            axes.annotate("best possible", best[-1], **_beside(COLOURS["floor"]))
        if floors:
            for draw, value in zip((axes.axvline, axes.axhline), floors, strict=True):
                draw(value, color=COLOURS["floor"], lw=1.2, ls=(0, (4, 2)), zorder=1.5)
            axes.annotate("floors", floors, **_beside(COLOURS["floor"], -11 if best else 5))
        literal(*axes.texts)
    rows = [(f"{label} {run.name}", run.new, run.old) for label in curves for run in curves[label]]
    rows += [("best possible", *point) for point in best]
    figure.numbers = [("run", "new", "old"), *rows, *([("floor", *floors)] if floors else [])]
    return figure


def _draw_runs(
    axes: Axes, label: str, runs: Sequence[Outcome], position: int, chosen: str | None
) -> None:
    colour = colour_of(label, position)
    xs, ys = [run.new for run in runs], [run.old for run in runs]
    axes.plot(xs, ys, color=colour, marker=MARKERS[position % len(MARKERS)], lw=1.0)
    for run in runs:
        name = f"{label} {run.name}".strip() if run is runs[0] else run.name
        axes.annotate(name, (run.new, run.old), **_beside(colour))
        if run.name == chosen:
            axes.plot(run.new, run.old, "o", ms=13, mfc="none", mec=INK, mew=1.6)


def _beside(colour: str, down: int = 4) -> dict[str, object]:
    return {"xytext": (7, down), "textcoords": "offset points", "color": colour, "size": 8.5}


def replay_html(
    base: Outcome, runs: Sequence[Outcome], place: int, **limits: Sequence[Point] | Point
) -> Html:
    """The run at `place` among all: the figure, what it spares and keeps, a text of each domain.

    runs[0] is the one without replay; limits are `floors` and `best` of `trade_off`.
    """
    run = runs[place]
    spared, kept = spared_and_kept(base, runs[0], run)
    said = (
        f"Replay {run.name}: {100 * spared:.0f} % of the forgetting is spared, {100 * kept:.0f} % "
        f"of the gain is kept. Loss {number(run.new)} in the new domain, {number(run.old)} in the "
        "old one."
    )
    figure = trade_off({"": runs}, chosen=run.name, **limits)
    image = b64encode(png(figure)).decode()
    points = "; ".join(f"{r.name} {number(r.new)} and {number(r.old)}" for r in runs)
    texts = "".join(
        f"<dt style='font-weight:bold'>{escape(domain)}</dt>"
        f"<dd style='margin:0 0 6px 16px'>{escape(text)}</dd>"
        for domain, text in run.texts.items()
    )
    html = (
        f"<div role='group' aria-label='{escape(said)}' style='max-width:760px;line-height:1.4'>"
        f"<img alt='{escape(f'Loss in the new and the old domain: {points}.')}' width='576' "
        f"src='data:image/png;base64,{image}'>"
        f"<div style='margin:6px 0'>{escape(said)}</div><dl>{texts}</dl></div>"
    )
    return Html(html, f"{said}\n{aligned(list(run.texts.items()))}".rstrip())


def replay_dial(base: Outcome, runs: Sequence[Outcome], **limits: Sequence[Point] | Point) -> VBox:
    """Slide the share of replay through runs already made; runs[0] is the one without."""
    return picture_dial(
        "replay",
        [run.name for run in runs],
        lambda place: replay_html(base, runs, place, **limits),
    )
