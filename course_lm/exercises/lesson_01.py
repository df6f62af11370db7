"""Exercises of lesson 01: what comes next?"""

import math
from functools import cache

import torch

from course_lm.language.corpora import python_topics
from course_lm.language.tokens import characters
from course_lm.models.counts import add_k

from .checking import exercise
from .expect import expect_number, expect_shape, expect_tensor, fail
from .quiz import Question
from .sentences import Problem, brief

longer_contexts = Question(
    "Prediction: we raise n, the length of the counted pieces, from 1 to 9. What does the loss on "
    "plays that were not counted do?",
    (
        ("It falls and falls.", "At n = 9 half of a new play's pieces were never counted before."),
        (
            "It falls first and rises later.",
            "Longer contexts tell more, but each is seen less often; at some n the second effect "
            "wins. Good back-off makes the rise almost vanish.",
        ),
        ("It rises from the start.", "From n = 1 to n = 2 it falls by a whole bit."),
    ),
    correct=1,
)

zero_temperature = Question(
    "Prediction: we lower the temperature toward 0. What becomes of the text?",
    (
        ("It becomes random.", "High temperatures do that: all logits come close to each other."),
        (
            "It becomes the most probable text of all.",
            "Only each single step takes the likeliest token; a likely first step can lead to "
            "unlikely later ones, so the whole need not be the likeliest.",
        ),
        (
            "Each step takes the likeliest token, so the text is always the same, and may loop.",
            "The same context comes again, and so do the tokens after it.",
        ),
    ),
    correct=2,
)


@exercise(
    "1.1",
    "Chain rule by hand",
    minutes=4,
    hints=(
        "Multiply one conditional probability for each new word: three factors.",
        "After `a` come bee, fox, fox, bee, bee. What comes after `bee`?",
        "P(bee | a) = 3/5, P(hid | bee) = 1/3, P(. | hid) = 1. Multiply.",
    ),
)
def chain_rule(student):
    """Give P(bee hid . | a) by the bigrams of "a bee saw a fox . a fox saw a bee . a bee hid ."."""
    mistakes = {
        "That is P(bee | a), the first factor alone.": 3 / 5,
        "That is P(hid | bee) · P(. | hid); P(bee | a) is a factor, too.": 1 / 3,
        "That is the sum of the three factors; a chain of events multiplies.": 3 / 5 + 1 / 3 + 1,
        "That is 3/5 · 1/2; the full stop, too, is a word that comes after `bee`.": 3 / 10,
        "That is 1/2 · 1/3; `bee` and `fox` are not equally likely after `a`.": 1 / 6,
        "That is 3/5 · 1/3 · 1/3; what can come after `hid`?": 1 / 15,
        "That is P(a) · P(bee hid . | a); here `a` is given.": 5 / 16 / 5,
        "That is P(bee) · P(hid) · P(.); each factor has a condition.": 3 / 16 * 1 / 16 * 3 / 16,
        "Divide each pair by the count of its first word, not of all pairs.": 3 / 15 * 1 / 15 / 15,
        "That is a logarithm; give the probability itself.": math.log(1 / 5),
        "That is in percent; a probability lies between 0 and 1.": 20.0,
        "That is 0.6 · 0.33; do not round before the end.": 0.198,
    }
    if isinstance(student.value, str):
        fail(f"expected a number, got {brief(student.value)}; leave out the quotation marks")
    expect_number(student.value, 1 / 5, tolerance=5e-4, mistakes=mistakes)
    return "One impossible step would make the product 0, however good the other steps are."


@exercise(
    "1.2",
    "Count n-grams",
    minutes=10,
    hints=(
        "Slide a window of n words over the list; how many windows are there?",
        "The context is the tuple of the first n − 1 words of a window; for n = 1 it is `()`.",
        "`for i in range(len(words) - n + 1):` count `words[i + n - 1]` after the context "
        "`tuple(words[i : i + n - 1])`; a count begins at 0.",
    ),
)
def count_ngrams(student):
    """Return a dict: context (tuple of n − 1 words) -> dict: next word -> how often it came."""
    words = "the dog saw the cat and the dog slept".split()
    for n in (2, 2, 1, 3):  # twice the same: nothing may stay from the call before
        _expect_counts(student(words, n), words, n)
    _expect_counts(student(["the"], 2), ["the"], 2)
    return "Summed over all contexts, the counts are the number of windows: len(words) − n + 1."


def _expect_counts(got: object, words: list[str], n: int) -> None:
    _expect_contexts(got, n)
    windows = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    once, want = list(dict.fromkeys(windows)), _counted(windows)
    got = {context: dict(after) for context, after in got.items()}
    mistakes = {
        "The last window is missing.": _counted(windows[:-1]),
        "The next window begins one word later, not n words.": _counted(windows[::n]),
        "Every count is 1: add 1 to the count so far.": _counted(once),
        "Every count is 1 too high: begin at 0.": _counted(windows + once),
        "Every count is doubled: make the dict inside the function.": _counted(windows * 2),
        "The context stands before the word.": _counted([pair[::-1] for pair in windows]),
        "Each context keeps one word alone.": {pair[:-1]: {pair[-1]: 1} for pair in windows},
    }
    for context in [*want, *got]:
        right, wrong = (counts.get(context, {}) for counts in (want, got))
        if right != wrong:
            named = next((f". {text}" for text, counts in mistakes.items() if counts == got), "")
            fail(f"expected {brief(right)} under `{context}`, got {brief(wrong)}{named}")


def _counted(windows: list[tuple[str, ...]]) -> dict[tuple[str, ...], dict[str, int]]:
    counts = {}
    for *context, word in windows:
        after = counts.setdefault(tuple(context), {})
        after[word] = after.get(word, 0) + 1
    return counts


def _expect_contexts(got: object, n: int) -> None:
    if not isinstance(got, dict):
        fail(f"expected a dict of contexts, got {brief(got)}")
    for context, after in got.items():
        if not isinstance(context, tuple):
            fail(f"expected tuples as contexts, such as `(word,)` or `()`, got {brief(context)}")
        if not isinstance(after, dict):
            fail(f"expected a dict of next words under `{context}`, got {brief(after)}")
        if not all(isinstance(count, int | float) for count in after.values()):
            fail(f"expected counts under `{context}`, got {brief(after)}")
        if len(context) != n - 1:
            fail(f"expected contexts of n − 1 = {n - 1} words from windows of n, got `{context}`")


@exercise(
    "1.3",
    "Smooth with add-k",
    minutes=8,
    hints=(
        "Pretend that every word of the vocabulary came k more times after every context.",
        "If each of V words gets k more, how much does the total of the context grow?",
        "(c(h w) + k) / (c(h) + k · V); look counts up by `.get(context, {})`, `.get(word, 0)`.",
    ),
)
def add_k_probability(student):
    """Return P(word | context) with add-k; `counts` is what exercise 1.2 returns."""
    counts = {("the",): {"dog": 2, "cat": 1}, ("dog",): {"saw": 1}}
    mistakes = {
        "k is missing: that is maximum likelihood.": 2 / 3,
        "Each of the V words gets k, so the total grows by k · V, not by k.": 2.3 / 3.3,
        "Each of the V words gets k, so the total grows by k · V, not by V.": 2.3 / 8,
        "k is missing above the line.": 2 / 4.5,
        "The total did not grow: each of the V words gets k.": 2.3 / 3,
        "The total grew by 2 k; V is `vocab_size`, here 5.": 2.3 / 3.6,
        "c(h) is the sum of the counts after h, not how many words differ.": 2.3 / 3.5,
        "c(h) is the sum of the counts after this context only.": 2.3 / 5.5,
        "That is right for k = 1; take the argument `k`.": 3 / 8,
        "That is for a word that never came; `dog` came twice.": 0.3 / 4.5,
        "That is for a context that never came; `the` came three times.": 1 / 5,
        "That is 0; does `//` drop what is behind the point?": 2.3 // 4.5,
    }
    expect_number(student(counts, ("the",), "dog", 5, 0.3), 2.3 / 4.5, mistakes=mistakes)
    mistakes = {"A word that never came has to get something: that is the purpose of k.": 0.0}
    expect_number(student(counts, ("the",), "bird", 5, 0.3), 0.3 / 4.5, mistakes=mistakes)
    mistakes = {"After a context that never came, all V words are equally likely.": 0.0}
    expect_number(student(counts, ("bird",), "dog", 5, 0.3), 1 / 5, mistakes=mistakes)
    mistakes = {
        "That is right for V = 5; take the argument `vocab_size`.": 1.1 / 1.5,
        "That is right for k = 0.3; take the argument `k`.": 1.3 / 3.1,
    }
    expect_number(student(counts, ("dog",), "saw", 7, 0.1), 1.1 / 1.7, mistakes=mistakes)
    return "The same k takes much from a rare context and little from a frequent one: c(h) decides."


def planted_nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Top-p with a planted bug; the page shows it as exercise 1.4."""
    ranked, order = logits.sort(descending=True)
    keep = ranked.softmax(-1).cumsum(-1) < top_p
    return torch.full_like(logits, -torch.inf).scatter(-1, order[keep], ranked[keep])


@exercise(
    "1.4",
    "Find the planted bug: top-p",
    minutes=8,
    hints=(
        "Try top_p = 0.5 on probabilities 0.6, 0.3, 0.1 by hand: what has to stay?",
        "The token that makes the sum reach p has to stay. What does `cumsum` hold at its place?",
        "`probs = ranked.softmax(-1)`, then `keep = probs.cumsum(-1) - probs < top_p`.",
    ),
    planted=planted_nucleus,
)
def nucleus(student):
    """Mend the function: the fewest likeliest tokens that reach top_p stay, the rest gets −inf."""
    logits, equal = torch.tensor([0.1, 0.6, 0.3]).log(), torch.zeros(2)
    staying = {0.7: 2, 0.5: 1, 0.95: 3, 1.0: 3}
    probes = [(logits, top_p) for top_p in staying] + [(equal, 0.5)]
    if all(_same(student(*probe), planted_nucleus(*probe)) for probe in probes):
        fail("this gives the same as the function on the page")
    for top_p, count in staying.items():
        right, ranks = _kept(logits, count), torch.arange(3)
        mistakes = {
            "Nothing is left; the likeliest token stays whatever top_p is.": _kept(logits, 0),
            "One token is missing; the others do not reach top_p.": _kept(logits, count - 1),
            "One token too many; the others reach top_p.": _kept(logits, count + 1),
            "Nothing is cut off.": logits,
            "These stand in the order of rank; put them back.": right.sort(descending=True)[0],
            "The mask is in the order of rank.": logits.where(ranks < count, -torch.inf),
            "That is the mask; return logits.": right.isfinite(),
            "These are probabilities; return logits.": right.softmax(-1),
            "A logit of 0 is no probability of 0; that is −inf.": right.nan_to_num(neginf=0.0),
            "What stays keeps its logit; softmax divides later.": right.log_softmax(-1),
        }
        got = student(logits, top_p)
        try:
            expect_tensor(got, right, mistakes=mistakes)
        except Problem as problem:
            fail(f"{problem.revealed} (the probabilities are 0.1, 0.6, 0.3)")
    left = int(expect_shape(student(equal, 0.5), (2,)).isfinite().sum())
    if left != 1:
        fail(f"expected 1 token to stay, got {left}; one of (1/2, 1/2) reaches 0.5 alone")
    return "With top_p = 1 nothing is cut; as top_p goes to 0 one token is left, as with top_k = 1."


def _same(one: object, other: torch.Tensor) -> bool:
    return isinstance(one, torch.Tensor) and one.shape == other.shape and bool((one == other).all())


def _kept(logits: torch.Tensor, count: int) -> torch.Tensor:
    likeliest = logits.argsort(descending=True)[:count]
    return torch.full_like(logits, -torch.inf).scatter(-1, likeliest, logits[likeliest])


@exercise(
    "1.5",
    "Measure: how far to look back in Python's documentation",
    minutes=10,
    hints=(
        "Take the `characters` of all three parts, and count the training part with k = 0.1.",
        "The loss of a model on a text is `-model.token_log_probs(ids).mean()`. Of which text?",
        "Take the n whose `add_k(...).of_order(n)` has the lowest loss on `.validation`.",
    ),
)
def best_order(student):
    """Give the n from 1 to 10 with the lowest add-0.1 loss on `python_topics().validation`."""
    answer, unheard, counted = student.value, _losses("validation"), _losses("train")
    best = min(unheard, key=unheard.get)
    mistakes = {
        "It has the lowest loss on the text that was counted.": min(counted, key=counted.get),
        "If you took it from a list: places begin at 0, n at 1.": best - 1,
        "That n has the highest loss.": max(unheard, key=unheard.get),
        "That is a loss; give its n.": unheard[best],
    }
    expect_number(answer, best, tolerance=1e-3, mistakes=mistakes)
    return f"Its loss is {unheard[best]:.2f} nats a character, at n = 10 it is {unheard[10]:.2f}."


@cache
def _losses(part: str) -> dict[int, float]:
    corpus = python_topics()
    vocabulary = characters(corpus.train + corpus.validation + corpus.test)
    model = add_k(vocabulary.encode(corpus.train), 10, len(vocabulary), k=0.1)
    ids = torch.tensor(vocabulary.encode(getattr(corpus, part)))
    return {n: -float(model.of_order(n).token_log_probs(ids).mean()) for n in range(1, 11)}
