"""Optimisers, written out, take the steps of torch.optim; each weight goes to the right one."""

import math
from types import SimpleNamespace

import pytest
import torch
from small_models import CELLS, random_ids, seeded, small_rnn, small_transformer
from torch import nn

from course_lm.training.optimisers import (
    QUINTIC,
    Adagrad,
    AdamW,
    Muon,
    clip,
    orthogonal,
    schedule,
    split_weights,
)

SHARES = [0.1, 0.5, 1.0, 1.0, 0.9, 0.5, 0.4, 0.3, 0.2, 0.1]


def twins(*shapes):
    """Weights by name, twice, with equal values."""
    rng = seeded(0)
    first = {f"w{i}": nn.Parameter(torch.randn(s, generator=rng)) for i, s in enumerate(shapes)}
    return first, {name: nn.Parameter(weight.detach().clone()) for name, weight in first.items()}


def follow(ours, mine, theirs, yours, rate):
    """Both take ten steps along equal gradients; the largest difference between weights."""
    rng = seeded(1)
    difference = 0.0
    for number, share in enumerate(SHARES):
        for name in mine:
            gradient = torch.randn(mine[name].shape, generator=rng) * 10 ** (number % 3 - 1)
            mine[name].grad, yours[name].grad = gradient, gradient.clone()
        ours.step(share)
        for group in theirs.param_groups:
            group["lr"] = share * rate
        theirs.step()
        gaps = [(mine[name] - yours[name]).abs().max().item() for name in mine]
        difference = max(difference, *gaps)
    return difference


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize(("betas", "epsilon"), [((0.9, 0.95), 1e-8), ((0.8, 0.999), 1e-3)])
def test_adamw_takes_the_steps_of_torch(decay, betas, epsilon):
    mine, yours = twins((4, 3), (2, 5), (6,), (1,))
    matrices = [weight for weight in yours.values() if weight.dim() > 1]
    others = [weight for weight in yours.values() if weight.dim() == 1]
    theirs = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}],
        betas=betas,
        eps=epsilon,
    )
    ours = AdamW(mine, rate=0.05, decay=decay, betas=betas, epsilon=epsilon)
    assert follow(ours, mine, theirs, yours, rate=0.05) < 2e-6


@pytest.mark.filterwarnings("ignore:Sparse invariant")  # from torch's own Adagrad
def test_adagrad_takes_the_steps_of_torch_and_leaves_other_rows():
    mine, yours = twins((7, 3), (5, 2))
    start = mine["w0"].detach().clone()
    theirs = torch.optim.Adagrad(yours.values(), eps=1e-8)
    ours, rng = Adagrad(mine, rate=0.05), seeded(1)
    for share in SHARES:
        for name in mine:
            size, width = mine[name].shape
            rows = torch.randint(size - 1, (1, 6), generator=rng)  # some twice, the last never
            values = torch.randn(6, width, generator=rng)
            for weight in (mine[name], yours[name]):
                weight.grad = torch.sparse_coo_tensor(
                    rows, values, (size, width), check_invariants=True
                )
        ours.step(share)
        theirs.param_groups[0]["lr"] = share * 0.05
        theirs.step()
        assert all(torch.allclose(mine[name], yours[name], atol=2e-6) for name in mine)
    assert torch.equal(mine["w0"][-1], start[-1])


def test_a_row_seen_for_the_first_time_moves_by_the_rate_however_late_it_is():
    table = nn.Parameter(torch.zeros(2, 1))
    optimiser = Adagrad({"w": table}, rate=0.1)
    for row in [0] * 50 + [1]:
        table.grad = torch.sparse_coo_tensor([[row]], [[-3.0]], (2, 1), check_invariants=True)
        optimiser.step()
    assert table[1].item() == pytest.approx(0.1)
    assert table[0].item() == pytest.approx(0.1 * sum(n**-0.5 for n in range(1, 51)), rel=1e-4)


def test_the_first_step_of_adamw_is_the_rate_against_the_sign():
    weight = nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))
    weight.grad = torch.tensor([100.0, -0.01, 0.0])
    AdamW({"w": weight}, rate=0.1).step()
    assert weight.tolist() == pytest.approx([0.9, 1.1, 1.0], abs=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_muon_takes_the_steps_of_torch(decay, monkeypatch):
    mine, yours = twins((4, 3), (3, 8), (5, 5), (9, 1))
    theirs = torch.optim.Muon(yours.values(), weight_decay=decay, momentum=0.9)
    monkeypatch.setattr(torch, "bfloat16", torch.float32)  # torch's own rounds to half precision
    ours = Muon(mine, rate=0.05, decay=decay, momentum=0.9)
    assert follow(ours, mine, theirs, yours, rate=0.05) < 1e-5


@pytest.mark.parametrize("optimiser", [AdamW, Muon])
def test_a_weight_without_a_gradient_stays(optimiser):
    moving, resting = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    moving.grad = torch.eye(2)
    optimiser({"a": moving, "b": resting}, rate=0.1, decay=0.5).step()
    assert torch.equal(resting, torch.ones(2, 2))
    assert not torch.equal(moving, torch.ones(2, 2))


@pytest.mark.parametrize("optimiser", [AdamW, Muon])
def test_going_on_from_its_memory_gives_the_same_weights(optimiser):
    mine, yours = twins((4, 3))
    gradients = [torch.randn(4, 3, generator=seeded(seed)) for seed in range(6)]
    whole, first = optimiser(mine, rate=0.1), optimiser(yours, rate=0.1)
    for number, gradient in enumerate(gradients):
        if number == 3:
            second = optimiser(yours, rate=0.1)
            second.steps = first.steps
            for kind, kept in first.memory().items():
                for name, tensor in kept.items():
                    second.memory()[kind][name].copy_(tensor)
            first = second
        mine["w0"].grad = yours["w0"].grad = gradient
        whole.step()
        first.step()
    assert torch.equal(mine["w0"], yours["w0"])


# -- orthogonal


def raised(value, steps=5):
    """One singular value after the steps, in plain arithmetic."""
    a, b, c = QUINTIC
    for _ in range(steps):
        value = a * value + b * value**3 + c * value**5
    return value


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (1, 5), (5, 1), (1, 1)])
def test_orthogonal_changes_singular_values_and_nothing_else(shape):
    matrix = torch.randn(shape, generator=seeded(0), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    new = torch.tensor([raised(v / values.norm().item()) for v in values.tolist()]).double()
    assert torch.allclose(orthogonal(matrix), left @ new.diag() @ right, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6), (1, 9), (9, 1)])
def test_singular_values_end_between_07_and_12(shape):
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=seeded(0)), full_matrices=False)
    values = torch.linspace(1.0, 30.0, min(shape))
    new = torch.linalg.svdvals(orthogonal(left @ values.diag() @ right))
    assert 0.68 < new.min() <= new.max() < 1.21


def test_orthogonal_of_nothing_is_nothing_and_its_scale_does_not_matter():
    assert torch.equal(orthogonal(torch.zeros(3, 2)), torch.zeros(3, 2))
    matrix = torch.randn(3, 5, generator=seeded(0))
    assert torch.allclose(orthogonal(matrix), orthogonal(1000 * matrix), atol=1e-5)
    assert torch.allclose(orthogonal(matrix.T), orthogonal(matrix).T, atol=1e-6)


# -- clip and schedule


def with_gradients(*gradients):
    weights = [nn.Parameter(torch.zeros_like(g)) for g in gradients if g is not None]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient.clone()
    return SimpleNamespace(parameters=lambda: [*weights, nn.Parameter(torch.zeros(1))])


def test_gradients_of_norm_5_are_shrunk_to_norm_1_together():
    model = with_gradients(torch.tensor([3.0, 0.0]), torch.tensor([[4.0]]))
    assert clip(model, 1.0) == pytest.approx(5.0)
    first, second, _ = model.parameters()
    assert first.grad.tolist() == pytest.approx([0.6, 0.0])
    assert second.grad.item() == pytest.approx(0.8)


def test_gradients_below_the_largest_norm_stay():
    model = with_gradients(torch.tensor([3.0, 4.0]))
    assert clip(model, 5.1) == pytest.approx(5.0)
    assert model.parameters()[0].grad.tolist() == [3.0, 4.0]


def test_clip_is_the_one_of_torch():
    models = [small_transformer(), small_transformer()]
    for model in models:
        model(random_ids(3, 9)).square().mean().backward()
    norm = clip(models[0], 0.01)
    assert norm == pytest.approx(nn.utils.clip_grad_norm_(models[1].parameters(), 0.01).item())
    for mine, yours in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(mine.grad, yours.grad, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("progress", "warmup", "decay", "share"),
    [
        (0.0, 0.1, 0.5, 0.0),
        (0.05, 0.1, 0.5, 0.5),
        (0.1, 0.1, 0.5, 1.0),
        (0.5, 0.1, 0.5, 1.0),
        (0.75, 0.1, 0.5, 0.5),
        (1.0, 0.1, 0.5, 0.0),
        (1.2, 0.1, 0.5, 0.0),
        (0.3, 0.0, 0.0, 1.0),
        (0.0, 0.0, 1.0, 1.0),
        (0.25, 0.0, 1.0, 0.75),
        (0.5, 1.0, 1.0, 0.5),
        (0.9, 1.0, 1.0, 0.1),
    ],
)
def test_the_rate_rises_stays_and_falls(progress, warmup, decay, share):
    assert schedule(progress, warmup, decay) == pytest.approx(share)


# -- which weights go to which


def test_matrices_inside_a_transformer_are_maps():
    maps, _, others = split_weights(small_transformer())
    inside = ("attention.qkv", "attention.out", "feed_forward.gate_up", "feed_forward.down")
    scales = {f"blocks.{n}.{part}_norm.scale" for n in (0, 1) for part in ("attention", "feed")}
    assert set(maps) == {f"blocks.{n}.{name}.weight" for n in (0, 1) for name in inside}
    assert set(others) == {"embed.weight", "head.weight", "norm.scale"} | scales


def test_a_tied_head_is_one_weight_with_the_embedding():
    maps, _, others = split_weights(small_transformer(tied=True, layers=1))
    assert len(maps) == 4
    assert set(others) - {"embed.weight", "norm.scale"} == {
        "blocks.0.attention_norm.scale",
        "blocks.0.feed_norm.scale",
    }


@pytest.mark.parametrize("cell", CELLS)
def test_matrices_inside_a_cell_are_maps(cell):
    maps, _, others = split_weights(small_rnn(cell, layers=2))
    sides = [f"{side}_l{layer}" for side in ("ih", "hh") for layer in (0, 1)]
    assert set(maps) == {f"cells.weight_{side}" for side in sides}
    outside = {"embed.weight", "head.weight", "head.bias"}
    assert set(others) == outside | {f"cells.bias_{side}" for side in sides}


def test_a_model_inside_another_module_is_split_in_the_same_way():
    model = small_transformer(grams=2)
    inside = split_weights(torch.nn.ModuleDict({"model": model}))
    for alone, part in zip(split_weights(model), inside, strict=True):
        assert part == {f"model.{name}": weight for name, weight in alone.items()}


def test_every_weight_goes_to_exactly_one_optimiser():
    tabled = small_transformer(grams=3), small_rnn(grams=2)
    for model in (small_transformer(tied=True), *map(small_rnn, CELLS), *tabled):
        maps, tables, others = split_weights(model)
        assert math.prod([len(maps), len(others)]) > 0
        assert len(tables) == model.config.grams - 1
        assert len(maps) + len(tables) + len(others) == len(list(model.parameters()))
        assert maps | tables | others == dict(model.named_parameters())
