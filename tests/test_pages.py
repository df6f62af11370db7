"""The refresh command: one normal form, a clean kernel, and no half-written page."""

import json
from pathlib import Path

import committed
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from course_lm.classroom import pages

PAGES = pages.find([])


def text_of(*cells, **metadata):
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def page_at(folder, *sources):
    path = folder / "01_page.ipynb"
    path.write_text(text_of(*map(new_code_cell, sources)), "utf-8")
    return path


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_committed_page_is_in_the_normal_form(path):
    assert pages.normalise(committed.text(path)) == committed.text(path)


def test_the_normal_form_of_the_normal_form_is_itself():
    once = pages.normalise(text_of(new_markdown_cell("# Why?\n\nWell."), new_code_cell("f( 1 )")))
    assert pages.normalise(once) == once
    assert once.endswith("}\n")
    assert not once.endswith("}\n\n")


def test_code_is_laid_out_and_what_changes_from_machine_to_machine_goes():
    cell = new_code_cell("x=1", metadata={"execution": {"busy": "now"}, "tags": ["a"]})
    normal = json.loads(pages.normalise(text_of(cell, widgets={"state": 1}, language_info={})))
    assert normal["metadata"] == pages.PAGE_METADATA
    assert normal["cells"][0]["metadata"] == {"tags": ["a"]}
    assert normal["cells"][0]["source"] == ["x = 1"]


def test_a_widget_without_its_state_is_dropped_and_the_text_beside_it_kept():
    widget = new_output("display_data", {pages.WIDGET_VIEW: {}, "text/plain": "VBox()"})
    words = new_output("stream", name="stdout", text="a word\n")
    normal = json.loads(pages.normalise(text_of(new_code_cell("", outputs=[widget, words]))))
    assert [output["output_type"] for output in normal["cells"][0]["outputs"]] == ["stream"]


def test_of_a_live_drawing_only_its_text_is_kept():
    data = {"text/html": "<div><svg><text>4.88</text></svg></div>", "text/plain": "loss 4.88"}
    drawing = new_output("display_data", data)
    normal = json.loads(pages.normalise(text_of(new_code_cell("", outputs=[drawing]))))
    assert normal["cells"][0]["outputs"][0]["data"] == {"text/plain": ["loss 4.88"]}


def test_a_widget_that_brings_a_text_leaves_it_on_the_page():
    quiz = new_output("display_data", {pages.WIDGET_VIEW: {}, "text/plain": "Which one?\na) this"})
    normal = json.loads(pages.normalise(text_of(new_code_cell("", outputs=[quiz]))))
    (output,) = normal["cells"][0]["outputs"]
    assert "".join(output["data"].pop("text/plain")) == "Which one?\na) this"
    assert output["data"] == {}


def test_of_a_traceback_only_its_sentence_stays():
    error = new_output("error", ename="ValueError", evalue="no", traceback=["File /there/a.py"])
    normal = json.loads(pages.normalise(text_of(new_code_cell("f()", outputs=[error]))))
    assert normal["cells"][0]["outputs"][0]["traceback"] == ["ValueError: no"]


def test_valid_ids_stay_and_missing_or_repeated_ones_are_numbered():
    cells = [new_code_cell(str(n), id=name) for n, name in enumerate(["a", "a", "cell-001", "b"])]
    del cells[3]["id"]
    normal = json.loads(pages.normalise(text_of(*cells)))
    assert [cell["id"] for cell in normal["cells"]] == ["a", "cell-002", "cell-001", "cell-003"]


def test_code_that_is_not_python_is_one_sentence():
    with pytest.raises(pages.PageError, match=r"^code: expected Python .*; correct it$"):
        pages.normalise(text_of(new_code_cell("def f(:")))


def with_cells(*cells, **keys):
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5} | keys)


@pytest.mark.parametrize(
    "text",
    [
        "not JSON",
        "1",
        '{"a": 1}',
        '{"worksheets": [], "metadata": {}, "nbformat": 3, "nbformat_minor": 0}',
        with_cells(nbformat=3),
        with_cells(1),
        with_cells({"cell_type": "odd", "metadata": {}, "source": ""}),
        with_cells({"cell_type": "code", "metadata": {}, "source": ""}),
        with_cells({"cell_type": "markdown", "id": "no id", "metadata": {}, "source": ""}),
    ],
)
def test_a_file_that_is_not_a_notebook_is_one_sentence(text):
    with pytest.raises(pages.PageError, match=r"^page: expected a notebook .* JupyterLab$"):
        pages.normalise(text)


def test_a_refreshed_page_holds_counts_and_outputs_and_nothing_else_in_its_folder(tmp_path, capsys):
    path = page_at(tmp_path, "seen = 1", "seen+1")
    assert pages.main(["01"], tmp_path) == 0
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert [cell["execution_count"] for cell in cells] == [1, 2]
    assert cells[1]["outputs"][0]["data"]["text/plain"] == ["2"]
    assert pages.check(path) == "normal"
    assert list(tmp_path.iterdir()) == [path]
    assert capsys.readouterr().out.startswith("01_page ")


def test_a_cell_that_raises_is_named_by_its_number_and_the_file_stays(tmp_path, capsys):
    path = page_at(tmp_path, "1", "raise ValueError('no such word')")
    before = path.read_bytes()
    assert pages.main([], tmp_path) == 1
    assert "cell 2 failed: ValueError no such word" in capsys.readouterr().out
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_cell_that_takes_too_long_is_named_by_its_number(tmp_path):
    text = text_of(new_code_cell("while True:\n    pass"))
    with pytest.raises(pages.PageError, match="expected") as caught:
        pages.execute(text, tmp_path, timeout=1)
    assert str(caught.value) == "cell 1: expected an end within 1 s, got none; make it shorter"


def test_an_interrupted_write_leaves_the_old_page(tmp_path, monkeypatch):
    path = page_at(tmp_path, "1")
    before = path.read_bytes()

    def fail(*names):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        pages.write(path, "new")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_checking_runs_nothing_and_fails_for_a_page_in_another_form(tmp_path, capsys):
    path = page_at(tmp_path, "raise SystemExit")
    before = path.read_bytes()
    assert pages.main(["--check"], tmp_path) == 1
    assert "expected the normal form" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_a_name_that_no_page_begins_with_is_one_sentence(tmp_path):
    page_at(tmp_path, "1")
    with pytest.raises(pages.PageError, match="expected the beginning of 01_page, got '07'"):
        pages.find(["07"], tmp_path)


def test_pages_come_in_lesson_order(tmp_path):
    for name in ("02_b", "00_c", "01_a"):
        (tmp_path / f"{name}.ipynb").touch()
    assert [path.stem for path in pages.find(["02", "00"], tmp_path)] == ["00_c", "02_b"]


def test_the_pages_are_those_of_this_repository():
    assert Path(__file__).parents[1] / "notebooks" == pages.NOTEBOOKS
