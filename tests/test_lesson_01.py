import math
import re
from collections import Counter, defaultdict
from fractions import Fraction

import numpy
import pytest
import torch
from verdicts import cell_of, said

from course_lm.exercises import lesson_01 as lesson
from course_lm.models.sampling import adjust


def windows_of(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def counted(windows):
    counts = defaultdict(Counter)
    for *context, word in windows:
        counts[tuple(context)][word] += 1
    return counts


# ---- 1.1 ----


@pytest.mark.parametrize("answer", [0.2, 1 / 5, Fraction(1, 5), numpy.float64(0.2), 0.6 * 0.333])
def test_the_product_of_the_chain_passes(answer, capsys):
    assert "passed" in said(lesson.chain_rule, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (0.6, "first factor alone"),
        (1 / 3, "P(bee | a) is a factor, too"),
        (3 / 5 + 1 / 3 + 1, "a chain of events multiplies"),
        (0.3, "the full stop, too, is a word"),
        (1 / 6, "not equally likely after `a`"),
        (1 / 15, "what can come after `hid`?"),
        (1 / 16, "here `a` is given"),
        (3 / 16 * 1 / 16 * 3 / 16, "each factor has a condition"),
        (-1.609, "That is a logarithm"),
        (20, "That is in percent"),
        ("1/5", "expected a number, got '1/5'; leave out the quotation marks"),
        (0.7, "expected another number, got 0.7\n"),
    ],
)
def test_a_wrong_chain_is_named(answer, words, capsys):
    assert words in said(lesson.chain_rule, answer, capsys)


# ---- 1.2 ----


def nested_defaultdict(words, n):
    counts = defaultdict(lambda: defaultdict(int))
    for place in range(n - 1, len(words)):
        counts[tuple(words[place - n + 1 : place])][words[place]] += 1
    return counts


def plain_dict(words, n):
    return {context: dict(after) for context, after in counted(windows_of(words, n)).items()}


def with_an_empty_end(words, n):
    return {tuple(words[len(words) - n + 1 :]): {}} | counted(windows_of(words, n))


def floats(words, n):
    return {
        context: {word: numpy.float64(count) for word, count in after.items()}
        for context, after in plain_dict(words, n).items()
    }


@pytest.mark.parametrize(
    "answer",
    [
        nested_defaultdict,
        plain_dict,
        with_an_empty_end,
        floats,
        lambda words, n: counted(windows_of(words, n)),
    ],
)
def test_every_kind_of_nested_dict_passes(answer, capsys):
    assert "passed" in said(lesson.count_ngrams, answer, capsys)


def up_to_the_end(words, n):
    return counted(tuple(words[i : i + n]) for i in range(len(words)))


def overwritten(words, n):
    return {window[:-1]: {window[-1]: 1} for window in windows_of(words, n)}


def from_one(words, n):
    windows = windows_of(words, n)
    return counted(windows + list(dict.fromkeys(windows)))


kept = defaultdict(Counter)


def outside(words, n):
    for *context, word in windows_of(words, n):
        kept[tuple(context)][word] += 1
    return dict(kept)


def takes_from_the_input(words, n):
    counts = counted(windows_of(words, n))
    words.pop()
    return counts


def wrong_types(words, n):
    return {" ".join(c): after for c, after in counted(windows_of(words, n)).items()}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda words, n: counted(windows_of(words, n)[:-1]), "The last window is missing."),
        (lambda words, n: counted(windows_of(words, n)[::n]), "begins one word later, not n words"),
        (lambda words, n: counted(set(windows_of(words, n))), "Every count is 1: add 1"),
        (from_one, "Every count is 1 too high: begin at 0."),
        (outside, "Every count is doubled: make the dict inside the function."),
        (overwritten, "expected {'cat': 1, 'dog': 2} under `('the',)`, got {'dog': 1}. Each"),
        (lambda words, n: counted(w[::-1] for w in windows_of(words, n)), "stands before the word"),
        (up_to_the_end, "expected contexts of n − 1 = 1 words from windows of n, got `()`"),
        (lambda words, n: counted(windows_of(words, 2)), "n − 1 = 0 words from windows of n"),
        (
            lambda words, n: counted(windows_of(["<s>", *words], n)),
            "expected {} under `('<s>',)`, got {'the': 1}\n",
        ),
        (
            lambda words, n: Counter(windows_of(words, n)),
            "next words under `('the', 'dog')`, got 2",
        ),
        (lambda words, n: windows_of(words, n), "expected a dict of contexts, got [("),
        (wrong_types, "expected tuples as contexts, such as `(word,)` or `()`, got 'the'"),
        (takes_from_the_input, "your function changed its input"),
        (lambda words, n: print(counted(windows_of(words, n))), "got None; end the function with"),
        (lambda words, n: {words[i]: words[i + 1] for i in range(9)}, "IndexError in line"),
    ],
)
def test_a_wrong_count_is_named(answer, words, capsys):
    kept.clear()
    assert words in said(lesson.count_ngrams, answer, capsys)


# ---- 1.3 ----


def test_the_sentence_about_counts_shows_all_words_of_the_call(capsys):
    out = said(lesson.count_ngrams, lambda words, n: {}, capsys)
    assert "(['the', 'dog', 'saw', 'the', 'cat', 'and', 'the', 'dog', 'slept'], 2)" in out


def add_k(counts, context, word, vocab_size, k):
    after = counts.get(context, {})
    return (after.get(word, 0) + k) / (sum(after.values()) + k * vocab_size)


@pytest.mark.parametrize("kind", [float, numpy.float64, numpy.float32, torch.tensor])
def test_add_k_passes_as_any_kind_of_number(kind, capsys):
    assert "passed" in said(lesson.add_k_probability, lambda *args: kind(add_k(*args)), capsys)


def formula(above, below):
    """An answer from the count of the word, the counts after the context, V and k."""

    def answer(counts, context, word, vocab_size, k):
        after = counts.get(context, {})
        return above(after.get(word, 0), k) / below(after, vocab_size, k)

    return answer


def with_k(c, k):
    return c + k


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (formula(lambda c, k: c, lambda after, v, k: sum(after.values())), "k is missing: that is"),
        (formula(with_k, lambda after, v, k: sum(after.values()) + k), "grows by k · V, not by k."),
        (formula(with_k, lambda after, v, k: sum(after.values()) + v), "grows by k · V, not by V."),
        (
            formula(lambda c, k: c, lambda a, v, k: sum(a.values()) + k * v),
            "missing above the line",
        ),
        (formula(with_k, lambda after, v, k: sum(after.values())), "The total did not grow"),
        (
            formula(with_k, lambda a, v, k: sum(a.values()) + k * len(a)),
            "V is `vocab_size`, here 5",
        ),
        (formula(with_k, lambda after, v, k: len(after) + k * v), "not how many words differ"),
        (
            formula(with_k, lambda a, v, k: sum(a.values()) + k * 5),
            "take the argument `vocab_size`",
        ),
        (lambda counts, h, w, v, k: add_k(counts, h, w, v, 1), "take the argument `k`"),
        (lambda counts, h, w, v, k: add_k(counts, h, w, v, 0.3), "right for k = 0.3"),
        (lambda counts, h, w, v, k: add_k(counts, h[0], w, v, k), "for a context that never came"),
        (lambda *args: add_k(*args) // 1, "does `//` drop what is behind the point?"),
        (lambda counts, h, w, v, k: add_k(counts, h, w, v, k) if w != "bird" else 0, "to get some"),
        (lambda counts, h, w, v, k: add_k(counts, h, w, v, k) if h in counts else 0, "all V words"),
        (lambda counts, h, w, v, k: (counts[h][w] + k) / (3 + k * v), "got KeyError in line"),
        (lambda counts, h, w, v, k: counts.pop(h) and 2.3 / 4.5, "changed its input"),
        (lambda *args: [add_k(*args)], "expected a number, got [0.511111]"),
    ],
)
def test_a_wrong_smoothing_is_named(answer, words, capsys):
    assert words in said(lesson.add_k_probability, answer, capsys)


# ---- 1.4 ----


def cut(keep_of):
    """The page's function with another line for `keep`."""

    def nucleus(logits, top_p):
        ranked, order = logits.sort(descending=True)
        keep = keep_of(ranked.softmax(-1), top_p)
        return torch.full_like(logits, -torch.inf).scatter(-1, order[keep], ranked[keep])

    return nucleus


def shifted(probs, top_p):
    keep = probs.cumsum(-1) < top_p
    keep[1:] = keep[:-1].clone()
    keep[0] = True
    return keep


def first_always(probs, top_p):
    keep = probs.cumsum(-1) < top_p
    keep[0] = True
    return keep


mended = cut(lambda probs, top_p: probs.cumsum(-1) - probs < top_p)


def by_a_loop(logits, top_p):
    left, total = torch.full_like(logits, -torch.inf), 0.0
    for index in logits.argsort(descending=True).tolist():
        if total < top_p:
            left[index] = logits[index]
        total += float(logits.softmax(-1)[index])
    return left


@pytest.mark.parametrize(
    "answer",
    [
        lambda logits, top_p: adjust(logits, top_p=top_p),
        mended,
        by_a_loop,
        cut(shifted),
        lambda logits, top_p: mended(logits.double(), top_p),
    ],
)
def test_every_right_nucleus_passes(answer, capsys):
    assert "passed" in said(lesson.nucleus, answer, capsys)


def in_order_of_rank(logits, top_p):
    return mended(logits, top_p).sort(descending=True)[0]


def mask_of_ranks(logits, top_p):
    probs = logits.sort(descending=True)[0].softmax(-1)
    return logits.where(probs.cumsum(-1) - probs < top_p, -torch.inf)


def in_place(logits, top_p):
    logits[mended(logits, top_p) == -torch.inf] = -torch.inf
    return logits


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (cut(lambda probs, top_p: probs.cumsum(-1) <= top_p), "One token is missing"),
        (cut(first_always), "One token is missing; the others do not reach top_p."),
        (
            cut(lambda probs, top_p: probs.cumsum(-1) - probs <= top_p),
            "1 token to stay, got 2; one",
        ),
        (cut(lambda probs, top_p: (probs.cumsum(-1) < top_p) & True), "same as the function on"),
        (cut(lambda probs, top_p: probs.cumsum(-1) > 2), "Nothing is left; the likeliest token"),
        (cut(lambda probs, top_p: probs > 0), "One token too many; the others reach top_p."),
        (in_order_of_rank, "These stand in the order of rank"),
        (mask_of_ranks, "The mask is in the order of rank."),
        (lambda logits, top_p: mended(logits, top_p).isfinite(), "That is the mask; return logits"),
        (lambda logits, top_p: mended(logits, top_p).softmax(-1), "These are probabilities"),
        (lambda logits, top_p: mended(logits, top_p).log_softmax(-1), "What stays keeps its logit"),
        (lambda logits, top_p: mended(logits, top_p).nan_to_num(neginf=0), "A logit of 0 is no"),
        (lambda logits, top_p: mended(logits, top_p).tolist(), "expected a tensor, got ["),
        (lambda logits, top_p: logits[logits > -1.3], "expected shape (3,), got shape (2,)"),
        (in_place, "expected `logits` to stay as it was"),
    ],
)
def test_a_wrong_nucleus_is_named(answer, words, capsys):
    assert words in said(lesson.nucleus, answer, capsys)


def test_the_sentence_about_a_nucleus_names_the_call_it_is_about(capsys):
    only_half = cut(lambda probs, top_p: probs.cumsum(-1) - probs < (1 if top_p == 0.5 else top_p))
    out = said(lesson.nucleus, only_half, capsys)
    assert ", 0.5)`: expected other numbers, got" in out
    assert "(the probabilities are 0.1, 0.6, 0.3)\n" in out


def test_either_of_two_equal_tokens_may_stay(capsys):
    def flipped(logits, top_p):
        return mended(logits.flip(0), top_p).flip(0)

    assert flipped(torch.zeros(2), 0.5).tolist() == [-math.inf, 0]
    assert "passed" in said(lesson.nucleus, flipped, capsys)


def test_the_third_hint_mends_the_page(capsys):
    probs, keep = re.findall("`(.*?)`", lesson.nucleus.hints[2])
    buggy = "keep = ranked.softmax(-1).cumsum(-1) < top_p"
    space = {"torch": torch}
    exec(cell_of("01", "nucleus").split("\n\n\n")[0].replace(buggy, f"{probs}; {keep}"), space)
    assert "passed" in said(lesson.nucleus, space["nucleus"], capsys)


# ---- 1.5 ----


def lowest(part):
    losses = lesson._losses(part)
    return min(losses, key=losses.get)


@pytest.mark.parametrize("kind", [int, float, numpy.int64, torch.tensor])
def test_the_best_order_passes_as_any_kind_of_number(kind, capsys):
    assert "passed" in said(lesson.best_order, kind(lowest("validation")), capsys)


def test_the_parts_of_the_text_disagree_so_that_the_choice_of_part_shows(capsys):
    assert lowest("validation") < lowest("train")
    assert "the text that was counted" in said(lesson.best_order, lowest("train"), capsys)


def test_a_wrong_order_is_named_and_the_right_one_is_not_told(capsys):
    best = lowest("validation")
    assert "places begin at 0, n at 1" in said(lesson.best_order, best - 1, capsys)
    assert "That n has the highest loss." in said(lesson.best_order, 1, capsys)
    loss = round(lesson._losses("validation")[best], 3)
    assert "That is a loss; give its n." in said(lesson.best_order, loss, capsys)
    assert "expected another number, got 7\n" in said(lesson.best_order, 7, capsys)
    assert "expected a number, got 'four'" in said(lesson.best_order, "four", capsys)
