"""Tokens per second at equal shape, the share of the machine's peak, and what size costs."""

from collections.abc import Iterator
from functools import partial

import peers
import torch
from recipes import Effort
from table import Row, exponent, medians, row, step_seconds
from torch import nn

from course_lm.language.windows import random_windows
from course_lm.models.rnn import RNN, RNNConfig
from course_lm.models.sampling import generate, generate_batch
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.training.hardware import half_precision_pays, matmul_seconds
from course_lm.training.loop import Recipe, Step, train

VOCABULARY = 65  # characters, as many as a short text has
SIDES = (256, 512, 1_024)  # of the square matrices whose product gives the peak
TOKENS = 1_024  # in each batch of which the size is varied
BATCHES = (1, 64)  # rows that are generated together


def transformer(context: int, width: int = peers.WIDTH) -> Transformer:
    """Ours, in the shape of the peer's Llama or in another width."""
    config = TransformerConfig(
        vocab_size=VOCABULARY,
        context=context,
        width=width,
        layers=peers.LAYERS,
        heads=peers.HEADS,
        kv_heads=peers.HEADS,
        hidden=peers.HIDDEN * width // peers.WIDTH,
    )
    return Transformer(config, torch.Generator().manual_seed(0))


def lstm(width: int) -> RNN:
    """A recurrent network of one layer."""
    config = RNNConfig(vocab_size=VOCABULARY, width=width, cell="lstm")
    return RNN(config, torch.Generator().manual_seed(0))


def batches(context: int, batch: int) -> Iterator:
    """Endless batches of ids that mean nothing."""
    rng = torch.Generator().manual_seed(0)
    ids = torch.randint(VOCABULARY, (20 * context,), generator=rng)
    return random_windows(ids, context, batch, rng)


def ours(
    model: nn.Module, context: int, batch: int, rounds: int, matrix_rate: float | None = None
) -> Iterator[Step]:
    """Training in our loop, with AdamW unless there is a `matrix_rate`."""
    recipe = Recipe(steps=rounds + 1, matrix_rate=matrix_rate)
    return train(model, batches(context, batch), recipe)


def training_rows(effort: Effort) -> Iterator[Row]:
    """A step at equal shape; then the part of the machine's peak that it uses."""
    rounds, shape = effort.rounds, (peers.CONTEXT, peers.BATCH)
    model, gpt2 = transformer(peers.CONTEXT), peers.gpt2(VOCABULARY)
    llama = peers.llama(VOCABULARY, peers.CONTEXT)
    before = peak()
    ours_time, muon_time, gpt2_time, llama_time = step_seconds(
        ours(model, *shape, rounds),
        ours(transformer(peers.CONTEXT), *shape, rounds, matrix_rate=0.02),
        *(peers.training(peer, batches(*shape), rounds + 1) for peer in (gpt2, llama)),
        rounds=rounds,
    )
    tokens = peers.CONTEXT * peers.BATCH
    for what, time, peer_time, about in (
        ("train, AdamW", ours_time, gpt2_time, "transformers' GPT-2, torch's AdamW"),
        ("train, AdamW", ours_time, llama_time, "transformers' Llama, torch's AdamW"),
        ("train, Muon", muon_time, gpt2_time, "transformers' GPT-2, torch's AdamW"),
    ):
        yield row(what, "tokens/s", tokens / time, tokens / peer_time, about)
    rate = max(before, peak())
    shares = [
        100 * flops(model, tokens) / time / rate
        for model, time in ((model, ours_time), (gpt2, gpt2_time))
    ]
    about = f"transformers' GPT-2; the peak is {rate / 1e9:,.0f} GFLOP/s in {precision()}"
    yield row("train, AdamW: used of the machine", "% of peak", *shares, about)


def precision() -> torch.dtype:
    """What our loop multiplies matrices in, on this processor."""
    return torch.bfloat16 if half_precision_pays(torch.device("cpu")) else torch.float32


def peak() -> float:
    """Floating-point operations per second of the fastest product of two square matrices."""
    matrices = {side: torch.ones(side, side, dtype=precision()) for side in SIDES}
    return max(2 * side**3 / matmul_seconds(matrix) for side, matrix in matrices.items())


def flops(model: nn.Module, tokens: int) -> float:
    """Of a training step: 6 per weight and token, 12 · LAYERS · WIDTH · CONTEXT per token more.

    Counts the matrices that are multiplied with: the embeddings are not, unless they are the
    output's matrix, too. 6: two for the prediction, four for its gradient (Kaplan 2020).
    """
    matrices = {
        name: weight.numel()
        for name, weight in model.named_parameters()
        if weight.dim() == 2 and "wpe" not in name and name != "embed.weight"
    }
    attention = 12 * peers.LAYERS * peers.WIDTH * peers.CONTEXT
    return tokens * (6 * sum(matrices.values()) + attention)


def generation_rows(effort: Effort) -> Iterator[Row]:
    """Draws of new tokens, each row after one token, both with their key-value caches."""
    context = effort.length + 1
    model, peer = transformer(context), peers.llama(VOCABULARY, context).eval()

    def draw(rows: int) -> list:
        rng = torch.Generator().manual_seed(0)
        if rows == 1:
            return list(generate(model, [0], effort.length, rng))
        return generate_batch(model, [[0]] * rows, effort.length, rng)

    for rows in BATCHES:
        works = partial(draw, rows), partial(peers.generate, peer, rows, effort.length)
        for work in works:
            work()
        times = medians(*works, effort.repetitions)
        speeds = (rows * effort.length / time for time in times)
        about = f"transformers' Llama, cached; {effort.length} tokens a row"
        yield row(f"generate, batch {rows}", "tokens/s", *speeds, about)


def scaling_rows(effort: Effort) -> Iterator[Row]:
    """p of seconds per token ∝ size^p, for a training step of the Transformer and of the LSTM."""

    def fitted(sizes: tuple[int, ...], make) -> float:
        rounds = max(3, effort.rounds // 6)
        costs = [step_seconds(make(size, rounds), rounds=rounds)[0] / TOKENS for size in sizes]
        return exponent(sizes, costs)

    narrow, short = peers.WIDTH, peers.CONTEXT
    by_context = (
        lambda size, n: ours(transformer(size), size, TOKENS // size, n),
        lambda size, n: ours(lstm(narrow), size, TOKENS // size, n),
    )
    by_width = (
        lambda size, n: ours(transformer(short, size), short, TOKENS // short, n),
        lambda size, n: ours(lstm(size), short, TOKENS // short, n),
    )
    for what, sizes, makes in (
        ("context", effort.contexts, by_context),
        ("width", effort.widths, by_width),
    ):
        both = (fitted(sizes, make) for make in makes)
        about = f"LSTM; {what} {sizes[0]} to {sizes[-1]:,}, batches of {TOKENS:,} tokens"
        yield row(f"seconds per token against {what}", "exponent", *both, about)
