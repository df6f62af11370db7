"""Exercises that check themselves, in three voices: not attempted yet, not yet, passed.

A lesson module declares its checks. The docstring says what to do, the returned sentence what to
notice, the hints go from gentle to plain, one more with each failed attempt:

    @exercise("1.2", "Probability of a bigram", minutes=5, hints=["Which words can follow?", ...])
    def bigram_probability(student):
        '''Return the share of the words after `previous` that are `word`.'''
        counts = {"the": {"cat": 2, "dog": 1}, "a": {"cat": 3}}
        got = student(counts, "the", "cat")
        expect_number(got, 2 / 3, mistakes={"You divided by all words.": 1 / 3})
        return "The shares of all words after `the` sum to 1."

Where the answer is a number, a text, a list or a tensor, the check reads `student.value`, and the
right value is not told. A page imports the lesson, and each answer's cell ends with its check:

    from course_lm.exercises import lesson_01 as check
    from course_lm.exercises.checking import progress

    def bigram_probability(counts, previous, word):
        ...

    check.bigram_probability(bigram_probability)

and `progress(check)` shows the table of the page.
"""

import contextlib
import dis
import inspect
import io
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType

from course_lm.exercises.protect import Student
from course_lm.exercises.sentences import NotAttempted, Problem, box, describe, marked, show

PRINTED = 2_000  # characters that a student's code may print during one check
_ONE_AT_A_TIME = threading.RLock()  # a check replaces sys.stdout while it runs


class _Bounded(io.TextIOBase):
    """Passes on the first `PRINTED` characters."""

    def __init__(self, stream):
        self._stream, self._room = stream, PRINTED

    def write(self, text):
        if self._room > 0:
            self._stream.write(text[: self._room])
            if len(text) > self._room:
                self._stream.write("\n(the rest of what your code prints is left out)\n")
        self._room -= len(text)
        return len(text)

    def flush(self):
        self._stream.flush()


# How `module.name(...)` is called and where jumps end depends on what else a file imports.
_SKIPPED = {"PUSH_NULL", "EXTENDED_ARG"}
_JUMPS = {*dis.hasjrel, *dis.hasjabs}


def _steps(code: CodeType) -> list[tuple[str, object]]:
    """What the code does, in whatever file and with whatever docstring."""
    steps = []
    for step in dis.get_instructions(code):
        inner = isinstance(step.argval, CodeType)
        about = _steps(step.argval) if inner else step.opcode in _JUMPS or repr(step.argval)
        if step.opname not in _SKIPPED:
            steps.append((step.opname.replace("LOAD_METHOD", "LOAD_ATTR"), about))
    return steps


@dataclass(eq=False)
class Exercise:
    """One exercise of a page and what has become of it; call it with the student's answer.

    `passed` is the last verdict, and a stub changes nothing. `attempts` counts every answer but
    one that passes again.
    """

    number: str
    title: str
    minutes: int
    hints: tuple[str, ...]
    check: Callable[[Student], str]
    limit: float  # seconds for each call of the student's function
    planted: Callable | None  # the function to mend, as the page shows it
    attempts: int = 0
    passed: bool = False

    def __call__(self, answer: object = ...) -> None:
        """Check `answer` and show the verdict; whatever the answer does, this does not raise."""
        with _ONE_AT_A_TIME:
            verdict, lines, colour = self._judge(answer)
        title = f"Exercise {self.number} ({self.minutes} min), {self.title}: {verdict}."
        show("\n".join([title, *lines]), box(title, lines, colour))

    def _judge(self, answer: object) -> tuple[str, list[str], str]:
        student = Student(answer, self.limit)
        try:
            if self._is_planted(answer):
                raise NotAttempted
            with contextlib.redirect_stdout(_Bounded(sys.stdout)):
                notice = self.check(student)
        except NotAttempted:
            return "not attempted yet", [self.task], "--jp-border-color1"
        except Problem as problem:
            self._count(passed=False)
            said = f"Your answer: {problem}"
            if student.call:
                said = f"`{student.call}`: {problem.revealed}"
            return f"not yet (attempt {self.attempts})", [said, *self._hint()], "--jp-warn-color1"
        except Exception as error:
            said = "The check itself failed, which is no fault of yours: "
            return "not checked", [said + describe(error, self.check)], "--jp-error-color1"
        self._count(passed=True)
        return "passed", [notice] if notice else [], "--jp-success-color1"

    def _is_planted(self, answer: object) -> bool:
        if self.planted is None or not isinstance(answer, FunctionType):
            return False
        return _steps(answer.__code__) == _steps(self.planted.__code__)

    def _count(self, passed: bool) -> None:
        self.attempts += not (passed and self.passed)
        self.passed = passed

    def _hint(self) -> list[str]:
        if not self.hints:
            return []
        place = min(self.attempts, len(self.hints))
        return [f"Hint {place} of {len(self.hints)}: {self.hints[place - 1]}"]

    @property
    def task(self) -> str:
        """What to do: the docstring of the check."""
        return inspect.getdoc(self.check) or "Replace the `...` by your answer and run the cell."

    @property
    def state(self) -> str:
        """passed, attempted or not yet."""
        return "passed" if self.passed else "attempted" if self.attempts else "not yet"


def exercise(
    number: str,
    title: str,
    *,
    minutes: int,
    hints: Sequence[str] = (),
    limit: float = 5.0,
    planted: Callable | None = None,
) -> Callable[[Callable[[Student], str]], Exercise]:
    """Make a check (see the top of this module) the exercise of a page.

    `planted` is the function with a bug that the page gives; its code is no attempt.
    """
    return lambda check: Exercise(number, title, minutes, tuple(hints), check, limit, planted)


def progress(lesson: ModuleType) -> None:
    """Show the lesson's exercises: passed, attempted or not yet, and the attempts."""
    found = [item for item in vars(lesson).values() if isinstance(item, Exercise)]
    rows = [(item.number, item.title, item.state, str(item.attempts)) for item in found]
    head = ("exercise", "title", "state", "attempts")
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    total = f"{sum(item.passed for item in found)} of {len(found)} passed."
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    left = 'style="text-align: left"'
    body = "".join(
        "<tr>" + "".join(f"<td {left}>{marked(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    top = "".join(f'<th scope="col" {left}>{cell}</th>' for cell in head)
    table = f"<table><caption>{total}</caption><tr>{top}</tr>{body}</table>"
    show("\n".join([*lines, total]), {"text/html": table})
