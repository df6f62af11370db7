"""From a model's logits to the next token: reshape the distribution, then draw from it.

Works for any model with model(ids) -> logits, (B, T) -> (B, T, V).
"""

from collections.abc import Callable, Iterator, Sequence

import torch

Model = Callable[[torch.Tensor], torch.Tensor]


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
    _check_dials(logits, temperature, top_k, top_p)
    logits = logits / temperature
    ranked, order = logits.sort(dim=-1, descending=True, stable=True)
    probs = ranked.softmax(-1)
    reach = top_p * (1 - 1e-6) if top_p < 1 else torch.inf  # rounding must not cost or add a token
    keep = probs.cumsum(-1) - probs < reach  # what stands before a token does not reach p yet
    if top_k is not None:
        keep[..., top_k:] = False
    ranked = ranked.where(keep, -torch.inf)
    return torch.empty_like(logits).scatter_(-1, order, ranked)


def draw(logits: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """One token from each distribution: (B, V) -> (B,)."""
    return torch.multinomial(logits.softmax(-1), 1, generator=rng).squeeze(-1)


def generate(
    model: Model, prompt: Sequence[int], length: int, rng: torch.Generator, **dials: float
) -> Iterator[int]:
    """Draw `length` tokens after `prompt`, each given all before it, and yield them as they come.

    dials: temperature, top_k and top_p of `adjust`.
    """
    ids = list(prompt)
    for _ in range(length):
        logits = adjust(next_logits(model, ids), **dials)
        ids.append(int(draw(logits[None], rng)))
        yield ids[-1]


def _check_dials(logits: torch.Tensor, temperature: float, top_k: int | None, top_p: float) -> None:
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
    if not (logits / temperature).amax(-1).isfinite().all():
        raise ValueError(
            "sampling: expected logits that are numbers, with at least one possible token, "
            "got NaN, +inf or no possible token; look at the model and at the temperature"
        )
