import math
from itertools import combinations

import numpy
import pytest
import torch
from verdicts import said

from course_lm.exercises import lesson_06 as lesson
from course_lm.language import lab
from course_lm.language.windows import IGNORE
from course_lm.training.pretext import Extra, masked_word

# ---- 6.1 ----


@pytest.mark.parametrize("answer", [173, 173.0, numpy.float32(173), 200 * 0.85 + 200 * 0.15 * 0.1])
def test_173_words_pass_as_any_kind_of_number(answer, capsys):
    assert "passed" in said(lesson.by_hand, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (170, "leaves out the chosen words that show themselves"),
        (200 * 0.15, "how many words are chosen"),
        (200 * 0.15 * 0.8, "show the mask"),
        (200 * 0.15 * 0.1, "the others can be read, too"),
        (200 - 24, "that show another word cannot be read"),
        (200 * 0.2, "only the chosen ones show a mask"),
        (27, "not as in the text"),
        (0.865, "not a share"),
        ("173", "expected a number, got '173'"),
    ],
)
def test_a_wrong_count_is_named(answer, words, capsys):
    assert words in said(lesson.by_hand, answer, capsys)


# ---- 6.2 ----


@pytest.mark.parametrize("answer", [0.75, 3 / 4, torch.tensor(0.75), 0.3 * 0.5 / 0.2])
def test_three_quarters_pass_as_any_kind_of_number(answer, capsys):
    assert "passed" in said(lesson.both_sides, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (0.3, "the left side only"),
        (0.5, "multiply it by P(b | left)"),
        (0.3 * 0.5, "divide by the sum"),
        (0.5 / (0.1 + 0.5), "leaves out how likely each word is"),
        (0.05 / 0.2, "P(a | left and right)"),
        (0.15 / 0.15, "divides by the largest"),
        (75, "not per cent"),
    ],
)
def test_a_wrong_chance_from_both_sides_is_named(answer, words, capsys):
    assert words in said(lesson.both_sides, answer, capsys)


# ---- 6.3 ----


def by_where(ids, chosen, chance, others, mask):
    inputs = torch.where(chosen & (chance < 0.9), others, ids)
    inputs = torch.where(chosen & (chance < 0.8), mask, inputs)
    return inputs, torch.where(chosen, ids, IGNORE)


def by_places(ids, chosen, chance, others, mask):
    inputs, labels = ids.clone(), torch.full_like(ids, IGNORE)
    for row, place in chosen.nonzero().tolist():
        labels[row, place] = ids[row, place]
        if chance[row, place] < 0.8:
            inputs[row, place] = mask
        elif chance[row, place] < 0.9:
            inputs[row, place] = others[row, place]
    return [inputs, labels]


def by_masked_fill(ids, chosen, chance, others, mask):
    masked, random = chosen & (chance < 0.8), chosen & (chance >= 0.8) & (chance < 0.9)
    inputs = ids.masked_fill(masked, mask)
    inputs[random] = others[random]
    return inputs, ids.masked_fill(~chosen, -100)


@pytest.mark.parametrize("answer", [by_where, by_places, by_masked_fill])
def test_every_right_mask_passes(answer, capsys):
    assert "passed" in said(lesson.hide, answer, capsys)


def in_place(ids, chosen, chance, others, mask):
    ids[chosen & (chance < 0.8)] = mask
    return ids, ids.where(chosen, IGNORE)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda *d: (by_where(*d)[0], d[0]), "Labels stand on every word"),
        (lambda *d: (by_where(*d)[0], d[0].where(~d[1], IGNORE)), "where no word is chosen"),
        (
            lambda *d: (by_where(*d)[0], by_where(*d)[0].where(d[1], IGNORE)),
            "The labels are what is read",
        ),
        (
            lambda *d: (by_where(*d)[0], torch.where(d[1], d[4], IGNORE)),
            "The label is the mask itself",
        ),
        (
            lambda *d: (by_where(*d)[0], d[0].where(d[1] & (d[2] < 0.8), IGNORE)),
            "Only masked words are asked for",
        ),
        (
            lambda *d: (by_where(*d)[0], d[0].where(by_where(*d)[0] != d[0], IGNORE)),
            "Only words that changed are asked for",
        ),
        (lambda *d: (by_where(*d)[0], d[0] * d[1]), "is IGNORE, −100, not 0"),
        (lambda *d: (by_where(*d)[0], d[0].where(d[1], -1)), "is IGNORE, −100, not −1"),
        (
            lambda *d: (by_where(*d)[0], by_where(*d)[1].roll(-1, 1)),
            "The labels are moved by one place",
        ),
        (lambda *d: (d[0], by_where(*d)[1]), "Nothing is hidden"),
        (lambda *d: (d[0].masked_fill(d[1], d[4]), by_where(*d)[1]), "Every chosen word shows"),
        (
            lambda *d: (by_where(d[0], d[1] | True, *d[2:])[0], by_where(*d)[1]),
            "Words are hidden that are not chosen",
        ),
        (
            lambda *d: (by_where(d[0], ~d[1], *d[2:])[0], by_where(*d)[1]),
            "The words that are not chosen are hidden",
        ),
        (
            lambda *d: (d[0].where(~d[1], d[3].where(d[2] >= 0.8, d[4])), by_where(*d)[1]),
            "20 % show another word",
        ),
        (
            lambda *d: (d[0].where(~(d[1] & (d[2] < 0.8)), d[4]), by_where(*d)[1]),
            "No word is replaced",
        ),
        (
            lambda *d: (
                d[0].where(~(d[1] & (d[2] < 0.9)), d[4]).where(~(d[1] & (d[2] < 0.8)), d[3]),
                by_where(*d)[1],
            ),
            "have changed places",
        ),
        (in_place, "changed its input"),
        (lambda *d: by_where(*d)[0], "expected inputs and labels"),
        (lambda *d: (by_where(*d)[0].float(), by_where(*d)[1]), "inputs as a tensor of whole"),
        (lambda *d: (by_where(*d)[0], d[1]), "labels as a tensor of whole numbers"),
        (lambda *d: [part[:, :-1] for part in by_where(*d)], "expected shape (4, 50)"),
        (lambda *d: by_where(*d)[::-1], "The two have changed places"),
    ],
)
def test_a_wrong_mask_is_named(answer, words, capsys):
    assert words in said(lesson.hide, answer, capsys)


def test_a_mask_that_writes_into_the_text_is_refused(capsys):
    def careless(ids, chosen, chance, others, mask):
        made = by_where(ids, chosen, chance, others, mask)
        ids.zero_()
        return made

    assert "changed its input" in said(lesson.hide, careless, capsys)


def draws():
    rng = torch.Generator().manual_seed(3)
    ids, others = torch.randint(1, 90, (2, 4, 50), generator=rng)
    chosen, chance = torch.rand(2, 4, 50, generator=rng)
    return ids, chosen < 0.5, chance, others, 200


def test_the_named_slips_are_different_tensors():
    for right, slips in zip(
        lesson._hide(*draws()), (lesson._wrong_inputs, lesson._wrong_labels), strict=True
    ):
        made = [right, *slips(draws()).values()]
        assert not [1 for a, b in combinations(made, 2) if torch.equal(a, b)]


def test_a_mask_of_the_page_makes_the_batches_of_the_package():
    ids, extra = draws()[0], Extra(200)
    made = lesson.drawn_by(by_where)(ids, extra, torch.Generator().manual_seed(5), 0.3)
    expected = masked_word(ids, extra, torch.Generator().manual_seed(5), 0.3)
    assert all(torch.equal(one, other) for one, other in zip(made, expected, strict=True))


# ---- 6.4 ----


def mended(ids, chosen, mask):
    inputs = ids.clone()
    inputs[chosen] = mask
    return inputs, ids.where(chosen, IGNORE)


@pytest.mark.parametrize(
    "answer",
    [
        mended,
        lambda ids, chosen, mask: (ids.masked_fill(chosen, mask), ids.masked_fill(~chosen, -100)),
    ],
)
def test_every_mended_mask_passes(answer, capsys):
    assert "passed" in said(lesson.hide_all, answer, capsys)


def still_after(ids, chosen, mask):
    inputs = ids.clone()
    inputs[chosen] = mask
    return inputs, inputs.where(chosen, IGNORE)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda *given: lesson.planted_hide_all(*given), "changed its input"),
        (still_after, "The labels are still the mask"),
        (lambda ids, chosen, mask: (mended(ids, chosen, mask)[0], ids), "on every word"),
        (
            lambda ids, chosen, mask: (mended(ids, chosen, mask)[0], ids.where(~chosen, IGNORE)),
            "where no word is chosen",
        ),
        (lambda ids, chosen, mask: (ids, ids.where(chosen, IGNORE)), "Nothing is hidden"),
        (
            lambda ids, chosen, mask: (ids.where(chosen, mask), ids.where(chosen, IGNORE)),
            "The words that are not chosen are hidden",
        ),
        (lambda ids, chosen, mask: mended(ids, chosen, mask)[0], "expected inputs and labels"),
    ],
)
def test_a_mask_with_a_bug_is_named(answer, words, capsys):
    assert words in said(lesson.hide_all, answer, capsys)


# ---- 6.5 ----


def surprises():
    """Found in another way: Bayes' rule over all words, each text scored as a whole."""
    words = lab.sample(2000, torch.Generator().manual_seed(0))[:400]
    begins = [0, *(i for i in range(1, 400) if words[i] == lab.START), 400]
    found = []
    for place in range(1, 400):
        first = max(b for b in begins if b < place)
        last = min(b for b in begins if b > place) + 1
        left, right = words[first:place], words[place + 1 : last]
        scores = {word: sum(lab.log_probs([*left, word, *right])) for word in lab.next_word(left)}
        total = sum(math.exp(score) for score in scores.values())
        found.append(math.log(total) - scores[words[place]])
    one = [-value for value in lab.log_probs(words)[1:]]
    return numpy.array(found), numpy.array(one)


TWO, ONE = surprises()
MEAN = TWO.mean()


@pytest.mark.parametrize("answer", [MEAN, float(MEAN), torch.tensor(MEAN), round(float(MEAN), 4)])
def test_the_mean_surprise_passes_as_any_kind_of_number(answer, capsys):
    assert "passed" in said(lesson.right_side, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ONE.mean(), "the left side only"),
        (TWO.sum(), "divide by the number of words"),
        (-MEAN, "with a minus"),
        (MEAN / math.log(2), "That is in bits"),
        (ONE.mean() - MEAN, "give what is left"),
        (TWO.sum() / ONE.sum(), "a share of the one-sided surprise"),
        ([0.2], "expected a number, got [0.2]"),
    ],
)
def test_a_wrong_surprise_is_named(answer, words, capsys):
    out = said(lesson.right_side, answer, capsys)
    assert words in out
    assert f"{MEAN:.4f}" not in out
