import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from course_lm.models.rnn import RNN, RNNConfig
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.training.losses import cross_entropy
from course_lm.training.scaling import (
    A100,
    GENTLEST,
    H100,
    PUBLISHED,
    STEEPEST,
    Law,
    Machine,
    body_weights,
    fit_law,
    leave_one_out,
    training_compute,
)

SIZES = (664, 2_608, 10_336, 23_000, 41_152)
TEXTS = (16_384, 32_768, 65_536, 131_072, 262_144)
GRID = [(n, d) for n in SIZES for d in TEXTS]


def transformer(**shape):
    return Transformer(TransformerConfig(vocab_size=50, **shape), torch.Generator())


@pytest.mark.parametrize(("width", "layers", "hidden"), [(8, 1, 16), (32, 3, 40)])
def test_n_counts_matrices_and_norms_of_the_blocks_and_no_embedding(width, layers, hidden):
    model = transformer(width=width, layers=layers, hidden=hidden)
    block = 4 * width**2 + 3 * width * hidden + 2 * width
    assert body_weights(model) == layers * block + width


def test_n_of_an_rnn_leaves_its_embedding_and_head_out():
    model = RNN(RNNConfig(vocab_size=50, width=8), torch.Generator())
    assert body_weights(model) < sum(w.numel() for w in model.parameters()) - 50 * 8


def test_n_leaves_tables_of_rows_out():
    class WithTable(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.grams = torch.nn.Embedding(1000, 4)
            self.blocks = torch.nn.Linear(4, 4, bias=False)

    assert body_weights(WithTable()) == 16


def test_six_n_d_is_what_torch_counts_where_the_text_is_short():
    model = transformer(width=128, layers=2, hidden=256, context=8)
    ids = torch.zeros(4, 8, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        cross_entropy(model(ids), ids).backward()
    head = 50 * 128
    expected = training_compute(body_weights(model) + head, 4 * 8)
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.03)


def test_the_published_models_cost_what_their_papers_say():
    compute = {model.name: training_compute(model.weights, model.tokens) for model in PUBLISHED}
    assert compute["GPT-3"] == pytest.approx(3.14e23, rel=0.01)  # Brown 2020, table D.1
    assert compute["Llama 3.1"] == pytest.approx(3.8e25, rel=0.01)  # Grattafiori 2024
    hours = 24 * A100.days(compute["Llama 2"])
    assert hours == pytest.approx(1_720_320, rel=0.1)  # Touvron 2023b, table 2


def test_days_and_dollars_by_hand():
    machine = Machine(name="one", flops=1e12, share=0.5, price=2.0)
    assert machine.days(0.5e12 * 86_400) == pytest.approx(1.0)
    assert machine.days(0.5e12 * 86_400, count=4) == pytest.approx(0.25)
    assert machine.dollars(0.5e12 * 86_400) == pytest.approx(48.0)
    assert H100.days(1e20) < A100.days(1e20)


@pytest.mark.parametrize("counts", [(0, 1), (1, 0), (-1, 5), (math.nan, 1)])
def test_compute_of_nothing_is_refused(counts):
    with pytest.raises(ValueError, match="expected weights and tokens above 0"):
        training_compute(*counts)


@pytest.mark.parametrize(
    "law",
    [
        Law(0.62, 8.0, 0.5, 100.0, 0.55, 0.0),
        Law(1.69, 406.4, 0.34, 410.7, 0.28, 0.0),  # Hoffmann 2022, approach 3
        Law(0.0, 20.0, 0.3, 50.0, 0.35, 0.0),
        Law(0.6, 8.0, 0.3, 9e4, 1.1, 0.0),  # as steep as the short runs of lesson 07
    ],
)
def test_a_law_without_noise_is_found_again(law):
    found = fit_law(*zip(*((n, d, law(n, d)) for n, d in GRID), strict=True))
    assert found.error < 1e-3
    assert found.floor == pytest.approx(law.floor, abs=0.05)
    assert (found.a, found.b) == pytest.approx((law.a, law.b), abs=0.01)
    assert found(200_000, 10**6) == pytest.approx(law(200_000, 10**6), rel=0.01)


def test_no_term_falls_below_zero_and_the_error_is_that_of_the_law():
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(len(GRID), generator=rng, dtype=torch.float64).mul(0.1).exp().tolist()
    losses = [2 * d**-0.25 * e for (_, d), e in zip(GRID, noise, strict=True)]
    found = fit_law(*zip(*GRID, strict=True), losses)
    assert min(found.floor, found.A, found.B) >= 0
    off = [found(*run) / loss - 1 for run, loss in zip(GRID, losses, strict=True)]
    assert found.error == pytest.approx(math.sqrt(sum(x * x for x in off) / len(off)), rel=1e-6)
    worse = [2 * d**-0.25 / loss - 1 for (_, d), loss in zip(GRID, losses, strict=True)]
    assert found.error <= math.sqrt(sum(x * x for x in worse) / len(worse))  # than the planted law


def test_no_exponent_is_steeper_than_the_grid():
    losses = [0.6 + 500 * n**-1.6 + 0.5 * d**-0.3 for n, d in GRID]
    found = fit_law(*zip(*GRID, strict=True), losses)
    assert found.a == pytest.approx(STEEPEST)


def test_no_gentle_power_stands_in_for_the_floor():
    losses = [0.6 + 2 * n**-0.4 + 0.5 * d**-0.02 for n, d in GRID]
    found = fit_law(*zip(*GRID, strict=True), losses)
    assert min(found.a, found.b) >= GENTLEST - 1e-9
    assert found.floor > 0.6


@pytest.mark.parametrize(
    "loss",
    [lambda n, d: 1.0, lambda n, d: 0.6 + 100 * d**-0.5, lambda n, d: 0.6 + 8 * n**-0.5],
    ids=["nothing helps", "size does not help", "text does not help"],
)
def test_what_does_not_help_has_no_term_and_the_floor_stays_the_floor(loss):
    found = fit_law(*zip(*((n, d, loss(n, d)) for n, d in GRID), strict=True))
    assert found.floor == pytest.approx(loss(math.inf, math.inf), abs=1e-6)
    assert min(found.a, found.b) >= GENTLEST - 1e-9
    assert found(1e12, 1e12) == pytest.approx(loss(1e12, 1e12), abs=1e-3)


def test_leaving_one_out_spreads_with_the_noise():
    law = Law(0.62, 8.0, 0.5, 100.0, 0.55, 0.0)
    some = GRID[::3]
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(len(some), generator=rng, dtype=torch.float64).tolist()
    spreads = []
    for size in (0.0, 0.03):
        losses = [law(*run) * math.exp(size * e) for run, e in zip(some, noise, strict=True)]
        found = leave_one_out(*zip(*some, strict=True), losses, at=(200_000, 10**6))
        assert len(found) == len(some)
        spreads.append(max(found) - min(found))
    assert spreads[0] < 0.01 < spreads[1]


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([(1e3, 1e4, 1.0)] * 5, "at least 6 runs"),
        ([(n, 1e4, 1.0) for n in range(1, 9)], "3 amounts"),
        ([(1e3, d, 1.0) for d in range(1, 9)], "3 sizes"),
        ([(n, d, math.nan) for n, d in GRID], "numbers above 0"),
        ([(n, d, 0.0) for n, d in GRID], "numbers above 0"),
    ],
)
def test_runs_that_fix_no_law_are_refused(runs, words):
    with pytest.raises(ValueError, match=words):
        fit_law(*zip(*runs, strict=True))
