"""Grade a class: the exercises of the pages as a course of nbgrader.

    python -m course_lm.classroom.grading FOLDER

writes FOLDER/nbgrader_config.py and, for each page, FOLDER/source/lesson_NN/lesson_NN.ipynb: the
page's imports (of the course only what the tasks name, for among the rest are the answers), then
its quizzes and exercises, one point each. An answer's cell is the stub of the page; the hidden test
behind it is the check of the page. No exercise needs what its page has trained, so that a page of
minutes is graded in seconds. Run again, the command refreshes what it wrote and touches no other
file; settings of your own go into FOLDER/nbgrader_config.json.
"""

import argparse
import ast
import copy
import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module, util
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lm.exercises.sentences import marked

from .pages import PAGE_METADATA, find, write

MANIFEST = ".course_lm.json"  # what this command wrote, and the digest of each file
GRADED = '"grade": true'  # in the text of a notebook, once for each test
POINTS = 1  # for each exercise and each quiz
CALL = re.compile(r"(check\.(\w+)|quiz)\((?:check\.)?(\w+)\)")  # the last line of an answer's cell
QUOTED = re.compile(r"`([^`]+)`")
CONFIG = '''\
"""Written by `python -m course_lm.classroom.grading`; own settings go into nbgrader_config.json."""

from course_lm.classroom.survival import autograde_preprocessors

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "course_lm"
c.ClearSolutions.enabled = False  # the source holds no solutions: its stubs are those of the pages
c.Autograde.autograde_preprocessors = autograde_preprocessors()
c.Execute.timeout = 60  # seconds for each cell but the set-up, which is the course's own
c.Execute.shutdown_kernel = "immediate"  # whatever still runs in it
c.Execute.extra_arguments = ["--IPKernelApp.ignore_cwd=True"]  # import nothing that was handed in
'''
INTRODUCTION = """\
# Exercises of lesson {number}

Each is worth {points} point. Read the page `{name}` first: the exercises follow it. Run the next \
cell, put your answer in place of `...` and run its cell, as often as you like. Then save the \
notebook under the name it has, and hand it in."""
TEST = """\
# {points} point for the answer above; leave this cell as it is.
### BEGIN HIDDEN TESTS
import contextlib, io, sys

for _name in [name for name in sys.modules if name.partition(".")[0] == "course_lm"]:
    del sys.modules[_name]  # so that nothing counts that the cells above have done to the checks
from course_lm.exercises import lesson_{number} as _check
from course_lm.exercises.quiz import quiz as _quiz

with contextlib.redirect_stderr(io.StringIO()):  # a warning would be a failure to nbgrader
    {call}
assert {passed}, "no point: see the verdict"
### END HIDDEN TESTS"""


class GradingError(RuntimeError):
    """A course that cannot be written; the folder is as it was."""


def source(path: Path) -> NotebookNode:
    """The nbgrader notebook of a page: set-up, quizzes, exercises, the table of the learner."""
    page, number = nbformat.read(path, as_version=4), path.name[:2]
    codes = [cell.source for cell in page.cells if cell.cell_type == "code"]
    intro = INTRODUCTION.format(number=number, points=POINTS, name=path.name)
    cells = []
    for before, cell in zip(page.cells, page.cells[1:], strict=False):
        call = CALL.fullmatch(cell.source.split("\n")[-1])
        if cell.cell_type != "code" or not call:
            continue
        made = _quiz if call[1] == "quiz" else _exercise
        cells += made(number, before.source, cell.source, call)
    if "progress(check)" in codes:
        cells.append(new_code_cell("progress(check)"))
    set_up = new_code_cell(_named(codes[0], cells), metadata=_grader("set_up", locked=True))
    cells = [new_markdown_cell(intro), set_up, *cells]
    for place, cell in enumerate(cells):
        cell.id = f"cell-{place:03d}"  # the same in each run
    return new_notebook(cells=cells, metadata=copy.deepcopy(PAGE_METADATA))


def _named(imports: str, cells: Sequence[NotebookNode]) -> str:
    """The imports without those names of the course that neither code nor `code in a text` says."""
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    said = set(re.findall(r"\w+", " ".join(QUOTED.findall("\n".join(texts)))))
    codes = [ast.walk(ast.parse(cell.source)) for cell in cells if cell.cell_type == "code"]
    said |= {node.id for code in codes for node in code if isinstance(node, ast.Name)}
    kept = []
    for node in ast.parse(imports).body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("course_lm"):
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in said]
        if getattr(node, "names", True):
            kept.append(ast.unparse(node))
    return "\n".join(kept)


def _exercise(number: str, before: str, stub: str, call: re.Match) -> list[NotebookNode]:
    name, answer = call[2], call[3]
    task = before[before.index("### ") :]  # without the heading of the section
    test = f"_check.{name}({answer})", f"_check.{name}.passed"
    return [new_markdown_cell(task), *_answer_and_test(number, name, stub, *test)]


def _quiz(number: str, before: str, stub: str, call: re.Match) -> list[NotebookNode]:
    name = call[3]
    question = getattr(import_module(f"course_lm.exercises.lesson_{number}"), name)
    options = "\n".join(f"- {marked(label)}" for label in question.labels)
    letters = [label[0] for label in question.labels]
    text = f"### A question\n\n{marked(question.text)}\n\n{options}"
    stub = f"{name} = ...  # one of {str(letters)[1:-1]}\n\nquiz(check.{name}, {name})"
    right = f"type({name}) is str and {name} == {letters[question.correct]!r}"
    cells = _answer_and_test(number, name, stub, f"_quiz(_check.{name}, {name})", right)
    return [new_markdown_cell(text), *cells]


def _answer_and_test(
    number: str, name: str, stub: str, call: str, passed: str
) -> list[NotebookNode]:
    test = TEST.format(number=number, points=POINTS, call=call, passed=passed)
    graded = _grader(f"{name}_test", grade=True, locked=True, points=POINTS)
    answer = new_code_cell(stub, metadata=_grader(name, solution=True))
    return [answer, new_code_cell(test, metadata=graded)]


def _grader(name: str, **said: object) -> dict:
    no = {"grade": False, "solution": False, "locked": False, "task": False}
    return {"nbgrader": no | {"grade_id": name, "schema_version": 3} | said}


def course(pages: Sequence[Path]) -> dict[str, str]:
    """The files of the course, by their paths in its folder."""
    files = {"nbgrader_config.py": CONFIG}
    for page in pages:
        lesson, text = f"lesson_{page.name[:2]}", nbformat.writes(source(page)) + "\n"
        if GRADED in text:
            files[f"source/{lesson}/{lesson}.ipynb"] = text
    return files


def write_course(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files; when one would replace what this command has not written, write none."""
    manifest = folder / MANIFEST
    try:
        ours = dict(json.loads(manifest.read_text("utf-8"))) if manifest.exists() else {}
    except (TypeError, ValueError):  # damaged: nothing here counts as ours
        ours = {}
    for name, text in files.items():
        path = folder / name
        there = _digest(path.read_bytes()) if path.is_file() else None
        if path.exists() and there not in (ours.get(name), _digest(text.encode())):
            raise GradingError(
                f"{name}: expected what this command wrote before, got another file; move it away "
                "or give another folder"
            )
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, text)
        ours[name] = _digest(text.encode())
        write(manifest, json.dumps(ours, indent=1) + "\n")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the course, a line for each lesson; the exit status is 1 when it cannot be written."""
    parser = argparse.ArgumentParser(prog="grading", description="Make a course of nbgrader.")
    parser.add_argument("folder", type=Path, help="where the course is, or is to be")
    folder = parser.parse_args(arguments).folder
    if util.find_spec("nbgrader") is None:
        print("grading: expected nbgrader, got no such package; use `uv run --extra lecturer`")
        return 1
    try:
        files = course(find([]))
        write_course(folder, files)
    except (GradingError, OSError) as error:
        print(error)
        return 1
    for name, text in files.items():
        if GRADED in text:
            print(f"{Path(name).stem}, points: {text.count(GRADED) * POINTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
