"""Text and tables as HTML with a twin in plain text; whatever comes from outside is escaped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from textwrap import fill

from .style import between, number, visible

# light = expected, dark = surprising; lightness alone tells the order
_STOPS = ("#fff7e8", "#fdd49e", "#fc8d59", "#d7301f", "#7f0000")
_IMPOSSIBLE = "#000000"
STRENGTH = 75  # % of a colour that is written on the page; the rest is the page's text colour
BOX = "display:inline-block;border-radius:3px;padding:1px 4px;margin:1px;line-height:1.4"


@dataclass(frozen=True, slots=True)
class Html:
    """Something to show: `html` where a browser reads it, `text` everywhere else."""

    html: str
    text: str

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}

    def __str__(self) -> str:
        return self.text


def aligned(rows: Sequence[Sequence[object]]) -> str:
    """Rows of cells as text: columns padded to one width, numbers to three digits."""
    cells = [[number(cell) for cell in row] for row in rows]
    columns = max((len(row) for row in cells), default=0)
    widths = [max(len(row[c]) for row in cells if c < len(row)) for c in range(columns)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def table(rows: Sequence[Sequence[object]], headers: Sequence[str] = (), caption: str = "") -> Html:
    """A small table: `rows` of cells (numbers shown to three digits) under `headers`.

    Raises ValueError when a row has another number of cells than the headers or the first row.
    """
    columns = len(headers) or len(rows[0] if rows else ())
    for row in rows:
        if len(row) != columns:
            raise ValueError(
                f"table: expected {columns} cells in every row, got {len(row)} in {list(row)!r}; "
                "fill the missing cells with ''"
            )
    title = f"<caption style='text-align:left'>{escape(caption)}</caption>" if caption else ""
    head = "".join(f"<th scope='col' style='text-align:left'>{escape(h)}</th>" for h in headers)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    html = f"<table>{title}{f'<thead><tr>{head}</tr></thead>' if head else ''}"
    text = aligned([*([headers] if headers else []), *rows])
    return Html(f"{html}<tbody>{body}</tbody></table>", f"{caption}\n{text}" if caption else text)


def alert(sentence: str) -> str:
    """A sentence that a browser speaks at once, as HTML; nothing for an empty one."""
    style = "border-left:4px solid var(--jp-warn-color1,#C2410C);padding-left:8px;line-height:1.4"
    return f"<div role='alert' style='{style}'>{escape(sentence)}</div>" if sentence else ""


def token_strip(
    tokens: Sequence[str],
    surprises: Sequence[float | None],
    unit: str = "bits",
    highest: float | None = None,
) -> Html:
    """Each token on a colour that says how surprising it was, −log p: light expected, dark not.

    `surprises` are in `unit`, one for each token: None where nothing was predicted, inf where the
    token was impossible. `highest` is the darkest colour's value (default: the largest one seen);
    give it to compare strips. Spaces and line ends are made visible.
    """
    if len(tokens) != len(surprises):
        raise ValueError(
            f"token_strip: expected one surprise for each of {len(tokens)} tokens, got "
            f"{len(surprises)}; give None for a token that was not predicted"
        )
    values = [None if s is None else float(s) for s in surprises]
    if any(s is not None and not s >= 0 for s in values):
        raise ValueError(
            "token_strip: expected surprises −log p of 0 or more, got a negative number or NaN; "
            "give minus the log-probability"
        )
    finite = [s for s in values if s is not None and math.isfinite(s)]
    top = highest or max(finite, default=0.0) or 1.0
    pairs = list(zip(tokens, values, strict=True))
    boxes = _unbroken(
        [_token(token, s, unit, top) + "<br>" * token.count("\n") for token, s in pairs], tokens
    )
    words = [f"{visible(t)} {'–' if s is None else number(s)}" for t, s in pairs]
    total = (
        f"mean {number(sum(finite) / len(finite))} {unit} per token" if finite else "no surprise"
    )
    if len(finite) < sum(s is not None for s in values):
        total = f"mean ∞ {unit} per token: a token was impossible"
    html = (
        f"<div role='img' aria-label='{escape(f'Tokens coloured by surprise; {total}.')}' "
        f"style='max-width:760px'>{boxes}{_scale(top, unit, total)}</div>"
    )
    return Html(html, f"surprise in {unit}: {fill(' | '.join(words), 96)}\n{total}")


def surprise_colours(share: float) -> tuple[str, str]:
    """(background, text colour) for a surprise that is `share` (0 to 1) of the highest."""
    at = min(max(share, 0.0), 1.0) * (len(_STOPS) - 1)
    low = min(int(at), len(_STOPS) - 2)
    background = between(_STOPS[low], _STOPS[low + 1], at - low)
    return background, text_on(background)


def contrast(one: str, other: str) -> float:
    """WCAG contrast of two colours "#rrggbb": 1 (equal) to 21; 4.5 and more reads well."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def readable(colour: str) -> str:
    """CSS: `colour` a little darker on a light theme and lighter on a dark one."""
    return f"color-mix(in srgb, {colour} {STRENGTH}%, currentColor)"


def text_on(background: str) -> str:
    """Black or white, whichever reads better on the colour "#rrggbb"."""
    return max("#000000", "#ffffff", key=lambda colour: contrast(background, colour))


def _token(token: str, surprise: float | None, unit: str, top: float) -> str:
    shown = escape(visible(token))
    if surprise is None:
        return f"<span style='{BOX}' title='not predicted'>{shown}</span>"
    colours = surprise_colours(surprise / top) if math.isfinite(surprise) else (_IMPOSSIBLE, "#fff")
    style = f"{BOX};background-color:{colours[0]};color:{colours[1]}"
    if not math.isfinite(surprise):
        style += ";border:1px solid #ff5a36"
    return f"<span style='{style}' title='{number(surprise)} {escape(unit)}'>{shown}</span>"


def _unbroken(boxes: Sequence[str], tokens: Sequence[str]) -> str:
    """The boxes in a row; where tokens are parts of words, no line ends inside a word."""
    if not any(token[-1:].isspace() for token in tokens):
        return "".join(boxes)
    lines = "".join(
        box + ("</span><span style='white-space:nowrap'>" if token[-1:].isspace() else "")
        for box, token in zip(boxes, tokens, strict=True)
    )
    return f"<span style='white-space:nowrap'>{lines}</span>"


def _scale(top: float, unit: str, total: str) -> str:
    shades = "".join(
        "<span style='display:inline-block;width:18px;height:9px;"
        f"background-color:{surprise_colours(step / 9)[0]}'></span>"
        for step in range(10)
    )
    words = f"{number(top)} {unit} · {total}"
    return f"<div style='font-size:85%;margin-top:5px'>expected 0 {shades} {escape(words)}</div>"


def _cell(cell: object) -> str:
    numeric = isinstance(cell, int | float) and not isinstance(cell, bool)
    side = "right" if numeric else "left"
    return f"<td style='text-align:{side}'>{escape(number(cell))}</td>"
