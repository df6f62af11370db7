"""Pretext tasks: labels that the text itself gives, for the same loss and the same Transformer.

Each label maker takes rows of ids, hides or changes something, and asks for what it was:
(B, T) ids -> (inputs, labels), `IGNORE` where nothing is asked. Next-token labels are made in
`language/windows.py`. The tokens that the tasks add stand behind those of the text, see `Extra`.

Source: Devlin 2019 (masked word), Raffel 2020 (spans), Lan 2020 (order), Clark 2020 (replaced).
Departures: spans are asked for in the same row, for a decoder; two sentences are swapped, not two
halves; answers are tokens of the same head; replacements are words of the batch, or proposed.
"""

import math
import string
from collections.abc import Callable, Collection
from itertools import pairwise

import torch
from torch import Tensor

from course_lm.language.tokens import Vocabulary
from course_lm.language.windows import IGNORE, Batch, next_token
from course_lm.models.contract import check_ids

Maker = Callable[..., Batch]
CAUSAL = ("next word", "spans")  # for a model that looks back only; the others look both ways
RATE = 0.15  # share of the tokens that are hidden or replaced
SPAN = 3  # mean length of a hidden span
ANSWERS = ("[order?]", "[in-order]", "[swapped]", "[kept]", "[replaced]")
SENTINELS = tuple(f"[{letter}]" for letter in string.ascii_uppercase[:16])


class Extra:
    """The ids behind a text's own `size` tokens; a model for all tasks knows len(extra) ids.

    >>> Extra(131).mask, len(Extra(131))
    (131, 153)
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.mask = size  # stands in the place of a hidden word
        self.asked = size + 1  # asks at the end of a row: are its sentences in order?
        self.order = size + 2, size + 3  # the answers: in order, swapped
        self.replaced = size + 4, size + 5  # answers about one word: kept, replaced
        begin = size + 1 + len(ANSWERS)
        self.sentinels = range(begin, begin + len(SENTINELS))  # one a span, one after the last

    def __len__(self) -> int:
        return self.sentinels.stop


def makers(extra: Extra, ends: Collection[int], start: int) -> dict[str, Maker]:
    """Every label maker of the course by name, maker(ids, rng, rate); a rate where there is one."""
    return {
        "next word": lambda ids, rng, rate=RATE: next_token(ids),
        "masked word": lambda ids, rng, rate=RATE: masked_word(ids, extra, rng, rate),
        "spans": lambda ids, rng, rate=RATE: span_corruption(ids, extra, rng, rate),
        "sentence order": lambda ids, rng, rate=RATE: sentence_order(ids, ends, start, extra, rng),
        "replaced word": lambda ids, rng, rate=RATE: replaced_word(ids, extra, rng, rate),
    }


def extended(vocabulary: Vocabulary) -> Vocabulary:
    """The vocabulary with the names of the extra tokens behind its own."""
    tokens = [*vocabulary.tokens, "[mask]", *ANSWERS, *SENTINELS]
    return Vocabulary(tokens, vocabulary.split, vocabulary.glue)


def hidden_places(ids: Tensor, rate: float, rng: torch.Generator) -> Tensor:
    """True at round(rate · T) random places of each row, at least one: (B, T) -> (B, T)."""
    _check_rate(rate)
    count = max(1, round(rate * ids.shape[1]))
    chosen = torch.rand(ids.shape, generator=rng).topk(count).indices
    return torch.zeros(ids.shape, dtype=torch.bool).scatter(1, chosen, True)


def masked_word(ids: Tensor, extra: Extra, rng: torch.Generator, rate: float = RATE) -> Batch:
    """Labels: the words at the chosen places; there the input shows something else, mostly.

    Of the chosen places 80 % show the mask, 10 % a random word, 10 % the word itself: no word can
    be trusted. For a model that looks both ways. (B, T) -> (B, T), (B, T). Raises ValueError for a
    rate outside (0, 1) and for empty rows.
    """
    check_ids("masked_word", ids, extra.size, math.inf)
    chosen = hidden_places(ids, rate, rng)
    chance = torch.rand(ids.shape, generator=rng)
    words = torch.randint(extra.size, ids.shape, generator=rng)
    inputs = ids.where(~(chosen & (chance < 0.9)), words)
    inputs = inputs.where(~(chosen & (chance < 0.8)), extra.mask)
    return inputs, ids.where(chosen, IGNORE)


def hidden_word(ids: Tensor, places: Tensor, extra: Extra) -> Batch:
    """One word a row, at `places` (B,), always shown as the mask: to test what was learned."""
    check_ids("hidden_word", ids, extra.size, math.inf)
    chosen = torch.arange(ids.shape[1]) == places[:, None]
    if int(chosen.sum()) != len(ids):
        raise ValueError(
            f"hidden_word: expected places from 0 to {ids.shape[1] - 1}, one for each of {len(ids)}"
            f" rows, got {places.tolist()}; count from the row's first word"
        )
    return ids.where(~chosen, extra.mask), ids.where(chosen, IGNORE)


def span_corruption(
    ids: Tensor, extra: Extra, rng: torch.Generator, rate: float = RATE, mean: int = SPAN
) -> Batch:
    """A sentinel stands for each hidden span; after the text, each sentinel is asked for its span.

    `a b c d e f` with `b c` and `e` hidden is read as `a [A] d [B] f [A] b c [B] e [C]`; labels are
    the words of the spans and the sentinel that ends each. For a causal model. round(rate · T)
    tokens are hidden, in spans of `mean` tokens on average, never the first one: with n spans
    (B, T) -> (B, T + 2n), (B, T + 2n). Raises ValueError for a rate outside (0, 1), for rows too
    short for their spans and for more spans than there are sentinels.
    """
    check_ids("span_corruption", ids, extra.size, math.inf)
    _check_rate(rate)
    length = ids.shape[1]
    hidden = max(1, round(rate * length))
    count = max(1, round(hidden / max(1, mean)))
    if length - hidden < count or count >= len(SENTINELS) or mean < 1:
        raise ValueError(
            f"span_corruption: expected spans of at least 1 token, at most {len(SENTINELS) - 1}, "
            f"each after a visible one, got {count} spans of mean length {mean} that hide {hidden} "
            f"of {length} tokens; give longer rows, or another rate or span length"
        )
    rows = [_corrupted(row, hidden, count, extra, rng) for row in ids.tolist()]
    inputs, labels = next_token(torch.tensor(rows))
    asked = torch.arange(labels.shape[1]) >= length - hidden + count  # from the second [A] on
    return inputs, labels.where(asked, IGNORE)


def _corrupted(
    row: list[int], hidden: int, count: int, extra: Extra, rng: torch.Generator
) -> list[int]:
    """The row with sentinels for its spans, then each sentinel with its span, then the last one."""
    seen_parts = _parts(len(row) - hidden + 1, count + 1, rng)  # the last part may be empty
    sizes = zip(extra.sentinels, seen_parts, _parts(hidden, count, rng), strict=False)
    text, answer, place = [], [], 0
    for sentinel, seen, gone in sizes:
        text += [*row[place : place + seen], sentinel]
        answer += [sentinel, *row[place + seen : place + seen + gone]]
        place += seen + gone
    return [*text, *row[place:], *answer, extra.sentinels[count]]


def _parts(total: int, count: int, rng: torch.Generator) -> list[int]:
    """`total` cut at random into `count` parts of at least 1."""
    cuts = sorted((torch.randperm(total - 1, generator=rng)[: count - 1] + 1).tolist())
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]


def sentence_order(
    ids: Tensor, ends: Collection[int], start: int, extra: Extra, rng: torch.Generator
) -> Batch:
    """In every second row, at random, two neighbouring sentences change places: was it so here?

    ends: ids that end a sentence; start: the id that opens a story, never moved. After either a
    sentence begins. The question follows the text, and its answer is the only label: (B, T) ->
    (B, T + 1), (B, T + 1). Raises ValueError for a row without two whole sentences side by side.
    """
    check_ids("sentence_order", ids, extra.size, math.inf)
    inputs = torch.cat([ids, torch.full((len(ids), 1), extra.asked)], 1)
    labels = torch.full(inputs.shape, IGNORE)
    swapped = torch.rand(len(ids), generator=rng) < 0.5
    for row, (text, swap) in enumerate(zip(ids.tolist(), swapped.tolist(), strict=True)):
        pairs = neighbours(text, ends, start)
        if not pairs:
            raise ValueError(
                "sentence_order: expected two different whole sentences side by side in every "
                f"row, got {len(text)} tokens without in row {row}; give longer rows"
            )
        a, b, c = pairs[int(torch.randint(len(pairs), (), generator=rng))]
        if swap:
            inputs[row, a:c] = torch.tensor(text[b:c] + text[a:b])
        labels[row, -1] = extra.order[swap]
    return inputs, labels


def neighbours(text: list[int], ends: Collection[int], start: int) -> list[tuple[int, int, int]]:
    """(a, b, c) for all two different whole sentences text[a:b], text[b:c] side by side."""
    sentences, begin = [], None  # what stands before the first end or start may be half a sentence
    for place, token in enumerate(text):
        if token in ends and begin is not None:
            sentences.append((begin, place + 1))
        if token == start or token in ends:
            begin = place + 1
    pairs = [(a, b, d) for (a, b), (c, d) in pairwise(sentences) if b == c]
    return [(a, b, c) for a, b, c in pairs if text[a:b] != text[b:c]]


def replaced_word(
    ids: Tensor,
    extra: Extra,
    rng: torch.Generator,
    rate: float = RATE,
    proposals: Tensor | None = None,
) -> Batch:
    """Some words are replaced; every place is asked whether it is the word that stood there.

    proposals (B, T): a word for each place, used at the chosen ones; by default the batch's own
    words, shuffled. A proposal equal to the word is no replacement. (B, T) -> (B, T), (B, T).
    Raises ValueError for a rate outside (0, 1) and for empty rows.
    """
    check_ids("replaced_word", ids, extra.size, math.inf)
    chosen = hidden_places(ids, rate, rng)
    if proposals is None:
        proposals = ids.flatten()[torch.randperm(ids.numel(), generator=rng)].view(ids.shape)
    inputs = proposals.where(chosen, ids)
    kept, replaced = extra.replaced
    return inputs, torch.where(inputs == ids, kept, replaced)


def _check_rate(rate: float) -> None:
    if not 0 < rate < 1:
        raise ValueError(
            f"pretext: expected a rate above 0 and below 1, got {rate}; give the share of tokens "
            "to hide, for instance 0.15"
        )
