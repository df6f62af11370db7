"""A dirty web crawl of lab stories, of which everything that was done to it is known.

Each page holds a story on one line, between the menu and the small print of its site. Some stories
were copied from site to site, some copies were altered, some pages are spam, some were read in the
wrong encoding, some give away an address. A page keeps its marks, so that each step of the cleaning
(cleaning.py) can be scored. The shares are of the kind that is found on the web: Penedo 2023 kept
about one page in ten.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from . import lab
from .stories import START
from .world import World

SITES = 12
# Shares of the number of stories; MOJIBAKE: of all pages with a text and no lost letters.
COPIES, SPAM, EMPTY = 0.25, 0.8, 0.1  # the most popular story has COPIES * stories copies
PERSONAL, MOJIBAKE, LOST = 0.15, 0.2, 0.05
CHANGED = 3  # words of an altered copy
MENU = "home news about contact help shop search archive forum weather sports jobs"
OFFERS = "buy cheap best free online sale win click deal offer"
SMALL_PRINT = "we use cookies to make your visit better . accept all | decline"
# What some sites write for signs and spaces; NFKC normalisation gives the plain ones back.
FANCY, NO_BREAK = str.maketrans({".": "\uff0e", ",": "\uff0c", "?": "\uff1f"}), "\u00a0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One document of a crawl.

    text: lines, as they were crawled. site: where. number: its place in the crawl. marks: what is
    wrong with it: "boilerplate", "copy" or "near copy" (of an earlier page), "spam", "mojibake",
    "lost" (letters that cannot be brought back), "personal". story: the text that was put in.
    """

    text: str
    site: str = ""
    number: int = 0
    marks: frozenset[str] = frozenset()
    story: str = ""


def crawl(stories: int, rng: torch.Generator, world: World = lab.WORLD) -> list[Page]:
    """Two to four pages for each of `stories` lab stories, in random order, with their marks."""
    if stories < 20:
        raise ValueError(f"crawl: expected at least 20 stories, got {stories}; ask for more")
    texts = story_texts(stories + round(SPAM * stories), rng, world)
    originals, food = texts[:stories], texts[stories:]
    letters = [_with_address(text, world, rng) for text in originals]
    pages = [
        Page(text=text, story=original) for text, original in zip(letters, originals, strict=True)
    ]
    pages = [_lost(page, rng) if _chance(LOST, rng) else page for page in pages]
    pages += _copies([page for page in pages if not page.marks], stories, rng, world)
    pages += [_spam(text, n % 2 == 0, rng, world) for n, text in enumerate(food)]
    pages += [Page(text="") for _ in range(round(EMPTY * stories))]
    pages = [pages[i] for i in torch.randperm(len(pages), generator=rng).tolist()]
    return [_published(page, n, rng) for n, page in enumerate(_marked(pages))]


def story_texts(count: int, rng: torch.Generator, world: World = lab.WORLD) -> list[str]:
    """The first `count` stories of a sample, each as a text without START."""
    texts: list[str] = []
    while len(texts) < count:
        words = " ".join(lab.sample(60 * (count - len(texts)), rng, world))
        texts += [text.strip() for text in words.split(START)[1:]]
    return texts[:count]


def _with_address(text: str, world: World, rng: torch.Generator) -> str:
    """Some stories: one more sentence, with an address that belongs to nobody.

    example.org is reserved (RFC 2606), and so are the telephone numbers 555-0100 to 555-0199.
    """
    if not _chance(PERSONAL, rng):
        return text
    who = _pick(range(len(world.people)), rng)
    name = world.people[who].name
    ways = (
        f"call {name} at 555-01{(11 * who + 5) % 100:02} .",
        f"write to {name}@mail.example.org .",
    )
    sentences = text.split(" . ")
    at = 1 + _pick(range(len(sentences) - 1), rng)
    return " . ".join([*sentences[:at], _pick(ways, rng).removesuffix(" ."), *sentences[at:]])


def _copies(pages: Sequence[Page], stories: int, rng: torch.Generator, world: World) -> list[Page]:
    """Zipf's law: the r-th most popular story is copied COPIES * stories / r times."""
    copies: list[Page] = []
    for rank, original in enumerate(pages, 1):
        for _ in range(int(COPIES * stories / rank)):
            altered = _chance(0.5, rng)
            text = _altered(original.text, world, rng) if altered else original.text
            copies.append(replace(original, text=text))
    return copies


def _altered(text: str, world: World, rng: torch.Generator) -> str:
    """Some words changed, whatever the story says."""
    words, known = text.split(" "), lab.vocabulary(world).tokens[1:]
    for place in torch.randperm(len(words), generator=rng)[:CHANGED].tolist():
        words[place] = _pick([word for word in known if word != words[place]], rng)
    return " ".join(words)


def _spam(text: str, shuffled: bool, rng: torch.Generator, world: World) -> Page:
    """The words of a story in random order, or one thing on offer, again and again."""
    words = text.split()
    if shuffled:
        words = [words[i] for i in torch.randperm(len(words), generator=rng).tolist()]
    else:
        thing = _pick(world.things, rng)
        pairs = [(_pick(OFFERS.split(), rng), thing) for _ in range(len(words) // 2)]
        words = [word for pair in pairs for word in pair] + ["!", "!"]
    return Page(text=" ".join(words), marks=frozenset({"spam"}))


def _lost(page: Page, rng: torch.Generator) -> Page:
    """Five letters that no reader could decode."""
    letters = list(page.text)
    for place in torch.randperm(len(letters), generator=rng)[:5].tolist():
        letters[place] = "\N{REPLACEMENT CHARACTER}"
    return replace(page, text="".join(letters), marks=frozenset({"lost"}))


def _marked(pages: Sequence[Page]) -> list[Page]:
    """Mark addresses, and every page of a story but its first: a copy if it is one word by word."""
    texts, stories, marked = set(), set(), []
    for page in pages:
        marks = set(page.marks)
        if page.text in texts and page.text:
            marks.add("copy")
        elif page.story in stories and page.story:
            marks.add("near copy")
        if "555-01" in page.text or "@" in page.text:
            marks.add("personal")
        texts.add(page.text)
        stories.add(page.story)
        marked.append(replace(page, marks=frozenset(marks)))
    return marked


def _published(page: Page, number: int, rng: torch.Generator) -> Page:
    """The page on a site, between its menu and its small print, sometimes decoded wrongly."""
    at = _pick(range(SITES), rng)
    site, marks = f"site{at}.example.org", set(page.marks)
    names = MENU.split()
    menu = " | ".join(names[(at + step) % len(names)] for step in range(0, 10, 2))
    frame = [menu, SMALL_PRINT, f"© {2005 + at} {site} . all rights reserved ."]
    top, middle, foot = (line if _chance(0.9, rng) else "" for line in frame)
    if top or middle or foot:
        marks.add("boilerplate")
    text = page.text
    if "lost" not in marks and text and _chance(MOJIBAKE, rng):
        text, marks = _fancy(text, rng), marks | {"mojibake"}
    text = "\n".join(line for line in (top, middle, text, foot) if line)
    if "mojibake" in marks:
        text = text.encode("utf-8").decode("cp1252")  # read as what it is not
    return replace(page, text=text, site=site, number=number, marks=frozenset(marks))


def _fancy(text: str, rng: torch.Generator) -> str:
    """The same story with signs and some spaces that ASCII does not have."""
    parts = text.translate(FANCY).split(" ")
    for place in torch.randperm(len(parts) - 1, generator=rng)[:8].tolist():
        parts[place] += NO_BREAK
    return " ".join(parts).replace(f"{NO_BREAK} ", NO_BREAK)


def _pick(options: Sequence, rng: torch.Generator):
    return options[int(torch.randint(len(options), (), generator=rng))]


def _chance(share: float, rng: torch.Generator) -> bool:
    return bool(torch.rand((), generator=rng) < share)
