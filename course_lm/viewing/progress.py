"""Progress with the time left, and a stop that keeps the work done."""

import time
from collections.abc import Iterable, Iterator
from html import escape
from typing import TypeVar

from IPython.display import display

Record = TypeVar("Record")
SECONDS_BETWEEN = 0.2


def watch(records: Iterable[Record], total: int, unit: str = "steps") -> Iterator[Record]:
    """Yield `records` and show how many of `total` are done, with the seconds left.

    `records` is the generator that does the work, a record at a time. The stop button (or Ctrl-C)
    while a record is being made ends the loop with a sentence, and the records so far are kept;
    work in the body of the loop is not protected.
    """
    began = shown = time.perf_counter()
    done = 0
    handle = display(_bar(0, total, unit, ""), display_id=True, raw=True)
    try:
        for record in records:
            done += 1
            yield record
            now = time.perf_counter()
            if now - shown > SECONDS_BETWEEN and done < total:
                left = (now - began) / done * (total - done)
                _update(handle, _bar(done, total, unit, f"{left:.0f} s left"))
                shown = now
        end = ""
    except KeyboardInterrupt:
        end = "; stopped, what was done is kept"
    _update(handle, _bar(done, total, unit, f"{time.perf_counter() - began:.0f} s{end}"))


def _bar(done: int, total: int, unit: str, time_text: str) -> dict[str, str]:
    text = f"{done:,} of {total:,} {unit}" + (f", {time_text}" if time_text else "")
    said = escape(text)
    bar = f'<progress value="{done}" max="{total}" aria-label="{said}"></progress> {said}'
    return {"text/html": bar, "text/plain": text}


def _update(handle: object, content: dict[str, str]) -> None:
    if handle is not None:  # outside a notebook `display` has printed, and gives no handle
        handle.update(content, raw=True)
