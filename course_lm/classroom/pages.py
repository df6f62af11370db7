"""The one refresh command: run the pages from a clean kernel and write them in one normal form.

``uv run python -m course_lm.classroom.pages`` refreshes every page, ``... pages 01`` those whose
name begins with 01, ``... pages --rehearse 01`` runs them too, changes no page and keeps their
training runs for the stage (`stored`), and ``... pages --check`` runs nothing and names the
pages that are not in the normal form: nbformat 4.5, cell ids kept or numbered, no widget state, no
drawing that needs a live page, no timings, no version of Python, of a traceback its last line, code
laid out by ruff.
"""

import argparse
import itertools
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError

from .stored import KEEP, MODE

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
CELL_METADATA = ("jupyter", "slideshow", "tags")
PAGE_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class PageError(RuntimeError):
    """A page that cannot be refreshed; its file is as it was."""


def find(names: Sequence[str], folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the pages whose names begin with one of ``names``, in order; all for no name."""
    pages = sorted(folder.glob("*.ipynb"))
    for name in names:
        if not any(page.name.startswith(name) for page in pages):
            known = ", ".join(page.stem for page in pages) or f"a page in {folder.name}/"
            raise PageError(f"page: expected the beginning of {known}, got {name!r}; correct it")
    return [page for page in pages if not names or page.name.startswith(tuple(names))]


def normalise(text: str) -> str:
    """Return a page's text in the normal form; a text in that form comes back unchanged."""
    page = _read(text)
    for cell in page.cells:
        cell.metadata = {key: cell.metadata[key] for key in CELL_METADATA if key in cell.metadata}
        if cell.metadata.get("slideshow", {}).get("slide_type") == "-":
            del cell.metadata["slideshow"]  # goes on with its slide: for jupyterlab-slideshow, too
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if not _dead(o)]
            for error in (o for o in cell.outputs if o.output_type == "error"):
                error.traceback = [f"{error.ename}: {error.evalue}"]  # without the paths above it
    return _lay_out(nbformat.writes(page) + "\n")


def _read(text: str) -> nbformat.NotebookNode:
    """The valid page that `text` holds, with an id for each cell; all else is a PageError."""
    try:
        page = nbformat.v4.reads_json(text)
        if page["nbformat"] != 4:
            raise ValueError(f"nbformat {page['nbformat']}")
        page.update(nbformat_minor=5, metadata=nbformat.from_dict(PAGE_METADATA))
        _number(page["cells"])
        nbformat.validate(page)
    except (AttributeError, LookupError, TypeError, ValueError, nbformat.ValidationError) as error:
        got = textwrap.shorten(f"{type(error).__name__}: {error}", 120)
        raise PageError(
            f"page: expected a notebook in nbformat 4, got {got}; save it again in JupyterLab"
        ) from error
    return page


def _dead(output: dict) -> bool:
    """Take the live view out of an output; whether only the name of a widget's class is left.

    JupyterLab takes drawings out of a page that it does not trust yet and leaves their letters, so
    only the text beside a drawing is kept.
    """
    if "<svg" in output.get("data", {}).get("text/html", "") and "text/plain" in output["data"]:
        del output["data"]["text/html"]
    live = output.get("data", {}).pop(WIDGET_VIEW, None)
    return live is not None and bool(re.match(r"\w+\(", output["data"].get("text/plain", "(")))


def _number(cells: list) -> None:
    """Give an id to each cell that has none, or one that is taken; the other ids stay."""
    kept, seen = {cell.get("id") for cell in cells}, set()
    fresh = (name for name in map("cell-{:03d}".format, itertools.count(1)) if name not in kept)
    for cell in cells:
        if cell.get("id", "") in seen | {""}:
            cell["id"] = next(fresh)
        seen.add(cell["id"])


def _lay_out(text: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "page.ipynb", "-"]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8")
    if done.returncode:
        got = " ".join(done.stderr.split())
        raise PageError(f"code: expected Python that ruff can lay out, got {got}; correct it")
    return done.stdout


def execute(
    text: str, folder: Path, timeout: float = 600, environment: Mapping[str, str] | None = None
) -> str:
    """Return the page with the outputs of a clean kernel that runs in ``folder``.

    environment: variables that the kernel sees besides those of this process.

    Raises PageError with the number of the cell that raised, died, or took over ``timeout``
    seconds. A cell tagged ``raises-exception`` may raise.
    """
    page = nbformat.reads(text, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(page, timeout=timeout, resources=resources, coalesce_streams=True)
    with client.setup_kernel(env=os.environ | {MODE: ""} | dict(environment or {})):
        for index, cell in enumerate(page.cells):
            try:
                client.execute_cell(cell, index)
            except CellTimeoutError as error:
                raise PageError(
                    f"cell {index + 1}: expected an end within {timeout:g} s, got none; "
                    "make it shorter"
                ) from error
            except Exception as error:
                what = " ".join(filter(None, (getattr(error, "ename", ""), _last_line(error))))
                raise PageError(f"cell {index + 1} failed: {what}") from error
    return nbformat.writes(page)


def _last_line(error: Exception) -> str:
    lines = str(getattr(error, "evalue", error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def write(path: Path, text: str) -> None:
    """Replace a file in one step: whatever happens, it holds the old text or the new one."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(text, "utf-8", newline="\n")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def refresh(path: Path) -> str:
    """Run one page from a clean kernel, write it in the normal form, and say how long it took."""
    start = time.perf_counter()
    text = execute(normalise(path.read_text("utf-8")), path.parent)
    write(path, normalise(text))
    return f"{time.perf_counter() - start:.1f} s"


def rehearse(path: Path) -> str:
    """Run one page from a clean kernel and keep its training runs; the page stays as it is."""
    start = time.perf_counter()
    execute(path.read_text("utf-8"), path.parent, environment={MODE: KEEP})
    return f"{time.perf_counter() - start:.1f} s, its training runs are kept"


def check(path: Path) -> str:
    """Compare the page on the disk with its normal form."""
    text = path.read_text("utf-8")
    if normalise(text) != text:
        raise PageError("page: expected the normal form, got another; refresh it")
    return "normal"


def main(arguments: Sequence[str] | None = None, folder: Path = NOTEBOOKS) -> int:
    """Refresh or check the named pages, a line each; the exit status is 1 when one failed."""
    parser = argparse.ArgumentParser(prog="pages", description="Refresh the pages of the course.")
    parser.add_argument("names", nargs="*", help="beginnings of page names; all pages if none")
    parser.add_argument("--check", action="store_true", help="run nothing, name the abnormal pages")
    parser.add_argument("--rehearse", action="store_true", help="keep the training runs, no more")
    options = parser.parse_args(arguments)
    try:
        pages = find(options.names, folder)
    except PageError as error:
        parser.error(str(error))
    work = check if options.check else rehearse if options.rehearse else refresh
    failed = 0
    for path in pages:
        print(f"{path.stem:<28} ", end="", flush=True)
        try:
            print(work(path), flush=True)
        except PageError as error:
            failed = 1
            print(f"FAILED  {error}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
