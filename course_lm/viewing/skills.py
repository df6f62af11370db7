"""What a model can do at each checkpoint of its training: one figure, and a slider over it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ipywidgets import VBox

from .attention import shade
from .dials import picture_dial
from .strips import Html, aligned, text_on
from .style import COLOURS, FAINT, Drawing, blank, literal, number, styled

BAR = 240  # pixels of a share of 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model at one moment of its training.

    words: how many it has read. loss: on held-out text, in nats per word. skills: share of right
    choices of each probe. sample: a text that it wrote.
    """

    words: int
    loss: float
    skills: Mapping[str, float]
    sample: str = ""


def skill_map(checkpoints: Sequence[Checkpoint], chances: Mapping[str, float]) -> Drawing:
    """Every skill, a row, at every checkpoint, a column; dark is far above chance.

    chances: {skill: share that guessing reaches}. The first skill to come stands on top: rows are
    in the order in which they have come half of the way from chance to 1.
    """
    _check(checkpoints, chances)
    names = sorted(chances, key=lambda name: arrival(checkpoints, name, chances[name]))
    with styled():
        figure, (axes,) = blank(height=1.0 + 0.27 * len(names))
        for row, name in enumerate(names):
            for column, point in enumerate(checkpoints):
                share = point.skills[name]
                colour = shade(max(0.0, share - chances[name]) / (1 - chances[name]))
                axes.add_patch(_square(column, row, colour))
                ink = text_on(colour)
                note = {"ha": "center", "va": "center_baseline", "size": 8}
                axes.text(column, row, f"{share:.2f}", color=ink, **note)
            at = (len(checkpoints) - 0.3, row)
            axes.text(*at, f"{chances[name]:.2f}", color=COLOURS["baseline"], size=8, va="center")
        axes.text(len(checkpoints) - 0.3, -0.95, "chance", color=COLOURS["baseline"], size=8)
        axes.set(xlim=(-0.5, len(checkpoints) + 0.3), ylim=(len(names) - 0.5, -0.5))
        axes.set_xticks(range(len(checkpoints)), [number(point.words) for point in checkpoints])
        axes.tick_params(axis="x", labelsize=7.5, length=0)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("words read")
        literal(*axes.get_yticklabels())
    head = ["words read", *(point.words for point in checkpoints), "chance"]
    rows = [[n, *(point.skills[n] for point in checkpoints), chances[n]] for n in names]
    figure.numbers = [head, *rows]
    return figure


def arrival(checkpoints: Sequence[Checkpoint], name: str, chance: float) -> float:
    """Words read when a skill has come half of the way from chance to 1, and stays; ∞ if never."""
    came = float("inf")
    for point in reversed(checkpoints):
        if not point.skills[name] >= (1 + chance) / 2:  # nan has not come
            break
        came = point.words
    return came


def skills_html(point: Checkpoint, chances: Mapping[str, float]) -> Html:
    """The skills of one checkpoint as bars, a tick at chance, and what the model writes there."""
    said = f"{number(point.words)} words read, held-out loss {number(point.loss)}"
    rows = "".join(
        f"<tr style='background:none'><th scope='row' style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{_bar(point.skills[name], chances[name])}</td>"
        f"<td>{number(float(point.skills[name]))}</td></tr>"
        for name in chances
    )
    html = (
        f"<div role='group' aria-label='{escape(said)}'><div>{escape(said)}</div>"
        f"<table style='margin:4px 0'>{rows}</table>"
        f"<div style='max-width:640px'>It writes: <i>{escape(point.sample)}</i></div></div>"
    )
    table = aligned([("skill", "share", "chance"), *_rows(point, chances)])
    return Html(html, f"{said}\n{table}\nIt writes: {point.sample}")


def skill_timeline(checkpoints: Sequence[Checkpoint], chances: Mapping[str, float]) -> VBox:
    """Slide over the checkpoints; see the bars rise and the text become one."""
    _check(checkpoints, chances)
    names = [number(point.words) for point in checkpoints]
    return picture_dial(
        "words read",
        names,
        lambda place: skills_html(checkpoints[place], chances),
        begin=len(names) - 1,
    )


def _rows(point: Checkpoint, chances: Mapping[str, float]) -> list[tuple[str, float, float]]:
    return [(name, float(point.skills[name]), float(chances[name])) for name in chances]


def _bar(share: float, chance: float) -> str:
    tick = (
        f"<span style='position:absolute;left:{BAR * chance:.0f}px;top:0;height:13px;"
        f"border-left:2px solid {COLOURS['rejected']}' "
        f"title='chance {number(float(chance))}'></span>"
    )
    filled = f"width:{BAR * share:.0f}px;height:9px;background:{COLOURS['model']}"
    return (
        f"<span style='position:relative;display:inline-block;width:{BAR}px;height:13px;"
        f"border-left:1px solid {FAINT}'>"
        f"<span style='position:absolute;left:0;top:2px;{filled}'></span>{tick}</span>"
    )


def _square(column: int, row: int, colour: str):
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, facecolor=colour, edgecolor="none")


def _check(checkpoints: Sequence[Checkpoint], chances: Mapping[str, float]) -> None:
    missing = [n for point in checkpoints for n in chances if n not in point.skills]
    if not checkpoints or not chances or missing:
        raise ValueError(
            f"skills: expected at least one checkpoint, each with every one of {list(chances)}, "
            f"got {len(checkpoints)} checkpoints without {missing[:3]}; measure them all"
        )
