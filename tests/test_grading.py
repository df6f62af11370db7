"""A class is graded by the real nbgrader: every kind of submission gets the points it deserves."""

import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbgrader", reason="no nbgrader found; `uv run --extra lecturer` brings it")

from course_lm import exercises
from course_lm.classroom import grading
from course_lm.classroom.pages import find
from course_lm.classroom.survival import SAID
from course_lm.exercises.checking import Exercise
from course_lm.exercises.quiz import Question

LESSON = "lesson_02"
SETTINGS = {"Execute": {"timeout": 6}}  # our own, beside those of the command
RIGHT = {
    "ten_times_rarer": 'ten_times_rarer = "b"',
    "first_loss": 'first_loss = "b"',
    "by_hand": "answer = 2",
    "cross_entropy": """
def my_cross_entropy(logits, labels):
    flat = logits.flatten(0, -2), labels.flatten()
    return nn.functional.cross_entropy(*flat)
check.cross_entropy(my_cross_entropy)
""",
    "gradient": """
def gradient(logits, label):
    logits = torch.tensor(logits)  # torch warns: a copy
    return logits.softmax(-1) - torch.eye(len(logits))[label]
check.gradient(gradient)
""",
    "held_out_loss": """
def held_out_loss(loss, batches):
    counts = [int((labels != IGNORE).sum()) for _, labels in batches]
    return sum(n * float(loss(*batch)) for n, batch in zip(counts, batches)) / sum(counts)
check.held_out_loss(held_out_loss)
""",
    "hardest_word": """
words, after = lab.sample(60_000, torch.Generator().manual_seed(0)), {}
for word, chances in zip(words, list(lab.distributions(words))[1:]):
    after.setdefault(word, []).append(-sum(p * math.log(p) for p in chances.values()))
mean = {word: sum(some) / len(some) for word, some in after.items() if len(some) >= 100}
hardest_word = max(mean, key=mean.get)
""",
}
WRONG = {
    "ten_times_rarer": 'ten_times_rarer = "a"',
    "first_loss": "first_loss = 1",
    "by_hand": "answer = 6",
    "cross_entropy": "def my_cross_entropy(logits, labels): return logits.sum()",
    "gradient": "def gradient(logits, label): return logits",
    "held_out_loss": "def held_out_loss(loss, batches): return loss(*batches[0])",
    "hardest_word": 'hardest_word = "anna"',
}
CRASHING = RIGHT | {
    "by_hand": "raise SystemExit",
    "cross_entropy": "1 / 0",
    "held_out_loss": "def held_out_loss(loss, batches): __import__('os')._exit(1)",
}
ENDLESS = RIGHT | {
    "by_hand": "while True: pass",
    "gradient": """
import time
while True:
    try:
        time.sleep(0.1)
    except BaseException: pass  # whoever interrupts it
""",
}
CHEATING = RIGHT | {
    "first_loss": """
class Anything(str):
    def __eq__(self, other): return True
first_loss = Anything()
""",
    "by_hand": """
answer = 6
type(check.by_hand).__call__ = lambda self, answer: setattr(self, "passed", True)
check.by_hand(answer)
""",
    "cross_entropy": """
my_cross_entropy = 6
check.cross_entropy.check = lambda student: "passed"
""",
    "held_out_loss": """
from types import SimpleNamespace
held_out_loss = _check = check = SimpleNamespace(held_out_loss=SimpleNamespace(passed=True))
""",
    "hardest_word": """
from course_lm.exercises import lesson_02
lesson_02._entropies_after = lambda: {"anna": [1.0]}
hardest_word = "anna"
""",
}
POINTS = {"blank": 0, "cheating": 1, "crashing": 4, "endless": 5, "right": 7, "wrong": 0}


def nbgrader(folder, *words):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *words],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def grade_id(cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def submit(folder, student, answers, change=lambda page: None):
    page = nbformat.read(folder / "release" / LESSON / f"{LESSON}.ipynb", as_version=4)
    for cell in page.cells:
        cell.source = answers.get(grade_id(cell), cell.source)
    change(page)
    path = folder / "submitted" / student / LESSON / f"{LESSON}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(page, path)


def tamper(page):
    """Replace a test, raise its points, and throw another test away."""
    (test,) = [cell for cell in page.cells if grade_id(cell) == "cross_entropy_test"]
    test.source, test.metadata.nbgrader.points = "pass", 100
    page.cells = [cell for cell in page.cells if grade_id(cell) != "gradient_test"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    assert grading.main([str(folder)]) == 0
    (folder / "nbgrader_config.json").write_text(json.dumps(SETTINGS))
    path = folder / "source" / LESSON / f"{LESSON}.ipynb"
    page = nbformat.read(path, as_version=4)
    set_up = next(cell for cell in page.cells if grade_id(cell) == "set_up")
    lines = set_up.source.split("\n")
    set_up.source = "\n".join(line for line in lines if ".viewing" not in line)  # sooner ready
    nbformat.write(page, path)
    return folder


@pytest.fixture(scope="module")
def released(folder):
    code, said = nbgrader(folder, "generate_assignment", "*")
    assert code == 0, said
    return folder


@pytest.fixture(scope="module")
def graded(released):
    submit(released, "blank", {})
    submit(released, "cheating", CHEATING, tamper)
    submit(released, "crashing", CRASHING)
    submit(released, "endless", ENDLESS)
    submit(released, "right", RIGHT)
    submit(released, "wrong", WRONG)
    torn = released / "submitted" / "damaged" / LESSON / f"{LESSON}.ipynb"
    torn.parent.mkdir(parents=True)
    torn.write_text("{")
    code, said = nbgrader(released, "autograde", LESSON)
    assert code == 1, said
    assert f"error processing assignment '{LESSON}' for student 'damaged'" in said
    return released


@pytest.fixture(scope="module")
def feedback(graded):
    code, said = nbgrader(graded, "generate_feedback", LESSON)
    assert code == 0, said
    return {path.parts[-3]: path.read_text("utf-8") for path in graded.glob("feedback/*/*/*.html")}


def failed(folder, student):
    page = nbformat.read(folder / "autograded" / student / LESSON / f"{LESSON}.ipynb", 4)
    return {
        grade_id(cell).removesuffix("_test")
        for cell in page.cells
        if (grade_id(cell) or "").endswith("_test")
        and any(output.output_type == "error" for output in cell.outputs)
    }


def test_every_submission_gets_its_points_and_none_stops_the_others(feedback):
    scores = {name: re.search(r"Score: ([\d.]+) / 7.0", page)[1] for name, page in feedback.items()}
    assert {name: float(score) for name, score in scores.items()} == POINTS


def test_each_point_is_lost_where_the_answer_fails(graded):
    assert failed(graded, "right") == set()
    assert failed(graded, "crashing") == {"by_hand", "cross_entropy", "held_out_loss"}
    assert failed(graded, "endless") == {"by_hand", "gradient"}
    tried = {"first_loss", "by_hand", "cross_entropy", "held_out_loss", "hardest_word"}
    assert failed(graded, "cheating") == tried  # the test of the gradient is not there
    assert failed(graded, "blank") == failed(graded, "wrong") == RIGHT.keys()


def test_the_feedback_names_the_mistake(feedback):
    assert "That is the sum of the three" in feedback["wrong"]
    assert "not attempted yet" in feedback["blank"]
    assert SAID in feedback["endless"]
    assert SAID in feedback["crashing"]


def test_what_students_get_holds_the_stubs_of_the_pages_and_no_test(released):
    pages = {path.name[:2]: path.read_text("utf-8") for path in find([])}
    for path in released.glob("release/*/*.ipynb"):
        page = nbformat.read(path, as_version=4)
        nbformat.validate(page)
        assert "_check" not in path.read_text("utf-8")
        for cell in page.cells:
            kind = cell.metadata.get("nbgrader", {"solution": False, "locked": False})
            if kind["locked"] and kind["grade"]:
                assert cell.source == "# 1 point for the answer above; leave this cell as it is."
            if kind["solution"] and "quiz(" not in cell.source:
                assert json.dumps(cell.source.split("\n")[-1])[1:-1] in pages[path.name[7:9]]


def test_what_students_get_imports_no_answer(released):
    page = nbformat.read(released / "release/lesson_10/lesson_10.ipynb", as_version=4)
    (set_up,) = [cell.source for cell in page.cells if grade_id(cell) == "set_up"]
    assert "import labels" in set_up  # which a task names
    assert not re.search(r"\b(bradley_terry|ceiling|kappa)\b", set_up)


def test_every_exercise_and_quiz_is_worth_a_point_once(released):
    for module in pkgutil.iter_modules(exercises.__path__, "course_lm.exercises."):
        lesson = module.name.rpartition(".")[2]
        path = released / "release" / lesson / f"{lesson}.ipynb"
        if not path.exists():
            continue
        named = vars(importlib.import_module(module.name)).items()
        expected = [name for name, it in named if isinstance(it, Exercise | Question)]
        cells = nbformat.read(path, as_version=4).cells
        tests = [cell for cell in cells if cell.metadata.get("nbgrader", {}).get("grade")]
        assert sorted(map(grade_id, tests)) == sorted(f"{name}_test" for name in expected)
        assert {cell.metadata.nbgrader.points for cell in tests} == {1}


def test_run_again_the_command_changes_nothing_but_what_it_refreshes(tmp_path, capsys):
    own = tmp_path / "source" / "own.txt"
    own.parent.mkdir()
    own.write_text("mine")
    grading.write_course(tmp_path, {"source/a.ipynb": "old", "nbgrader_config.py": "c"})
    grading.write_course(tmp_path, {"source/a.ipynb": "new", "nbgrader_config.py": "c"})
    found = {path.name: path.read_text() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert found.pop(grading.MANIFEST)
    assert found == {"own.txt": "mine", "a.ipynb": "new", "nbgrader_config.py": "c"}


@pytest.mark.parametrize("manifest", [None, "{", "[]", "[1]", "null"])
def test_a_file_of_somebody_else_stays_and_nothing_is_written(tmp_path, manifest):
    if manifest:
        (tmp_path / grading.MANIFEST).write_text(manifest)
    (tmp_path / "nbgrader_config.py").write_text("mine")
    files = {"source/a.ipynb": "ours", "nbgrader_config.py": "ours"}
    with pytest.raises(grading.GradingError, match=r"^nbgrader_config.py: expected what this "):
        grading.write_course(tmp_path, files)
    assert not (tmp_path / "source").exists()
    assert (tmp_path / "nbgrader_config.py").read_text() == "mine"


def test_a_notebook_that_the_lecturer_has_changed_is_not_refreshed(tmp_path, capsys):
    grading.write_course(tmp_path, {"nbgrader_config.py": "ours"})
    (tmp_path / "nbgrader_config.py").write_text("ours, and a change")
    assert grading.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == (
        "nbgrader_config.py: expected what this command wrote before, got another file; move it "
        "away or give another folder\n"
    )
    assert not (tmp_path / "source").exists()
