"""The vote file: what it keeps when processes are killed, lines are cut, several write at once."""

import json
import os
import random
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from course_lm.rlhf.preferences import (
    FIRST,
    SECOND,
    SKIP,
    TIE,
    VOTES,
    Comparison,
    Prompt,
    agreement,
)
from course_lm.rlhf.votes import VoteFile, recorded_votes

ROOT = Path(__file__).parents[1]


def pair(number, name="anna"):
    words = f"<s> {name} has {number} coins . how many coins does {name} have ?".split()
    return Comparison(Prompt(tuple(words), (str(number), ".")), ("one", "."), ("two", ".", "<s>"))


PAIRS = [pair(number) for number in range(200)]


def a_file(path, votes=(FIRST, SECOND, TIE), by=""):
    file = VoteFile(path, PAIRS[:5])
    for place, vote in enumerate(votes):
        file.add(place, vote, by)
    return file


def reopened(path):
    return VoteFile(path, PAIRS[:5])


# -- what is given is kept


def test_every_vote_is_a_line_of_json_that_names_its_comparison(tmp_path):
    a_file(tmp_path / "new" / "votes.jsonl", (FIRST, SKIP), by="Jürgen 😀")
    lines = (tmp_path / "new" / "votes.jsonl").read_text("ascii").splitlines()
    one, other = map(json.loads, lines)
    assert list(one) == ["place", "of", "vote", "by", "seal"]
    assert (one["place"], one["vote"], one["by"]) == (0, FIRST, "Jürgen 😀")
    assert (other["place"], other["vote"]) == (1, SKIP)
    assert one["of"] != other["of"]


def test_a_vote_is_one_write_and_forced_to_disk_with_the_name_of_a_new_file(tmp_path, monkeypatch):
    done, write, sync = [], os.write, os.fsync
    file = VoteFile(tmp_path / "votes.jsonl", PAIRS[:5])

    def noted(handle):
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "write", lambda h, text: done.append(text[-1:]) or write(h, text))
    file.add(0, FIRST)
    file.undo()
    assert done == [b"\n", "file", "folder", b"\n", "file"]


def test_opening_and_reading_write_nothing(tmp_path):
    file = VoteFile(tmp_path / "votes.jsonl", PAIRS[:5])
    assert (file.votes(), file.next_open(), file.undo()) == ([None] * 5, 0, None)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_opened_again_goes_on_at_the_next_open_comparison(tmp_path):
    a_file(tmp_path / "votes.jsonl")
    again = reopened(tmp_path / "votes.jsonl")
    assert again.votes() == [FIRST, SECOND, TIE, None, None]
    assert again.next_open() == 3
    again.add(4, SKIP)
    assert again.next_open() == 3
    again.add(3, FIRST)
    assert again.next_open() is None
    assert reopened(again.path).votes() == [FIRST, SECOND, TIE, FIRST, SKIP]


def test_the_latest_vote_on_a_comparison_counts_and_every_line_stays(tmp_path):
    file = a_file(tmp_path / "votes.jsonl")
    before = file.path.read_bytes()
    file.add(0, SECOND)
    assert file.votes()[0] == SECOND
    assert file.path.read_bytes().startswith(before)


def test_undo_takes_back_the_latest_votes_one_after_another_and_only_adds_lines(tmp_path):
    file = a_file(tmp_path / "votes.jsonl")
    file.add(0, TIE)
    sizes = [file.path.stat().st_size]
    taken = []
    for _ in range(4):
        taken.append(file.undo())
        sizes.append(file.path.stat().st_size)
    assert taken == [0, 2, 1, None]
    assert all(a < b for a, b in pairwise(sizes[:-1]))
    assert sizes[-1] == sizes[-2]
    assert reopened(file.path).votes() == [None] * 5
    assert file.next_open() == 0
    file.add(2, FIRST)
    assert reopened(file.path).votes() == [None, None, FIRST, None, None]


def test_two_people_vote_in_one_file_and_their_agreement_can_be_computed(tmp_path):
    file = VoteFile(tmp_path / "votes.jsonl", PAIRS[:5])
    for place, (hers, his) in enumerate([(FIRST, FIRST), (SECOND, FIRST), (TIE, SKIP)]):
        file.add(place, hers, "anna")
        file.add(place, his, "ben")
    assert file.voters() == ["anna", "ben"]
    assert (
        agreement(file.votes("anna"), file.votes("ben")) == 1 / 2
    )  # they skipped or left the others
    assert file.votes() == file.votes("ben")  # his are the later ones
    assert file.undo("ben") == 2
    assert file.votes()[2] == TIE  # hers stands
    assert (file.next_open("ben"), file.next_open("anna"), file.next_open("carl")) == (2, 3, 0)
    assert file.undo("carl") is None


# -- what is refused


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((0, "First"), "votes: expected one of first, second, tie, skip, got 'First'; give"),
        ((0, None), "votes: expected one of first, second, tie, skip, got None; give"),
        ((5, FIRST), "votes: expected a place from 0 to 4, got 5; give"),
        ((-1, FIRST), "votes: expected a place from 0 to 4, got -1; give"),
        ((0, FIRST, None), "votes: expected a name, or '', got None; give"),
    ],
)
def test_what_is_no_vote_is_refused_and_not_written(tmp_path, given, says):
    file = a_file(tmp_path / "votes.jsonl")
    before = file.path.read_bytes()
    with pytest.raises(ValueError, match=says):
        file.add(*given)
    assert file.path.read_bytes() == before


@pytest.mark.parametrize(
    "others",
    [
        [pair(number, "ben") for number in range(5)],
        PAIRS[1:6],
        PAIRS[:2],
        [Comparison(c.prompt, c.second, c.first) for c in PAIRS[:5]],
        [],
    ],
    ids=["other prompts", "another order", "too few", "sides exchanged", "none"],
)
def test_a_file_of_other_comparisons_is_refused(tmp_path, others):
    path = a_file(tmp_path / "votes.jsonl").path
    says = f"votes: expected votes on these {len(others)} comparisons, got one on another in line"
    with pytest.raises(ValueError, match=says):
        VoteFile(path, others)
    with pytest.raises(ValueError, match=says):
        recorded_votes(path, others)


def test_a_file_that_is_exchanged_while_it_is_open_is_refused_and_kept(tmp_path):
    file = a_file(tmp_path / "votes.jsonl")
    other = VoteFile(tmp_path / "other.jsonl", [pair(7, "ben")])
    other.add(0, TIE)
    os.replace(other.path, file.path)
    before = file.path.read_bytes()
    for use in (file.votes, file.undo, lambda: file.add(0, FIRST)):
        with pytest.raises(ValueError, match="got one on another in line 1"):
            use()
    assert file.path.read_bytes() == before


@pytest.mark.parametrize("text", ["dear diary\nday one", '{"cells": []}', "5", "[" * 9999, "\0\0"])
def test_a_file_of_another_kind_is_refused_and_kept(tmp_path, text):
    path = tmp_path / "votes.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match="votes: expected a vote file, got something else"):
        reopened(path)
    assert path.read_text() == text


def test_a_path_that_cannot_be_read_or_written_is_told_in_one_sentence(tmp_path):
    with pytest.raises(
        IsADirectoryError, match=r"votes: expected a vote file at .*, got 'Is a dir"
    ):
        reopened(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"votes: expected .*; "):
        reopened(tmp_path / "file" / "votes.jsonl").add(0, FIRST)


def test_a_full_disk_is_told_and_the_next_vote_begins_on_a_line_of_its_own(tmp_path, monkeypatch):
    file, write = a_file(tmp_path / "votes.jsonl"), os.write
    monkeypatch.setattr(os, "write", lambda handle, text: write(handle, text[:20]))
    with pytest.raises(OSError, match="got 'No space left on device'; make room"):
        file.add(3, FIRST)
    monkeypatch.setattr(os, "write", write)
    assert file.votes() == [FIRST, SECOND, TIE, None, None]
    file.add(3, SKIP)
    assert reopened(file.path).votes() == [FIRST, SECOND, TIE, SKIP, None]


# -- damage


def test_a_file_that_is_cut_at_any_byte_opens_keeps_all_whole_lines_and_takes_votes(tmp_path):
    whole = a_file(tmp_path / "whole.jsonl").path.read_bytes()
    ends = [
        0,
        *(at for at, byte in enumerate(whole) if byte == 10),
    ]  # a lost line end loses no vote
    path = tmp_path / "votes.jsonl"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        file = reopened(path)
        kept = sum(end <= cut for end in ends) - 1
        votes = [*(FIRST, SECOND, TIE)[:kept], *[None] * (5 - kept)]
        assert file.votes() == votes, cut
        broken = cut not in ends and whole[cut - 1 : cut] != b"\n"
        assert len(file.notes) == broken, cut
        file.add(4, SKIP)
        assert reopened(path).votes() == [*votes[:4], SKIP], cut
        assert path.read_bytes().startswith(whole[:cut])


def test_a_line_in_which_any_byte_has_changed_is_set_aside_and_no_other_is_lost(tmp_path):
    path = a_file(tmp_path / "votes.jsonl", by="x").path
    whole = path.read_bytes()
    begin, end = (at for at, byte in enumerate(whole[:-1]) if byte == 10)
    for at in range(begin + 1, end):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        file = reopened(path)
        votes = file.votes()
        assert (votes[0], votes[2]) == (FIRST, TIE)
        if votes[1] is not None:  # a changed space between two fields says the same
            assert whole[at : at + 1] == b" "
            assert votes[1] == SECOND
        elif not file.notes:  # the byte became a line end inside the line
            raise AssertionError(at)


def test_a_damaged_line_is_told_and_copied_once(tmp_path):
    path = a_file(tmp_path / "votes.jsonl").path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"place": 1, \xff\xfe\n' + lines[2] + lines[1][:30])
    copy = tmp_path / "votes.jsonl.damaged"
    for _ in range(2):
        file = reopened(path)
        assert file.votes() == [FIRST, None, TIE, None, None]
        assert file.notes == [
            "Line 2 of votes.jsonl is damaged and does not count.",
            "Line 4 of votes.jsonl is damaged and does not count.",
        ]
    assert not copy.exists()
    for place in (3, 4):
        file.add(place, TIE)
        assert copy.read_bytes() == b'{"place": 1, \xff\xfe\n' + lines[1][:30] + b"\n"
    assert reopened(path).votes() == [FIRST, None, TIE, TIE, TIE]


def test_line_ends_of_another_system_and_empty_lines_change_nothing(tmp_path):
    path = a_file(tmp_path / "votes.jsonl").path
    path.write_bytes(b"\n" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\n")
    file = reopened(path)
    assert (file.votes(), file.notes) == ([FIRST, SECOND, TIE, None, None], [])


def test_what_another_process_writes_between_look_and_write_costs_nobody_a_vote(
    tmp_path, monkeypatch
):
    file, write = a_file(tmp_path / "votes.jsonl"), os.write
    vote = a_file(tmp_path / "other.jsonl", by="ben").path.read_bytes().splitlines(keepends=True)[0]

    def write_behind_another(handle, text):
        with file.path.open("ab") as other:
            other.write(pieces.pop() if pieces else b"")
        return write(handle, text)

    monkeypatch.setattr(os, "write", write_behind_another)
    for place, piece in ((3, vote[:30]), (4, vote)):
        pieces = [piece]
        file.add(place, FIRST)
    assert reopened(file.path).votes("") == [FIRST, SECOND, TIE, FIRST, FIRST]
    assert reopened(file.path).votes("ben") == [FIRST, *[None] * 4]


# -- processes that are killed, and several at a time

# Forks one voter after another. A voter says a place aloud once its vote has been given.
# mode "time": it is killed some time after its first vote. mode "byte": it kills itself in the
# midst of a write, after so many bytes. mode "sync": between the write and the fsync.
VOTER = """
import json, os, signal, sys, time
sys.path.insert(0, "tests")
from test_votes import PAIRS, VOTES
from course_lm.rlhf.votes import VoteFile

def vote(path, mode, amount, ears):
    file, write, sync, left = VoteFile(path, PAIRS), os.write, os.fsync, 3
    def cut(handle, text):
        nonlocal left
        left -= 1
        if left:
            return write(handle, text)
        write(handle, text[:amount])
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "byte":
        os.write = cut
    if mode == "sync":
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
    place = file.next_open()
    while place is not None:
        file.add(place, VOTES[place % 4])
        write(ears, f"{place}\\n".encode())
        place = file.next_open()

for path, mode, amount in json.loads(sys.argv[1]):
    hear, ears = os.pipe()
    voter = os.fork()
    if not voter:
        try:
            vote(path, mode, amount, ears)
        finally:
            os._exit(0)
    os.close(ears)
    heard = os.read(hear, 1)
    if mode == "time":
        time.sleep(amount)
        os.kill(voter, signal.SIGKILL)
    while more := os.read(hear, 9999):
        heard += more
    os.close(hear)
    print(json.dumps([os.WTERMSIG(os.waitpid(voter, 0)[1]), heard.decode().split()]))
"""
# Forks voters that start together, each with a name and the same comparisons.
CROWD = """
import os, sys
sys.path.insert(0, "tests")
from test_votes import PAIRS, VOTES
from course_lm.rlhf.votes import VoteFile
path, names = sys.argv[1], sys.argv[2:]
wait, start = os.pipe()
for shift, name in enumerate(names):
    if not os.fork():
        os.close(start)
        os.read(wait, 1)
        file = VoteFile(path, PAIRS)
        for place in range(len(PAIRS)):
            file.add(place, VOTES[(place + shift) % 4], name)
            if place % 20 == 0:
                file.undo(name)
                file.add(place, VOTES[(place + shift) % 4], name)
        os._exit(0)
os.close(start)
sys.exit(sum(os.wait()[1] for _ in names))
"""


def run(code, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout


def killed(plans):
    """Run one voter after another; the signal that ended each and the places it said aloud."""
    done = run(VOTER, json.dumps([[str(path), mode, amount] for path, mode, amount in plans]))
    return [json.loads(line) for line in done.splitlines()]


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")


def check_nothing_is_lost(path, ends):
    said = [int(place) for _, places in ends for place in places]
    votes = VoteFile(path, PAIRS).votes()
    assert [votes[place] for place in said] == [VOTES[place % 4] for place in said]
    given = sum(vote is not None for vote in votes)
    assert votes[given:] == [None] * (len(votes) - given)  # each went on where the last one stopped
    assert len(said) == len(set(said)) <= given <= len(said) + len(ends)


@needs_fork
def test_a_voter_killed_at_any_moment_loses_no_vote_that_was_given(tmp_path):
    delays = random.Random(0)
    paths = [tmp_path / f"{number // 4}.jsonl" for number in range(60)]
    ends = killed([(path, "time", delays.uniform(0, 0.04)) for path in paths])
    assert sum(signal == 9 for signal, _ in ends) >= 20  # the others were through before
    for path in set(paths):
        here = [end for end, where in zip(ends, paths, strict=True) if where == path]
        check_nothing_is_lost(path, here)


@needs_fork
def test_a_voter_killed_at_any_byte_of_its_write_loses_no_vote_that_was_given(tmp_path):
    length = len(a_file(tmp_path / "one.jsonl", (FIRST,)).path.read_bytes())
    path = tmp_path / "votes.jsonl"
    cuts = [(path, "byte", amount) for amount in range(0, length + 2, 2)]
    ends = killed([*cuts, (path, "sync", 0), (path, "sync", 0)])
    assert [signal for signal, _ in ends] == [9] * len(ends)
    assert [len(places) for _, places in ends] == [2] * len(cuts) + [0, 0]
    check_nothing_is_lost(path, ends)


@needs_fork
def test_two_processes_that_vote_at_the_same_time_lose_nothing(tmp_path):
    path = tmp_path / "votes.jsonl"
    run(CROWD, str(path), "anna", "ben")
    file = VoteFile(path, PAIRS)
    for shift, name in enumerate(["anna", "ben"]):
        assert file.votes(name) == [VOTES[(place + shift) % 4] for place in range(200)]
    names = [json.loads(line)["by"] for line in path.read_text().splitlines() if line]
    assert (len(names), file.notes) == (440, [])
    turns = sum(a != b for a, b in pairwise(names))
    assert turns > 1  # they did write in turns


# -- votes that the course ships


def test_recorded_votes_are_read_as_a_file_would_and_nothing_is_written(tmp_path):
    path = a_file(tmp_path / "votes.jsonl", by="anna").path
    path.chmod(0o444)
    assert recorded_votes(path, PAIRS[:5]) == [FIRST, SECOND, TIE, None, None]
    assert recorded_votes(path, PAIRS[:5], "ben") == [None] * 5
    assert list(tmp_path.iterdir()) == [path]


def test_recorded_votes_have_to_be_there_and_whole(tmp_path):
    path = tmp_path / "votes.jsonl"
    with pytest.raises(FileNotFoundError, match=r"votes: expected a vote file at .*, got none"):
        recorded_votes(path, PAIRS[:5])
    a_file(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="expected whole lines, got 1 damaged"):
        recorded_votes(path, PAIRS[:5])
    assert list(tmp_path.iterdir()) == [path]


def test_who_always_clicks_one_side_can_be_left_out(tmp_path):
    path = a_file(tmp_path / "votes.jsonl", (FIRST, SECOND), by="anna").path
    file = a_file(path, (FIRST, FIRST, FIRST), by="ben")
    assert file.votes("anna", "ben")[:3] == file.votes()[:3] == [FIRST, FIRST, FIRST]
    assert file.votes("anna")[:3] == [FIRST, SECOND, None]
    assert file.votes("nobody") == [None] * len(file.comparisons)
