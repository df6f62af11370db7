"""course_lm beside its peers, measured in one run: `uv run --extra bench python benchmarks/run.py`.

Ours and the peer take turns; a row holds the medians and their ratio, above 1 where ours is better.
Absolute numbers differ from machine to machine, ratios should hold. Without the extra `bench` the
rows with nltk are marked "not measured". Writes benchmarks/results.json.
"""

import importlib.util
import json
import lzma
import os
import platform
import random
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from course_lm.language import lab
from course_lm.language.corpora import Corpus, shakespeare
from course_lm.language.tokens import characters
from course_lm.models.counts import kneser_ney
from course_lm.training.losses import bits

ROOT = Path(__file__).parents[1]
WORDS, ORDER, HIGHEST_ORDER = 200_000, 5, 10
NLTK_FIT, NLTK_SCORE = 20_000, 500  # characters; nltk is slow, so speeds are per character

FIT, SCORE = f"Kneser–Ney, order {ORDER}: fit", f"Kneser–Ney, order {ORDER}: score"
NOT_MEASURED = "not measured"

Row = dict[str, str | float]
Work = Callable[[], object]


def seconds(work: Work) -> float:
    """How long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def medians(ours: Work, peer: Work, repetitions: int) -> list[float]:
    """Median seconds of both, which take turns, so that a busy minute hits both."""
    pairs = [(seconds(ours), seconds(peer)) for _ in range(repetitions)]
    return [statistics.median(column) for column in zip(*pairs, strict=True)]


def row(what: str, unit: str, ours: float, peer: float, about: str) -> Row:
    """One comparison; the ratio says how many times better ours is."""
    ratio = ours / peer if unit.endswith("/s") else peer / ours
    return {
        "what": what,
        "unit": unit,
        "ours": ours,
        "peer": peer,
        "ratio": ratio,
        "about": about,
    }


def lab_rows() -> Iterator[Row]:
    """Generation and exact scoring, beside words drawn without any grammar."""
    words = lab.sample(WORDS, torch.Generator().manual_seed(0))
    tokens = lab.vocabulary().tokens
    weights = [words.count(token) for token in tokens]
    works = {
        "lab: generate": lambda: lab.sample(WORDS, torch.Generator().manual_seed(0)),
        "lab: score": lambda: lab.log_probs(words),
    }
    for what, work in works.items():
        times = medians(work, lambda: random.choices(tokens, weights, k=len(words)), 9)
        about = f"random.choices of {len(tokens)} words; target 500,000 words/s"
        yield row(what, "words/s", *(len(words) / s for s in times), about)


def nltk_rows(train: str, held_out: str, encode: Callable[[str], torch.Tensor]) -> Iterator[Row]:
    """Kneser–Ney on Shakespeare's characters, beside nltk on a slice of them."""
    from nltk.lm import KneserNeyInterpolated
    from nltk.util import everygrams

    ids, held_out_ids = encode(train), encode(held_out)
    size = int(max(ids.max(), held_out_ids.max())) + 1
    model, peer = kneser_ney(ids, ORDER, size), KneserNeyInterpolated(ORDER)
    grams = list(everygrams(train[:NLTK_FIT], max_len=ORDER))
    peer.fit([grams], vocabulary_text=train[:NLTK_FIT])
    places = range(ORDER - 1, ORDER - 1 + NLTK_SCORE)

    ours, theirs = medians(
        lambda: kneser_ney(ids, ORDER, size),
        lambda: KneserNeyInterpolated(ORDER).fit([grams], vocabulary_text=train[:NLTK_FIT]),
        5,
    )
    about = f"{len(ids):,} characters; nltk.lm {NLTK_FIT:,}"
    speeds = len(ids) / ours, NLTK_FIT / theirs
    yield row(FIT, "characters/s", *speeds, about)

    ours, theirs = medians(
        lambda: model.token_log_probs(held_out_ids),
        lambda: [peer.logscore(held_out[i], tuple(held_out[i - ORDER + 1 : i])) for i in places],
        5,
    )
    about = f"{len(held_out_ids):,} held-out characters; nltk.lm {NLTK_SCORE:,}"
    speeds = (len(held_out_ids) - 1) / ours, NLTK_SCORE / theirs
    yield row(SCORE, "characters/s", *speeds, about)


def rows_without_nltk() -> Iterator[Row]:
    """In place of `nltk_rows`."""
    for what in (FIT, SCORE):
        numbers = dict.fromkeys(("ours", "peer", "ratio"), NOT_MEASURED)
        yield {"what": what, "unit": "characters/s", **numbers, "about": "nltk is not installed"}


def bits_row(corpus: Corpus, encode: Callable[[str], torch.Tensor], size: int) -> Row:
    """Bits per character of the test plays; the order is chosen on the validation plays."""
    longest = kneser_ney(encode(corpus.train), HIGHEST_ORDER, size)

    def loss(order: int, text: str) -> float:
        return bits(-float(longest.of_order(order).token_log_probs(encode(text)).mean()))

    order = min(range(1, HIGHEST_ORDER + 1), key=lambda n: loss(n, corpus.validation))
    train, test = corpus.train.encode(), corpus.test.encode()
    extra = len(lzma.compress(train + test)) - len(lzma.compress(train))
    both = loss(order, corpus.test), 8 * extra / len(corpus.test)
    what = f"Kneser–Ney, order {order}: test"
    return row(what, "bits/character", *both, "lzma, which has read the training text, too")


def open_page(folder: Path) -> None:
    """From the command `jupyter lab` on a folder to the first answer of its page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}"]
    server = subprocess.Popen(
        command,
        env={**os.environ, "JUPYTER_TOKEN": token},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while server.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/lab?token={token}").read()
                return
            except OSError:  # not listening yet, or hung up
                time.sleep(0.02)
        raise RuntimeError(
            "open_page: expected a running JupyterLab, got its end; start it by hand"
        )
    finally:
        server.terminate()
        server.wait()


def rows() -> Iterator[Row]:
    """All comparisons, in the order of the table."""
    yield from lab_rows()
    corpus = shakespeare()
    vocabulary = characters(corpus.train + corpus.validation + corpus.test)

    def encode(text: str) -> torch.Tensor:
        return torch.tensor(vocabulary.encode(text))

    if importlib.util.find_spec("nltk"):
        yield from nltk_rows(corpus.train, corpus.validation, encode)
    else:
        yield from rows_without_nltk()
    yield bits_row(corpus, encode, len(vocabulary))
    with tempfile.TemporaryDirectory() as empty:
        times = medians(lambda: open_page(ROOT), lambda: open_page(Path(empty)), 3)
    yield row("from command to open page", "seconds", *times, "jupyter lab in an empty folder")


def line(new: Row) -> str:
    """One row of the table."""
    shown = [
        value if isinstance(value, str) else f"{value:,.2f}" if value < 1e3 else f"{value:,.0f}"
        for value in (new["ours"], new["peer"], new["ratio"])
    ]
    ours, peer, ratio = shown
    return f"{new['what']:28}{new['unit']:>15}{ours:>13}{peer:>13}{ratio:>13}  {new['about']}"


def main() -> None:
    """Print the table row by row, then keep it."""
    print(f"{'':28}{'unit':>15}{'ours':>13}{'peer':>13}{'ratio':>13}  peer")
    done = []
    for new in rows():
        done.append(new)
        print(line(new), flush=True)
    machine = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
    text = json.dumps({"machine": machine, "rows": done}, indent=2, ensure_ascii=False)
    (ROOT / "benchmarks" / "results.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
