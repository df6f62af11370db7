"""Votes that come in many at a time, and the room in which they are given.

A write that is forced to disk costs about the same for one vote and for three hundred, so all
votes that wait share one. What stands is kept in memory; the file is read again only where somebody
else has added to it. Beside the vote file lies `<name>.room`: the code of the room, the secret that
signs the voters' cookies and the port, so that a poll goes on after a restart of the kernel.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from course_lm.rlhf.preferences import Comparison
from course_lm.rlhf.votes import VoteFile
from course_lm.training.sealed import sync_folder

PHONE = "phone "  # what the names of voters with a phone begin with
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # of a room code: no vowel, so no word comes out by chance
CODE = 6  # letters: one of 64 million codes
Key = tuple[str, int]  # who, on which comparison


@dataclass(frozen=True, slots=True)
class Wish:
    """A vote that somebody gives; `was` is the one that they take it to replace, None for none."""

    by: str
    place: int
    vote: str
    was: str | None


class Ballots(VoteFile):
    """A vote file for a crowd; used from one thread."""

    def __init__(self, path: str | Path, comparisons: Sequence[Comparison]) -> None:
        super().__init__(path, comparisons)
        self._look: tuple | None = ()  # how the file looked when it was read
        self._standing: dict[Key, str] = {}
        self._damaged: list[bytes] = []
        self._unsure: dict[Key, str | None] = {}  # what stood before a write that failed
        self._settle()

    def standing(self) -> dict[Key, str]:
        """(voter, place) -> vote, in the order of the votes."""
        look = self._looks()
        if look != self._look:
            (self._standing, self._damaged), self._look = self._read(), look
        return self._standing

    def votes_of(self, by: str) -> dict[int, str]:
        """place -> vote of one voter, without those that may not have reached the disk."""
        sure = self.standing() | self._unsure
        return {place: vote for (name, place), vote in sure.items() if name == by and vote}

    def ids(self) -> list[str]:
        """A name for each comparison, which no other comparison has."""
        return [f"{place}-{digest}" for place, digest in self._digests.items()]

    def cast(self, wishes: Sequence[Wish]) -> list[str | None]:
        """Give many votes with one write; the vote that stands for each, on disk on return.

        A vote that stands already is given once; one that replaces another than `was` is left out,
        so that a request which comes twice, or late, changes nothing. Raises OSError where the
        votes could not be forced to disk, ValueError for a file that has been exchanged.
        """
        stands = self.standing() | self._unsure
        new: dict[Key, str] = {}
        for wish in wishes:
            key = wish.by, wish.place
            now = new.get(key, stands.get(key))
            if now != wish.vote and now == wish.was:
                new[key] = wish.vote
        if new:
            self._add(new, stands)
        return [new.get((w.by, w.place), stands.get((w.by, w.place))) for w in wishes]

    def _add(self, new: dict[Key, str], stood: dict[Key, str | None]) -> None:
        text = b"".join(self._line(place, vote, by) for (by, place), vote in new.items())
        size = self._look[1] if self._look else 0
        try:
            self._store(text, self._damaged)
        except OSError:
            self._unsure |= {key: stood.get(key) for key in new}
            raise
        for key, vote in new.items():
            self._unsure.pop(key, None)
            self._standing.pop(key, None)
            self._standing[key] = vote
        look = self._looks()
        alone = look is not None and look[1] == size + len(text)
        self._look = look if alone else ()

    def _looks(self) -> tuple | None:
        with contextlib.suppress(FileNotFoundError):
            seen = self.path.stat()
            return seen.st_ino, seen.st_size, seen.st_mtime_ns
        return None


@dataclass(frozen=True, slots=True)
class Room:
    """What a phone needs to find and enter a poll, and what makes its cookie genuine."""

    code: str
    secret: str
    port: int


def read_room(votes: Path) -> Room | None:
    """The room beside a vote file, None before there is one; ValueError for a damaged file."""
    path = _room_path(votes)
    try:
        room = Room(**json.loads(path.read_text("utf-8")))
        types = [type(value) for value in asdict(room).values()]
        if types != [str, str, int] or not set(room.code) <= set(LETTERS) or len(room.secret) < 32:
            raise ValueError("other fields")
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"poll: expected the code, the secret and the port of a room in {path}, got "
            f"{type(error).__name__}; remove that file, then every phone enters anew"
        ) from error
    return room


def new_room(port: int) -> Room:
    """A room that nobody can guess."""
    code = "".join(secrets.choice(LETTERS) for _ in range(CODE))
    return Room(code, secrets.token_hex(32), port)


def write_room(votes: Path, room: Room) -> None:
    """Keep a room beside its vote file, readable to its owner alone, in one step."""
    path = _room_path(votes)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(room), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _room_path(votes: Path) -> Path:
    return votes.with_name(f"{votes.name}.room")
