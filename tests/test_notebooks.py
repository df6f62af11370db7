"""The anatomy of a page: one rule a test, every page under every rule."""

import ast
import re
import statistics
from functools import cache
from pathlib import Path

import committed
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
SLIDES = {"slide", "subslide", "fragment", "skip", "notes", None}  # None: goes on with its slide
REMOTE = re.compile(
    r"!\[[^\]]*\]\(\s*(?:https?:)?//"
    r"|<(?:img|script|iframe|link|video|audio|source)\b[^>]*\b(?:src|href)\s*=[\s\"']*(?:https?:)?//"
    r"|@import|url\([\s\"']*(?:https?:)?//",
    re.IGNORECASE,
)
ABSOLUTE = re.compile(
    r"(?<![\w.:/~<])/(?:home|root|tmp|Users|usr|opt|var|mnt|work)/|\b[A-Z]:\\\\?\w"
)
COLOUR = re.compile(r"\x1b\[[\d;]*m")

read = cache(lambda path: nbformat.v4.reads_json(committed.text(path)))


@pytest.fixture(params=PAGES, ids=lambda path: path.stem)
def page(request):
    return read(request.param)


def code(page):
    return [cell for cell in page.cells if cell.cell_type == "code"]


def prose(page):
    return "\n\n".join(cell.source for cell in page.cells if cell.cell_type == "markdown")


def outputs(page):
    return [output for cell in code(page) for output in cell.outputs]


def texts(page):
    """Everything that a reader reads: sources, and outputs other than pictures."""
    shown = [output.get("text", "") for output in outputs(page)]
    shown += ["\n".join(output.get("traceback", [])) for output in outputs(page)]
    bundles = [output.get("data", {}) for output in outputs(page)]
    shown += [text for data in bundles for kind, text in data.items() if kind.startswith("text/")]
    return [COLOUR.sub("", text) for text in [cell.source for cell in page.cells] + shown]


def tags(cell):
    return cell.metadata.get("tags", [])


def has_error(cell):
    return any(output.output_type == "error" for output in cell.outputs)


def lengths(page):
    return [len(cell.source.splitlines()) for cell in code(page)]


def tree(page):
    return ast.parse("\n".join(cell.source for cell in code(page)))


def test_there_are_pages():
    assert PAGES


def test_every_code_cell_was_run_once_and_in_order(page):
    assert [cell.execution_count for cell in code(page)] == list(range(1, len(code(page)) + 1))


def test_only_a_cell_that_is_meant_to_raise_raises_and_it_does(page):
    for cell in code(page):
        assert has_error(cell) == ("raises-exception" in tags(cell)), cell.source


def test_no_cell_is_left_out_of_the_checks(page):
    assert not [cell.source for cell in page.cells if "nbval-skip" in tags(cell)]


def test_no_widget_state_is_stored(page):
    assert "widgets" not in page.metadata
    assert not [kind for out in outputs(page) for kind in out.get("data", {}) if "widget" in kind]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_is_smaller_than_400_kilobytes(path):
    assert len(committed.text(path).encode()) < 400_000


def test_no_picture_and_no_script_comes_from_elsewhere(page):
    assert not [match.group() for text in texts(page) for match in REMOTE.finditer(text)]


def test_no_path_belongs_to_one_machine(page):
    assert not [match.group() for text in texts(page) for match in ABSOLUTE.finditer(text)]


def test_the_title_is_a_question(page):
    title = page.cells[0].source.splitlines()[0]
    assert title.startswith("# ")
    assert title.endswith("?")


def minutes(page, pattern):
    texts = "\n".join(cell.source for cell in page.cells if cell.cell_type == "markdown")
    return sum(int(found) for found in re.findall(pattern, texts, re.MULTILINE))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_opening_and_the_table_of_the_course_state_the_minutes(path):
    page, table = read(path), committed.text(ROOT / "README.md")
    (reading,) = re.findall(r"\*\*Time\*\* (\d+) minutes to read", page.cells[0].source)
    exercises = minutes(page, r"^### \d+\.\d+ .*\((\d+) minutes?\)")
    if exercises:
        assert f"to read, {exercises} for the exercises" in page.cells[0].source
    teach = minutes(page, r"For the lecturer, (\d+) minutes?")
    (row,) = [line for line in table.splitlines() if f"(notebooks/{path.name})" in line]
    assert f"| {teach} | {int(reading) + exercises} + " in row


def test_the_second_cell_only_imports(page):
    assert page.cells[1].cell_type == "code"
    statements = ast.parse(page.cells[1].source).body
    assert statements
    assert all(isinstance(statement, ast.Import | ast.ImportFrom) for statement in statements)


def test_every_cell_says_how_it_is_presented(page):
    for cell in page.cells:
        assert cell.metadata.get("slideshow", {}).get("slide_type") in SLIDES, cell.source


def test_every_section_begins_a_slide_and_has_notes_with_minutes(page):
    kinds = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in page.cells]
    assert kinds[0] == "slide"
    notes = [cell.source for cell, kind in zip(page.cells, kinds, strict=True) if kind == "notes"]
    assert len(notes) >= 3
    assert all(re.search(r"For the lecturer, \d+ minutes?", note) for note in notes)


def test_half_of_the_code_cells_have_at_most_eight_lines(page):
    assert statistics.median(lengths(page)) <= 8


def test_nine_in_ten_code_cells_are_shorter_than_fifteen_lines(page):
    assert sum(lines < 15 for lines in lengths(page)) >= 0.9 * len(lengths(page))


def test_a_page_has_between_900_and_4500_words(page):
    assert 900 <= len(prose(page).split()) <= 4500


@pytest.mark.parametrize("section", ["summary", "sources"])
def test_a_page_has_a_summary_and_its_sources(page, section):
    assert re.search(rf"^#+ .*\b{section}\b", prose(page), re.IGNORECASE | re.MULTILINE)


def test_every_figure_has_an_alternative_text(page):
    figures = [output for output in outputs(page) if "image/png" in output.get("data", {})]
    for figure in figures:
        assert figure.metadata.get("image/png", {}).get("alt", "").strip()


def test_every_name_that_a_page_imports_or_defines_is_used(page):
    nodes = list(ast.walk(tree(page)))
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {(a.asname or a.name).split(".")[0] for node in imports for a in node.names}
    methods = {f for n in nodes if isinstance(n, ast.ClassDef) for f in n.body}  # called by torch
    defined = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    names |= {n.name for n in defined if n not in methods}
    used = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    assert names - used == set()


def test_the_source_that_a_page_shows_is_the_source_of_today(page):
    for output in outputs(page):
        first, *code = output.get("data", {}).get("text/plain", "").splitlines() or [""]
        if re.fullmatch(r"# course_lm/[a-z_/]+\.py", first):
            lines = (PAGES[0].parents[1] / first[2:]).read_text("utf-8").splitlines()
            whole = "\n".join(line.strip() for line in lines)
            assert "\n".join(line.strip() for line in code) in whole, f"{first}: refresh the page"
