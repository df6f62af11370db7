"""What every exercise and question of every lesson keeps to, whatever it is answered with."""

import importlib
import pkgutil
from copy import copy

import numpy as np
import pytest
import torch

from course_lm import exercises
from course_lm.exercises.checking import Exercise
from course_lm.exercises.quiz import Question

ANSWERS = {
    "a tensor of two": torch.tensor([1.0, 2.0]),
    "a numpy array": np.array([[1.0, 2.0]]),
    "a list": [1, "two", None],
    "a dict of tensors": {("a",): {"b": torch.ones(2)}},
    "a text": "two",
    "nan": float("nan"),
    "an empty tensor": torch.empty(0),
}
NAMES = [m.name for m in pkgutil.iter_modules(exercises.__path__) if m.name.startswith("lesson_")]
LESSONS = [importlib.import_module(f"course_lm.exercises.{name}") for name in NAMES]
FOUND = [v for lesson in LESSONS for v in vars(lesson).values()]
EXERCISES = {found.number: found for found in FOUND if isinstance(found, Exercise)}
QUESTIONS = [found for found in FOUND if isinstance(found, Question)]


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("number", EXERCISES)
@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: lambda *args: x], ids=["value", "function"]
)
def test_an_answer_of_the_wrong_kind_gets_a_sentence(number, answer, wrap, capsys):
    exercise = copy(EXERCISES[number])
    exercise(wrap(answer))
    assert ": not yet (attempt 1)." in capsys.readouterr().out


def test_an_error_of_torch_is_no_missing_answer(capsys):
    exercise = copy(EXERCISES["2.3"])
    exercise(lambda logits, label: torch.tensor([1, 2]).softmax(-1))
    said = capsys.readouterr().out
    assert "not attempted" not in said
    assert "NotImplementedError" in said


@pytest.mark.parametrize("number", EXERCISES)
def test_an_exercise_has_three_hints_and_nothing_of_another_test(number):
    assert len(EXERCISES[number].hints) == 3
    assert (EXERCISES[number].attempts, EXERCISES[number].passed) == (0, False)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text[:20])
def test_every_option_of_a_question_has_its_own_reason(question):
    options, reasons = zip(*question.options, strict=True)
    assert len(set(options)) == len(set(reasons)) == len(options)
    assert all(reason.endswith(".") for reason in reasons)
