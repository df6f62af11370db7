"""The next word's chances as HTML: the model's bars beside the true ones."""

from collections.abc import Sequence
from html import escape

import torch

from ..language.lab import START
from ..models.sampling import Model, adjust, next_logits
from .strips import Html, aligned
from .style import COLOURS, likeliest, number, visible

ROW_PIXELS = 32  # the height of an ipywidgets button with its margins
REST = "all others"  # the last row
Series = dict[str, list[float]]


def next_token_table(
    model: Model,
    vocabulary,
    prompt: str,
    truth: Model | None = None,
    *,
    top: int = 8,
    **dials: float | None,
) -> Html:
    """The explorer's picture without the widget: the `top` next words after `prompt`.

    dials: temperature, top_k and top_p of `sampling.adjust`; they change the model's bars only.
    After a prompt that cannot occur the truth has no bars; a sentence below says so.
    """
    ids = ids_of(vocabulary, prompt)
    logits = next_logits(model, ids)
    lost = None if truth is None else impossible(truth, ids)
    true_logits = None if truth is None or lost is not None else next_logits(truth, ids)
    shown, series = chances(logits, true_logits, top, **dials)
    made = chances_html([vocabulary.decode([i]) for i in shown], series)
    if lost is None:
        return made
    sentence = why_lost(vocabulary, ids, lost)
    return Html(f"{made.html}<div>{escape(sentence)}</div>", f"{made.text}\n{sentence}")


def ids_of(vocabulary, text: str) -> list[int]:
    """Ids of `text`; in a vocabulary with START the text may leave it out."""
    ids, start = vocabulary.encode(text), start_of(vocabulary)
    return ids if ids[: len(start)] == start else start + ids


def start_of(vocabulary) -> list[int]:
    """The ids that stand before any typed text: START where the vocabulary has it, else none."""
    return vocabulary.encode(START) if START in getattr(vocabulary, "tokens", ()) else []


def impossible(truth: Model, ids: Sequence[int]) -> int | None:
    """Place of the first id that the truth gives probability 0; None if the text can occur."""
    logits = truth(torch.as_tensor([list(ids)]))[0, :-1]
    chosen = logits.gather(-1, torch.as_tensor(ids)[1:, None]).squeeze(-1)
    lost = (chosen == -torch.inf).nonzero()
    return int(lost[0]) + 1 if len(lost) else None


def why_lost(vocabulary, ids: Sequence[int], place: int) -> str:
    """The sentence for a text that the truth cannot follow, lost at `place`."""
    word = visible(vocabulary.decode([ids[place]]))
    return (
        f"The truth gives {word!r}, token {place + 1 - len(start_of(vocabulary))}, probability 0 "
        "at its place: this text cannot occur. The model goes on regardless; go back to see both "
        "again."
    )


def chances(
    logits: torch.Tensor, true_logits: torch.Tensor | None, top: int, **dials: float | None
) -> tuple[list[int], Series]:
    """Ids of the `top` likeliest words before any dial is turned, and their probabilities after.

    Each list of probabilities ends with the sum of all other words.
    """
    before = {"model": _probs(logits)}
    after = {"model": _probs(adjust(logits, **dials))}
    if true_logits is not None:
        before = {"truth": _probs(true_logits), **before}
        after = {"truth": before["truth"], **after}
    shown = likeliest(before.values(), top)
    return shown, {name: _with_rest(probs, shown) for name, probs in after.items()}


def chances_html(words: Sequence[str], series: Series, names: bool = True) -> Html:
    """Bars from 0 to 1, a row for each word and one for all others; `names` writes the words."""
    rows = [*map(visible, words), REST]
    spoken = "; ".join(
        f"{word}: " + ", ".join(f"{name} {number(p[r])}" for name, p in series.items())
        for r, word in enumerate(rows)
    )
    html = "".join(_row(word, series, r, names) for r, word in enumerate(rows))
    label = f"Probability of the next word. {spoken}"
    text = aligned(
        [["word", *series], *([w, *(p[r] for p in series.values())] for r, w in enumerate(rows))]
    )
    return Html(f"<div role='img' aria-label='{escape(label)}'>{html}</div>", text)


def _row(word: str, series: Series, row: int, names: bool) -> str:
    lines = "".join(
        bar(name, probs[row], name if row == 0 else "") for name, probs in series.items()
    )
    name = (
        "<div style='display:inline-block;width:110px;text-align:right;padding-right:8px;"
        f"vertical-align:middle;overflow:hidden'>{escape(word)}</div>"
        if names
        else ""
    )
    return (
        f"<div style='height:{ROW_PIXELS}px;line-height:14px;white-space:nowrap'>{name}"
        "<div style='display:inline-block;vertical-align:middle;"
        f"padding-top:{(ROW_PIXELS - 14 * len(series)) // 2}px'>{lines}</div></div>"
    )


def bar(name: str, p: float, label: str) -> str:
    """A probability as a bar in the colour of `name`, its number and a label behind it; HTML."""
    return (
        "<div style='height:14px;font-size:11px'><span style='display:inline-block;height:11px;"
        f"vertical-align:middle;width:{max(1, round(360 * p))}px;"
        f"background-color:{COLOURS[name]}'></span> {number(p)} {label}</div>"
    )


def _probs(logits: torch.Tensor) -> list[float]:
    if not torch.isfinite(logits).any():
        raise ValueError(
            "next word: expected a word that can follow, got probability 0 for every word; "
            "take the last word back"
        )
    return logits.double().softmax(-1).tolist()


def _with_rest(probs: Sequence[float], shown: Sequence[int]) -> list[float]:
    kept = [probs[i] for i in shown]
    return [*kept, max(0.0, sum(probs) - sum(kept))]
