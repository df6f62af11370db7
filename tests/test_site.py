"""The site as files: what Sphinx is given, what it makes, and when it refuses."""

import base64
import io
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from html_tags import Tags
from PIL import Image

pytest.importorskip("myst_nb", reason="no myst-nb found; `uv run --extra lecturer` brings it")
pytest.importorskip("jupyter_server_mathjax", reason="`uv run --extra lecturer` brings it")

from course_lm.classroom import site

ROOT = Path(__file__).parents[1]
PAGES = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
HOSTILE = "<script>alert(1)</script> \"'& $x$"
README = """# a course

What it is.

| question | notebook | modules | minutes | what to look at |
|---|---|---|---|---|
| What comes? | [01_first](notebooks/01_first.ipynb) | `a`, `b` | 59 | 70 + 1 | the bars |
"""


def figure(alt):
    picture = io.BytesIO()
    Image.new("RGB", (4, 2)).save(picture, "PNG")
    data = {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": "no"}
    meta = {"image/png": {"alt": alt, "width": 2, "height": 1}}
    return nbformat.v4.new_output("display_data", data, metadata=meta)


def write_page(folder, name, *cells):
    page = nbformat.v4.new_notebook(cells=list(cells))
    page.metadata = {"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}}
    (folder / f"{name}.ipynb").write_text(nbformat.writes(page))


def markdown(text):
    return nbformat.v4.new_markdown_cell(text)


@pytest.fixture
def course(tmp_path):
    """(where the pages stand, the README, where the site goes)"""
    folder, readme = tmp_path / "notebooks", tmp_path / "README.md"
    folder.mkdir()
    readme.write_text(README)
    return folder, readme, tmp_path / "site"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The site of the course, made by the command that the README names."""
    to = tmp_path_factory.mktemp("site") / "made"
    command = [sys.executable, "-m", "course_lm.classroom.site", "--to", str(to)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{len(PAGES)} pages in ")
    return {path.name: Tags(path.read_text("utf-8")) for path in to.glob("*.html")}, to


def test_a_picture_keeps_its_alternative_text_and_its_size_whatever_the_text_holds():
    page = nbformat.v4.new_notebook(
        cells=[
            markdown("# What?\nmore"),
            nbformat.v4.new_code_cell("f()", outputs=[figure(HOSTILE)]),
        ]
    )
    title, text = site.prepare(nbformat.writes(page))
    (data,) = (output.data for output in nbformat.reads(text, 4).cells[1].outputs)
    assert title == "What?"
    assert list(data) == ["text/html"]
    ((tag, attrs),) = Tags(data["text/html"]).tags
    assert (tag, attrs["alt"], attrs["width"], attrs["height"]) == ("img", HOSTILE, "2", "1")


@pytest.mark.parametrize(
    ("code", "tags", "says"),
    [
        ("explorer()", ["nbval-ignore-output"], True),
        ("explorer()", [], False),
        ("x = 1", ["nbval-ignore-output"], False),
    ],
)
def test_only_a_cell_whose_value_is_not_stored_is_called_a_widget(code, tags, says):
    cell = nbformat.v4.new_code_cell(code, metadata={"tags": tags})
    page = nbformat.v4.new_notebook(cells=[markdown("# What?"), cell])
    _, text = site.prepare(nbformat.writes(page))
    assert ("This is a widget" in text) == says


def test_the_front_page_has_the_first_sentences_and_a_row_for_each_page_of_the_table():
    made = site.front(README, {"01_first": "What comes?", "02_own": "Mine?"})
    assert made.startswith("# How language models learn\n\nWhat it is.\n\n| | question")
    assert "| 01 | [What comes?](01_first.ipynb) | 70 + 1 | the bars |" in made
    assert "02 Mine? <02_own>" in made


def test_the_readme_gives_a_row_for_every_page():
    rows = {found["page"] for found in site.ROW.finditer((ROOT / "README.md").read_text("utf-8"))}
    assert rows == set(PAGES)


def test_a_warning_of_the_build_is_an_error_in_one_sentence_and_leaves_no_folder(course):
    folder, readme, to = course
    write_page(folder, "01_first", markdown("# What comes?\n\n```{nothing}\n```"))
    with pytest.raises(site.SiteError, match="expected a build without warnings, got") as caught:
        site.build(to, folder, readme)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in to.parent.iterdir()) == ["README.md", "notebooks"]


def test_a_site_is_replaced_and_any_other_folder_is_left_alone(course):
    folder, readme, to = course
    write_page(folder, "01_first", markdown("# What comes?"))
    assert site.build(to, folder, readme) == 1
    (to / "01_first.html").write_text("old")
    assert site.build(to, folder, readme) == 1
    assert "What comes?" in (to / "01_first.html").read_text("utf-8")
    with pytest.raises(site.SiteError, match="expected a new folder or an earlier site"):
        site.build(folder, folder, readme)
    assert [path.name for path in folder.iterdir()] == ["01_first.ipynb"]


def test_a_folder_without_pages_is_told(course, capsys):
    folder, readme, to = course
    with pytest.raises(site.SiteError, match="expected pages in notebooks/, got none"):
        site.build(to, folder, readme)
    assert site.main(["--to", str(folder.parent)]) == 1
    assert "name another with --to" in capsys.readouterr().err


def test_the_site_has_every_page_in_order(built):
    pages, _ = built
    lessons = [a["href"] for a in pages["index.html"].all("a") if "reference" in a.get("class", "")]
    assert {*pages} == {"index.html", "search.html", *(f"{name}.html" for name in PAGES)}
    order = list(dict.fromkeys(href for href in lessons if href.endswith(".html")))
    assert order == [f"{name}.html" for name in PAGES]


def test_no_link_of_the_site_is_broken(built):
    pages, to = built
    anchors = {
        name: {attrs["id"] for _, attrs in page.tags if "id" in attrs}
        for name, page in pages.items()
    }
    for name, page in pages.items():
        for address in (a["href"] for a in page.all("a") + page.all("link") if "href" in a):
            parts = urlsplit(address)
            if not parts.scheme:
                target = unquote(parts.path) or name
                assert (to / target).is_file(), (name, address)
                assert parts.fragment in {"", *anchors.get(target, ())}, (name, address)
                assert not target.endswith(".ipynb")


def test_nothing_that_a_page_shows_or_runs_comes_from_elsewhere(built):
    for page in built[0].values():
        shown = [attrs.get("src") for _, attrs in page.tags] + [a["href"] for a in page.all("link")]
        assert {urlsplit(address).scheme for address in shown if address} <= {"", "data"}


def test_every_figure_of_the_course_has_its_alternative_text(built):
    pages, _ = built
    for name in PAGES:
        stored = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
        outputs = [output for cell in stored.cells for output in cell.get("outputs", [])]
        said = [
            output.metadata["image/png"]["alt"]
            for output in outputs
            if "image/png" in output.get("data", {})
        ]
        assert [image["alt"] for image in pages[f"{name}.html"].all("img")] == said


def test_the_notes_for_the_lecturer_are_folded(built):
    for name in PAGES:
        assert len(built[0][f"{name}.html"].all("details")) >= 3
        assert not [d for d in built[0][f"{name}.html"].all("details") if "open" in d]


def test_the_copy_of_mathjax_has_its_licence_and_is_small(built):
    place = built[1] / "_static" / "mathjax"
    assert "Apache License" in (place / "LICENSE").read_text("utf-8")
    assert sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) < 5e6
