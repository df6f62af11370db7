"""My progress: what the checks have said, as the notebooks have stored it."""

import shutil
import socket

import nbformat
import pytest

from course_lm.classroom import progress
from course_lm.classroom.pages import NOTEBOOKS, execute
from course_lm.exercises import lesson_02, lesson_05

DEEP = "[" * 100_000


def notebook(folder, name, *outputs):
    cells = [nbformat.v4.new_code_cell("", outputs=[output]) for output in outputs]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / name)


def shown(text):
    return nbformat.v4.new_output("display_data", {"text/plain": text})


def printed(text):
    return nbformat.v4.new_output("stream", text=text)


def verdicts(folder, number):
    (found,) = [it for it in progress.table(folder).lessons if it.number == number]
    return {exercise.number: verdict for exercise, verdict in found.exercises}


def test_the_pages_of_the_course_have_nothing_solved_and_every_exercise():
    found = progress.table()
    assert verdicts(NOTEBOOKS, "02") == dict.fromkeys(
        ("2.1", "2.2", "2.3", "2.4", "2.5"), "not attempted yet"
    )
    assert [lesson.damage for lesson in found.lessons] == [()] * len(found.lessons)
    assert found.sentences()[0].startswith("0 of ")
    assert "; next: 1.1 Chain rule by hand (4 minutes)." in found.sentences()[0]


def test_the_table_says_what_the_checks_of_a_run_notebook_have_said(tmp_path):
    cells = [
        "from course_lm.exercises import lesson_02 as check",
        "check.by_hand(2)",
        "check.by_hand(...)",
        "check.gradient(lambda logits, label: logits)",
        "check.cross_entropy(...)",
        "print('Exercise 2.5 is hard, I have not passed.')",
    ]
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    text = execute(nbformat.writes(page), tmp_path)
    (tmp_path / "02_cross_entropy.ipynb").write_text(text)
    assert verdicts(tmp_path, "02") == {
        "2.1": "passed",
        "2.2": "not attempted yet",
        "2.3": "not yet",
        "2.4": "not attempted yet",
        "2.5": "not attempted yet",
    }


@pytest.mark.parametrize("title", ["Cross-entropy by hand", "a: b (c), d: passed"])
def test_of_several_copies_the_best_verdict_counts(tmp_path, title):
    for name, verdict in [
        ("02_cross_entropy.ipynb", "not yet (attempt 12)"),
        ("02_cross_entropy-Copy1.ipynb", "passed"),
        ("lesson_02.ipynb", "not attempted yet"),
    ]:
        notebook(tmp_path, name, shown(f"Exercise 2.1 (4 min), {title}: {verdict}.\nWell."))
    assert verdicts(tmp_path, "02")["2.1"] == "passed"


def test_a_printed_verdict_counts_as_a_displayed_one_does(tmp_path):
    notebook(tmp_path, "05_x.ipynb", printed("so\nExercise 5.1 (5 min), By hand: passed.\nthen\n"))
    assert verdicts(tmp_path, "05")["5.1"] == "passed"


def test_a_verdict_in_the_page_of_another_lesson_counts_for_its_own(tmp_path):
    notebook(tmp_path, "09_x.ipynb", shown("Exercise 5.1 (5 min), By hand: passed.\n"))
    assert verdicts(tmp_path, "05")["5.1"] == "passed"
    assert "passed" not in verdicts(tmp_path, "09").values()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"cells": 3}',
        '{"cells": [{"outputs": [{"text": 3}]}]}',
        "\udcff",
        DEEP,
    ],
)
def test_a_damaged_notebook_is_one_sentence_and_the_others_count(tmp_path, text):
    notebook(tmp_path, "05_x.ipynb", shown("Exercise 5.1 (5 min), By hand: passed.\n"))
    (tmp_path / "02_x.ipynb").write_bytes(text.encode("utf-8", "surrogateescape"))
    found = progress.table(tmp_path)
    assert found.sentences()[1:] == [
        "02_x.ipynb: expected a notebook, got a file that cannot be read as one; take it from "
        "the course again"
    ]
    assert repr(found).endswith(found.sentences()[1])
    assert verdicts(tmp_path, "05")["5.1"] == "passed"


def test_the_name_of_a_file_is_escaped(tmp_path):
    (tmp_path / "02_<img src=x onerror=alert(1)>.ipynb").write_text("{")
    html = progress.table(tmp_path)._repr_html_()
    assert "<img" not in html
    assert "02_&lt;img" in html


def test_the_rows_count_what_is_passed_and_name_the_rest():
    one, two, three = lesson_02.by_hand, lesson_02.cross_entropy, lesson_02.gradient
    other = lesson_05.by_hand
    found = progress.Progress(
        (
            progress.Lesson("02", ((one, "passed"), (two, "not yet"), (three, "passed"))),
            progress.Lesson("05", ((other, "not attempted yet"),)),
        )
    )
    assert repr(found).splitlines() == [
        "lesson  solved  passed    not yet  not attempted yet",
        "02      2 of 3  2.1, 2.3  2.2",
        "05      0 of 1                     5.1",
        "",
        "2 of 4 exercises passed; next: 2.2 Write the loss (12 minutes).",
    ]
    everything = progress.Progress((progress.Lesson("02", ((one, "passed"),)),))
    assert everything.sentences() == ["1 of 1 exercises passed."]


def test_the_terminal_shows_the_table_of_a_folder_and_sends_nothing(tmp_path, capsys, monkeypatch):
    shutil.copy(NOTEBOOKS / "02_cross_entropy.ipynb", tmp_path)
    before = (tmp_path / "02_cross_entropy.ipynb").read_bytes()
    monkeypatch.setattr(socket, "socket", None)
    progress.main([str(tmp_path)])
    assert capsys.readouterr().out.startswith("lesson  solved  passed  not yet")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_a_folder_that_is_not_there_is_named_in_a_sentence(tmp_path, capsys):
    said = "folder: expected one that holds your notebooks, got "
    with pytest.raises(NotADirectoryError, match=f"^{said}"):
        progress.table(tmp_path / "typo")
    with pytest.raises(SystemExit):
        progress.main([str(tmp_path / "typo")])
    assert f"progress: error: {said}" in capsys.readouterr().err


def test_a_folder_without_notebooks_has_nothing_solved(tmp_path):
    assert progress.table(tmp_path).sentences()[0].startswith("0 of ")
