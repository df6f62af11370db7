"""course_lm beside its peers, measured in one run: `uv run --extra bench python benchmarks/run.py`.

Ours and the peer take turns; a row holds both and their ratio, above 1 where ours is better.
Absolute numbers differ from machine to machine, ratios should hold. Without the extra `bench` rows
with nltk, transformers or trl are marked "not measured". Writes benchmarks/results.json.

`run.py training generation` runs these parts and keeps the other rows as they were. `--file PATH`
takes another UTF-8 text in the parts `race` and `rivals`, `--quick` tries everything out in a few
minutes: neither is written down.
"""

import argparse
import importlib.util
import json
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from alignment import alignment_rows
from floor import floor_rows
from language import lab_rows, ngram_rows, page_rows
from race import race_rows, rival_rows
from recipes import FULL, QUICK, Effort
from speed import generation_rows, scaling_rows, training_rows
from table import NOT_MEASURED, Row, heading, line, not_measured

RESULTS = Path(__file__).parent / "results.json"

Part = Callable[[Effort, Path | None], Iterator[Row]]
PARTS: dict[str, Part] = {
    "lab": lambda effort, path: lab_rows(),
    "ngrams": lambda effort, path: ngram_rows(),
    "page": lambda effort, path: page_rows(),
    "race": race_rows,
    "rivals": rival_rows,
    "floor": lambda effort, path: floor_rows(effort),
    "training": lambda effort, path: training_rows(effort),
    "generation": lambda effort, path: generation_rows(effort),
    "scaling": lambda effort, path: scaling_rows(effort),
    "alignment": lambda effort, path: alignment_rows(effort),
}
NEEDS = {  # a package of the extra `bench`
    "race": "transformers",
    "training": "transformers",
    "generation": "transformers",
    "alignment": "trl",
}


def rows(part: str, effort: Effort, path: Path | None) -> Iterator[Row]:
    """The rows of one part, each with its part's name."""
    if part in NEEDS and not importlib.util.find_spec(NEEDS[part]):
        yield {"part": part, **not_measured(part, "", NEEDS[part])}
        return
    for new in PARTS[part](effort, path):
        yield {"part": part, **new}


def keep(new: list[Row], results: Path) -> None:
    """Write the measured rows down, each with its machine, and the older rows of other parts."""
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    old = json.loads(results.read_text("utf-8")) if results.exists() else []
    fresh = [{**row, "machine": machine} for row in new if row["ours"] != NOT_MEASURED]
    measured = {row["part"] for row in fresh}
    both = fresh + [row for row in old if row["part"] not in measured]
    in_order = sorted(both, key=lambda row: list(PARTS).index(row["part"]))
    results.write_text(json.dumps(in_order, indent=2, ensure_ascii=False) + "\n", "utf-8")


def main() -> None:
    """Print the table row by row, then keep it."""
    parser = argparse.ArgumentParser(description="Measure course_lm beside its peers.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="try it out: far fewer steps")
    parser.add_argument("--file", type=Path, metavar="PATH", help="a UTF-8 text of your own")
    asked = parser.parse_args()
    unknown = [part for part in asked.parts if part not in PARTS]
    if unknown:
        parser.error(f"expected parts of {', '.join(PARTS)}, got {', '.join(unknown)}")
    print(heading())
    done = []
    for part in asked.parts or PARTS:
        for new in rows(part, QUICK if asked.quick else FULL, asked.file):
            done.append(new)
            print(line(new), flush=True)
    if not asked.quick and asked.file is None:
        keep(done, RESULTS)


if __name__ == "__main__":
    main()
