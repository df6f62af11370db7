"""A vector for every group of neighbouring tokens: the counter's table inside a network.

    e_t = E[w_t] + Σ_{n=2..N} E_n[hash(w_{t−n+1}, .., w_t)]

An n-gram model looks up the last tokens as they stand; a network has to find out with many steps
which tokens stood side by side. A table for each n gives it that knowledge at the price of a
lookup. The tables have ROWS rows whatever the vocabulary: the hash sends each group to a row, and
two groups may share one. All rows begin at 0. A network with such tables has no Llama shape.

Source: Pagnoni 2024 (Byte Latent Transformer), whose encoder adds hashed groups of 3 to 8 bytes;
Svenstrup 2017 (hash embeddings). Departure: one hash, no division by the number of tables.
"""

import torch
from torch import Tensor, nn

ROWS = 65_536
FACTOR, PRIME = 1_000_003, 2**31 - 1  # of the hash: key ← (FACTOR · key + token + 1) mod PRIME
NOTHING = -1  # stands where a row has no token


class Grams(nn.Module):
    """(B, T, D) vectors of tokens -> (B, T, D) with those of the groups that end there added.

    longest: tokens in the longest group; with 1 nothing is added. Gradients are sparse: only rows
    that were looked up have one.
    """

    def __init__(self, longest: int, width: int) -> None:
        super().__init__()
        self.longest = longest
        self.tables = nn.ModuleList(
            nn.Embedding.from_pretrained(torch.zeros(ROWS, width), freeze=False, sparse=True)
            for _ in range(longest - 1)
        )

    def forward(
        self, vectors: Tensor, ids: Tensor, recent: Tensor | None = None, pads: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The sum, and the last N − 1 tokens, (B, N − 1), to be handed in as `recent` next time.

        pads (B,): so many columns at the left of each row hold no token.
        """
        if not self.tables:
            return vectors, None
        ids = ids.to(vectors.device)
        if pads is not None:
            empty = torch.arange(ids.shape[1], device=ids.device) < pads.to(ids.device)[:, None]
            ids = ids.masked_fill(empty, NOTHING)
        if recent is None:
            recent = ids.new_full((len(ids), self.longest - 1), NOTHING)
        text, key = torch.cat([recent, ids], dim=1), ids
        for back, table in enumerate(self.tables, 1):
            earlier = text[:, self.longest - 1 - back : text.shape[1] - back]
            key = (FACTOR * key + earlier + 1) % PRIME
            vectors = vectors + table(key % ROWS)
        return vectors, text[:, -(self.longest - 1) :]
