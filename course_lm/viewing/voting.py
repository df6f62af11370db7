"""Two responses side by side, a vote by button or key, and a twin for pages without a kernel."""

import time
from collections.abc import Sequence
from html import escape
from textwrap import fill

from ipywidgets import HTML, Button, HBox, Layout, Textarea, VBox

from ..rlhf.preferences import FIRST, SECOND, SKIP, TIE, Comparison
from ..rlhf.votes import VoteFile, as_read
from .strips import Html, alert, aligned

KEYS = {"a": FIRST, "b": SECOND, "t": TIE, "s": SKIP, "u": "undo"}
NAMES = {FIRST: "A", SECOND: "B"}  # anything else is called what it is
HELP = ", ".join(f"{key} {NAMES.get(vote, vote)}" for key, vote in KEYS.items())
# Seconds in which nobody reads two responses: what comes sooner was meant for those before them. A
# key that is held down repeats itself after at most 0.66 seconds on most systems, and then faster.
UNREAD = 0.75
TOO_SOON = "That came before these two could be read, and does not count; vote again."
# Colours of the theme where there is one; else those of the page around.
_CARD = (
    "flex:1 1 260px;border:1px solid var(--jp-border-color1,#8A8A86);border-radius:4px;"
    "padding:6px 12px 10px;background:var(--jp-layout-color2,transparent)"
)


def ballot(comparisons: Sequence[Comparison], places: Sequence[int]) -> Html:
    """The comparisons at these places, as a voter sees them: the prompt, then both responses.

    Raises ValueError for a place that is none.
    """
    count = len(comparisons)
    for place in places:
        if place not in range(count):
            raise ValueError(
                f"ballot: expected places from 0 to {count - 1}, got {place}; give one of these"
            )
    shown = [(comparisons[at], f"Comparison {at + 1} of {count}") for at in places]
    plain = [f"{title}\n{_plain(comparison)}" for comparison, title in shown]
    return Html("".join(_cards(*each) for each in shown), "\n\n".join(plain))


def _cards(comparison: Comparison, title: str) -> str:
    told, asked, *said = map(escape, as_read(comparison))
    cards = "".join(
        f"<div style='{_CARD}'><b>{name}</b><br>{text}</div>"
        for name, text in zip(NAMES.values(), said, strict=True)
    )
    return (
        f"<div role='group' aria-label='{escape(title)}' style='max-width:760px;line-height:1.5;"
        "margin-bottom:10px'>"
        f"<div style='font-size:85%'>{escape(title)}</div>"
        f"<div style='margin:4px 0 8px'>{told}{'<br>' * bool(told)}<b>{asked}</b></div>"
        f"<div style='display:flex;flex-wrap:wrap;gap:10px'>{cards}</div></div>"
    )


def _plain(comparison: Comparison) -> str:
    *prompt, first, second = as_read(comparison)
    told = [fill(text, 96) for text in prompt if text]
    sides = [(NAMES[FIRST], first), (NAMES[SECOND], second)]
    return "\n".join([*told, aligned(sides)])


class VotingBox(VBox):
    """The widget of `voting_box`; `place` is the comparison that it shows, None at the end.

    The field of the keys only grows, and what has been added to it is read: nothing is cleared
    while somebody types. It is a Textarea because whoever comes to a Text by Tab selects all of it.
    The focus goes there after a click: a letter on a button is a command to the notebook.
    """

    def __init__(self, file: VoteFile, by: str) -> None:
        self.file, self.by, self.typed, self.given = file, by, "", ""
        self.buttons = {vote: _button(vote, key) for key, vote in KEYS.items()}
        self.field = Textarea(description="keys", placeholder="a b t s u", rows=1)
        self.field.layout = Layout(width="150px", height="32px")
        self.field.style.description_width = "40px"
        self.picture, self.message = HTML(), HTML()
        row = HBox([*self.buttons.values(), self.field], layout=Layout(flex_flow="row wrap"))
        super().__init__([self.picture, row, self.message])
        self.go_to(file.next_open(by))
        for vote, button in self.buttons.items():
            button.on_click(lambda _, vote=vote: self.clicked(vote))
        self.field.observe(self.read, "value")

    def clicked(self, vote: str) -> None:
        """Give the vote of a button, and listen to the keys."""
        self.give(vote)
        self.field.focus()

    def read(self, _=None) -> None:
        """Give the vote of a key that has been typed; several at once are too soon."""
        before, self.typed = self.typed, self.field.value
        changed = (at for at, letter in enumerate(before) if not self.typed.startswith(letter, at))
        begin, more = next(changed, len(before)), max(len(self.typed) - len(before), 0)
        new = self.typed[begin : begin + more].strip().lower()
        if new in KEYS:
            self.give(KEYS[new])
        elif len(new) > 1:
            self.too_soon()
        elif new:
            self.say(f"Expected one of the keys {HELP}, got {new!r}.")

    def give(self, vote: str) -> None:
        """Write a vote on what is shown, or take the latest one back, and then show the next."""
        regret = vote == "undo" != self.given  # needs no reading
        if time.monotonic() - self.since < UNREAD and not regret:
            return self.too_soon()
        self.given = vote
        try:
            if vote == "undo":
                taken = self.file.undo(self.by)
                self.go_to(self.place if taken is None else taken)
            elif self.place is not None:
                self.file.add(self.place, vote, self.by)
                self.go_to(self.file.next_open(self.by))
        except (OSError, ValueError) as error:
            self.say(str(error))

    def too_soon(self) -> None:
        """Give no vote, say so, and wait for a moment without any."""
        self.since = time.monotonic()
        self.say(TOO_SOON)

    def go_to(self, place: int | None) -> None:
        """Show a comparison; None shows that all have a vote."""
        self.place, self.since = place, time.monotonic()
        count = len(self.file.comparisons)
        done = count - self.file.votes(self.by).count(None)
        if place is None:
            end = f"All {count} comparisons have a vote, kept in {self.file.path}."
            self.picture.value = f"<div role='group' aria-label='{escape(end)}'>{escape(end)}</div>"
        else:
            title = f"Comparison {place + 1} of {count}, {done} voted"
            self.picture.value = _cards(self.file.comparisons[place], title)
        for vote, button in self.buttons.items():
            button.disabled = done == 0 if vote == "undo" else place is None
        self.say("")

    def say(self, sentence: str) -> None:
        """Show a sentence above what the file has to tell about damaged lines."""
        self.message.value = "".join(map(alert, [sentence, *self.file.notes]))


def voting_box(file: VoteFile, by: str = "") -> VotingBox:
    """Vote on the comparisons of a file, from the first that `by` has not voted on.

    A vote is on disk before the next comparison shows. Keys, in their field: a, b, t, s, u.
    """
    return VotingBox(file, by)


def _button(vote: str, key: str) -> Button:
    button = Button(description=NAMES.get(vote, vote), layout=Layout(width="70px"))
    button.tooltip = f"key {key}"
    button.button_style = "primary" if vote in NAMES else ""
    return button
