"""Human ratings are read from the lexicon's file, held out in two ways, and compared by raters."""

import codecs
import importlib.metadata
import importlib.util
import sys
from itertools import product

import pytest
import torch
from small_models import seeded

from course_lm.language.ratings import (
    RUDE,
    Rated,
    comparisons,
    one_against_nine,
    ratings,
    read,
)
from course_lm.language.windows import IGNORE

ONES = str([1] * 10)
FILE = f"""\
:)\t2.0\t1.1\t[2, 2, 1, 3, 2, 2, 4, 2, 1, 1]
bfd\t0.1\t0.9\t{ONES}
no\t-1.2\t0.7\t{ONES}
joy\t2.7\t0.78\t[3, 3, 3, 3, 3, 3, 2, 1, 2, 4]
joy\t1.0\t0.0\t{ONES}
can't stand\t-2.0\t0.6\t{ONES}
Happy\t2.0\t0.6\t{ONES}
woe\t-1.8\t0.6\t[-1, -1, -2, -2, -2, -2, -3, -2, -1, -2]
"""


def test_words_of_letters_are_kept_once_with_their_ten_ratings():
    joy, woe = read(FILE)
    assert joy == Rated("joy", (3, 3, 3, 3, 3, 3, 2, 1, 2, 4))
    assert woe.word == "woe"
    assert (joy.mean, woe.mean) == (2.7, -1.8)


@pytest.mark.parametrize("given", [str([1] * 9), str([5] * 10), "", "many"])
def test_a_word_without_ten_ratings_from_minus_4_to_4_is_refused(given):
    with pytest.raises(ValueError, match=r"expected 10 ratings from -4 to 4 for 'joy', got '"):
        read(f"joy\t1.0\t1.0\t{given}")


def test_swear_words_are_left_out_and_harmless_words_that_look_like_them_stay():
    rude = codecs.decode("shpx jubera nffubyr snttbg encvfg qvcfuvg", "rot13").split()
    harmless = "class assassin embarrass grape peacock cocky damn idiot suspicious fagin"
    found = read("".join(f"{word}\t1\t1\t{ONES}\n" for word in [*rude, *harmless.split()]))
    assert [one.word for one in found] == harmless.split()[:-1]  # it errs: a name is left out


# -- where it comes from


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A lexicon of 1,200 words: 400 families of three."""
    (tmp_path / "vaderSentiment").mkdir()
    (tmp_path / "vaderSentiment" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    starts = ["".join(letters) for letters in product("abgh", "eo", "lmnrt", "iu", "jklvw")]
    words = [f"{start}{ending}" for start in starts for ending in ("", "ness", "less")]
    path = tmp_path / "vaderSentiment" / "vader_lexicon.txt"
    path.write_text("".join(f"{word}\t1.0\t0.0\t{ONES}\n" for word in words))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"{name} 0")
    return path


def test_families_are_held_out_to_test_and_single_words_to_validate(made_up):
    parts = ratings()
    train, validation, test = (
        {one.word for one in part} for part in (parts.train, parts.validation, parts.test)
    )
    assert len(train) + len(validation) + len(test) == len(train | validation | test) == 1200
    assert min(len(validation), len(test)) > 100
    families = {word[:4] for word in train | validation}
    assert not families & {word[:4] for word in test}
    assert len({word[:4] for word in validation} & {word[:4] for word in train}) > 50
    assert "vaderSentiment" not in sys.modules


def test_the_ratings_say_where_they_come_from_and_change_their_fingerprint(made_up):
    before = ratings()
    for said in ("vaderSentiment 0", "MIT", f"{len(before.train)} + ", before.sha256[:12]):
        assert said in repr(before)
    made_up.write_text(made_up.read_text().replace("[1, 1", "[1, 2"))
    assert ratings().sha256 != before.sha256


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="run `pip install vaderSentiment`"):
        ratings()


def test_a_package_without_its_words_is_refused(made_up):
    made_up.write_text("no words")
    with pytest.raises(ValueError, match="got 0 for train, 0 for validation, 0 for test from vad"):
        ratings()
    made_up.unlink()
    with pytest.raises(ValueError, match="install the package again"):
        ratings()


# -- who prefers what

UP, DOWN = Rated("up", tuple([4] * 9 + [-4])), Rated("down", (0,) * 10)


def test_a_vote_is_for_the_word_that_its_rater_rated_higher():
    """Nine raters of ten prefer "up", whichever place it has."""
    places, votes = comparisons([UP, DOWN], 4_000, seeded(0))
    assert (places.sum(1) == 1).all()
    chosen = places.gather(1, votes[:, None])[:, 0]
    assert (chosen == 0).double().mean() == pytest.approx(0.9, abs=0.02)
    assert (votes == 0).double().mean() == pytest.approx(0.5, abs=0.03)


def test_equal_ratings_are_ties():
    same = [Rated("one", tuple(range(10))), Rated("two", (*range(5), *[9] * 5))]
    _, votes = comparisons(same, 4_000, seeded(0))
    assert (votes == IGNORE).double().mean() == pytest.approx(0.6, abs=0.03)


def test_one_rater_is_compared_with_the_other_nine_by_hand():
    """The tenth of ten disagrees with the nine; in the second pair, all are even: one half."""
    agree, ties = one_against_nine([UP, DOWN], 8_000, seeded(0))
    assert (agree, ties) == (pytest.approx(0.9, abs=0.015), 0)
    lone = [Rated("one", (1, *[0] * 9)), Rated("two", (0,) * 10)]
    agree, ties = one_against_nine(lone, 8_000, seeded(0))
    assert agree == 0.5
    assert ties == pytest.approx(0.9, abs=0.015)


def test_the_same_seed_draws_the_same_pairs_and_no_word_meets_itself():
    some = [Rated(str(n), (n - 4,) * 10) for n in range(9)]
    (one, votes), (other, again) = (comparisons(some, 500, seeded(7)) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(votes, again)
    assert (one[:, 0] != one[:, 1]).all()
    assert {int(place) for place in one.flatten()} == set(range(9))
    assert torch.equal(votes, (one[:, 1] > one[:, 0]).long())


@pytest.mark.parametrize(("words", "count"), [([UP], 5), ([], 5), ([UP, DOWN], 0)])
def test_too_few_words_or_pairs_are_refused(words, count):
    with pytest.raises(ValueError, match="expected at least two words and one pair, got"):
        comparisons(words, count, seeded(0))


def test_of_the_real_words_one_rater_agrees_with_the_nine_in_86_percent():
    parts = ratings()
    everyone = [*parts.train, *parts.validation, *parts.test]
    assert len(everyone) > 6_500
    assert min(len(parts.validation), len(parts.test)) > 900
    assert not [one.word for one in everyone if RUDE.search(one.word)]
    agree, ties = one_against_nine(everyone, 100_000, seeded(0))
    assert agree == pytest.approx(0.861, abs=0.01)
    assert ties == pytest.approx(0.146, abs=0.01)
    means = {one.word: one.mean for one in everyone}
    assert means["love"] > 2.5 > 0 > -2.5 > means["torture"]
