"""What a model keeps of the tokens it has read, so that the next one costs one step."""

import torch
from torch import Tensor


class KeyValues:
    """The keys and values of one attention layer: (B, heads, capacity, d) each."""

    def __init__(self, shape: tuple[int, ...], like: Tensor) -> None:
        self.keys, self.values = like.new_empty(shape), like.new_empty(shape)
        self.length = 0

    def add(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep those of the new tokens; returns those of all tokens so far."""
        begin, self.length = self.length, self.length + keys.shape[2]
        self.keys[:, :, begin : self.length] = keys
        self.values[:, :, begin : self.length] = values
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class Memory:
    """A Transformer's key-value cache (Shazeer 2019), one part a layer, filled from the left.

    hidden: added to the scores, (B, 1, 1, capacity): −1e9 where a row holds no token (after −inf
    the softmax of such a place would be NaN); None where all rows begin in the first column.
    recent: what the tables of `grams.py` need of the tokens so far, (B, N − 1), or None.
    """

    recent: Tensor | None = None

    def __init__(self, layers: int, shape: tuple[int, ...], like: Tensor, pads: Tensor | None):
        self.layers = [KeyValues(shape, like) for _ in range(layers)]
        self.hidden = None
        if pads is not None and pads.any():
            empty = torch.arange(shape[2], device=like.device) < pads.to(like.device)[:, None]
            self.hidden = torch.zeros_like(empty, dtype=like.dtype)
            self.hidden = self.hidden.masked_fill(empty, -1e9)[:, None, None]

    @property
    def length(self) -> int:
        """How many columns are filled."""
        return self.layers[0].length

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch."""
        for layer in self.layers:
            layer.keys = layer.keys.index_select(0, rows)
            layer.values = layer.values.index_select(0, rows)
        if self.hidden is not None:
            self.hidden = self.hidden[rows]
        if self.recent is not None:
            self.recent = self.recent[rows]


class State:
    """What a recurrent network remembers: tensors of shape (layers, B, D); it is never full.

    recent: as in `Memory`.
    """

    length = 0

    def __init__(self, *tensors: Tensor, recent: Tensor | None = None) -> None:
        self.tensors, self.recent = tensors, recent

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch."""
        self.tensors = tuple(tensor[:, rows] for tensor in self.tensors)
        if self.recent is not None:
            self.recent = self.recent[rows]
