"""n-gram models: P(next | last n − 1 tokens) from counts, and what to do about the uncounted.

All estimates here have one form. At order n, after the context h = the last n − 1 tokens,

    P_n(w | h) = direct(h w) + left(h) · base(w),      left(h) = 1 − Σ_w direct(h w)

- add-k: direct = c(h w) / (c(h) + kV), the rest goes to 1 / V; k = 0 is maximum likelihood;
- Kneser–Ney: direct = (c − D) / c(h); the rest goes to the base P_{n−1}, which counts in how many
  different contexts a word occurs rather than how often (Kneser and Ney 1995; three discounts D
  from Chen and Goodman 1999). Departures: D stays between 0.1 and the count, and no n-gram is
  taken to follow fewer than one token.

An n-gram is known by its rank in the sorted list of all n-grams that occurred. Its key is (rank of
its first n − 1 tokens) · V + last token, so a longer n-gram takes one more binary search.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .contract import check_ids

UNSEEN, TOO_SHORT = -1, -2  # instead of a rank


@dataclass(frozen=True, slots=True)
class Estimate:
    """direct(h w) of each n-gram, and left(h) of each context, by rank."""

    direct: torch.Tensor
    left: torch.Tensor

    def mixed(self, ngram: torch.Tensor, context: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        """direct + left · base; base alone after an unseen context. Shapes (B, T, K), (B, T, 1)."""
        direct = torch.where(ngram >= 0, self.direct[ngram], 0.0)
        left = self.left[context.clamp(min=0)]
        return torch.where(context >= 0, direct + left * base, base)


@dataclass(frozen=True, slots=True)
class Level:
    """The n-grams of one length n.

    keys: their sorted keys. longest: the estimate if no longer context is used. base: what the next
    level falls back to; None stands for the uniform distribution.
    """

    keys: torch.Tensor
    longest: Estimate
    base: Estimate | None


class NGram:
    """An n-gram model: (B, T) ids -> (B, T, V) logits, which are log-probabilities.

    Made by `maximum_likelihood`, `add_k` or `kneser_ney`. Where fewer than order − 1 tokens stand
    before a place, it is the model of the order that fits.
    """

    def __init__(self, levels: Sequence[Level], vocab_size: int) -> None:
        self.levels = levels
        self.vocab_size = vocab_size

    @property
    def order(self) -> int:
        """n: how long the longest counted sequences are."""
        return len(self.levels)

    @property
    def context(self) -> int:
        """How many tokens to show the model, at least one."""
        return max(self.order - 1, 1)

    def of_order(self, n: int) -> "NGram":
        """The n-gram model from the same counts, for an n up to this model's order."""
        if not 1 <= n <= self.order:
            raise ValueError(f"n-grams: expected an order from 1 to {self.order}, got {n}; refit")
        return NGram(self.levels[:n], self.vocab_size)

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """log P of every next token at each place: (B, T) -> (B, T, V), float32."""
        check_ids("n-grams", ids, self.vocab_size)
        every_word = torch.arange(self.vocab_size).expand(*ids.shape, -1)
        return self._probs(self._contexts(ids), every_word).log().float()

    def token_log_probs(self, ids: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """log P(ids[t] | ids[:t]) for t = 1 ... T − 1, in nats: (T,) -> (T − 1,).

        No (T, V) table is made. Raises ValueError for fewer than two tokens.
        """
        ids = torch.as_tensor(ids, dtype=torch.long)
        if ids.dim() != 1 or len(ids) < 2:
            raise ValueError(
                "n-grams: expected one row of at least 2 tokens to score, got shape "
                f"{tuple(ids.shape)}; give a longer text"
            )
        check_ids("n-grams", ids, self.vocab_size)
        contexts = self._contexts(ids[None, :-1])
        return self._probs(contexts, ids[None, 1:, None])[0, :, 0].log()

    def _contexts(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """contexts[n]: rank of the n tokens that end at each place, or UNSEEN, or TOO_SHORT."""
        ranks = [torch.zeros_like(ids)]
        for n, level in enumerate(self.levels[:-1], start=1):
            shorter = ranks[-1] if n == 1 else ranks[-1].roll(1, dims=1)
            ranks.append(_find(level.keys, shorter, ids, self.vocab_size))
            ranks[-1][:, : n - 1] = TOO_SHORT
        return ranks

    def _probs(self, contexts: list[torch.Tensor], words: torch.Tensor) -> torch.Tensor:
        """P(words | context): ranks (B, T) each, words (B, T, K) -> (B, T, K)."""
        base = probs = torch.full(words.shape, 1 / self.vocab_size, dtype=torch.float64)
        for level, context in zip(self.levels, contexts, strict=True):
            context = context.unsqueeze(-1)
            ngram = _find(level.keys, context, words, self.vocab_size)
            mixed = level.longest.mixed(ngram, context, base)
            probs = torch.where(context == TOO_SHORT, probs, mixed)
            if level.base is not None:
                base = level.base.mixed(ngram, context, base)
        return probs


def maximum_likelihood(ids: Sequence[int] | torch.Tensor, order: int, vocab_size: int) -> NGram:
    """P(w | h) = c(h w) / c(h); 0 for what never came, uniform after a context that never came."""
    return add_k(ids, order, vocab_size, k=0.0)


def add_k(ids: Sequence[int] | torch.Tensor, order: int, vocab_size: int, k: float) -> NGram:
    """P(w | h) = (c(h w) + k) / (c(h) + k V): each n-gram has k counts before the text is read."""
    if not 0 <= k < float("inf"):
        raise ValueError(f"add_k: expected k of 0 or more, got {k}; choose for instance 0.1")

    def estimate(context: torch.Tensor, counts: torch.Tensor, contexts: int) -> Estimate:
        totals = context.bincount(counts, contexts)  # c(h)
        all_counts = totals + k * vocab_size
        left = torch.where(totals > 0, k * vocab_size / all_counts, 1.0)
        return Estimate(counts / all_counts[context], left)

    levels = [
        Level(keys, estimate(keys // vocab_size, counts, contexts), None)
        for keys, counts, _, contexts in _count(ids, order, vocab_size)
    ]
    return NGram(levels, vocab_size)


def kneser_ney(ids: Sequence[int] | torch.Tensor, order: int, vocab_size: int) -> NGram:
    """P_n(w | h) = (c(h w) − D) / c(h) + λ(h) P_{n−1}(w | h'), with c(h) = Σ_w c(h w).

    h' is h without its first token; in P_{n−1} the counts are continuation counts: how many
    different tokens came before. D depends on the count: 1, 2, or 3 and more.
    """

    def estimate(context: torch.Tensor, counts: torch.Tensor, contexts: int) -> Estimate:
        totals = context.bincount(counts, contexts)  # c(h)
        discount = _discounts(counts)[counts.long().clamp(max=3)]
        taken = torch.zeros_like(totals).index_add_(0, context, discount)
        left = torch.where(totals > 0, taken / totals, 1.0)
        return Estimate((counts - discount) / totals[context], left)

    levels = []
    for keys, counts, continuations, contexts in _count(ids, order, vocab_size):
        context = keys // vocab_size  # the rank of each n-gram's first n − 1 tokens
        longest = estimate(context, counts, contexts)
        levels.append(Level(keys, longest, base=estimate(context, continuations, contexts)))
    return NGram(levels, vocab_size)


def _count(
    ids: Sequence[int] | torch.Tensor, order: int, vocab_size: int
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]]:
    """For each n: keys of the n-grams, counts, continuation counts, number of contexts."""
    ids = torch.as_tensor(ids, dtype=torch.long)
    if order < 1 or ids.dim() != 1 or len(ids) < order:
        raise ValueError(
            "n-grams: expected an order of at least 1 and a row of at least as many tokens, "
            f"got order {order} and shape {tuple(ids.shape)}; give a longer text or a lower order"
        )
    check_ids("n-grams", ids, vocab_size)
    counted = []
    ranks = torch.zeros(len(ids) + 1, dtype=torch.long)  # of the (n − 1)-gram that begins there
    contexts = 1
    for n in range(1, order + 1):
        keys, shorter = ranks[: len(ids) - n + 1] * vocab_size + ids[n - 1 :], ranks
        keys, ranks, counts = keys.unique(return_inverse=True, return_counts=True)
        if counted:
            suffixes = torch.empty_like(keys)
            suffixes[ranks] = shorter[1:]
            counted[-1][2].copy_(suffixes.bincount(minlength=contexts).clamp(min=1))
        counted.append((keys, counts.double(), counts.double(), contexts))
        contexts = len(keys)
    return counted


def _discounts(counts: torch.Tensor) -> torch.Tensor:
    """D for counts 0, 1, 2 and 3 or more: D_c = c − (c + 1) Y n_{c+1} / n_c.

    n_c: how many n-grams have count c; Y = n_1 / (n_1 + 2 n_2).
    """
    n = counts.long().clamp(max=5).bincount(minlength=6).double().clamp(min=1)
    share = n[1] / (n[1] + 2 * n[2])
    c = torch.arange(1, 4, dtype=torch.float64)
    discounts = c - (c + 1) * share * n[2:5] / n[1:4]
    return torch.cat([torch.zeros(1), discounts.clamp(min=0.1).minimum(c)])


def _find(
    keys: torch.Tensor, context: torch.Tensor, words: torch.Tensor, vocab_size: int
) -> torch.Tensor:
    """Rank of the n-gram (context, word); −1 if it or its context never came."""
    wanted = context * vocab_size + words
    rank = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where((context >= 0) & (keys[rank] == wanted), rank, UNSEEN)
