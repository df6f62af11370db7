"""Docstrings as pairs: a line that sums something up, and the paragraph that goes on about it.

    parts = docstrings.summaries()
    parts.train[0].body, parts.train[0].first_line

A docstring begins with one line that says what the thing is for (PEP 257), so source files hold
summaries that people wrote. Packages are read as text with `ast`; nothing is imported or
downloaded. Whole files are held out, and what is nearly a text of an earlier part is left out: a
function and its twin would be on both sides otherwise. The texts change with the versions; print
their sha256 with each result.
"""

import ast
import importlib.metadata
import importlib.util
import platform
import re
import sysconfig
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .cleaning import shingles
from .corpus import Corpus, part_of
from .tokens import split_words

LICENCES = {"python": "PSF-2.0", "numpy": "BSD-3-Clause", "torch": "BSD-3-Clause"}
NOT_READ = {"test", "tests", "testing", "idle_test", "site-packages", "dist-packages"}  # folders
FIRST_LINE, BODY = range(3, 17), range(8, 61)  # words and signs
NEAR = 0.5  # texts whose runs of three words have such a Jaccard similarity are copies
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
# A line with a full stop between quotes and a blank line: files without it are not parsed.
PROMISING = re.compile(rb"(\"\"\"|''')\\?\s*[^\n]+\.[ \t]*\r?\n[ \t]*\r?\n")
# Code, tables, lists, fields and headings.
NO_PROSE = re.compile(r">>>|::|---|===|[\\|{}@]|:\w+( \w+)?:|^\s*[-*+] |^[^.]*:$", re.MULTILINE)


class Summary(NamedTuple):
    """A paragraph, the line that sums up what it is about, and the module file of both."""

    body: str
    first_line: str
    file: str


def summaries(packages: Sequence[str] = ("python", "numpy", "torch")) -> Corpus:
    """First lines and paragraphs of the docstrings of installed packages, a tenth of files held out
    to validate on and a tenth to test on.

    "python" is the standard library. Tests and folders that begin with an underscore are not read,
    nor files that are no Python. Raises ModuleNotFoundError for a package that is not installed,
    ValueError where a part is left empty.
    """
    parts: dict[str, list[Summary]] = {"train": [], "validation": [], "test": []}
    for package in packages:
        for path, name in _files(package):
            parts[part_of(name)] += [Summary(*pair, name) for pair in pairs(path.read_bytes())]
    _drop_copies(parts)
    if not all(parts.values()):
        raise ValueError(
            "summaries: expected first lines with a paragraph in each part, got "
            f"{', '.join(f'{len(pairs)} for {part}' for part, pairs in parts.items())} of "
            f"{', '.join(packages) or 'no package'}; give packages with more documentation"
        )
    return Corpus(
        name="first lines of docstrings",
        unit="pairs",
        **{part: tuple(found) for part, found in parts.items()},
        source=", ".join(map(_version, packages)),
        licence=", ".join(dict.fromkeys(LICENCES.get(p, "see the package") for p in packages)),
    )


def pairs(source: bytes) -> Iterator[tuple[str, str]]:
    """(paragraph, first line) of each docstring of a Python file that has both in plain prose.

    A file that cannot be read as Python gives none.
    """
    if not PROMISING.search(source):
        return
    try:
        with warnings.catch_warnings(action="ignore"):  # of other people's escape sequences
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in _statements(tree):
        if isinstance(node, DOCUMENTED):
            first_line, body = [*re.split(r"\n\s*\n", ast.get_docstring(node) or ""), ""][:2]
            if (
                "\n" not in first_line
                and _is_prose(first_line, FIRST_LINE)
                and _is_prose(body, BODY)
            ):
                yield _plain(body), _plain(first_line)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all statements inside it; expressions, which hold no docstring, are passed by."""
    yield node
    for block in ("body", "handlers", "orelse", "finalbody", "cases"):
        for inner in getattr(node, block, ()):
            yield from _statements(inner)


def _is_prose(text: str, length: range) -> bool:
    proper = text.rstrip().endswith(".") and text.isascii() and not NO_PROSE.search(text)
    return proper and len(split_words(_plain(text))) in length


def _plain(text: str) -> str:
    """One line, without the marks of code and emphasis."""
    return " ".join(re.sub(r"[`*]", "", text).split())


def _files(package: str) -> Iterator[tuple[Path, str]]:
    """The source files of a package, in order, and their names: "numpy/fft/helper.py"."""
    if package == "python":
        folder = Path(sysconfig.get_path("stdlib"))
    else:
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(
                f"summaries: expected an installed package, got {package!r}; run `pip install "
                f"{package}`, or leave it out"
            )
        folder = Path(spec.submodule_search_locations[0])
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder)
        if not any(part in NOT_READ or part.startswith("_") for part in inside.parts[:-1]):
            yield path, f"{package}/{inside.as_posix()}"


def _drop_copies(parts: dict[str, list[Summary]]) -> None:
    """Keep the first of texts that are nearly the same, part by part, in place."""
    sizes: list[int] = []  # runs of words in each kept text
    holders: dict[int, list[int]] = defaultdict(list)  # run of words -> kept texts
    lines: set[str] = set()
    for part, found in parts.items():
        parts[part] = []
        for pair in found:
            runs = shingles(f"{pair.first_line} {pair.body}")
            common = Counter(other for run in runs for other in holders[run])
            near = any(n >= NEAR * (len(runs) + sizes[other] - n) for other, n in common.items())
            if pair.first_line not in lines and not near:
                parts[part].append(pair)
                lines.add(pair.first_line)
                for run in runs:
                    holders[run].append(len(sizes))
                sizes.append(len(runs))


def _version(package: str) -> str:
    if package == "python":
        return f"Python {platform.python_version()}"
    return f"{package} {importlib.metadata.version(package)}"
