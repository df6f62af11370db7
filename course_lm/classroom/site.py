"""The pages as a site to read: static HTML with search, built offline from the stored outputs.

``uv run --extra lecturer python -m course_lm.classroom.site`` writes the folder ``site``,
``... site --to FOLDER`` another one. Nothing runs: the site shows what the pages hold. It opens
as files and from any web server, asks no network for anything, and draws formulas with the copy of
MathJax that lies in it. Of a widget it shows the static twin.
"""

import argparse
import ast
import re
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from html import escape
from importlib import util
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
THEME = Path(__file__).with_name("site_theme")
PROJECT = "How language models learn"
STILL = "<p class='still'>This is a widget: it moves in Jupyter.</p>"
NEEDED = ("sphinx", "myst_nb", "jupyter_server_mathjax")
MARK = ".buildinfo"  # stands in every site that Sphinx has built
ROW = re.compile(  # of the table of README: question, page, modules, to teach, to study, to look at
    r"^\| (?P<question>[^|]+) \| \[\w+\]\(notebooks/(?P<page>\w+)\.ipynb\) \|[^|]*\|[^|]*"
    r"\| (?P<minutes>[^|]+) \| (?P<look>[^|]+) \|$",
    re.MULTILINE,
)
# Of MathJax 2.7: what a formula needs, without its translations and its speech rules.
MATHJAX = ("MathJax.js", "LICENSE", "config/TeX*", "extensions/[!a]*", "fonts", "jax/*/[HTm]*")
MATHJAX_CONFIG = {
    "messageStyle": "none",
    "showMathMenu": False,  # its menu makes each formula a stop of the Tab key
    "tex2jax": {
        "inlineMath": [["\\(", "\\)"]],
        "ignoreClass": "mathjax_ignore",
        "processClass": "math",
    },
    "HTML-CSS": {
        "availableFonts": [],
        "webFont": "STIX-Web",
        "imageFont": None,
        "scale": 92,
        # its empty font, which it would ask of the address about:blank
        "styles": {"@font-face": {"font-family": "MathJax_Blank", "src": "local('-')"}},
    },
}


class SiteError(RuntimeError):
    """A site that cannot be built; the folder is as it was."""


def build(to: Path, notebooks: Path = ROOT / "notebooks", readme: Path = ROOT / "README.md") -> int:
    """Write the site of the pages in ``notebooks`` into the folder ``to``; return their number.

    A warning of the build is an error. A site that stands there already is replaced when the new
    one is complete; a folder that holds anything else is left alone. Raises SiteError.
    """
    if to.exists() and not (to / MARK).exists() and (not to.is_dir() or any(to.iterdir())):
        raise SiteError(
            f"site: expected a new folder or an earlier site, got {to}; name another with --to"
        )
    pages = sorted(notebooks.glob("*.ipynb"))
    if not pages:
        raise SiteError(f"site: expected pages in {notebooks.name}/, got none; name their folder")
    missing = [name for name in NEEDED if util.find_spec(name) is None]
    if missing:
        raise SiteError(
            f"site: expected the extra `lecturer`, got no {', '.join(missing)}; run it with "
            "`uv run --extra lecturer`"
        )
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".site-", dir=to.parent) as place:
        source, made = Path(place, "source"), Path(place, "made")
        source.mkdir()
        titles = {}
        for page in pages:
            titles[page.stem], text = prepare(page.read_text("utf-8"))
            (source / page.name).write_text(text, "utf-8")
        (source / "index.md").write_text(front(readme.read_text("utf-8"), titles), "utf-8")
        _sphinx(source, made)
        copy_mathjax(made / "_static" / "mathjax")
        if to.exists():
            to.rename(Path(place, "old"))
        made.rename(to)
    return len(pages)


def prepare(text: str) -> tuple[str, str]:
    """A page's title, and its text with every picture as HTML that has its alternative text.

    Sphinx takes the size from an output's metadata and leaves the alternative text there. Where a
    widget stood, a line says so.
    """
    page = nbformat.reads(text, as_version=4)
    for cell in page.cells:
        if cell.cell_type == "code" and _was_a_widget(cell):
            cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": STILL})]
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data = {"text/html": _picture(output)}
    title = page.cells[0].source.partition("\n")[0].removeprefix("# ")
    return title, nbformat.writes(page)


def _was_a_widget(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell that ends with a value shows none: no widget is stored in a page."""
    if cell.outputs or "nbval-ignore-output" not in cell.metadata.get("tags", []):
        return False
    return isinstance(ast.parse(cell.source).body[-1], ast.Expr)


def _picture(output: nbformat.NotebookNode) -> str:
    meta = output.metadata.get("image/png", {})
    size = "".join(f" {name}='{int(meta[name])}'" for name in ("width", "height") if name in meta)
    image = b64encode(b64decode(output.data["image/png"])).decode()
    alt = escape(meta.get("alt", ""))
    return f"<img alt='{alt}'{size} src='data:image/png;base64,{image}'>"


def front(readme: str, titles: dict[str, str]) -> str:
    """The front page: the README's first sentences, and a row for each page that its table has."""
    _, first, *_ = readme.split("\n\n")
    rows = {found["page"]: found for found in ROW.finditer(readme)}
    table = [
        f"| {page[:2]} | [{found['question']}]({page}.ipynb) | {found['minutes']} "
        f"| {found['look']} |"
        for page, found in ((page, rows[page]) for page in titles if page in rows)
    ]
    contents = [f"{page[:2]} {title} <{page}>" for page, title in titles.items()]
    head = ["| | question | minutes to study + to run | what to look at |", "|---|---|---|---|"]
    toctree = ["```{toctree}", ":hidden:", "", *contents, "```", ""]
    return "\n\n".join([f"# {PROJECT}", first, "\n".join(head + table), "\n".join(toctree)])


def _sphinx(source: Path, made: Path) -> None:
    settings = {
        "project": PROJECT,
        "html_title": PROJECT,
        "extensions": ["myst_nb", "sphinx.ext.mathjax"],
        "nb_execution_mode": "off",
        "myst_enable_extensions": ["dollarmath"],
        "myst_update_mathjax": False,
        "mathjax_path": "mathjax/MathJax.js?config=TeX-AMS-MML_HTMLorMML-full",
        "mathjax2_config": MATHJAX_CONFIG,
        "html_theme": THEME.name,
        "html_theme_path": [str(THEME.parent)],
        "html_copy_source": False,
        "html_use_index": False,
    }
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    (source / "conf.py").write_text("\n".join(lines), "utf-8")
    kept = str(source.with_name("doctrees"))
    command = [sys.executable, *"-m sphinx --fail-on-warning --quiet --no-color -d".split(), kept]
    done = subprocess.run([*command, source, made], capture_output=True, encoding="utf-8")
    if done.returncode:
        got = " ".join(done.stderr.replace(f"{source}/", "").split())
        raise SiteError(f"site: expected a build without warnings, got {got}; correct it")


def copy_mathjax(to: Path) -> None:
    """Put what formulas need of the installed MathJax into a folder."""
    static = Path(util.find_spec("jupyter_server_mathjax").origin).with_name("static")
    copy_files(static, MATHJAX, to)


def copy_files(source: Path, patterns: Sequence[str], to: Path) -> None:
    """Copy the files and folders of `source` that have these patterns, over what is there."""
    for path in (path for pattern in patterns for path in source.glob(pattern)):
        copy = to / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, copy, dirs_exist_ok=True)
        else:
            shutil.copy(path, copy)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the site and say where it lies; the exit status is 1 when it could not be built."""
    parser = argparse.ArgumentParser(prog="site", description="Build the pages as a static site.")
    parser.add_argument("--to", type=Path, default=Path("site"), metavar="FOLDER")
    to = parser.parse_args(arguments).to
    began = time.perf_counter()
    try:
        count = build(to)
    except (SiteError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{count} pages in {time.perf_counter() - began:.1f} s: open {to / 'index.html'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
