"""Cleaning a crawl: six small steps, each pages -> pages, and a report of what each one found.

Real pipelines (C4, Gopher, RefinedWeb) have the same steps with longer lists of rules. No step
looks at the marks of a page; only `report` does.
"""

import re
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from .crawl import Page
from .tokens import split_words

NOT_IN_CP1252 = "\x81\x8d\x8f\x90\x9d"  # read as they are, as browsers do
LOST_LETTER, PRIME = "\N{REPLACEMENT CHARACTER}", 2**31 - 1
FEWEST_WORDS, MOST_OF_ONE_WORD, MOST_SIGNS, MOST_RARE_PAIRS = 20, 0.2, 0.25, 0.25
EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
PHONE = re.compile(r"(?<![\w-])(?:\+?\d{1,3}[ -])?(?:\(?\d{3}\)?[ -])?\d{3}-\d{4}(?![\w-])")


def repair(pages: Sequence[Page]) -> list[Page]:
    """Repair every line; drop pages with lost letters (U+FFFD), for nothing brings those back."""
    mended = [replace(page, text="\n".join(map(repaired, page.text.split("\n")))) for page in pages]
    return _left("repair", pages, [page for page in mended if LOST_LETTER not in page.text])


def repaired(line: str) -> str:
    """UTF-8 that was read as cp1252 is decoded again; then signs are made plain (NFKC).

    >>> repaired("the dog near the cafÃ© sleeps ï¼Ž")
    'the dog near the café sleeps .'
    """
    with suppress(UnicodeError):  # then it was right as it stood
        codes = (s.encode("latin-1" if s in NOT_IN_CP1252 else "cp1252") for s in line)
        line = b"".join(codes).decode("utf-8")
    return unicodedata.normalize("NFKC", line)


def strip_boilerplate(pages: Sequence[Page]) -> list[Page]:
    """Cut every line that stands on at least half of the pages of its site, and on three.

    Counted site by site: a story that many sites copied is none. Pages of nothing else are dropped.
    """
    sizes, counts = Counter(page.site for page in pages), Counter()
    for page in pages:
        counts.update({(page.site, line) for line in page.text.split("\n")})

    def kept(page: Page) -> str:
        most = max(3, sizes[page.site] / 2)
        return "\n".join(s for s in page.text.split("\n") if counts[page.site, s] < most).strip()

    stripped = [replace(page, text=kept(page)) for page in pages]
    return _left("strip_boilerplate", pages, [page for page in stripped if page.text])


def drop_copies(pages: Sequence[Page]) -> list[Page]:
    """Keep the first of all pages with the same words; capitals and spaces make no difference."""
    first = {}
    for page in pages:
        first.setdefault(" ".join(page.text.lower().split()), page)
    return list(first.values())


def shingles(text: str) -> frozenset[int]:
    """The runs of three words of a text, each as a number (its CRC-32) below PRIME."""
    words = split_words(text)
    runs = (" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2)))
    return frozenset(zlib.crc32(run.encode()) % PRIME for run in runs)


def jaccard(first: Collection[int], second: Collection[int]) -> float:
    """|A ∩ B| / |A ∪ B|: the share of what two sets hold that both hold.

    >>> jaccard({1, 2, 3}, {2, 3, 4})
    0.5
    """
    first, second = set(first), set(second)
    return len(first & second) / (len(first | second) or 1)


def signatures(sets: Iterable[Collection[int]], size: int, rng: torch.Generator) -> Tensor:
    """MinHash (Broder 1997): for each set the minima of `size` random hash functions, (N, size).

    h(s) = (a s + b) mod PRIME, with a and b drawn for each function. The smallest number of A ∪ B
    is about as likely to be any of its members (exactly so for random permutations), and it is the
    minimum of both sets if both hold that member, so P(minima equal) is about |A ∩ B| / |A ∪ B|.
    The share of equal minima estimates it, with a variance of about J (1 − J) / size.
    """
    a = torch.randint(1, PRIME, (size, 1), generator=rng)
    b = torch.randint(PRIME, (size, 1), generator=rng)
    rows = [((a * torch.tensor([*numbers]) + b) % PRIME).amin(1) for numbers in sets]
    return torch.stack(rows) if rows else torch.empty(0, size)


def band_probability(similarity: float, bands: int, rows: int) -> float:
    """P(at least one band equal) = 1 − (1 − J^rows)^bands for two sets of Jaccard `similarity` J.

    A band is `rows` minima side by side; all of them are equal with probability J^rows.
    """
    return 1 - (1 - similarity**rows) ** bands


def drop_near_copies(
    pages: Sequence[Page],
    rng: torch.Generator,
    similarity: float = 0.5,
    bands: int = 16,
    rows: int = 4,
) -> list[Page]:
    """Drop pages whose runs of three words are to `similarity` or more those of a kept page.

    Only pages that share a band of MinHash are compared (Lee 2022), instead of all N² / 2 pairs; a
    pair of Jaccard J is met with `band_probability(J, bands, rows)`.
    """
    if not (0 < similarity <= 1 and bands >= 1 and rows >= 1):
        raise ValueError(
            "drop_near_copies: expected a similarity above 0 and at most 1, with bands and rows of "
            f"at least 1, got {similarity}, {bands} and {rows}; choose for instance 0.5, 16 and 4"
        )
    sets = [shingles(page.text) for page in pages]
    minima = signatures(sets, bands * rows, rng).view(len(pages), bands, rows).tolist()
    shelves, kept = defaultdict(list), []
    for n, page in enumerate(pages):
        places = [(band, *values) for band, values in enumerate(minima[n])]
        met = {other for place in places for other in shelves[place]}
        if all(jaccard(sets[n], sets[other]) < similarity for other in met):
            kept.append(page)
            for place in places:
                shelves[place].append(n)
    return kept


def filter_quality(pages: Sequence[Page]) -> list[Page]:
    """Keep pages without a fault. Rules in the manner of Gopher (Rae 2021) and C4 (Raffel 2020)."""
    common = common_pairs(pages)
    return _left("filter_quality", pages, [p for p in pages if not faults(p.text, common)])


def common_pairs(pages: Sequence[Page]) -> frozenset[tuple[str, str]]:
    """Neighbouring words that stand together on 1 % of the pages or more: how language goes here.

    Needs some hundred pages. A small language model does it better (Wenzek 2020).
    """
    counts = Counter()
    for page in pages:
        counts.update(set(pairwise(split_words(page.text))))
    return frozenset(pair for pair, count in counts.items() if count >= len(pages) / 100)


def faults(text: str, common: Collection[tuple[str, str]]) -> list[str]:
    """The rules that a text breaks; none for a good one. `common`: pairs that language has."""
    words = split_words(text)
    if len(words) < FEWEST_WORDS:
        return [f"fewer than {FEWEST_WORDS} words"]
    total, pairs = len(words), list(pairwise(words))
    signs = sum(not word[0].isalnum() for word in words)
    shares = {
        "one word again and again": (max(Counter(words).values()) / total, MOST_OF_ONE_WORD),
        "more signs than sentences need": (signs / total, MOST_SIGNS),
        "words in an unheard-of order": (
            sum(pair not in common for pair in pairs) / len(pairs),
            MOST_RARE_PAIRS,
        ),
    }
    return [rule for rule, (share, most) in shares.items() if share > most]


def mask_personal(pages: Sequence[Page]) -> list[Page]:
    """Put <email> and <phone> where an address or a telephone number stood."""
    masked = (PHONE.sub("<phone>", EMAIL.sub("<email>", page.text)) for page in pages)
    return [replace(page, text=text) for page, text in zip(pages, masked, strict=True)]


@dataclass(frozen=True, slots=True)
class Report:
    """What one step did. precision: of the pages that it touched, the share that has the mark.

    recall: of the pages with the mark, the share that it touched; nan where there is none.
    """

    dropped: int  # pages
    changed: int  # pages
    words: int  # fewer words
    precision: float
    recall: float


def report(before: Sequence[Page], after: Sequence[Page], *marks: str) -> Report:
    """Compare the pages after a step with those before; it was after pages with one of `marks`."""
    if len({page.number for page in before}) < len(before):
        raise ValueError("report: expected a number of its own for each page; number them")
    texts = {page.number: page.text for page in after}
    touched = {page.number for page in before if texts.get(page.number) != page.text}
    wanted = {page.number for page in before if page.marks.intersection(marks)}
    found = len(touched & wanted)
    words = [sum(len(split_words(page.text)) for page in pages) for pages in (before, after)]
    return Report(
        len(before) - len(after),
        len(touched) - len(before) + len(after),
        words[0] - words[1],
        found / len(touched) if touched else float("nan"),
        found / len(wanted) if wanted else float("nan"),
    )


def _left(step: str, before: Sequence[Page], after: list[Page]) -> list[Page]:
    if not after:
        raise ValueError(
            f"{step}: expected at least one page to stay, got none of {len(before)}; look at what "
            "the pages hold, and leave this step out if it asks too much of them"
        )
    return after
