"""A class votes from its phones: a small web server in the kernel, beside the cell that trains.

    hall = poll(comparisons, "votes.jsonl", address="192.168.1.20")
    poll_box(hall)                  # `viewing.polling`: address, room code, picture, live count
    places, votes = hall.votes()    # at any time; one entry for each vote

A vote is on disk before its phone is told so. After a restart of the kernel the same call goes on
with all votes, under the same address and room code, and every phone stays the voter it was. The
poll closes with the kernel. What it does not do: it speaks plain HTTP, so use it in a network that
you trust; and whoever empties the cookies of a phone becomes another voter.
"""

import asyncio
import atexit
import contextlib
import errno
import json
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback

from course_lm.rlhf.preferences import Comparison
from course_lm.rlhf.votes import as_read

from .ballots import PHONE, Ballots, Room, Wish, new_room, read_room, write_room
from .poll_guard import LARGEST, Doorman
from .poll_web import application

EVERY = 250  # milliseconds between two looks at whether the count has changed
QUEUE = 512  # phones that may knock in the same moment
EVERYWHERE = ("", "0.0.0.0", "::")
_open: dict[Path, "Poll"] = {}  # of this kernel, by vote file


def poll(
    comparisons: Sequence[Comparison],
    path: str | Path,
    address: str = "127.0.0.1",
    port: int = 0,
) -> "Poll":
    """Open a poll on comparisons, its votes kept in `path`, or go on with the one kept there.

    address: of this machine, as the phones reach it; loopback reaches nobody else, "0.0.0.0" is
    every network. port: 0 for the one of last time, else a free one. A poll that is open on the
    same file closes first.

    Raises ValueError for no comparison, for a file of other comparisons and a damaged room, OSError
    where the address cannot be had or the room not be kept.
    """
    if not comparisons:
        raise ValueError("poll: expected at least one comparison, got none; draw some first")
    path = Path(path).expanduser().resolve()
    if path in _open:
        _open[path].close()
    ballots, room = Ballots(path, comparisons), read_room(path)
    bound = _bound(address, port or (room.port if room else 0))
    port = bound.getsockname()[1]
    room = replace(room, port=port) if room else new_room(port)
    try:
        write_room(path, room)
        _open[path] = Poll(ballots, room, address, bound)
    except BaseException:
        bound.close()
        raise
    return _open[path]


class Poll:
    """What `poll` opens. All but `votes` and `close` belongs to its own thread.

    url: where the phones find it. counted: phones that have voted, and their votes; some 250 ms
    old. trouble: a sentence while votes cannot be stored. listeners: called, in that thread, when
    one of these or `is_open` has changed.
    """

    def __init__(self, ballots: Ballots, room: Room, address: str, bound: socket.socket) -> None:
        self.ballots, self.room, self.doorman = ballots, room, Doorman(room.code)
        self.cookie = f"poll_{room.code.lower()}"
        host = own_address() if address in EVERYWHERE else address
        self.local = host in ("localhost", "::1") or host.startswith("127.")
        self.names = {host.lower(), "localhost"} if self.local else {host.lower()}
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{room.port}/"
        self.ids = ballots.ids()
        shown = map(card, ballots.comparisons)
        cards = [{"id": name} | each for name, each in zip(self.ids, shown, strict=True)]
        self.pairs = json.dumps(cards)  # once, for all phones
        self.places = {name: place for place, name in enumerate(self.ids)}
        self.listeners: list[Callable[[], None]] = []
        self.is_open, self.trouble, self.counted = True, "", self._count()
        self.admitted = self.counted[0]
        self._waiting: list[tuple[Wish, asyncio.Future]] = []
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(bound)), daemon=True)
        self._thread.start()
        self._ready.wait(10)
        atexit.register(self.close)

    @property
    def invitation(self) -> str:
        """The address with the room code, as the picture holds it; the code is sent to nobody."""
        return f"{self.url}#{self.room.code}"

    def votes(self) -> tuple[list[int], list[str]]:
        """Places (0 to N − 1) and votes so far, of all phones.

        They are sorted, so that the same votes train the same model in whatever order they came.
        """
        kept = Ballots(self.ballots.path, self.ballots.comparisons).standing()
        pairs = sorted((at, vote) for (name, at), vote in kept.items() if name.startswith(PHONE))
        return [place for place, _ in pairs], [vote for _, vote in pairs]

    def close(self) -> None:
        """Let nobody vote any more; votes that wait are stored first. Calling it twice is fine."""
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has ended in this moment
                self._loop.call_soon_threadsafe(self._stop.set)
            if threading.current_thread() is not self._thread:
                self._thread.join(10)
        atexit.unregister(self.close)
        if _open.get(self.ballots.path) is self:
            del _open[self.ballots.path]

    # -- in the thread of the poll

    async def cast(self, wish: Wish) -> str | None:
        """The vote that stands after a wish, once it is on disk; all wishes that wait share that.

        Raises what `Ballots.cast` raises.
        """
        if not self._waiting:
            self._loop.call_soon(self._store)
        stored = self._loop.create_future()
        self._waiting.append((wish, stored))
        return await stored

    def _store(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            stand = self.ballots.cast([wish for wish, _ in waiting])
        except (OSError, ValueError) as error:
            self.trouble = str(error)
            for _, stored in waiting:
                stored.set_exception(error)
            return self._tell(always=True)
        self.trouble = ""
        for (_, stored), vote in zip(waiting, stand, strict=True):
            stored.set_result(vote)

    async def _serve(self, bound: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        server = HTTPServer(application(self), max_body_size=LARGEST, max_header_size=8192)
        server.add_socket(bound)
        look = PeriodicCallback(self._tell, EVERY)
        look.start()
        self._ready.set()
        await self._stop.wait()
        look.stop()
        server.stop()
        await asyncio.sleep(0.1)  # votes that wait are stored and answered
        await server.close_all_connections()
        self.is_open = False
        self._tell(always=True)

    def _tell(self, always: bool = False) -> None:
        before = self.counted, self.trouble
        try:
            self.counted = self._count()
        except (OSError, ValueError) as error:  # somebody has moved or exchanged the file
            self.trouble = str(error)
        if always or before != (self.counted, self.trouble):
            for listener in self.listeners:
                listener()

    def _count(self) -> tuple[int, int]:
        names = [name for name, _ in self.ballots.standing() if name.startswith(PHONE)]
        return len({*names}), len(names)


def card(comparison: Comparison) -> dict[str, str]:
    """What a phone shows of a comparison: what is told, what is asked, and both responses."""
    return dict(zip(("told", "asked", "first", "second"), as_read(comparison), strict=True))


def own_address() -> str:
    """The address that this machine has in its network, loopback without one; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for examples: nobody has it
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        bound = socket.create_server((address, port), family=family, backlog=QUEUE)
    except OSError as error:
        todo = "give an address of this machine and a port that is free"
        if error.errno == errno.EADDRINUSE:
            todo = "shut down the kernel that holds it, or give another port"
        raise OSError(
            f"poll: expected to listen at {address}, port {port}, got {error.strerror!r}; {todo}"
        ) from None
    bound.setblocking(False)
    return bound
