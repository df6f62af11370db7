"""A file of votes that is only ever added to, so that no vote given is lost.

    {"place": 7, "of": "3f1c0a9d52be", "vote": "first", "by": "anna", "seal": "5b0e61d2"}

One line of JSON a vote, forced to disk before the call that gives it returns. `of` is a digest of
the comparison (prompt and both responses), `seal` one of the rest of the line: a line of other
comparisons is refused, a damaged one set aside. Taking back is a line as well, its vote null.
Several processes may add to one file at a time (POSIX: O_APPEND, one write a line).
"""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..language.stories import START
from ..training.sealed import sync_folder
from .preferences import VOTES, Comparison, Words

FIELDS = ["place", "of", "vote", "by", "seal"]
BEGIN = b'{"place": '


class VoteFile:
    """The votes on fixed comparisons. The first vote makes the file; reading writes nothing.

    notes: a sentence for each damaged line; the next vote copies the lines to `<name>.damaged`.

    Raises ValueError, at any time, for a file of other comparisons or of another kind, and OSError
    where it cannot be read.
    """

    def __init__(self, path: str | Path, comparisons: Sequence[Comparison]) -> None:
        self.path, self.comparisons = Path(path), tuple(comparisons)
        self.notes: list[str] = []
        self._digests = dict(enumerate(map(_digest, self.comparisons)))
        self._read()

    def add(self, place: int, vote: str, by: str = "") -> None:
        """Give comparison `place` (0 to N − 1) the vote of `by`; on disk when this returns.

        Raises ValueError for what is no vote, place or name, and OSError where the vote could not
        be forced to disk.
        """
        for got, right, wanted in (
            (vote, vote in VOTES, f"one of {', '.join(VOTES)}"),
            (place, place in self._digests, f"a place from 0 to {len(self._digests) - 1}"),
            (by, isinstance(by, str), "a name, or ''"),
        ):
            if not right:
                raise ValueError(f"votes: expected {wanted}, got {got!r}; give that")
        self._append(int(place), vote, by)

    def undo(self, by: str = "") -> int | None:
        """Take back the latest vote of `by`; its place, None where nothing is left to take back."""
        standing, _ = self._read()
        place = next((at for name, at in reversed(standing) if name == by), None)
        if place is not None:
            self._append(place, None, by)
        return place

    def votes(self, *by: str) -> list[str | None]:
        """One vote for each comparison, None without one: the latest of those named, or of anybody.

        Reads what other processes have added.
        """
        standing, _ = self._read()
        votes = {place: vote for (name, place), vote in standing.items() if not by or name in by}
        return [votes.get(place) for place in range(len(self.comparisons))]

    def voters(self) -> list[str]:
        """The names of those who have voted, sorted."""
        return sorted({name for name, _ in self._read()[0]})

    def next_open(self, by: str = "") -> int | None:
        """The first comparison on which `by` has not voted, None at the end."""
        votes = self.votes(by)
        return votes.index(None) if None in votes else None

    def _read(self) -> tuple[dict[tuple[str, int], str], list[bytes]]:
        """(name, place) -> vote, in the order of the votes; and the damaged lines."""
        with _told(f"a vote file at {self.path}", "check the path"):
            data = self.path.read_bytes() if self.path.exists() else b""
        lines = {at: text.strip() for at, text in enumerate(data.split(b"\n"), 1) if text.strip()}
        if lines and not any(line[: len(BEGIN)] == BEGIN[: len(line)] for line in lines.values()):
            raise ValueError(
                f"votes: expected a vote file, got something else in {self.path}; take another name"
            )
        standing, damaged = {}, {}
        for at, line in lines.items():
            place, of, vote, by = _fields(line) or (None,) * 4
            if of is None:
                damaged[at] = line
            elif self._digests.get(place) != of:
                raise ValueError(
                    f"votes: expected votes on these {len(self._digests)} comparisons, got one on "
                    f"another in line {at} of {self.path}; take their own file, or a new name"
                )
            else:
                standing.pop((by, place), None)
                standing |= {(by, place): vote} if vote else {}
        name = self.path.name
        self.notes[:] = [f"Line {at} of {name} is damaged and does not count." for at in damaged]
        return standing, list(damaged.values())

    def _append(self, place: int, vote: str | None, by: str) -> None:
        _, damaged = self._read()  # refuses a file that has been exchanged
        self._store(self._line(place, vote, by), damaged)

    def _line(self, place: int, vote: str | None, by: str) -> bytes:
        record = {"place": place, "of": self._digests[place], "vote": vote, "by": by}
        return json.dumps(record | {"seal": _seal(record)}).encode() + b"\n"

    def _store(self, text: bytes, damaged: Sequence[bytes]) -> None:
        """Force lines to disk, with one write; the damaged ones of the file are set aside."""
        _set_aside(self.path.with_name(f"{self.path.name}.damaged"), damaged)
        with _told(f"to write a vote to {self.path}", "make room or take another name, vote again"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = not self.path.exists()
            with open(self.path, "a+b", buffering=0) as file:
                _write(file.fileno(), text)
            if new:
                sync_folder(self.path.parent)

    def _settle(self) -> None:
        """Force to disk what a process killed between write and fsync has left in the file."""
        with _told(f"a vote file at {self.path}", "check the path"):
            if self.path.exists():
                with self.path.open("r+b") as file:
                    os.fsync(file.fileno())


def recorded_votes(
    path: str | Path, comparisons: Sequence[Comparison], *by: str
) -> list[str | None]:
    """What `VoteFile.votes` gives, of a file that has to be there and whole; writes nothing.

    Raises FileNotFoundError, and ValueError for a damaged line and a file of other comparisons.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"votes: expected a vote file at {path}, got none; check the path")
    file = VoteFile(path, comparisons)
    if file.notes:
        raise ValueError(
            f"votes: expected whole lines, got {len(file.notes)} damaged in {path}; take another "
            "copy"
        )
    return file.votes(*by)


def as_read(comparison: Comparison) -> tuple[str, str, str, str]:
    """What a voter reads: what is told, its last sentence, which asks, and both responses."""
    words = [word for word in comparison.prompt.words if word != START]
    stop = max((at for at, word in enumerate(words) if word == "."), default=-1) + 1
    asked = " ".join(words[:stop]), " ".join(words[stop:])
    return (*asked, _said(comparison.first), _said(comparison.second))


def _said(words: Words) -> str:
    said = " ".join(word for word in words if word != START)
    return (said or "(no words)") + " …" * (START not in words)  # goes on where it does not end


def _digest(comparison: Comparison) -> str:
    words = [comparison.prompt.words, comparison.first, comparison.second]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:12]


def _seal(record: dict) -> str:
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()[:8]


def _fields(line: bytes) -> tuple | None:
    """(place, of, vote, by) of a line; None for a damaged one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(record, dict) and list(record) == FIELDS
    return tuple(record.values()) if whole and record.pop("seal") == _seal(record) else None


def _write(file: int, line: bytes) -> None:
    """Add a line on a line of its own, whatever piece of one a killed process has left there."""
    before = max(os.lseek(file, 0, os.SEEK_END) - 1, 0)
    begin = b"" if _since(file, before) in (b"", b"\n") else b"\n"
    for text in (begin + line, b"\n" + line):  # twice: a piece can come in between
        if os.write(file, text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)
        if b"\n" + line in (b"" if before else b"\n") + _since(file, before):
            break


def _since(file: int, place: int) -> bytes:
    os.lseek(file, place, os.SEEK_SET)
    return os.read(file, 1 << 20)


def _set_aside(copy: Path, lines: Sequence[bytes]) -> None:
    with contextlib.suppress(OSError):  # the file itself keeps them as well
        there = copy.read_bytes().split(b"\n") if lines and copy.exists() else []
        if missing := [line + b"\n" for line in lines if line not in there]:
            with copy.open("ab") as file:
                file.writelines(missing)


@contextlib.contextmanager
def _told(expected: str, todo: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise type(error)(f"votes: expected {expected}, got {error.strerror!r}; {todo}") from None
