"""What a poll answers over HTTP; `poll_guard` says what it refuses.

GET  /      the phone's page, the same for everybody
POST /join  {"room": code}                        -> cookie, token, pairs, this voter's votes
POST /vote  {"pair": id, "vote": ..., "was": ...} -> {"stored": vote}, once it is on disk
"""

import json
import secrets
from pathlib import Path

from tornado.web import Application, HTTPError, create_signed_value, decode_signed_value

from course_lm.rlhf.preferences import VOTES

from .ballots import PHONE, Wish
from .poll_guard import Handler, Post, Refusal, policy

PAGE = Path(__file__).with_name("poll_page.html").read_text("utf-8")
POLICY = policy(PAGE)
VOTERS = 2000  # most of them in a room
DAYS = 30  # for which a phone keeps its cookie


class Nothing(Handler):
    """Any other address."""

    def prepare(self) -> None:
        """Refuse."""
        super().prepare()
        raise HTTPError(404)


class Page(Handler):
    """The page of the phones."""

    def get(self) -> None:
        """Give it; all that it shows comes later, as data."""
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "same-origin")
        self.finish(PAGE)


def voter_of(request: Post) -> str | None:
    """The name in a cookie that this poll has signed, None without one."""
    name = request.get_signed_cookie(request.poll.cookie, max_age_days=DAYS, min_version=2)
    return name.decode() if name else None


class Join(Post):
    """A phone that knows the room code becomes a voter, or goes on as the one that it is."""

    def post(self) -> None:
        """Give the cookie and all that the page shows."""
        (code,) = self.fields("room")
        self.poll.doorman.check(self.request.remote_ip, code)
        voter = voter_of(self)
        if voter is None:
            if self.poll.admitted >= VOTERS:
                raise Refusal(503, f"expected at most {VOTERS} voters, got one more; share a phone")
            voter = PHONE + secrets.token_hex(8)
            self.set_signed_cookie(self.poll.cookie, voter, DAYS, httponly=True, samesite="Strict")
            self.poll.admitted += 1
        token = create_signed_value(self.poll.room.secret, "token", voter).decode()
        try:
            mine = self.poll.ballots.votes_of(voter)
        except (OSError, ValueError):
            raise Refusal(503, "expected to read the votes, got an error; try again") from None
        votes = {self.poll.ids[place]: vote for place, vote in mine.items()}
        rest = json.dumps({"token": token, "votes": votes})
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(f'{{"pairs": {self.poll.pairs}, {rest[1:]}')


class Vote(Post):
    """One vote on one pair."""

    async def post(self) -> None:
        """Answer once the vote is on disk."""
        secret, token = self.poll.room.secret, self.request.headers.get("X-Token", "")
        known = decode_signed_value(secret, "token", token, max_age_days=DAYS, min_version=2)
        voter = voter_of(self)
        if voter is None or known != voter.encode():
            raise Refusal(
                403, "expected a voter whom this poll has let in, got another; enter the room code"
            )
        pair, vote, was = self.fields("pair", "vote", "was")
        place = self.poll.places.get(pair) if isinstance(pair, str) else None
        if place is None:
            raise Refusal(404, "expected a pair of this poll, got another; load the page again")
        if vote not in VOTES or was not in (*VOTES, None):
            raise Refusal(400, f"expected one of {', '.join(VOTES)}, got another; choose again")
        try:
            stands = await self.poll.cast(Wish(voter, place, vote, was))
        except (OSError, ValueError):
            raise Refusal(
                503, "expected to store the vote, got an error of the disk; it is sent again"
            ) from None
        if stands != vote:
            raise Refusal(
                409,
                "expected a vote that replaces the one that stands, got one that replaces another; "
                "choose again",
                stored=stands,
            )
        self.finish({"stored": stands})


def application(poll) -> Application:
    """The web application of a poll; it logs nothing, for its log would stand in the notebook."""
    return Application(
        [("/", Page), ("/join", Join), ("/vote", Vote)],
        default_handler_class=Nothing,
        cookie_secret=poll.room.secret,
        log_function=lambda handler: None,
        poll=poll,
    )
