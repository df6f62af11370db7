"""Corpora that language models were pretrained on, with sizes as their papers give them.

Data, nothing else; nothing here is downloaded. GB = 1e9 bytes; sizes that the sources give in GiB
(2**30 bytes) or TiB (2**40) are converted. Licences are those of the collection: the texts inside
keep the rights of their authors.
"""

from dataclasses import dataclass

GIB, TIB = 2**30, 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One corpus. size: bytes. tokens: as counted by `paper`, 0 where it does not say."""

    name: str
    kind: str
    size: float
    tokens: float = 0
    source: str
    licence: str
    filters: str
    paper: str


CORPORA = (
    Listed(
        name="Common Crawl, one crawl",
        kind="web, raw",
        size=394 * TIB,
        source="2.64 billion pages of December 2024, with their markup",
        licence="terms of use; rights of each page unknown",
        filters="none",
        paper="Common Crawl, archive CC-MAIN-2024-51",
    ),
    Listed(
        name="FineWeb",
        kind="web, filtered",
        size=44e12,
        tokens=15e12,
        source="96 crawls of Common Crawl, 2013 to 2024",
        licence="ODC-By 1.0",
        filters="sites, language, Gopher and C4 rules, MinHash, e-mail addresses masked",
        paper="Penedo 2024",
    ),
    Listed(
        name="The Stack",
        kind="code",
        size=3.1e12,
        source="public repositories in 30 programming languages",
        licence="permissive licences only; opt-out for authors",
        filters="licence, size; a version without near copies",
        paper="Kocetkov 2022",
    ),
    Listed(
        name="RefinedWeb, public part",
        kind="web, filtered",
        size=2.77e12,
        tokens=0.6e12,
        source="968 million pages of Common Crawl",
        licence="ODC-By 1.0",
        filters="sites, language, quality rules, MinHash, repeated passages",
        paper="Penedo 2023",
    ),
    Listed(
        name="The Pile",
        kind="mixture of 22",
        size=825.18 * GIB,
        tokens=300e9,
        source="papers, web, books, code, forums, law, subtitles",
        licence="no licence of its own; Books3 withdrawn in 2023",
        filters="differ by part; near copies removed from the web part",
        paper="Gao 2020; tokens: Biderman 2023",
    ),
    Listed(
        name="C4",
        kind="web, filtered",
        size=750e9,
        tokens=156e9,
        source="one crawl of Common Crawl, April 2019",
        licence="ODC-By 1.0",
        filters="whole sentences, word list, English, repeated three-sentence spans",
        paper="Raffel 2020; tokens: Dodge 2021",
    ),
    Listed(
        name="Books3",
        kind="books",
        size=100.96 * GIB,
        source="about 197,000 books copied without permission",
        licence="under copyright; withdrawn in 2023",
        filters="none",
        paper="Gao 2020",
    ),
    Listed(
        name="OpenWebText",
        kind="web, chosen on a forum",
        size=38 * GIB,
        source="8.0 million pages that Reddit posts with 3 or more votes link to",
        licence="none given; rights of each page unknown",
        filters="English, MinHash of five-word runs at 0.5, at least 128 tokens",
        paper="Gokaslan 2019",
    ),
    Listed(
        name="Stack Exchange",
        kind="forums",
        size=32.2 * GIB,
        source="questions and their best answers",
        licence="CC BY-SA",
        filters="answers with 3 or more votes",
        paper="Gao 2020",
    ),
    Listed(
        name="Project Gutenberg (PG-19)",
        kind="books",
        size=10.88 * GIB,
        tokens=1.98e9,
        source="28,752 books from before 1919",
        licence="public domain in the United States",
        filters="licence texts cut, slurs masked",
        paper="Rae 2020 (tokens are words); size: Gao 2020",
    ),
    Listed(
        name="Wikipedia, English",
        kind="encyclopedia",
        size=6.38 * GIB,
        source="articles, March 2020",
        licence="CC BY-SA",
        filters="markup cut",
        paper="Gao 2020",
    ),
)
