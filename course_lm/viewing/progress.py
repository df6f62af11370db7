"""Progress with the time left, and a stop that keeps the work done."""

import time
from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import TypeVar

from IPython import get_ipython
from IPython.display import display

from .strips import Html

Record = TypeVar("Record")
SECONDS_BETWEEN = 0.2


def watch(records: Iterable[Record], total: int, unit: str = "steps") -> Iterator[Record]:
    """Yield `records` and show how many of `total` are done, with the seconds left.

    `records` is the generator that does the work, a record at a time. The stop button (or Ctrl-C)
    while a record is being made ends the loop with a sentence, and the records so far are kept;
    work in the body of the loop is not protected. Outside a notebook the last line is printed.
    """
    began = shown = time.perf_counter()
    done = 0

    def line(time_text: str) -> Html:
        return bar(done, total, f"{done:,} of {total:,} {unit}{time_text}")

    update = in_place(line(""))
    try:
        for record in records:
            done += 1
            yield record
            now = time.perf_counter()
            if update and now - shown > SECONDS_BETWEEN and done < total:
                update(line(f", {duration((now - began) / done * (total - done))} left"))
                shown = now
        end = ""
    except KeyboardInterrupt:
        end = "; stopped, what was done is kept"
    (update or print)(line(f", {duration(time.perf_counter() - began)}{end}"))


def bar(done: float, total: float, text: str) -> Html:
    """A bar filled to `done` of `total`, and `text` beside it."""
    said = escape(text)
    filled = f'<progress value="{done:.9g}" max="{total:.9g}" aria-label="{said}"></progress>'
    return Html(f"{filled} {said}", text)


def duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 2.5 min."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def in_place(first: Html) -> Callable[[Html], None] | None:
    """Display `first` and return the call that replaces it; None, and no display, elsewhere.

    Elsewhere is whatever is no notebook: a script or a terminal, where nothing can be replaced.
    """
    if getattr(get_ipython(), "kernel", None) is None:
        return None
    return display(first, display_id=True).update
