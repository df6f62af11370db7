"""Docstrings become pairs of a paragraph and its first line; files, not lines, are held out."""

import sys
from collections import Counter

import pytest

from course_lm.language import docstrings
from course_lm.language.cleaning import jaccard, shingles

GOOD = '''
def spin(disk):
    """Turn the disk around once.

    A disk that is locked stays where it is, and the caller
    is told so with a `ValueError`.

    This paragraph is not read.
    """
'''
SPIN = (
    "A disk that is locked stays where it is, and the caller is told so with a ValueError.",
    "Turn the disk around once.",
)


def test_a_first_line_and_the_paragraph_after_it_are_a_pair_in_plain_text():
    assert list(docstrings.pairs(GOOD.encode())) == [SPIN]
    assert list(docstrings.pairs(GOOD.replace("\n", "\r\n").encode())) == [SPIN]


def test_modules_classes_and_functions_are_read_wherever_they_stand():
    text = '"""{} line of the file.\n\nThe {} paragraph goes on and on for some words.\n"""\n'
    inner = text.format("Third", "third").replace("\n", "\n            ")
    source = (
        text.format("First", "first")
        + "if True:\n    class A:\n        "
        + text.format("Second", "second").replace("\n", "\n        ")
        + "\n        async def b(self):\n            "
        + inner
    )
    lines = [line for _, line in docstrings.pairs(source.encode())]
    assert lines == [f"{n} line of the file." for n in ("First", "Second", "Third")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("once.", "once"),  # no full stop
        ("once.\n", "once.\n    And again.\n"),  # no line of its own
        ("once.\n\n", "once.\n"),
        ("Turn the disk around once.", "Turn."),  # too short
        ("is told so", "is told so " + "and so on " * 20),  # too long
        ("A disk that is locked", "spin(disk) -> {bool}: a disk that is locked"),
        ("A disk that", ":param disk: A disk that"),
        ("A disk that", ">>> spin(disk)\n    A disk that"),
        ("A disk that is locked stays where it is,", "Parameters:\n    the disk stays as it is,"),
        ("ValueError`.", "ValueError` \N{EM DASH} at once."),
        ('"""', "'''\"\"\" + '''"),  # no docstring at all
    ],
)
def test_what_is_no_first_line_with_a_paragraph_in_prose_is_left_out(old, new):
    assert old in GOOD
    assert not list(docstrings.pairs(GOOD.replace(old, new).encode()))


@pytest.mark.parametrize(
    "source",
    [
        GOOD.replace("(disk)", "(disk").encode(),
        b"\xff" + GOOD.encode(),
        b"# coding: no-such-code\n" + GOOD.encode(),
        b"\0" + GOOD.encode(),
        b"",
        GOOD.encode("utf-16"),
    ],
    ids=["syntax", "encoding", "unknown encoding", "zero byte", "empty", "utf-16"],
)
def test_a_file_that_is_no_python_gives_nothing(source):
    assert not list(docstrings.pairs(source))


# -- a made-up package

TEXT = (
    '"""Look after {0} number {1}.\n\n'
    "{0} {1} comes with {2}, {3} and {4}; {5} is of no use to {6} here.\n"
    '"""\n'
)


def a_package(folder, files=80):
    """Files whose texts share few runs of words, and what may not be read."""
    root = folder / "made_up"
    for n in range(files):
        path = root / f"room{n % 3}" / f"file{n}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXT.format(*(f"{letter}{n}" for letter in "abcdefg")))
    for unread in ("tests", "_inside"):
        (root / unread).mkdir()
        (root / unread / "file.py").write_text(TEXT.format(*(f"{unread}{c}" for c in "abcdefg")))
    (root / "broken.py").write_bytes(b"\xff" + TEXT.encode())
    (root / "__init__.py").write_text("raise RuntimeError('imported')\n")
    return root


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(docstrings, "_version", lambda package: f"{package} 1.0")
    return a_package(tmp_path)


def test_every_text_of_a_package_stands_in_one_part_and_nothing_is_imported(made_up):
    parts = docstrings.summaries(["made_up"])
    everything = [*parts.train, *parts.validation, *parts.test]
    assert Counter(pair.file for pair in everything) == {
        f"made_up/room{n % 3}/file{n}.py": 1 for n in range(80)
    }
    for pair in everything:
        n = pair.file.rpartition("file")[2].removesuffix(".py")
        assert pair.first_line == f"Look after a{n} number b{n}."
        assert pair.body.startswith(f"a{n} b{n} comes with c{n}, ")
    assert "made_up" not in sys.modules


def test_a_file_stays_in_its_part_when_others_come_and_go(made_up):
    before = docstrings.summaries(["made_up"])
    gone = {pair.file for pair in before.train[::2]}
    for name in gone:
        (made_up.parent / name).unlink()
    after = docstrings.summaries(["made_up"])
    assert after.train == tuple(pair for pair in before.train if pair.file not in gone)
    assert (after.validation, after.test) == (before.validation, before.test)
    assert after.sha256 != before.sha256


def test_near_copies_of_an_earlier_part_and_repeated_first_lines_are_dropped(made_up):
    before = docstrings.summaries(["made_up"])
    model, same_line, near = (made_up.parent / before.train[0].file).read_text(), *before.test[:2]
    altered = model.replace("Look", "See").replace(" here", " today")
    (made_up.parent / near.file).write_text(altered)
    (made_up.parent / same_line.file).write_text(model.splitlines()[0] + TEXT[25:])
    after = docstrings.summaries(["made_up"])
    assert after.train == before.train
    assert after.test == before.test[2:]


def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it():
    for name in ("no_such_package", "no/such"):
        with pytest.raises(ModuleNotFoundError, match=f"got '{name}'; run `pip install {name}`"):
            docstrings.summaries([name])


def test_too_little_documentation_is_refused_with_the_number_found(made_up):
    for path in made_up.rglob("file*.py"):
        path.unlink()
    with pytest.raises(ValueError, match=r"got 0 for train, 0 for validation, 0 for test of made"):
        docstrings.summaries(["made_up"])
    with pytest.raises(ValueError, match="of no package; give packages"):
        docstrings.summaries([])


def test_python_stands_for_the_standard_library(tmp_path, monkeypatch):
    a_package(tmp_path)
    monkeypatch.setattr(docstrings.sysconfig, "get_path", {"stdlib": tmp_path}.get)
    parts = docstrings.summaries(["python"])
    assert parts.train[0].file.startswith("python/made_up/room0/")
    assert parts.source.startswith("Python 3.")
    assert parts.licence == "PSF-2.0"


# -- what is on every machine


@pytest.fixture(scope="module")
def real():
    return docstrings.summaries(["numpy"])


def test_numpy_alone_gives_hundreds_of_pairs_with_their_provenance(real):
    assert len(real.train) > 100
    assert len(real.validation) + len(real.test) > 50
    assert repr(real).startswith(f"first lines of docstrings: {len(real.train):,} + ")
    for said in ("numpy 2.", "BSD-3-Clause", real.sha256[:12]):
        assert said in repr(real)


def test_the_parts_share_no_file_and_no_near_copy(real):
    parts = real.train, real.validation, real.test
    files = [{pair.file for pair in part} for part in parts]
    assert len(set().union(*files)) == sum(map(len, files))
    runs = [[shingles(f"{p.first_line} {p.body}") for p in part] for part in parts]
    for held_out in (*runs[1], *runs[2]):  # those without a run in common have a similarity of 0
        assert all(jaccard(held_out, r) < 0.5 for r in runs[0] if not held_out.isdisjoint(r))


def test_the_pairs_are_prose(real):
    for body, first_line, _ in (*real.train, *real.validation, *real.test):
        assert body.endswith(".")
        assert first_line.endswith(".")
        assert not set("\n`*|{}") & set(body + first_line)
