"""A Transformer in the Llama shape: every token looks at the tokens before it and takes from them.

A block adds two things to each token's vector: what attention gathers from other places, and what
a gated feed-forward layer computes at its own place. RMSNorm stands before both, positions enter
as rotations, no layer has a bias, so that the weights fit the Hugging Face Llama format.

Source: Vaswani 2017; the shape of Touvron 2023 (Llama): Zhang and Sennrich 2019 (RMSNorm), Su 2021
(rotary positions), Shazeer 2020 (gated feed-forward), Ainslie 2023 (grouped heads).
Departure: the last projection of each branch begins at zero: a block begins by adding nothing.
"""

from dataclasses import astuple, dataclass

import torch
from torch import Tensor, nn

from .contract import check_ids
from .grams import Grams
from .memory import Memory
from .rotary import LONGEST_WAVE, rotate, rotation


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig:
    """The shape of a Transformer.

    context: most tokens that it can see. heads share kv_heads keys and values in groups.
    hidden: width inside the feed-forward layer. grams: tokens in the longest group that has a
    vector of its own (see `grams.py`). tied: the output uses the input's embedding. embed_std: of
    the embedding's first numbers; with 1 long runs copy sooner, with 0.02 short runs sort sooner.
    epsilon: in RMSNorm. wave: the longest of the rotations (see `rotary.py`).
    """

    vocab_size: int
    context: int = 128
    width: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 4
    hidden: int = 352
    grams: int = 1
    causal: bool = True
    tied: bool = False
    embed_std: float = 0.02
    epsilon: float = 1e-5
    wave: float = LONGEST_WAVE

    def __post_init__(self) -> None:
        fit = min(astuple(self)[:8]) > 0 and not self.heads % self.kv_heads  # the eight sizes
        if not fit or self.width % (2 * self.heads) or not all(n > 0 for n in astuple(self)[-3:]):
            raise ValueError(
                "transformer: expected sizes of at least 1, numbers above 0, a width that its "
                f"heads divide into even parts, heads in equal groups, got {self}; choose others"
            )


class Transformer(nn.Module):
    """model(ids) -> logits, (B, T) -> (B, T, V); random weights are drawn from `rng`."""

    @torch.random.fork_rng(devices=[])  # torch's own first weights, drawn over below
    def __init__(self, config: TransformerConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.width)
        self.grams = Grams(config.grams, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.epsilon)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.embed.weight
        cos, sin = rotation(config.context, config.width // config.heads, config.wave)
        future = torch.full((config.context, config.context), -torch.inf).triu(1)  # in the scores
        for name, table in (("cos", cos), ("sin", sin), ("future", future)):
            self.register_buffer(name, table, persistent=False)
        self._draw(rng)

    @property
    def context(self) -> int:
        """How many tokens the model can see."""
        return self.config.context

    @torch.no_grad()
    def _draw(self, rng: torch.Generator) -> None:
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                weight.zero_()
            elif weight.dim() == 2 and not name.startswith("grams."):
                stds = {self.head.weight: 0.02, self.embed.weight: self.config.embed_std}
                std = stds.get(weight, weight.shape[1] ** -0.5)
                weight.copy_(torch.empty(weight.shape).normal_(0, std, generator=rng))

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of the token after each place: (B, T) -> (B, T, V).

        Raises ValueError for ids outside the vocabulary and for more than `context` tokens.
        """
        return self.read(ids, remember=False)[0]

    def read(
        self,
        ids: Tensor,
        memory: Memory | None = None,
        pads: Tensor | None = None,
        remember: bool = True,
        hidden: Tensor | None = None,
    ) -> tuple[Tensor, Memory | None]:
        """Logits after `ids`, the tokens that follow what `memory` holds, and the longer memory.

        pads (B,): so many columns at the left of each row hold no token; for a first read only.
        hidden (B, 1, T, T): added to the scores, −inf where a token may not look.
        Positions are rotations, and only their differences count, so a row may begin anywhere.
        """
        check_ids("transformer", ids, self.config.vocab_size, self.context)
        if remember and not self.config.causal:
            raise ValueError(
                "transformer: expected a causal model to remember what it reads, got causal=False; "
                "call model(ids) on the whole text"
            )
        if remember and memory is None:
            shape = (len(ids), self.config.kv_heads, self.context, 2 * self.cos.shape[1])
            memory = Memory(self.config.layers, shape, self.embed.weight, pads)
        begin = memory.length if memory else 0
        end = begin + ids.shape[1]
        if end > self.context:
            raise ValueError(
                f"transformer: expected at most {self.context} tokens, got {end} with those in "
                "memory; read the last ones again without the memory"
            )
        angles = self.cos[begin:end], self.sin[begin:end]
        mask = self._mask(begin, end, memory and memory.hidden, hidden)
        stream = self.embed(ids.to(self.embed.weight.device))  # (B, T, D)
        stream, recent = self.grams(stream, ids, memory and memory.recent, pads)
        if memory:
            memory.recent = recent
        for layer, block in enumerate(self.blocks):
            stream = block(stream, angles, mask, memory and memory.layers[layer])
        return self.head(self.norm(stream)), memory

    def _mask(self, begin: int, end: int, *hidden: Tensor | None) -> Tensor | None:
        """Added to the scores: −inf where a token may not look; None where it may look anywhere."""
        mask = self.future[begin:end, :end] if self.config.causal and end - begin > 1 else None
        for more in hidden:
            if more is not None:
                mask = more[..., :end] + (0.0 if mask is None else mask)
        return mask


class Block(nn.Module):
    """stream + attention(norm(stream)), then + feed_forward(norm(...)): (B, T, D) -> (B, T, D)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.epsilon)
        self.attention = Attention(config)
        self.feed_norm = RMSNorm(config.width, config.epsilon)
        self.feed_forward = FeedForward(config)

    def forward(self, stream: Tensor, angles, mask: Tensor | None, memory) -> Tensor:
        """One step of thought for every token."""
        stream = stream + self.attention(self.attention_norm(stream), angles, mask, memory)
        return stream + self.feed_forward(self.feed_norm(stream))


class Attention(nn.Module):
    """softmax(q kᵀ / √d + mask) v for each head, d = D / heads; then the heads are joined.

    `weights` passes on the (B, heads, T, T) softmax as it is: a viewer can listen there.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.size = config.width // config.heads
        self.qkv = nn.Linear(config.width, (self.heads + 2 * self.kv_heads) * self.size, bias=False)
        self.weights = nn.Identity()
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, tokens: Tensor, angles, mask: Tensor | None, memory) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        joined = self.qkv(tokens).unflatten(-1, (-1, self.size)).transpose(1, 2)
        turned, values = joined.split((self.heads + self.kv_heads, self.kv_heads), dim=1)
        queries, keys = rotate(turned, *angles).split((self.heads, self.kv_heads), dim=1)
        if memory is not None:
            keys, values = memory.add(keys, values)
        if self.kv_heads < self.heads:
            keys, values = (
                kv.repeat_interleave(self.heads // self.kv_heads, dim=1) for kv in (keys, values)
            )
        scores = (queries * self.size**-0.5) @ keys.transpose(-2, -1)  # (B, heads, T, T)
        if mask is not None:
            scores = scores + mask
        gathered = self.weights(scores.softmax(-1)) @ values  # (B, heads, T, d)
        return self.out(gathered.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """down(silu(gate(h)) · up(h)): the gate decides how much of each hidden unit passes."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        gate, up = self.gate_up(tokens).chunk(2, dim=-1)
        return self.down(nn.functional.silu(gate) * up)


class RMSNorm(nn.Module):
    """h · scale / √(mean(h²) + ε): every token's vector gets the same length, (..., D)."""

    def __init__(self, width: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, stream: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return stream * (stream.square().mean(-1, keepdim=True) + self.epsilon).rsqrt() * self.scale
