"""Words as people feel them: ten ratings of each, from −4 (most negative) to +4 (most positive).

    parts = ratings.ratings()
    parts.train[0].word, parts.train[0].ratings

The lexicon of VADER, from the package `vaderSentiment`; its file is read, the package itself is
never imported. Kept are words of three letters and more with a vowel among them; smileys go, some
abbreviations of chats stay. What `RUDE` finds is left out before anything is shown or learned:
swear words, slurs, sexual violence. That list is short, errs both ways, and is written in rot13, so
that nobody has to read it. Sad words, and insults that are no swear words, stay.

A word's letters tell its family: `test` holds whole families (words that begin with the same four
letters), `validation` single words, whose relatives may be in `train`.

The file does not say who gave which rating: "rater k" is the k-th number of each word, and need not
be one person. Source: Hutto and Gilbert 2014.
"""

import codecs
import importlib.metadata
import importlib.util
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .corpus import Corpus, in_parts, installed, part_of
from .windows import IGNORE

RATERS, LEAST, MOST = 10, -4, 4
STEM = 4
INSTALL = "run `pip install vaderSentiment`"
WORD = re.compile(r"(?=.*[aeiouy])[a-z]{3,}")
RUDE = re.compile(
    codecs.decode(
        "shpx|fuvg|phag|ovgpu|avtt|qbhpur|fyhg|gjng|jnax|zbyrfg|juber|onfgneq|fphzont|yzs?nb"
        "|^snt|^pbpx(f|$)|^qvpx|^gvgf|^cvff|^cevpxf?$|^ergneq|^gneq|^enc(r|vat|vfg)|^penc|^fhpx|^fhk"
        "|(^|onq|qhzo|wnpx|fzneg|jvfr)nff(rf|ubyrf?)?$|^tbqqnza|^jgs|nsh$|^ssf|^sxz",
        "rot13",
    )
)


class Rated(NamedTuple):
    """A word and what ten people said of it."""

    word: str
    ratings: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean of the ten ratings."""
        return sum(self.ratings) / len(self.ratings)


def ratings() -> Corpus:
    """About 4,500 rated words to train on; single words to validate on, families to test on.

    Raises ModuleNotFoundError, with the line that installs it, where the package is missing.
    """
    path = installed("ratings", "vaderSentiment", "the ratings", INSTALL) / "vader_lexicon.txt"
    parts: dict[str, list[Rated]] = {"train": [], "validation": [], "test": []}
    for rated in read(path.read_text("utf-8") if path.is_file() else ""):
        family, alone = part_of(rated.word[:STEM]), part_of(rated.word)
        held_out = "validation" if alone != "train" else "train"
        parts["test" if family != "train" else held_out].append(rated)
    return Corpus(
        name="human ratings",
        unit="words",
        **in_parts("ratings", parts, path.name),
        source=f"vaderSentiment {importlib.metadata.version('vaderSentiment')}",
        licence="MIT",
    )


def read(text: str) -> list[Rated]:
    """The words of the lexicon's file with ten ratings each; a word that stands twice, once.

    >>> read("joy\\t2.7\\t0.78\\t[3, 3, 3, 3, 3, 3, 2, 1, 2, 4]")
    [Rated(word='joy', ratings=(3, 3, 3, 3, 3, 3, 2, 1, 2, 4))]
    """
    words: dict[str, Rated] = {}
    for line in text.splitlines():
        word, _, last = line.partition("\t")
        if WORD.fullmatch(word) and not RUDE.search(word):
            words.setdefault(word, Rated(word, _ten(last.rpartition("\t")[2], word)))
    return list(words.values())


def _ten(text: str, word: str) -> tuple[int, ...]:
    """The numbers of "[3, -1, ...]"."""
    ten = tuple(int(number) for number in re.findall(r"-?\d+", text))
    if len(ten) != RATERS or min(ten) < LEAST or max(ten) > MOST:
        raise ValueError(
            f"ratings: expected {RATERS} ratings from {LEAST} to {MOST} for {word!r}, got "
            f"{text[:60]!r}; install the package again"
        )
    return ten


def comparisons(rated: Sequence[Rated], count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random pairs of words, (N, 2), by their places in `rated`, and the vote of one rater, (N,).

    Every pair has a rater of its own. The vote is 0 where the first word was rated higher, 1 where
    the second was, IGNORE for a tie.
    """
    places, own, _ = _drawn(rated, count, rng)
    return places, (own[:, 0] < own[:, 1]).long().where(own[:, 0] != own[:, 1], IGNORE)


def one_against_nine(rated: Sequence[Rated], count: int, rng: torch.Generator) -> tuple[float, ...]:
    """How often one rater's vote is that of the other nine's mean, and how often it is a tie.

    The first is a share of the votes that are no ties; where the nine are even, one half. It is
    about the best that can be reached by anybody who knows only what others said.
    """
    _, own, others = _drawn(rated, count, rng)
    vote, theirs = (own[:, 0] - own[:, 1]).sign(), (others[:, 0] - others[:, 1]).sign()
    agree = (vote * theirs + 1) / 2
    return agree[vote != 0].mean().item(), (vote == 0).double().mean().item()


def _drawn(rated: Sequence[Rated], count: int, rng: torch.Generator) -> tuple[Tensor, ...]:
    """Pairs of two different words, what one rater gave them and the sum of the others, (N, 2)."""
    if len(rated) < 2 or count < 1:
        raise ValueError(
            f"ratings: expected at least two words and one pair, got {len(rated)} and {count}; "
            "give more"
        )
    first = torch.randint(len(rated), (count,), generator=rng)
    places = torch.stack([first, first + torch.randint(1, len(rated), (count,), generator=rng)], 1)
    scores = torch.tensor([one.ratings for one in rated]).double()[places % len(rated)]
    raters = torch.randint(RATERS, (count, 1, 1), generator=rng).expand(-1, 2, 1)
    own = scores.gather(2, raters)[..., 0]
    return places % len(rated), own, scores.sum(2) - own
