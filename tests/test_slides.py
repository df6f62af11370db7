"""The slides as files: what becomes of the notes, what leads outside, and what is left alone."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from html_tags import Tags

pytest.importorskip("sphinx_revealjs", reason="`uv run --extra lecturer` brings it")
pytest.importorskip("jupyter_server_mathjax", reason="`uv run --extra lecturer` brings it")

from course_lm.classroom import slides

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
SUMMARY = "<summary><i>For the lecturer, 6 minutes</i></summary>"
NOTES = f"<details>{SUMMARY}\n\nLet them guess.\n\n</details>"
LEADS = ("src", "srcset", "data", "poster", "action", "background")


def cell(text, slide_type, kind="markdown", **more):
    make = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
    return make(text, metadata={"slideshow": {"slide_type": slide_type}}, **more)


def page(*cells):
    return nbformat.writes(nbformat.v4.new_notebook(cells=list(cells)))


def types(path):
    cells = nbformat.read(path, as_version=4).cells
    return [(c.cell_type, c.metadata.get("slideshow", {}).get("slide_type", "-")) for c in cells]


def fetched(html):
    """The addresses that a browser follows by itself when it opens the file."""
    for tag, attrs in Tags(html).tags:
        yield from (attrs[name] for name in LEADS if name in attrs)
        if tag == "link":
            yield attrs["href"]
    yield from re.findall(r"""(?:@import|url\(|\bfrom|\bimport\()\s*["']?(\w+:[^"')\s]+)""", html)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The slides of the course, made by the command that the README names."""
    to = tmp_path_factory.mktemp("slides") / "made"
    command = [sys.executable, "-m", "course_lm.classroom.slides", "--to", str(to)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{len(PAGES)} pages in ")
    return to


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_nothing_that_a_browser_fetches_lies_outside_the_folder(made, path):
    for address in fetched((made / f"{path.stem}.html").read_text("utf-8")):
        if not address.startswith("data:"):
            assert ":" not in address
            assert (made / address.partition("?")[0]).is_file()


def test_the_styles_fetch_nothing_from_outside_the_folder(made):
    for style in (made / "assets").rglob("*.css"):
        if "mathjax" not in style.parts:
            found = re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')]+)", style.read_text("utf-8"))
            assert not [a for a in found if re.match(r"(\w+:)?//", a)], style.name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_each_section_of_a_page_is_a_slide_and_no_note_is_lost(made, path):
    html = (made / f"{path.stem}.html").read_text("utf-8")
    kinds = [kind for _, kind in types(path)]
    sections = [attrs for tag, attrs in Tags(html).tags if tag == "section"]
    assert len(sections) == 2 * kinds.count("slide") + kinds.count("subslide")
    assert html.count('<aside class="notes">') == kinds.count("notes")
    spoken = sum(int(n) for n in re.findall(r"For the lecturer, (\d+) minutes?", html))
    assert sum(int(s.get("data-timing", 0)) for s in sections) == 2 * 60 * spoken


def test_every_picture_keeps_its_alternative_text(made):
    for path in PAGES:
        tags = Tags((made / f"{path.stem}.html").read_text("utf-8")).tags
        assert all(attrs["alt"].strip() for tag, attrs in tags if tag == "img")


def test_the_notes_stand_unfolded_with_the_section_that_follows_them():
    text = page(
        cell("# What?", "slide"),
        cell(NOTES, "notes"),
        cell("## One", "slide"),
        cell("more", "-"),
        cell("## Two", "slide"),
    )
    html = slides.convert(text)
    first, one, two = html.split("data-timing=")[0], *html.split("<h2")[1:]
    assert "lecturer" not in first + two
    assert "<strong>For the lecturer, 6 minutes</strong>" in one
    assert "<p>Let them guess.</p>" in one
    assert html.count('data-timing="360"') == 2
    assert "<details>" not in html


def test_notes_without_their_minutes_are_refused():
    text = page(cell("# What?", "slide"), cell("Let them guess.", "notes"), cell("## One", "slide"))
    with pytest.raises(
        slides.SlidesError, match=r"^notes: expected folded ones .*'Let them guess.'"
    ):
        slides.convert(text)


def test_without_code_the_outputs_stay():
    output = nbformat.v4.new_output("stream", name="stdout", text="forty-two\n")
    text = page(cell("# What?", "slide"), cell("six * seven", "-", "code", outputs=[output]))
    with_code, without = slides.convert(text), slides.convert(text, code=False)
    assert "seven" in with_code
    assert "seven" not in without
    assert "forty-two" in with_code
    assert "forty-two" in without


def test_what_a_page_says_is_no_part_of_the_machinery():
    output = nbformat.v4.new_output("stream", name="stdout", text="<script>x</script>")
    text = page(
        cell("# </title><script>bad()</script>", "slide"),
        cell("1", "-", "code", outputs=[output]),
    )
    html = slides.convert(text)
    assert "<title>&lt;/title&gt;" in html
    assert "<script>x" not in html


def test_a_link_to_another_page_leads_to_its_slides():
    html = slides.convert(page(cell("# What?\n[next](02_cross_entropy.ipynb)", "slide")))
    hrefs = [attrs["href"] for tag, attrs in Tags(html).tags if tag == "a"]
    assert "02_cross_entropy.html" in hrefs


def test_a_second_run_replaces_the_slides_and_leaves_other_files(tmp_path):
    path = tmp_path / "01_first.ipynb"
    to = tmp_path / "made"
    for title in ("Before", "After"):
        path.write_text(page(cell(f"# {title}", "slide")))
        assert slides.build([path], to) == [to / "01_first.html"]
        (to / "mine.txt").write_text("mine")
    assert "After" in (to / "01_first.html").read_text()
    assert sorted(p.name for p in to.iterdir()) == ["01_first.html", "assets", "mine.txt"]


def test_a_page_that_cannot_be_made_leaves_the_folder_as_it_was(tmp_path):
    good, bad = tmp_path / "01_good.ipynb", tmp_path / "02_bad.ipynb"
    good.write_text(page(cell("# Good", "slide")))
    bad.write_text(page(cell("# Bad", "slide"), cell("no", "notes"), cell("## One", "slide")))
    with pytest.raises(slides.SlidesError):
        slides.build([good, bad], tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    assert slides.main(["77", "--to", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("page: expected the beginning of 00_start_here, ")
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_one_sentence_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(slides.util, "find_spec", lambda name: None)
    with pytest.raises(slides.SlidesError, match=r"^slides: expected the extra `lecturer`, got no"):
        slides.build(PAGES[:1], tmp_path)
