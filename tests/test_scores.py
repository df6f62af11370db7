"""Scores of a text against the one asked for: by hand, by brute force and by another library."""

import random
from functools import cache
from itertools import combinations

import pytest

from course_lm.finetuning import scores
from course_lm.finetuning.scores import edits, error_rate, longest_common, rouge_1, rouge_l

SENTENCES = (
    "Return the number of items in the list.",
    "Return a list of the items.",
    "The items of the list, in order: the number is returned!",
    "Close the file; it can't be read any more.",
    "café über_all 3.5",
    "",
)


def test_rouge_is_the_harmonic_mean_of_precision_and_recall():
    # "the dog sees the cat" and "the cat sees a dog": the, cat, sees, dog are shared, of 5 and 5
    response, reference = "The dog sees the cat.", "the cat sees a dog"
    precision, recall = 4 / 5, 4 / 5
    by_hand = 2 * precision * recall / (precision + recall)
    assert rouge_1(response, reference) == pytest.approx(by_hand)
    assert rouge_l(response, reference) == pytest.approx(2 / 5)  # "the cat", or "the sees"


def test_a_word_said_again_counts_only_as_often_as_it_was_asked_for():
    assert rouge_1("the the the", "the cat") == pytest.approx(2 * 1 / (3 + 2))


def test_the_same_words_score_1_and_no_common_word_scores_0():
    for score in (rouge_1, rouge_l):
        assert score("Read a FILE.", "read a file") == 1
        assert score("read", "write") == score("", "write") == score("read", "...") == 0


@pytest.mark.parametrize(
    ("ours", "theirs"), [(rouge_1, "rouge1"), (rouge_l, "rougeL")], ids=["rouge-1", "rouge-L"]
)
def test_rouge_agrees_with_the_rouge_score_package(ours, theirs):
    rouge_score = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = rouge_score.RougeScorer([theirs], use_stemmer=False)
    drawn = random.Random(0)
    texts = [" ".join(drawn.choices("a b c d e f the of".split(), k=n)) for n in range(1, 13)]
    for reference in (*SENTENCES, *texts):
        for response in (*SENTENCES, *texts):
            expected = scorer.score(reference, response)[theirs].fmeasure
            assert ours(response, reference) == pytest.approx(expected)


def test_the_longest_common_subsequence_is_the_longest_of_all_subsequences():
    def all_of(text):
        return {part for n in range(len(text) + 1) for part in combinations(text, n)}

    drawn = random.Random(1)
    for _ in range(100):
        one, other = ("".join(drawn.choices("abc", k=drawn.randrange(8))) for _ in range(2))
        assert longest_common(one, other) == max(map(len, all_of(one) & all_of(other)))


@cache
def fewest_edits(one, other):
    """The definition, by recursion on the last symbols."""
    if not one or not other:
        return len(one) + len(other)
    if one[-1] == other[-1]:
        return fewest_edits(one[:-1], other[:-1])
    ways = (one[:-1], other[:-1]), (one, other[:-1]), (one[:-1], other)
    return 1 + min(fewest_edits(*way) for way in ways)


def test_edits_are_the_fewest_there_can_be():
    drawn = random.Random(2)
    for _ in range(200):
        one, other = ("".join(drawn.choices("abc", k=drawn.randrange(7))) for _ in range(2))
        assert edits(one, other) == edits(other, one) == fewest_edits(one, other)


def test_the_error_rate_weighs_every_symbol_of_the_references_alike():
    assert error_rate([[1, 2], []], [[1, 3], [4, 5]]) == 3 / 4
    assert error_rate(["abcd"], ["a"]) == 3


def test_the_mean_score_weighs_every_pair_alike():
    assert scores.mean_score(rouge_1, ["a", "b b"], ["a", "c d e"]) == 0.5


@pytest.mark.parametrize("subject", ["mean_score", "error_rate"])
@pytest.mark.parametrize(
    ("responses", "references"), [(["a"], ["a", "b"]), ([], []), (["a"], [""])]
)
def test_a_missing_response_or_nothing_to_compare_with_is_refused(subject, responses, references):
    arguments = (rouge_1,) if subject == "mean_score" else ()
    with pytest.raises(ValueError, match=f"{subject}: expected a response for each reference"):
        getattr(scores, subject)(*arguments, responses, references)
