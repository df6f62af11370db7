"""The sentences of a check: what is wrong, a value in brief, an error by name and line."""

import html
import inspect
import linecache
import re
import reprlib
import sys
import traceback
from collections.abc import Callable


class Problem(Exception):
    """What is wrong with an answer, as one sentence for the student.

    `revealed` is the sentence that also names the right value; it is shown where the answer is a
    function, whose author still has to write it, and not where the value itself is the answer.
    """

    def __init__(self, sentence: str, revealed: str | None = None):
        super().__init__(sentence)
        self.revealed = revealed or sentence


class NotAttempted(Exception):
    """The answer is still the stub of the page."""


class _Brief(reprlib.Repr):
    def __init__(self):
        super().__init__()
        self.maxtuple = self.maxset = 6
        self.maxstring = self.maxother = 60

    def repr_list(self, value, level):
        self.maxlist = 10 if all(isinstance(item, str) for item in value) else 6
        return super().repr_list(value, level)

    def repr_float(self, value, level):
        return f"{value + 0.0:.6g}"  # −0 reads as 0

    def repr_function(self, value, level):
        return f"the function {value.__name__}"

    def repr_Tensor(self, value, level):
        if value.numel() <= 8:
            return f"tensor({self.repr1(value.tolist(), level)})"
        return f"a tensor of shape {tuple(value.shape)}"

    repr_Parameter = repr_Tensor


def brief(value: object) -> str:
    """`value` in at most about 80 characters, the same in every run (no memory addresses)."""
    try:
        text = re.sub(r" at 0x[0-9a-fA-F]+", "", _Brief().repr(value))
    except Exception:
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


_ADVICE = {
    RecursionError: "the function calls itself without end; give it a case that returns",
    SystemExit: "use `return` to leave a function",
    MemoryError: "it asks for more memory than there is",
}


def _line(error: BaseException, function: Callable) -> str:
    """Where in the file or cell of `function` the error arose, as ` in line 3, `code``."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    steps = traceback.walk_tb(error.__traceback__)
    own = [
        number for frame, number in steps if code and frame.f_code.co_filename == code.co_filename
    ]
    if not own:
        return ""
    source = linecache.getline(code.co_filename, own[-1]).strip()
    return f" in line {own[-1]}" + (f", `{source}`" if source else "")


def describe(error: BaseException, function: Callable) -> str:
    """The name of the error, its message and the line of `function`'s file where it arose."""
    advice = next((text for kind, text in _ADVICE.items() if isinstance(error, kind)), None)
    try:
        message = advice or str(error)[:200]
    except Exception:
        message = ""
    return f"{type(error).__name__}{_line(error, function)}" + (f": {message}" if message else "")


def marked(text: str) -> str:
    """`text` escaped for HTML, with what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def show(text: str, page: dict[str, object]) -> None:
    """Display `page` (content by MIME type) with `text` as its plain twin.

    Outside a notebook print `text`.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if hasattr(shell, "kernel"):
        ipython.display.display(page | {"text/plain": text}, raw=True)
    else:
        print(text)


def box(title: str, lines: list[str], colour: str) -> dict[str, object]:
    """A bordered box in the colours of the page's theme; the title says what the colour says."""
    page = (
        f'<div role="status" style="border-left: 4px solid var({colour}, gray); '
        'padding: .2em .8em; color: var(--jp-content-font-color1)">'
        f"<strong>{marked(title)}</strong>"
        + "".join(f'<p style="margin: .3em 0">{marked(line)}</p>' for line in lines)
        + "</div>"
    )
    return {"text/html": page}
