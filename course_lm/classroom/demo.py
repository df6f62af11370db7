"""The live demo: explorer, chat and vote as a page without code, for everybody in the hall.

``uv run --extra lecturer python -m course_lm.classroom.demo`` serves it to this machine alone,
``... demo --address 0.0.0.0`` to the network around it as well. Ctrl-C ends it. It asks no network
for anything. Every visitor has a kernel of their own (`demo_server`), which ends when they leave;
they can move the widgets of the page and run nothing. Votes last as long as the demo.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from importlib import util


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the demo until Ctrl-C; the exit status is 1 where it cannot be served."""
    parser = argparse.ArgumentParser(prog="demo", description="Serve the live demo of the course.")
    parser.add_argument("--address", default="127.0.0.1", help="0.0.0.0: to the network around")
    parser.add_argument("--port", type=int, default=8866, help="or the next ones, if it is taken")
    options = parser.parse_args(arguments)
    if util.find_spec("voila") is None or not hasattr(os, "fork"):
        print(
            "demo: expected Linux or macOS and the extra `lecturer`, got no voila or no fork; run "
            "it there with `uv run --extra lecturer`",
            file=sys.stderr,
        )
        return 1
    # One thread for each visitor; and a process with more of them could not be copied.
    os.environ["OMP_NUM_THREADS"] = "1"
    print("Getting ready; the first time it takes a minute ...", flush=True)
    from .demo_kernels import begin

    begin()  # while the server is imported
    from .demo_server import serve

    with tempfile.TemporaryDirectory(prefix="course-demo-") as folder, contextlib.chdir(folder):
        serve(options.address, options.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
