import sys
import types

import pytest

from course_lm.exercises.quiz import Question, quiz, widget

QUESTION = Question(
    "What does `softmax` return?",
    (
        ("Logits.", "Logits go in."),
        ("Probabilities < 1.", "They sum to 1, as <b>."),
        ("Ids.", "No."),
    ),
    correct=1,
)
TWIN = "What does `softmax` return?\na) Logits.\nb) Probabilities < 1.\nc) Ids."


def test_without_a_notebook_the_question_is_printed_without_its_answer(capsys):
    quiz(QUESTION)
    assert capsys.readouterr().out == TWIN + "\n"


@pytest.mark.parametrize(
    ("letter", "said"),
    [("a", "a) Not this one. Logits go in."), ("b", "b) Right. They sum to 1, as <b>.")],
)
def test_every_option_has_a_verdict_in_words_and_a_reason(letter, said, capsys):
    quiz(QUESTION, letter)
    assert capsys.readouterr().out == said + "\n"


@pytest.mark.parametrize("letter", ["d", "", 1, "ab"])
def test_an_unknown_letter_gets_a_sentence(letter, capsys):
    quiz(QUESTION, letter)
    assert "quiz: expected one of a, b, c, got" in capsys.readouterr().out


def test_choosing_an_option_shows_its_reason_escaped():
    title, choice, reason = widget(QUESTION).children
    assert title.value == "What does <code>softmax</code> return?"
    assert (choice.value, reason.value) == (None, "")
    choice.value = 0
    assert "Not this one." in reason.value
    choice.value = 1
    assert "Right." in reason.value
    assert "&lt;b&gt;" in reason.value
    assert 'role="status"' in reason.value
    choice.value = None
    assert reason.value == ""


def test_the_plain_twin_in_a_notebook_is_the_question(monkeypatch):
    shown = []
    display = types.SimpleNamespace(display=lambda page, raw: shown.append(page))
    shell = types.SimpleNamespace(kernel=1)
    fake = types.SimpleNamespace(get_ipython=lambda: shell, display=display)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    quiz(QUESTION)
    assert shown[0]["text/plain"] == TWIN
    assert "application/vnd.jupyter.widget-view+json" in shown[0]


@pytest.mark.parametrize(("options", "correct"), [(QUESTION.options, 3), (QUESTION.options[:1], 0)])
def test_a_question_without_a_right_option_is_refused(options, correct):
    with pytest.raises(ValueError, match="expected two options or more"):
        Question("?", options, correct)
