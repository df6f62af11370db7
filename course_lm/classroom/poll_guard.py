"""What a poll refuses before it reads a request, each time with one sentence.

A page of another site cannot vote for a phone: the cookie is SameSite=Strict, the token is known to
the poll's own page alone, and Origin, Sec-Fetch-Site and Host are checked.
"""

import base64
import hashlib
import ipaddress
import json
import re
import secrets
import time
from collections import Counter

from tornado.web import HTTPError, RequestHandler, stream_request_body

LARGEST = 4096  # bytes of a request's body
GUESSES, WINDOW = 30, 60  # wrong room codes from one address in so many seconds
KNOWN = {404: "one of the poll's addresses, got another", 405: "GET or POST, got another method"}


def policy(page: str) -> str:
    """The Content-Security-Policy that lets a page run its own script and style, and no other."""

    def allowed(tag: str) -> str:
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; connect-src 'self'; img-src data:; script-src {allowed('script')}; "
        f"style-src {allowed('style')}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Refusal(HTTPError):
    """A request that is answered with a status and one sentence."""

    def __init__(self, status: int, sentence: str, **more: object) -> None:
        super().__init__(status)
        self.answer = {"error": f"poll: {sentence}"} | more


class Handler(RequestHandler):
    """What holds for every request."""

    @property
    def poll(self):
        """The Poll."""
        return self.settings["poll"]

    def set_default_headers(self) -> None:
        """Let nothing be kept, and nothing be read as what it is not."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def prepare(self) -> None:
        """Refuse a name that is not the poll's: a foreign site may have it point here."""
        name = self.request.host_name.strip("[]")
        if not is_address(name) and name not in self.poll.names:
            raise Refusal(
                421, "expected the address that the notebook shows, got another name; open that one"
            )

    def write_error(self, status_code: int, **kwargs) -> None:
        """Answer with a sentence, whatever happened."""
        error = kwargs.get("exc_info", (None, None))[1]
        known = KNOWN.get(status_code, "to answer this, got an error")
        plain = {"error": f"poll: expected {known}; open the address that the notebook shows"}
        self.finish(getattr(error, "answer", plain))


@stream_request_body
class Post(Handler):
    """A request with a small JSON object, from the poll's own page; refused before it is read."""

    def prepare(self) -> None:
        """Refuse what comes from another site, in another form or is too large."""
        super().prepare()
        self.text, headers = b"", self.request.headers
        if self.request.method != "POST":
            raise HTTPError(405)
        origin = headers.get("Origin", self.own_origin()).lower()
        site = headers.get("Sec-Fetch-Site", "same-origin")
        if origin != self.own_origin() or site != "same-origin":
            raise Refusal(
                403, "expected a request of its own page, got one of another site; open the page"
            )
        if headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "expected application/json, got another type; send JSON")
        length = headers.get("Content-Length", "")
        if not length.isdecimal():
            raise Refusal(411, "expected a length of the body, got none; send Content-Length")
        if int(length) > LARGEST:
            raise Refusal(413, f"expected at most {LARGEST} bytes, got {length}; send one vote")

    def own_origin(self) -> str:
        """Where the poll's own page comes from, as a browser says it."""
        return f"http://{self.request.host}".lower()

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body; its length is known to be small."""
        self.text += chunk

    def fields(self, *names: str) -> list[object]:
        """The values of the JSON object that was sent, which has to have these names alone."""
        try:
            found = json.loads(self.text)
            if set(found) != set(names) or not isinstance(found, dict):
                raise ValueError
        except (ValueError, TypeError, RecursionError):
            wanted = " and ".join(names)
            raise Refusal(
                400, f"expected JSON with {wanted}, got something else; load the page again"
            ) from None
        return [found[name] for name in names]


class Doorman:
    """Checks room codes, and lets nobody try many."""

    def __init__(self, code: str) -> None:
        self.code, self.wrong, self.window = code, Counter(), 0

    def check(self, address: str, code: object) -> None:
        """Refuse a wrong code, and every code of an address that has sent too many wrong ones."""
        if (window := int(time.monotonic() / WINDOW)) != self.window:
            self.wrong, self.window = Counter(), window
        if self.wrong[address] >= GUESSES:
            raise Refusal(429, "expected fewer wrong room codes, got too many; wait for a minute")
        said = "".join(code.split()).upper() if isinstance(code, str) else ""
        if not secrets.compare_digest(said.encode("utf-8", "replace"), self.code.encode()):
            self.wrong[address] += 1
            raise Refusal(
                403, "expected the code that the lecturer shows, got another; read it again"
            )


def is_address(name: str) -> bool:
    """Whether a host is a number, which no foreign name server can give to a foreign name."""
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False
