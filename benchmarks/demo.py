"""The live demo under load: `uv run --extra lecturer python benchmarks/demo.py [--visitors 20]`.

One visitor, then many at once, open the page of `course_lm.classroom.demo`; beside it the same page
in plain Voila, whose kernels each import everything, with one visitor and with four. Seconds go
from the request to the last byte of the page, its widgets made and its kernel waiting; what the
browser then needs to draw is its own. MB are PSS: memory that processes share is counted once.
Prints a table and keeps nothing.
"""

import argparse
import contextlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

import course_lm.classroom

PAGE = Path(course_lm.classroom.__file__).parent / "demo_page" / "demo.ipynb"
FEW = 4  # visitors of plain Voila
OURS = (sys.executable, "-m", "course_lm.classroom.demo", "--port")
PLAIN = (sys.executable, "-m", "voila", "demo.ipynb", "--no-browser", "--port")
HEADS = ("server", "visitors", "median s", "slowest s", "MB in all", "MB each visitor adds")


@contextlib.contextmanager
def server(command: tuple[str, ...]) -> Iterator[tuple[str, psutil.Process, float]]:
    """Address, process and seconds until it listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(PAGE, folder)
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, str(port)],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not listens(port):
                if process.poll() is not None:
                    raise RuntimeError(f"demo: expected a server, got exit {process.returncode}")
                time.sleep(0.1)
            seconds = time.perf_counter() - began
            yield f"http://127.0.0.1:{port}/", psutil.Process(process.pid), seconds
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def listens(port: int) -> bool:
    """Whether somebody answers at this port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def visit(address: str) -> float:
    """Seconds until the whole page has come; it has to hold its widgets."""
    began = time.perf_counter()
    text = urllib.request.urlopen(address, timeout=600).read().decode()
    if text.count("widget-view+json") != 4:
        raise RuntimeError("demo: expected a page with four widgets, got another; run it by hand")
    return time.perf_counter() - began


def megabytes(process: psutil.Process) -> float:
    """PSS of a process and of all that it has started."""
    everybody = [process, *process.children(recursive=True)]
    return sum(one.memory_full_info().pss for one in everybody) / 1e6


def rows(name: str, command: tuple[str, ...], many: int) -> Iterator[tuple]:
    """A row for one visitor and one for many more at once."""
    with server(command) as (address, process, ready):
        print(f"{name}: listens after {ready:.1f} s", flush=True)
        empty, here = megabytes(process), 0
        for count in (1, many):
            with ThreadPoolExecutor(count) as crowd:
                seconds = sorted(crowd.map(visit, [address] * count))
            here += count
            total = megabytes(process)
            median = statistics.median(seconds)
            yield name, count, median, seconds[-1], total, (total - empty) / here


def main() -> None:
    """Print the table row by row."""
    parser = argparse.ArgumentParser(description="Measure the live demo beside plain Voila.")
    parser.add_argument("--visitors", type=int, default=20, help="at once, after the first")
    asked = parser.parse_args()
    print(" | ".join(HEADS))
    for name, command, many in (("demo", OURS, asked.visitors), ("plain Voila", PLAIN, FEW)):
        for server_name, count, *numbers in rows(name, command, many):
            print(" | ".join([server_name, str(count), *(f"{n:.1f}" for n in numbers)]), flush=True)


if __name__ == "__main__":
    main()
