"""The pages as slides for a hall: reveal.js with speaker notes, offline, from the stored outputs.

``uv run --extra lecturer python -m course_lm.classroom.slides`` writes the folder ``slides``: an
HTML file a page, and one folder ``assets`` that they share. ``... slides 01`` takes the pages whose
name begins with 01, ``... --to FOLDER`` another folder, ``... --no-code`` leaves the code out and
adds ``_no_code`` to the names of the files.
Nothing runs: the slides show what the pages hold. They open as files and ask no network for
anything. Long sections are cut where the screen is full.
"""

import argparse
import re
import sys
import time
from collections.abc import Sequence
from importlib import util
from pathlib import Path

import nbformat

from .pages import NOTEBOOKS, PageError, find, write
from .site import MATHJAX_CONFIG, THEME, copy_files, copy_mathjax, prepare

TEMPLATE = Path(__file__).with_name("slides_template")
NEEDED = ("sphinx_revealjs", "jupyter_server_mathjax")
REVEAL = (
    "LICENSE",
    "dist/reveal.css",
    "dist/reveal.js",
    "dist/theme/white.css",
    "dist/theme/fonts/source-sans-pro/*.css",
    "dist/theme/fonts/source-sans-pro/*.woff",
    "dist/theme/fonts/source-sans-pro/LICENSE",
    "plugin/notes/notes.js",
)
MATH = {"inlineMath": [["$", "$"]], "displayMath": [["$$", "$$"]], "processEscapes": True}
NOTES = re.compile(
    r"<details><summary><i>(?P<head>.*?(?P<minutes>\d+) minutes?)</i></summary>\n"
    r"(?P<text>.*)\n</details>\s*",
    re.DOTALL,
)
LINK = re.compile(r"(<a href=[\"']?\w+)\.ipynb\b")


class SlidesError(RuntimeError):
    """Slides that cannot be made."""


def build(pages: Sequence[Path], to: Path, code: bool = True) -> list[Path]:
    """Write the slides of each page into the folder ``to``; return their paths.

    Other files in the folder stay. Raises SlidesError, and then ``to`` is as it was.
    """
    missing = [name for name in NEEDED if util.find_spec(name) is None]
    if missing:
        raise SlidesError(
            f"slides: expected the extra `lecturer`, got no {', '.join(missing)}; run it with "
            "`uv run --extra lecturer`"
        )
    end = ".html" if code else "_no_code.html"
    made = {to / f"{page.stem}{end}": convert(page.read_text("utf-8"), code) for page in pages}
    _copy_assets(to / "assets")
    for path, html in made.items():
        write(path, html)
    return list(made)


def convert(text: str, code: bool = True) -> str:
    """The slides of the page that ``text`` holds, as HTML beside the folder ``assets``."""
    from nbconvert import SlidesExporter

    title, text = prepare(text)
    page = nbformat.reads(text, as_version=4)
    page.metadata.title = title
    page.cells = speak(page.cells)
    for cell in page.cells:
        if not code and cell.source.startswith("show_source("):
            cell.outputs = []
    exporter = SlidesExporter(
        template_name=TEMPLATE.name,
        extra_template_basedirs=[str(TEMPLATE.parent)],
        exclude_input=not code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    mathjax = MATHJAX_CONFIG | {"skipStartupTypeset": True, "tex2jax": MATH}
    html, _ = exporter.from_notebook_node(page, {"mathjax": mathjax})
    return LINK.sub(r"\1.html" if code else r"\1_no_code.html", html)


def speak(cells: Sequence[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The cells with the notes for the lecturer unfolded, each after the cell that it stood before.

    That cell begins the section that the notes are for; it gets their minutes, in seconds, as the
    time that reveal.js counts down.
    """
    spoken, waiting = [], None
    for cell in cells:
        if cell.metadata.get("slideshow", {}).get("slide_type") == "notes":
            waiting = cell
            continue
        cell.source = cell.source.replace("\n\n\n", "\n\n")  # a slide has no room for two
        spoken.append(cell)
        if waiting:
            notes, waiting = waiting, None
            found = NOTES.fullmatch(notes.source)
            if not found:
                raise SlidesError(
                    "notes: expected folded ones with their minutes, got "
                    f"{notes.source[:60]!r}; write them as the other pages do"
                )
            cell.metadata.slideshow["data"] = {"timing": 60 * int(found["minutes"])}
            notes.source = f"**{found['head']}**\n\n{found['text'].strip()}"
            spoken.append(notes)
    return spoken


def _copy_assets(to: Path) -> None:
    reveal = Path(util.find_spec("sphinx_revealjs").origin).with_name("_static") / "revealjs"
    copy_files(reveal, REVEAL, to / "reveal")
    copy_mathjax(to / "mathjax")
    copy_files(TEMPLATE / "static", ("*",), to)
    copy_files(THEME / "static", ("tones.css",), to)


def main(arguments: Sequence[str] | None = None, folder: Path = NOTEBOOKS) -> int:
    """Make the slides and say where they lie; the exit status is 1 when they could not be made."""
    parser = argparse.ArgumentParser(prog="slides", description="Make slides of the pages.")
    parser.add_argument("names", nargs="*", help="beginnings of page names; all pages if none")
    parser.add_argument("--to", type=Path, default=Path("slides"), metavar="FOLDER")
    parser.add_argument("--no-code", action="store_true", help="show the outputs alone")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    try:
        made = build(find(options.names, folder), options.to, code=not options.no_code)
    except (PageError, SlidesError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(made)} pages in {time.perf_counter() - began:.1f} s: open {made[0]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
