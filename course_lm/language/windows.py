"""Ids to (inputs, labels): what the model sees, and what it should have said.

Labels are the inputs moved by one place. `IGNORE` marks places where nothing is to be predicted.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import torch

IGNORE = -100  # the value that torch's own cross_entropy skips

Batch = tuple[torch.Tensor, torch.Tensor]


def next_token(ids: torch.Tensor) -> Batch:
    """(B, T + 1) ids -> (B, T) inputs and (B, T) labels: at each place, the token that comes next.

    >>> next_token(torch.tensor([[5, 6, 7]]))
    (tensor([[5, 6]]), tensor([[6, 7]]))
    """
    return ids[:, :-1], ids[:, 1:]


def random_windows(
    ids: Sequence[int] | torch.Tensor,
    context: int,
    batch: int,
    rng: torch.Generator,
    start: int | None = None,
) -> Iterator[Batch]:
    """Endless batches of `batch` windows of `context` tokens, with replacement: (B, T), (B, T).

    start: if given, windows begin only where this id stands, so that each holds its story's
    beginning.
    """
    ids = _long_enough(ids, context)
    firsts = torch.arange(len(ids) - context)
    if start is not None:
        firsts = firsts[ids[: len(firsts)] == start]
        if not len(firsts):
            raise ValueError(
                f"random_windows: expected id {start} with {context} tokens after it, got none; "
                "shorten the context"
            )
    offsets = torch.arange(context + 1)
    while True:
        chosen = firsts[torch.randint(len(firsts), (batch, 1), generator=rng)]
        yield next_token(ids[chosen + offsets])


def mixture(
    streams: Sequence[Iterable[Batch]], shares: Sequence[float], rng: torch.Generator
) -> Iterator[Batch]:
    """Batches whose rows come from several streams, each row from stream i with chance shares[i].

    The streams give batches of one shape; the first that ends, ends the mixture. Raises ValueError
    for shares that are no probabilities, one for each stream.
    """
    proper = all(0 <= share <= 1 for share in shares) and abs(sum(shares) - 1) < 1e-6
    if len(shares) != len(streams) or not proper:
        raise ValueError(
            f"mixture: expected a share from 0 to 1 for each of {len(streams)} streams, which sum "
            f"to 1, got {list(shares)}; for instance (0.9, 0.1)"
        )
    for batches in zip(*streams, strict=False):
        yield mix_rows(batches, shares, rng)


def mix_rows(batches: Sequence[Batch], shares: Sequence[float], rng: torch.Generator) -> Batch:
    """One batch of several: row b is row b of batch i with chance shares[i]; (B, T), (B, T).

    A row is never cut, and its labels stay with its inputs.
    """
    if len({inputs.shape for inputs, _ in batches}) != 1:
        raise ValueError(
            "mixture: expected batches of one shape, got "
            f"{' and '.join(str(tuple(inputs.shape)) for inputs, _ in batches)}; give all streams "
            "one context and one batch size"
        )
    inputs, labels = map(torch.stack, zip(*batches, strict=True))  # (streams, B, T)
    rows = torch.arange(inputs.shape[1])
    chosen = torch.multinomial(
        torch.tensor(shares, dtype=torch.float64), len(rows), replacement=True, generator=rng
    )
    return inputs[chosen, rows], labels[chosen, rows]


def all_windows(ids: Sequence[int] | torch.Tensor, context: int, batch: int) -> Iterator[Batch]:
    """The whole text once, in order: every token but the first is a label exactly once.

    The last window is filled up: inputs with id 0, labels with IGNORE.
    """
    ids = _long_enough(ids, min(context, 1))
    missing = -(len(ids) - 1) % context
    inputs = torch.cat([ids[:-1], ids.new_zeros(missing)]).view(-1, context)
    labels = torch.cat([ids[1:], ids.new_full((missing,), IGNORE)]).view(-1, context)
    yield from zip(inputs.split(batch), labels.split(batch), strict=True)


def story_pairs(ids: Sequence[int] | torch.Tensor, start: int) -> list[Batch]:
    """Inputs and labels of every story, (T,) and (T,), which holds all that its words depend on.

    A story begins where the id `start` stands; the start of the next story is its last label.
    Raises ValueError for a text that does not begin a story.
    """
    ids = _long_enough(ids, 1)
    if ids[0] != start:
        raise ValueError(
            f"story_pairs: expected a text that begins with id {start}, got id {int(ids[0])} "
            "first; cut the text where a story begins"
        )
    begins = (ids == start).nonzero().flatten().tolist()
    ends = pairwise([*begins, len(ids) - 1])
    return [(ids[a:b], ids[a + 1 : b + 1]) for a, b in ends if b > a]


def story_windows(
    ids: Sequence[int] | torch.Tensor, start: int, context: int, batch: int
) -> Iterator[Batch]:
    """Every story once, a row each, filled up to the longest: inputs with id 0, labels with IGNORE.

    Raises ValueError for a story with more than `context` labels, and what `story_pairs` raises.
    """
    pairs = story_pairs(ids, start)
    longest = max(len(story) for story, _ in pairs)
    if longest > context:
        raise ValueError(
            f"story_windows: expected stories of at most {context} tokens, got one of {longest}; "
            "give a longer context"
        )
    inputs = torch.zeros(len(pairs), longest, dtype=torch.long)
    labels = torch.full_like(inputs, IGNORE)
    for row, (story, after) in enumerate(pairs):
        inputs[row, : len(story)], labels[row, : len(story)] = story, after
    yield from zip(inputs.split(batch), labels.split(batch), strict=True)


def joined(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Rows of ids, filled up on the right with IGNORE: (N, T)."""
    filled = torch.full((len(rows), max(map(len, rows), default=0)), IGNORE)
    for place, row in zip(filled, rows, strict=True):
        place[: len(row)] = torch.tensor(row)
    return filled


def _long_enough(ids: Sequence[int] | torch.Tensor, context: int) -> torch.Tensor:
    ids = torch.as_tensor(ids, dtype=torch.long)
    if ids.dim() != 1 or len(ids) <= context or context < 1:
        raise ValueError(
            f"windows: expected one row of more than {context} tokens and a context of at least 1, "
            f"got shape {tuple(ids.shape)}; give a longer text or a shorter context"
        )
    return ids
