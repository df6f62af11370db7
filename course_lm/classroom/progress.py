"""Which exercises have I solved? Read from the outputs that my own notebooks have stored.

In a page: ``table()``. In a terminal: ``python -m course_lm.classroom.progress [FOLDER]``. A check
prints its verdict below its cell, and saving the notebook keeps it: nothing else is read, nothing
is run, and nothing is sent. Where a folder holds several copies of a lesson the best verdict
counts. A choice in a quiz is not stored, and so not counted.
"""

import argparse
import html
import json
import pkgutil
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from course_lm import exercises
from course_lm.exercises.checking import Exercise

from .pages import NOTEBOOKS

LESSON = re.compile(r"(?:lesson_)?(\d\d)(?!\d)")  # the beginning of a notebook's name
VERDICT = re.compile(
    r"Exercise (\d+\.\d+) \(.*: (passed|not yet|not attempted yet)(?: \(attempt \d+\))?\.$", re.M
)
VERDICTS = ("passed", "not yet", "not attempted yet")  # from best to worst
HEAD = ("lesson", "solved", *VERDICTS)


@dataclass(frozen=True, slots=True)
class Lesson:
    """The exercises of a lesson with the verdict on each; in `damage`, what could not be read."""

    number: str
    exercises: tuple[tuple[Exercise, str], ...]
    damage: tuple[str, ...] = ()

    def row(self) -> tuple[str, ...]:
        """A cell for each column of HEAD."""
        given = [[e.number for e, said in self.exercises if said == which] for which in VERDICTS]
        solved = f"{len(given[0])} of {len(self.exercises)}"
        return self.number, solved, *map(", ".join, given)


@dataclass(frozen=True, slots=True)
class Progress:
    """All lessons: a table in a page, the same table as text in a terminal."""

    lessons: tuple[Lesson, ...]

    def sentences(self) -> list[str]:
        """How many exercises are passed and which one is next; then what could not be read."""
        pairs = [pair for lesson in self.lessons for pair in lesson.exercises]
        left = [exercise for exercise, verdict in pairs if verdict != "passed"]
        first = f"{len(pairs) - len(left)} of {len(pairs)} exercises passed"
        if left:
            first += f"; next: {left[0].number} {left[0].title} ({left[0].minutes} minutes)"
        return [f"{first}.", *(said for lesson in self.lessons for said in lesson.damage)]

    def __repr__(self) -> str:
        rows = [HEAD, *(lesson.row() for lesson in self.lessons)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, "", *self.sentences()])

    def _repr_html_(self) -> str:
        left = 'style="text-align: left"'
        head = "".join(f'<th scope="col" {left}>{text}</th>' for text in HEAD)
        cell = f"<td {left}>{{}}</td>".format
        rows = (map(cell, map(html.escape, lesson.row())) for lesson in self.lessons)
        body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
        said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.sentences())
        return f'<table aria-label="My progress"><tr>{head}</tr>{body}</table>{said}'


def table(folder: Path | str = NOTEBOOKS) -> Progress:
    """The verdicts that the notebooks in `folder` hold; a damaged one becomes a sentence."""
    if not Path(folder).is_dir():
        raise NotADirectoryError(
            f"folder: expected one that holds your notebooks, got {str(folder)!r}; correct it"
        )
    said: dict[str, set[str]] = {}
    damage: dict[str, list[str]] = {}
    for path in sorted(Path(folder).glob("*.ipynb")):
        lesson = LESSON.match(path.name)
        if lesson is None:
            continue
        try:
            for number, verdict in VERDICT.findall("\n".join(_texts(path))):
                said.setdefault(number, set()).add(verdict)
        except (AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError):
            damage.setdefault(lesson[1], []).append(
                f"{path.name}: expected a notebook, got a file that cannot be read as one; "
                "take it from the course again"
            )
    return Progress(tuple(_lessons(said, damage)))


def _texts(path: Path) -> list[str]:
    """The plain text of each displayed or printed output of a notebook."""
    outputs = [
        output
        for cell in json.loads(path.read_text("utf-8"))["cells"]
        for output in cell.get("outputs", ())
    ]
    found = [output.get("data", {}).get("text/plain", output.get("text", "")) for output in outputs]
    return ["".join(text) for text in found]


def _lessons(said: Mapping[str, set[str]], damage: Mapping[str, list[str]]) -> Iterable[Lesson]:
    for module in pkgutil.iter_modules(exercises.__path__, f"{exercises.__name__}."):
        _, is_lesson, number = module.name.partition(".lesson_")
        if not is_lesson:
            continue
        named = vars(import_module(module.name)).values()
        found = [item for item in named if isinstance(item, Exercise)]
        found.sort(key=lambda exercise: int(exercise.number.partition(".")[2]))
        pairs = tuple((exercise, _best(said.get(exercise.number, ()))) for exercise in found)
        if pairs or number in damage:
            yield Lesson(number, pairs, tuple(damage.get(number, ())))


def _best(verdicts: Iterable[str]) -> str:
    return min(verdicts, key=VERDICTS.index, default=VERDICTS[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of a folder: the pages of the course unless another one is given."""
    parser = argparse.ArgumentParser(prog="progress", description="The exercises I have solved.")
    parser.add_argument("folder", nargs="?", type=Path, default=NOTEBOOKS)
    try:
        print(table(parser.parse_args(arguments).folder))
    except NotADirectoryError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
