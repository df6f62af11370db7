"""From a model's logits to the next token: reshape the distribution, then draw from it.

Works for any model with model(ids) -> logits, (B, T) -> (B, T, V).
"""

import math
from collections.abc import Generator, Iterator, Sequence
from itertools import islice

import torch
from torch.nn.utils.rnn import pad_sequence

from .contract import Model, check_logits


def next_logits(model: Model, ids: Sequence[int]) -> torch.Tensor:
    """Logits of the token after `ids`: (T,) -> (V,). A model with a `context` gets no more."""
    if not len(ids):
        raise ValueError(
            "next_logits: expected at least one token to continue, got none; give a prompt"
        )
    seen = ids[-getattr(model, "context", len(ids)) :]
    return model(torch.as_tensor(seen, dtype=torch.long)[None])[0, -1]


def adjust(
    logits: torch.Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0
) -> torch.Tensor:
    """Reshape a distribution before drawing: (..., V) -> (..., V); what is cut off gets −inf.

    temperature τ: logits / τ. Below 1 the likely becomes likelier; above 1 all come closer.
    top_k: keep the k likeliest tokens (Fan 2018).
    top_p: keep the fewest likeliest tokens whose probabilities reach p (nucleus, Holtzman 2019).
    Raises ValueError for a temperature or top_p outside its range, top_k below 1, and NaN logits.
    """
    _check_dials(temperature, top_k, top_p)
    logits = logits / temperature
    check_logits("sampling", logits)
    if top_k is None and top_p == 1:
        return logits
    ranked, order = logits.sort(dim=-1, descending=True, stable=True)
    probs = ranked.softmax(-1)
    reach = top_p * (1 - 1e-6) if top_p < 1 else torch.inf  # rounding must not cost or add a token
    keep = probs.cumsum(-1) - probs < reach  # what stands before a token does not reach p yet
    if top_k is not None:
        keep[..., top_k:] = False
    ranked = ranked.where(keep, -torch.inf)
    return torch.empty_like(logits).scatter_(-1, order, ranked)


def draw(logits: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """One token from each distribution: (B, V) -> (B,), where `rng` is."""
    return torch.multinomial(logits.softmax(-1).to(rng.device), 1, generator=rng).squeeze(-1)


def generate(
    model: Model, prompt: Sequence[int], length: int, rng: torch.Generator, **dials: float
) -> Iterator[int]:
    """Draw `length` tokens after `prompt`, each given all before it, and yield them as they come.

    dials: temperature, top_k and top_p of `adjust`.
    """
    yield from map(int, islice(_draws(model, [prompt], rng, dials), length))


def generate_batch(
    model: Model,
    prompts: Sequence[Sequence[int]],
    length: int,
    rng: torch.Generator,
    stop: int | None = None,
    **dials: float,
) -> list[list[int]]:
    """Draw up to `length` tokens after each prompt, all rows at once: the new tokens of each row.

    A row ends with its first `stop` token, which is kept, and costs nothing from then on. Prompts
    may differ in length. dials: temperature, top_k and top_p of `adjust`.
    """
    results: list[list[int]] = [[] for _ in prompts]
    open_rows, keep = torch.arange(len(prompts)), None
    draws = _draws(model, prompts, rng, dials)
    for _ in range(length if len(prompts) else 0):
        tokens = draws.send(keep)
        for row, token in zip(open_rows.tolist(), tokens.tolist(), strict=True):
            results[row].append(token)
        keep = None if stop is None or (tokens != stop).all() else (tokens != stop).nonzero()[:, 0]
        open_rows = open_rows if keep is None else open_rows[keep]
        if not len(open_rows):
            break
    return results


def _draws(
    model: Model, prompts: Sequence[Sequence[int]], rng: torch.Generator, dials: dict[str, float]
) -> Generator[torch.Tensor, torch.Tensor | None, None]:
    """The next token of each row, (B,), again and again; is told the rows to keep, if not all."""
    (rows, pads), memory = _pad_left(prompts), None
    while True:
        with torch.inference_mode():
            logits, memory = _read_next(model, rows, pads, memory)
            tokens = draw(adjust(logits, **dials), rng)
        keep = yield tokens
        rows = torch.cat([rows, tokens[:, None]], dim=1)
        if keep is not None:
            rows, pads = rows[keep], pads[keep]
            if memory is not None:
                memory.select(keep)


def _read_next(
    model: Model, rows: torch.Tensor, pads: torch.Tensor, memory: object
) -> tuple[torch.Tensor, object]:
    """Logits of the token after each row, (B, T) -> (B, V), and what the model remembers.

    A model with `read` reads each token, and equal rows, once; when its context is full, it
    forgets the older half and reads the newer one again. Other models read everything each time.
    """
    if not hasattr(model, "read"):
        pairs = zip(rows, pads.tolist(), strict=True)
        return torch.stack([next_logits(model, row[pad:]) for row, pad in pairs]), None
    context = getattr(model, "context", math.inf)
    if memory is not None and memory.length < context:
        logits, memory = model.read(rows[:, -1:], memory)
    else:
        visible = context if memory is None else max(1, context // 2)
        first = max(0, rows.shape[1] - visible) if visible < math.inf else 0
        pads = (pads - first).clamp(min=0)[:, None]
        distinct, again = torch.cat([pads, rows[:, first:]], 1).unique(dim=0, return_inverse=True)
        logits, memory = model.read(distinct[:, 1:], None, distinct[:, 0])
        memory.select(again)
        logits = logits[again, -1:]
    return logits[:, -1].float(), memory


def _pad_left(prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts that end in the same column: (B, T) ids, and (B,) empty columns before each."""
    if not all(map(len, prompts)):
        raise ValueError(
            "generate: expected at least one token in each prompt to continue, got none; "
            "give a prompt"
        )
    rows = pad_sequence([*map(torch.as_tensor, prompts)], batch_first=True, padding_side="left")
    return rows, torch.tensor([rows.shape[1] - len(prompt) for prompt in prompts])


def _check_dials(temperature: float, top_k: int | None, top_p: float) -> None:
    if not 0 < temperature < float("inf"):
        raise ValueError(
            f"sampling: expected a temperature above 0 and finite, got {temperature}; "
            "for the likeliest token take top_k=1"
        )
    if top_k is not None and top_k < 1:
        raise ValueError(
            f"sampling: expected top_k of at least 1, got {top_k}; None keeps every token"
        )
    if not 0 < top_p <= 1:
        raise ValueError(
            f"sampling: expected top_p above 0 and up to 1, got {top_p}; 1 keeps every token"
        )
