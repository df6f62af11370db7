"""The package's real source, shown on the page instead of copied to it."""

import inspect
from collections.abc import Callable
from html import escape
from textwrap import dedent

from IPython.display import display
from pygments import lex
from pygments.lexers import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String, _TokenType

from .strips import Html, readable

# Middle tones by the first kind that contains the token; whatever is not listed keeps the page's
# own text colour. Mixed with that they can be read on a light and on a dark theme (tested).
TONES = {
    Comment: "#727F89",
    String.Doc: "#727F89",
    String: "#B4622D",
    Number: "#B4622D",
    Keyword: "#965CC8",
    Operator.Word: "#965CC8",
    Name.Function: "#1F7CC9",
    Name.Class: "#1F7CC9",
    Name.Decorator: "#1F7CC9",
    Name.Builtin: "#1D8573",
}
VARIABLES = {tone: f"--t{place}" for place, tone in enumerate(dict.fromkeys(TONES.values()))}
MIXED = ";".join(f"{name}:{readable(tone)}" for tone, name in VARIABLES.items())


def show_source(thing: Callable | type, folded: bool = False) -> None:
    """Display the source of a function or class, highlighted; `folded` hides it behind a click."""
    display(source(thing, folded))


def source(thing: Callable | type, folded: bool = False) -> Html:
    """The source of a function or class under a header line that says where it stands.

    Raises TypeError for anything that has no Python source.
    """
    try:
        code = dedent(inspect.getsource(inspect.unwrap(thing))).rstrip()
    except (TypeError, OSError):
        raise TypeError(
            "show_source: expected a function or class written in Python, got "
            f"{type(thing).__name__} {thing!r}; give the function itself, without calling it"
        ) from None
    where = _where(thing)
    listing = (
        "<pre style='margin:0;padding:6px 10px;border-left:3px solid #8A8A86;overflow-x:auto;"
        f"line-height:1.35;{MIXED}'>{highlighted(code)}</pre>"
    )
    name = escape(getattr(thing, "__name__", ""))
    if folded:
        html = f"<details><summary><b>{name}</b> in {where}</summary>{listing}</details>"
    else:
        html = f"<div style='font-size:85%;margin-bottom:3px'>{where}</div>{listing}"
    return Html(html, f"# {where}\n{code}")


def highlighted(code: str) -> str:
    """Python code as HTML: every letter escaped, every token in its tone."""
    return "".join(_coloured(kind, text) for kind, text in lex(code, PythonLexer(stripnl=False)))


def _coloured(kind: _TokenType, text: str) -> str:
    tone = next((colour for part, colour in TONES.items() if kind in part), None)
    if tone is None:
        return escape(text)
    return f"<span style='color:var({VARIABLES[tone]})'>{escape(text)}</span>"


def _where(thing: object) -> str:
    module = getattr(thing, "__module__", None) or "__main__"
    if module == "__main__":
        return "this page"
    return escape(module.replace(".", "/") + ".py")
