"""Recurrent networks: one state, carried from token to token, has to remember everything.

    plain  h_t = tanh(W e_t + U h_{t−1} + b)              (Elman 1990)
    gru    gates decide what to overwrite and what to keep (Cho 2014)
    lstm   a second state changes by addition only         (Hochreiter and Schmidhuber 1997)

e_t is the embedding of token t; the logits of token t + 1 are a linear function of h_t. The cells
are torch's own. Departure: forget gates begin with a bias of 1 (Jozefowicz 2015).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import rnn as packing

from .contract import check_ids
from .grams import Grams
from .memory import State

CELLS = {"plain": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True, slots=True, kw_only=True)
class RNNConfig:
    """The shape of a recurrent network; cell: "plain", "gru" or "lstm".

    grams: tokens in the longest group that has a vector of its own (see `grams.py`).
    """

    vocab_size: int
    width: int = 256
    layers: int = 1
    cell: str = "lstm"
    grams: int = 1

    def __post_init__(self) -> None:
        sizes = (self.vocab_size, self.width, self.layers, self.grams)
        if min(sizes) < 1 or self.cell not in CELLS:
            raise ValueError(
                f"rnn: expected sizes of at least 1 and a cell of {', '.join(CELLS)}, got {self}; "
                "choose others"
            )


class RNN(nn.Module):
    """model(ids) -> logits, (B, T) -> (B, T, V); random weights are drawn from `rng`."""

    @torch.random.fork_rng(devices=[])  # torch's own first weights, drawn over below
    def __init__(self, config: RNNConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.embed = nn.Embedding(config.vocab_size, width)
        self.grams = Grams(config.grams, width)
        self.cells = CELLS[config.cell](width, width, config.layers, batch_first=True)
        self.states = nn.Identity()  # passes on every h_t, (B, T, D): a viewer can listen here
        self.head = nn.Linear(width, config.vocab_size)
        self._draw(rng)

    @torch.no_grad()
    def _draw(self, rng: torch.Generator) -> None:
        for name, weight in self.named_parameters():
            if name.startswith("grams."):
                continue  # these begin at 0
            reach = weight.shape[-1] ** -0.5
            weight.copy_(torch.empty(weight.shape).uniform_(-reach, reach, generator=rng))
            if weight.dim() == 1:
                weight.zero_()
            if self.config.cell == "lstm" and "bias_ih" in name:
                weight[self.config.width : 2 * self.config.width] = 1.0  # the forget gate

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of the token after each place: (B, T) -> (B, T, V); any T from 1 on.

        Raises ValueError for ids outside the vocabulary.
        """
        return self.read(ids)[0]

    def read(
        self, ids: Tensor, memory: State | None = None, pads: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Logits after `ids`, the tokens that follow what `memory` holds, and the new state.

        pads (B,): so many columns at the left of each row hold no token; for a first read only.
        """
        check_ids("rnn", ids, self.config.vocab_size, math.inf)
        tokens = self.embed(ids.to(self.embed.weight.device))
        tokens, recent = self.grams(tokens, ids, memory and memory.recent, pads)
        if pads is not None and pads.any():
            hidden, state = self._padded(tokens, pads)
        else:
            hidden, state = self.cells(tokens, _for_torch(memory))
        memory = State(*(state if isinstance(state, tuple) else (state,)), recent=recent)
        return self.head(self.states(hidden)), memory

    def _padded(self, tokens: Tensor, pads: Tensor) -> tuple[Tensor, Tensor | tuple]:
        """Move rows to the left, where torch expects them, run, and move them back."""
        length, pads = tokens.shape[1], pads.to(tokens.device)
        rows = torch.arange(len(tokens), device=tokens.device)[:, None]
        places = torch.arange(length, device=tokens.device)
        to_left = (places + pads[:, None]) % length
        packed = packing.pack_padded_sequence(
            tokens[rows, to_left], (length - pads).cpu(), batch_first=True, enforce_sorted=False
        )
        hidden, state = self.cells(packed)
        hidden, _ = packing.pad_packed_sequence(hidden, batch_first=True, total_length=length)
        return hidden[rows, (places - pads[:, None]) % length], state


def _for_torch(memory: State | None) -> Tensor | tuple[Tensor, ...] | None:
    """As torch's cells want it: a pair for the LSTM, one tensor for the others."""
    if memory is None:
        return None
    return memory.tensors if len(memory.tensors) > 1 else memory.tensors[0]
