"""Exercises of lesson 07: what does a model learn from raw text alone?"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from course_lm.language import cleaning, lab
from course_lm.language.crawl import Page, crawl
from course_lm.language.world import NUMBERS
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.training.probes import Choice, option_log_probs

from .checking import exercise
from .expect import expect_equal, expect_number, fail
from .quiz import Question
from .sentences import brief

what_first = Question(
    "Prediction: a model reads stories and we test it again and again. What does it master first?",
    (
        (
            "Facts: `anna lives in arden` is stated hundreds of times.",
            "Each fact is a handful of words among thousands; grammar is in every sentence.",
        ),
        (
            "Grammar: which word can follow which.",
            "It pays at every word, and the last word or two are enough for it.",
        ),
        (
            "Memory: who holds the lamp, where it is.",
            "That takes a look back over many words, and then a second one; it pays rarely.",
        ),
    ),
    correct=1,
)

which_step_pays = Question(
    "Prediction: which step of the cleaning lowers the loss on new stories most?",
    (
        (
            "Dropping the copies: they fill almost half of the pages.",
            "Most copies still hold a good story; the model has time to read it again.",
        ),
        (
            "Cutting menus and small print.",
            "A third of all words belong to them, and they teach nothing about stories.",
        ),
        (
            "Hiding addresses and telephone numbers.",
            "They are one word in five hundred. It is done for other reasons.",
        ),
    ),
    correct=1,
)

below_the_floor = Question(
    "Prediction: a model reads the same hundred stories again and again. What happens to its loss "
    "on them, and on new stories?",
    (
        ("Both fall to the floor and stay there.", "The floor binds those who have to predict."),
        (
            "On its own stories it falls below the floor; on new ones it rises.",
            "It recites what it has read, and is sure of the wrong thing elsewhere.",
        ),
        ("Both stop early: a hundred stories are too few.", "They are few enough to remember."),
    ),
    correct=1,
)


@exercise(
    "7.1",
    "The price of a model",
    minutes=6,
    hints=(
        "First the compute: six operations for each weight and each token.",
        "6 · 10⁹ · 2 · 10¹⁰ = 1.2 · 10²⁰ operations. What do eight cards really do in a second?",
        "8 · 2.5 · 10¹⁴ · 0.4 = 8 · 10¹⁴ a second. Divide, then by the 86,400 seconds of a day.",
    ),
)
def price(student):
    """10⁹ weights read 2·10¹⁰ tokens on 8 cards of 2.5·10¹⁴ FLOP a second. How many days?

    Training reaches 40 % of what the cards could do.
    """
    seconds = 6 * 1e9 * 20e9 / (8 * 2.5e14 * 0.4)
    days = seconds / 86_400
    mistakes = {
        "That is forward alone; backward costs twice as much again: 6, not 2.": days / 3,
        "That is backward alone; add the 2 of forward.": days * 2 / 3,
        "The cards reach 40 % of their best only.": days * 0.4,
        "That is one card; there are eight.": days * 8,
        "Eight cards take an eighth of the time, not eight times as long.": days * 64,
        "Those are seconds; a day has 86,400.": seconds,
        "Those are hours.": days * 24,
        "Divide by the 40 %: slower cards take longer.": days * 0.16,
    }
    expect_number(student.value, days, tolerance=5e-3, mistakes=mistakes)
    return "Ten times the weights on ten times the text: a hundred times the days."


@cache
def _reader() -> Transformer:
    """An untrained model with strong opinions."""
    config = TransformerConfig(
        vocab_size=len(lab.vocabulary()), width=16, layers=1, heads=2, kv_heads=2, hidden=16
    )
    rng = torch.Generator().manual_seed(7)
    model = Transformer(config, rng).requires_grad_(False)
    model.head.weight.copy_(torch.randn(model.head.weight.shape, generator=rng))
    return model


@exercise(
    "7.2",
    "Write a probe: which end does the model prefer?",
    minutes=12,
    hints=(
        "Put prompt and option in one row, (1, T). The logits at place t are about token t + 1.",
        "`model(row)[0].log_softmax(-1)`: the option's first token is predicted at the prompt's "
        "last place, len(prompt) − 1.",
        "Sum `logs[len(prompt) - 1 + k, option[k]]` over the k tokens of the option.",
    ),
)
def option_score(student):
    """Return log P(option | prompt) in nats; `prompt` and `option` are lists of ids.

    `model(ids) -> logits`, (B, T) -> (B, T, V).
    """
    model = _reader()
    vocabulary = lab.vocabulary()
    pairs = (
        ("<s> anna is in the kitchen . the small dogs near the gate", "run"),
        ("<s> ben is in the attic .", "eva takes the red lamp ."),
        ("<s> eva", "lives in elsin ."),
    )
    for before, after in pairs:
        prompt, option = vocabulary.encode(before), vocabulary.encode(after)
        choice = Choice(tuple(prompt), (tuple(option), tuple(option)))
        right = option_log_probs(model, [choice])[0][0].item()
        got = student(model, prompt, option)
        slips = {k: v for k, v in _slips(model, prompt, option).items() if abs(v - right) > 1e-3}
        expect_number(_plain(got), right, tolerance=1e-4, mistakes=slips)
    return "The difference of two such scores is the whole of BLiMP: no training, no labels."


def _plain(got: object) -> object:
    return got.detach() if isinstance(got, Tensor) else got


def _slips(model: Transformer, prompt: list[int], option: list[int]) -> dict[str, float]:
    """What the usual errors give."""
    row = torch.tensor(prompt + option)
    logits = model(row[None])[0]
    logs = logits.log_softmax(-1)
    ahead = logs[:-1].gather(-1, row[1:, None])[:, 0]  # of every token but the first
    own = ahead[len(prompt) - 1 :]
    here = logs[len(prompt) :].gather(-1, row[len(prompt) :, None]).sum().item()
    return {
        "That is a mean; the log of a product is a sum, also for long options.": own.mean().item(),
        "The prompt is scored, too; take the option's tokens only.": ahead.sum().item(),
        "You read the logits at the token itself; those are about the next one.": here,
        "That is a probability; give its log.": own.sum().exp().item(),
        "That is the first token alone; add the others.": own[0].item(),
        "That is the last token alone; add those before it.": own[-1].item(),
        "The sign is turned: log P is 0 or less.": -own.sum().item(),
        "Those are logits; take log softmax first.": logits[:-1]
        .gather(-1, row[1:, None])[len(prompt) - 1 :]
        .sum()
        .item(),
    }


@exercise(
    "7.3",
    "Fit a power law",
    minutes=12,
    hints=(
        "Take the floor away and the logarithm: log(L − E) = log A − a log D is a straight line.",
        "The slope of the best line through (x, y) is Σ(x − x̄)(y − ȳ) / Σ(x − x̄)².",
        "a = −slope, A = exp(ȳ − slope · x̄).",
    ),
)
def power_law(student):
    """Return (A, a) of L = E + A / D^a for lists of tokens D and losses L and a known floor E.

    Least squares of log(L − E) on log D.
    """
    cases = (
        ([1e4, 1e5, 1e6, 1e7], 0.62, 40.0, 0.5, (0.0, 0.0, 0.0, 0.0)),
        ([3e3, 1e4, 4e4, 2e5, 9e5], 0.3, 12.0, 0.25, (0.1, -0.2, 0.05, 0.15, -0.1)),
    )
    for tokens, floor, A, a, noise in cases:
        losses = [floor + A * d**-a * math.exp(e) for d, e in zip(tokens, noise, strict=True)]
        got = student(tokens, losses, floor)
        got = got.tolist() if getattr(got, "ndim", None) == 1 else got
        if not isinstance(got, tuple | list) or len(got) != 2:
            fail(f"expected two numbers (A, a), got {brief(got)}")
        right, slips = _line(tokens, losses, floor), _law_slips(tokens, losses, floor)
        for place, name in enumerate(("A", "a")):
            mistakes = {text: wrong[place] for text, wrong in slips.items()}
            _expect_part(name, got[place], right[place], mistakes)
    return "A straight line of logs: that is how the large labs plan runs of millions of dollars."


def _expect_part(name: str, got: object, right: float, mistakes: dict[str, float]) -> None:
    mistakes = {text: v for text, v in mistakes.items() if abs(v / right - 1) > 1e-3}
    if isinstance(got, str | bool | None):
        fail(f"expected a number for {name}, got {brief(got)}")
    expect_number(got, right, tolerance=1e-4, mistakes=mistakes)


def _line(tokens: list[float], losses: list[float], floor: float) -> tuple[float, float]:
    x = torch.tensor(tokens, dtype=torch.float64).log()
    y = torch.tensor([loss - floor for loss in losses], dtype=torch.float64).log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return float((y.mean() - slope * x.mean()).exp()), float(-slope)


def _law_slips(
    tokens: list[float], losses: list[float], floor: float
) -> dict[str, tuple[float, float]]:
    A, a = _line(tokens, losses, floor)
    decimal = [math.log10(d) for d in tokens]
    tens = math.log10(A)
    return {
        "The floor is still in it; subtract E before the logarithm.": _line(tokens, losses, 0.0),
        "The sign of a is turned: the slope is −a.": (A, -a),
        "That is log A; take e to that power.": (math.log(A), a),
        "That is log₁₀ A; take 10 to that power.": (tens, a),
        "A is the value where log D = 0, not at the mean of log D.": (
            A * 10 ** (-a * sum(decimal) / len(decimal)),
            a,
        ),
        "The two have changed places: return (A, a).": (a, A),
    }


@exercise(
    "7.4",
    "Write exact deduplication",
    minutes=10,
    hints=(
        "Two pages are the same if their words are: `page.text.lower().split()` says which.",
        "Walk through the pages in order and remember what you have seen. A list cannot be in a "
        "set, a tuple or a text can.",
        "`key = ' '.join(page.text.lower().split())`; keep the page if key is not in `seen`.",
    ),
)
def drop_copies(student):
    """Return the pages without copies: the first of all with the same words, in the same order.

    Capitals and the number of spaces make no difference. The words of a page are in `page.text`.
    """
    for pages in _crawls():
        got = _pages_of(student(pages))
        numbers = [page.number for page in got]
        mistakes = _dedup_slips(pages)
        right = mistakes.pop("")
        mistakes = {text: wrong for text, wrong in mistakes.items() if wrong != right}
        if sorted(numbers) == right != numbers:
            fail("the right pages, in another order; keep that of the crawl")
        expect_equal(numbers, right, mistakes=mistakes)
        if any(page not in pages for page in got):
            fail("expected the pages as they are, got changed ones; compare a copy of the text")
    return "A hash of 32 bytes a page is all one must remember; a billion pages take 32 GB."


def _pages_of(got: object) -> Sequence[Page]:
    if not isinstance(got, list | tuple) or not all(isinstance(page, Page) for page in got):
        fail(f"expected a list of pages, got {brief(got)}")
    return got


@cache
def _crawls() -> tuple[list[Page], ...]:
    texts = (
        "The dog .",
        "the  dog .",
        "the dogs .",
        "a cat .",
        "a cat .",
        "the dog .",
        "the dog sees the cat",
        "the cat sees the dog",
        "A bird .",
        "a bird .",
    )
    by_hand = [Page(text=text, number=n) for n, text in enumerate(texts)]
    rng = torch.Generator().manual_seed(0)
    crawled = cleaning.strip_boilerplate(cleaning.repair(crawl(60, rng)))
    return by_hand, crawled, []


def _dedup_slips(pages: list[Page]) -> dict[str, list[int]]:
    """Numbers of the pages that the usual errors keep; the right ones under ""."""

    def kept(key, last: bool = False) -> list[int]:
        found: dict[object, int] = {}
        for page in pages:
            if last or key(page) not in found:
                found[key(page)] = page.number
        return sorted(found.values()) if last else list(found.values())

    def normal(page: Page) -> str:
        return " ".join(page.text.lower().split())

    keys = [normal(page) for page in pages]
    return {
        "": kept(normal),
        "Nothing was dropped.": [page.number for page in pages],
        "Of each text the last page stays; keep the first.": kept(normal, last=True),
        "Of each text the last page stays, and case and spaces still count.": kept(
            lambda page: page.text, last=True
        ),
        "`The dog .` and `the  dog .` have the same words: compare lower case, spaces made "
        "equal.": kept(lambda page: page.text),
        "Lower case is not enough: two spaces or one are the same.": kept(
            lambda page: page.text.lower()
        ),
        "Spaces are not enough: `The` and `the` are the same word here.": kept(
            lambda page: " ".join(page.text.split())
        ),
        "The first page of each text stays, too: of a copied story nothing is left.": [
            page.number for page, key in zip(pages, keys, strict=True) if keys.count(key) == 1
        ],
        "The same words in another order are no copy: the dog sees the cat.": kept(
            lambda page: frozenset(normal(page).split())
        ),
    }


def planted_cut(pages):
    """Cut the lines that repeat, with a planted bug; the page shows it as exercise 7.5."""
    counts = Counter(line for page in pages for line in {*page.text.split("\n")})
    most = max(3, len(pages) / 100)

    def kept(page):
        return "\n".join(s for s in page.text.split("\n") if counts[s] < most).strip()

    stripped = [replace(page, text=kept(page)) for page in pages]
    return [page for page in stripped if page.text]


@exercise(
    "7.5",
    "Find the planted bug: a filter that eats stories",
    minutes=10,
    hints=(
        "Which pages disappear altogether? Look at their `story`: on how many sites does it stand?",
        "A menu stands on most pages of one site and on none of the others, a story on few pages "
        "of many sites. Count site by site.",
        "Count pairs `(page.site, line)` and the pages of each site; cut a line whose count is at "
        "least `max(3, sizes[page.site] / 2)`.",
    ),
    planted=planted_cut,
)
def cut(student):
    """Mend it: cut each line that stands on at least half of the pages of its site, and on three.

    Counted once a page. A page of which nothing is left is dropped.
    """
    for pages in _sites():
        got = _pages_of(student(pages))
        slips = _cut_slips(pages)
        right = slips.pop("")
        numbers = [page.number for page in got]
        if sorted(numbers) == list(right) != numbers:
            fail("the right pages, in another order; keep that of the crawl")
        mistakes = {said: list(wrong.values()) for said, wrong in slips.items() if wrong != right}
        expect_equal([page.text.strip() for page in got], list(right.values()), mistakes=mistakes)
        if numbers != list(right):
            fail(
                "expected the pages as they were but for their text; use `replace(page, text=...)`"
            )
    return "What repeats is noise or fame: C4 and RefinedWeb had to tell one from the other, too."


@cache
def _sites() -> tuple[list[Page], list[Page]]:
    """Four sites with a menu, small print, a song and the story they copied; two more."""
    pages = []
    for site in "abcd":
        small = f"\nall rights reserved by {site} ."  # on half of the pages
        texts = [f"{site} is far .{small}", "the story that all tell .", f"ask {site} .{small}"]
        texts += [f"{site} sings .\nla la .\nla la .\nla la .", small, f"{site} is near ."]
        pages += [Page(text=f"menu of {site}\n{text.strip()}", site=site) for text in texts]
    pages += [Page(text="menu of e\ne has one page .", site="e")]
    told = ["f is asked thrice ."] * 3 + [f"f has page {number} ." for number in NUMBERS[3:7]]
    pages += [Page(text=f"menu of f\n{text}", site="f") for text in told]
    by_hand = [replace(page, number=n) for n, page in enumerate(pages)]
    return by_hand, cleaning.repair(crawl(60, torch.Generator().manual_seed(0)))


def _cut_slips(pages: list[Page]) -> dict[str, dict[int, str]]:
    """The texts that the usual errors leave, by the numbers of their pages; the right under ""."""
    sizes = Counter(page.site for page in pages)

    def left(most: Callable, once: Callable = set, empty: bool = False) -> dict[int, str]:
        lines = {page.number: page.text.split("\n") for page in pages}
        counts = Counter((page.site, s) for page in pages for s in once(lines[page.number]))
        texts = {
            n: "\n".join(s for s in lines[n] if counts[site, s] < most(sizes[site])).strip()
            for n, site in ((page.number, page.site) for page in pages)
        }
        return {n: text for n, text in texts.items() if text or empty}

    def right(size: int) -> float:
        return max(3, size / 2)

    return {
        "": left(right),
        "This gives the same as the function on the page: what many sites tell is cut.": {
            page.number: page.text for page in planted_cut(pages)
        },
        "Menus stay: compare with half of the pages of the site, not with half of all.": left(
            lambda size: len(pages) / 2
        ),
        "A site of one page loses everything: ask for three pages as well.": left(
            lambda size: size / 2
        ),
        "Three pages are few on a large site: ask for half of its pages as well.": left(
            lambda size: 3
        ),
        "A line on exactly half of the pages of its site goes, too.": left(
            lambda size: max(3, size // 2 + 1)
        ),
        "A line counts once a page, however often it stands there.": left(right, once=list),
        "A page of which nothing is left is to be dropped.": left(right, empty=True),
    }


@exercise(
    "7.6",
    "Measure: what is stated rarely?",
    minutes=10,
    hints=(
        "Look for `words[i + 1 : i + 3] == ['lives', 'in']`; the person is words[i].",
        "anna, ben, cleo and dan are stated often, eva and finn rarely: count both groups.",
        "Divide each count by its number of persons, 4 and 2, before you divide one by the other.",
    ),
)
def rare_facts(student):
    """How many times as often is a home stated for a person of the first group as of the second?

    anna, ben, cleo, dan against eva, finn, in lab.sample(60_000, torch.Generator().manual_seed(0)).
    """
    often, rarely, lands = _stated()
    ratio = (often / 4) / (rarely / 2)
    mistakes = {
        "There are four persons in the first group and two in the second: per person.": (
            often / rarely
        ),
        "That is the second over the first.": 1 / ratio,
        "That is the share of the first group, not the ratio.": often / (often + rarely),
        "Count `lives in` alone, not `comes from`.": (often + lands[0])
        / 4
        / ((rarely + lands[1]) / 2),
        "That is the number for the first group.": often,
    }
    expect_number(student.value, ratio, tolerance=1e-3, mistakes=mistakes)
    return "The web is like this, too: a few facts stand on every page, most on a handful."


@cache
def _stated() -> tuple[int, int, tuple[int, int]]:
    """Homes stated of the four and of the two, and lands likewise."""
    groups = ("anna", "ben", "cleo", "dan"), ("eva", "finn")
    words = lab.sample(60_000, torch.Generator().manual_seed(0))
    pairs = list(pairwise(words))
    homes, lands = (
        tuple(sum(pairs.count((name, verb)) for name in group) for group in groups)
        for verb in ("lives", "comes")
    )
    return *homes, lands
