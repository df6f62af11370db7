"""What neighbouring rows begin with in common is read once.

In a group of responses every row repeats the prompt, and to a model that only looks back a prompt
is the same whatever follows it. So a group is read as one row,

    prompt, first continuation, second continuation, ..

in which each continuation sees the prompt and itself, at the places that it has in its own row.
Logits and gradients are those of the rows read one by one. With four responses of 16 tokens to each
prompt of 48, a model reads 112 tokens in place of 256.

Source: the tree attention of Cai 2024 (Medusa), there for drafts of one continuation.
"""

import math

import torch
from torch import Tensor, nn

from .contract import Model, check_ids

MOST = 12  # rows in a group are a divisor of this: a longer joined row has too much to attend to


class Shared(nn.Module):
    """model(ids), what neighbouring rows begin with read once: (B, T) -> (B, T, V).

    Rows of a model that is no causal Transformer, or has tables of groups, are read one by one.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """The logits of model(ids)."""
        model = self.model
        transformer = hasattr(model, "blocks") and model.config.causal and model.config.grams == 1
        cut, group = common_beginning(ids) if transformer else (0, 1)
        if group == 1:
            return model(ids)
        check_ids("transformer", ids, model.config.vocab_size, model.context)
        filled = torch.cat([ids, ids[-1:].expand(-len(ids) % group, -1)])  # the last group is whole
        joined = torch.cat(
            [filled[::group, :cut], filled[:, cut:].unflatten(0, (-1, group)).flatten(1)], 1
        )
        stream = model.embed(joined.to(model.embed.weight.device))
        places, mask = _seen(cut, group, ids.shape[1], stream.device)
        for block in model.blocks:
            stream = block(stream, (model.cos[places], model.sin[places]), mask, None)
        logits = model.head(model.norm(stream))
        begin, after = logits[:, :cut], logits[:, cut:].unflatten(1, (group, -1))
        return torch.cat([begin.repeat_interleave(group, 0), after.flatten(0, 1)], 1)[: len(ids)]


def common_beginning(ids: Tensor) -> tuple[int, int]:
    """(columns, rows): so many columns are equal within each so many neighbouring rows of (B, T).

    Of all choices that leave the last column out the one with the fewest tokens to read; one row is
    a group of its own. The last group may be smaller; it is read with copies of its last row.

    >>> common_beginning(torch.tensor([[5, 6, 7], [5, 6, 8], [4, 6, 8], [4, 6, 9]]))
    (2, 2)
    """
    rows, length = ids.shape
    same = (ids[1:] == ids[:-1]).long().cumprod(1).sum(1)  # tokens in common with the row before
    cuts = torch.arange(length, device=ids.device)[:, None]
    begins = (same < cuts) * torch.arange(1, rows, device=ids.device)  # where a beginning is new
    largest = [math.gcd(MOST, *places) for places in begins.tolist()]
    choices = [
        (cut, group)
        for cut, most in enumerate(largest)
        for group in range(1, most + 1)
        if most % group == 0
    ]

    def tokens(choice: tuple[int, int]) -> int:
        cut, group = choice
        return math.ceil(rows / group) * (cut + group * (length - cut))

    return min(choices, key=tokens)


def _seen(cut: int, group: int, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The places of a joined row's tokens, (T,), and what each may not see, (T, T), as −inf."""
    places = torch.cat([torch.arange(cut), torch.arange(cut, length).repeat(group)])
    part = torch.cat([torch.zeros(cut), torch.arange(group).repeat_interleave(length - cut) + 1])
    seen = (part == 0) | (part == part[:, None])
    future = places > places[:, None]
    hidden = torch.zeros(seen.shape).masked_fill(future | ~seen, -torch.inf)
    return places.to(device), hidden.to(device)
