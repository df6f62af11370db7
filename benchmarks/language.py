"""The lab language, n-gram counts and the way to an open page, beside their peers."""

import importlib.util
import lzma
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from table import Row, medians, not_measured, row

from course_lm.language import lab
from course_lm.language.corpora import Corpus, shakespeare
from course_lm.language.tokens import characters
from course_lm.models.counts import NGram, kneser_ney
from course_lm.training.losses import bits

ROOT = Path(__file__).parents[1]
WORDS, ORDER, HIGHEST_ORDER = 200_000, 5, 10
NLTK_FIT, NLTK_SCORE = 20_000, 500  # characters; nltk is slow, so speeds are per character

FIT, SCORE = f"Kneser–Ney, order {ORDER}: fit", f"Kneser–Ney, order {ORDER}: score"


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


def ngram_rows() -> Iterator[Row]:
    """Kneser–Ney on all of Shakespeare's characters: its speed, and how well it predicts."""
    corpus = shakespeare()
    vocabulary = characters(corpus.train + corpus.validation + corpus.test)

    def encode(text: str) -> torch.Tensor:
        return torch.tensor(vocabulary.encode(text))

    if importlib.util.find_spec("nltk"):
        yield from nltk_rows(corpus.train, corpus.validation, encode)
    else:
        yield from rows_without_nltk()
    yield bits_row(corpus, encode, len(vocabulary))


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
        yield not_measured(what, "characters/s", "nltk")


def best_ngram(train: torch.Tensor, validation: torch.Tensor, vocab_size: int) -> NGram:
    """Kneser–Ney of the order that predicts the validation text best."""
    longest = kneser_ney(train, HIGHEST_ORDER, vocab_size)
    models = map(longest.of_order, range(1, HIGHEST_ORDER + 1))
    return min(models, key=lambda model: ngram_loss(model, validation))


def ngram_loss(model: NGram, ids: torch.Tensor) -> float:
    """Mean of −log P(token), in nats."""
    return -float(model.token_log_probs(ids).mean())


def bits_row(corpus: Corpus, encode: Callable[[str], torch.Tensor], size: int) -> Row:
    """Bits per character of the test plays; the order is chosen on the validation plays."""
    model = best_ngram(encode(corpus.train), encode(corpus.validation), size)
    train, test = corpus.train.encode(), corpus.test.encode()
    extra = len(lzma.compress(train + test)) - len(lzma.compress(train))
    both = bits(ngram_loss(model, encode(corpus.test))), 8 * extra / len(corpus.test)
    what = f"Kneser–Ney, order {model.order}: test"
    return row(what, "bits/character", *both, "lzma, which has read the training text, too")


def page_rows() -> Iterator[Row]:
    """How long a learner waits for the first page."""
    with tempfile.TemporaryDirectory() as empty:
        times = medians(lambda: open_page(ROOT), lambda: open_page(Path(empty)), 3)
    yield row("from command to open page", "seconds", *times, "jupyter lab in an empty folder")


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
