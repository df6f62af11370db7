"""What a page gives to be answered is no attempt yet, an edit of it is: every lesson alike."""

import dataclasses
import importlib
import pkgutil
from functools import cache
from types import SimpleNamespace

import pytest
from verdicts import cell_of, code_of, said

from course_lm import exercises
from course_lm.exercises.checking import Exercise

LESSONS = [m.name for m in pkgutil.iter_modules(exercises.__path__) if m.name.startswith("lesson_")]
FOUND = [
    (lesson.removeprefix("lesson_"), name, found)
    for lesson in LESSONS
    for name, found in vars(importlib.import_module(f"course_lm.exercises.{lesson}")).items()
    if isinstance(found, Exercise)
]
PLANTED = [found for _, _, found in FOUND if found.planted]
NAMED_BY_WHAT_IT_DOES = ("6.4", "8.5")  # the others say: the same as the function on the page


@cache
def imported(lesson):
    space = {}
    exec(code_of(lesson)[0], space)
    return space


@pytest.mark.parametrize(("lesson", "name", "check"), FOUND, ids=[f.number for *_, f in FOUND])
def test_the_stub_of_the_page_is_not_attempted_yet_and_shows_the_task(lesson, name, check, capsys):
    fresh = dataclasses.replace(check, attempts=0, passed=False)
    exec(cell_of(lesson, name), imported(lesson) | {"check": SimpleNamespace(**{name: fresh})})
    assert capsys.readouterr().out.endswith(f"not attempted yet.\n{check.task}\n")


@pytest.mark.parametrize("check", PLANTED, ids=[found.number for found in PLANTED])
def test_an_edit_of_the_planted_function_is_an_attempt_that_does_not_pass(check, capsys):
    out = said(check, lambda *given: check.planted(*given), capsys)
    assert "not yet (attempt 1)" in out
    named = "the function on the page" in out
    assert named == (check.number not in NAMED_BY_WHAT_IT_DOES)
