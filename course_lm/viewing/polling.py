"""The lecturer's view of a poll: where the phones go, how many votes have arrived, and its end."""

from html import escape

import segno
from ipywidgets import HTML, Button, Layout, VBox

from ..classroom.poll import Poll
from .strips import alert

SCALE = 9  # pixels of one square of the picture
_BIG = "font-size:150%;font-weight:600;letter-spacing:.06em;overflow-wrap:anywhere"


class PollBox(VBox):
    """The widget of `poll_box`; the poll's own thread repaints it."""

    def __init__(self, poll: Poll) -> None:
        self.poll = poll
        self.invitation, self.picture, self.message = HTML(_invitation(poll)), HTML(), HTML()
        self.button = Button(description="close the poll", layout=Layout(width="130px"))
        super().__init__([self.invitation, self.picture, self.button, self.message])
        self.button.on_click(lambda _: poll.close())
        poll.listeners.append(self.paint)
        self.paint()

    def paint(self) -> None:
        """Show how far the poll is."""
        said = told(self.poll)
        self.picture.value = (
            f"<div role='group' aria-label='{escape(said)}' style='font-size:120%;line-height:1.6'>"
            f"{escape(said)}</div>"
        )
        self.message.value = alert(self.poll.trouble)
        if not self.poll.is_open:
            self.button.disabled, self.invitation.value = True, ""


def poll_box(poll: Poll) -> PollBox:
    """Show the way into a poll, its count while votes arrive, and a button that closes it.

    The count moves while a cell runs; a click on the button waits, as all clicks do, until the cell
    has ended.
    """
    return PollBox(poll)


def told(poll: Poll) -> str:
    """How far a poll is, in a sentence."""
    phones, votes = poll.counted
    state = "is open" if poll.is_open else "is closed"
    counts = f"{phones:,} phone{'s' * (phones != 1)}, {votes:,} vote{'s' * (votes != 1)}"
    return f"The poll {state}: {counts} on {len(poll.ids)} pairs."


def _invitation(poll: Poll) -> str:
    picture = segno.make(poll.invitation, error="m").png_data_uri(scale=SCALE, border=4)
    near = (
        "Only this machine can open this address. For the phones in a room, open the poll again "
        "with the address of this machine in their network, or address='0.0.0.0' for all of them."
    )
    return (
        "<div style='display:flex;flex-wrap:wrap;gap:16px;align-items:center;line-height:1.5'>"
        f"<img src='{picture}' alt='QR code that opens {escape(poll.invitation)}' "
        "style='image-rendering:pixelated;border-radius:4px'>"
        f"<div style='max-width:440px'><div>Open</div><div style='{_BIG}'>{escape(poll.url)}</div>"
        f"<div>and enter the room code</div><div style='{_BIG}'>{escape(poll.room.code)}</div>"
        f"{f'<p>{escape(near)}</p>' if poll.local else ''}</div></div>"
    )
