"""Simulated phones: they vote over HTTP as the page of a poll does, for a page without a class."""

import asyncio
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from email.parser import BytesHeaderParser
from urllib.parse import urlsplit

Answer = tuple[int, dict]


class Phone:
    """One voter, with one connection that stays open as that of a browser does.

    votes: pair -> vote, as the poll has acknowledged them. seconds: what each vote took.
    """

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).netloc
        self.headers = {"Host": self.host, "Content-Type": "application/json"}
        self.pairs: list[dict] = []
        self.votes: dict[str, str] = {}
        self.seconds: list[float] = []
        self.writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: bytes, **headers: str) -> Answer:
        """Status and answer of one request; a header that is '' is left out."""
        if self.writer is None:
            place = urlsplit(f"//{self.host}")
            self.reader, self.writer = await asyncio.open_connection(place.hostname, place.port)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Content-Length": str(len(body))} | self.headers | named
        lines = [f"POST /{path} HTTP/1.1", *(f"{n}: {v}" for n, v in sent.items() if v), "", ""]
        self.writer.write("\r\n".join(lines).encode() + body)
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, _, rest = head.partition(b"\r\n")
        answered = BytesHeaderParser().parsebytes(rest)
        data = await self.reader.readexactly(int(answered["Content-Length"]))
        if cookie := answered["Set-Cookie"]:
            self.headers["Cookie"] = cookie.partition(";")[0]
        if answered["Connection"] == "close":
            self.hang_up()
        return int(first.split()[1]), json.loads(data)

    async def join(self, code: str) -> Answer:
        """Enter the room."""
        status, data = await self.post("join", json.dumps({"room": code}).encode())
        if status == 200:
            self.headers["X-Token"] = data["token"]
            self.pairs, self.votes = data["pairs"], data["votes"]
        return status, data

    async def vote(self, place: int, vote: str) -> Answer:
        """Give a vote on a pair."""
        name = self.pairs[place]["id"]
        fields = {"pair": name, "vote": vote, "was": self.votes.get(name)}
        began = time.perf_counter()
        status, data = await self.post("vote", json.dumps(fields).encode())
        self.seconds.append(time.perf_counter() - began)
        if status == 200:
            self.votes[name] = data["stored"]
        return status, data

    def hang_up(self) -> None:
        """Close the connection; the next request opens another."""
        if self.writer:
            self.writer.close()
        self.writer = None


def crowd(
    url: str, code: str, ballots: Sequence[Sequence[str]], think: Sequence[float] = ()
) -> list[Phone]:
    """As many phones as there are `ballots` vote at the same time, each from the first pair on.

    think: seconds that the phones wait before each vote, taken in turn; with the default all give
    their next vote in the same moment, once everybody's last one is stored. Works in a notebook.
    Raises RuntimeError with the poll's sentence where a phone is refused.
    """
    phones = [Phone(url) for _ in ballots]
    together = asyncio.Barrier(max(len(phones), 1))

    async def one(number: int) -> None:
        _accepted(await phones[number].join(code))
        await together.wait()
        for place, vote in enumerate(ballots[number]):
            if think:
                await asyncio.sleep(think[(number + 7 * place) % len(think)])
            else:
                await together.wait()
            _accepted(await phones[number].vote(place, vote))
        phones[number].hang_up()

    async def everybody() -> None:
        await asyncio.gather(*map(one, range(len(phones))))

    with ThreadPoolExecutor(1) as pool:  # a notebook's own thread has a loop that runs already
        pool.submit(asyncio.run, everybody()).result()
    return phones


def _accepted(answer: Answer) -> None:
    status, data = answer
    if status != 200:
        raise RuntimeError(data["error"])
