"""Recurrent networks: torch's cells are the equations, and their state is all they remember."""

import pytest
import torch
from small_models import CELLS, random_ids, seeded, small_rnn

from course_lm.models.rnn import RNN, RNNConfig


@pytest.fixture(params=CELLS)
def cell(request):
    return request.param


# -- the equations, by hand


def plain(token, state, into, back):
    return {"h": torch.tanh(into(token) + back(state["h"]))}


def gru(token, state, into, back):
    reset, update, new = into(token).chunk(3)
    reset_back, update_back, new_back = back(state["h"]).chunk(3)
    update = torch.sigmoid(update + update_back)
    new = torch.tanh(new + torch.sigmoid(reset + reset_back) * new_back)
    return {"h": (1 - update) * new + update * state["h"]}


def lstm(token, state, into, back):
    write, keep, new, show = (into(token) + back(state["h"])).chunk(4)
    kept = torch.sigmoid(keep) * state["c"]
    c = kept + torch.sigmoid(write) * torch.tanh(new)
    return {"h": torch.sigmoid(show) * torch.tanh(c), "c": c}


BY_HAND = {"plain": plain, "gru": gru, "lstm": lstm}


def by_hand(model, row):
    """Logits after each token of one row: (T,) -> (T, V), token by token, layer by layer."""
    weights = dict(model.cells.named_parameters())

    def layer(number):
        def linear(name):
            matrix, bias = weights[f"weight_{name}_l{number}"], weights[f"bias_{name}_l{number}"]
            return lambda vector: matrix @ vector + bias

        return linear("ih"), linear("hh")

    width = model.config.width
    states = [
        {"h": torch.zeros(width), "c": torch.zeros(width)} for _ in range(model.config.layers)
    ]
    logits = []
    for token in row:
        vector = model.embed.weight[token]
        for number in range(model.config.layers):
            states[number] = BY_HAND[model.config.cell](vector, states[number], *layer(number))
            vector = states[number]["h"]
        logits.append(model.head.weight @ vector + model.head.bias)
    return torch.stack(logits)


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2])
def test_a_cell_by_hand_gives_the_same_logits(cell, layers):
    model, ids = small_rnn(cell, layers=layers), random_ids(2, 7)
    logits = model(ids)
    assert logits.std() > 0.1
    for row in range(2):
        assert torch.allclose(logits[row], by_hand(model, ids[row]), atol=1e-6)


def test_logits_are_a_linear_function_of_the_states_that_a_viewer_hears():
    model, heard = small_rnn("plain"), []
    model.states.register_forward_hook(lambda module, args, result: heard.append(result))
    logits = model(random_ids(2, 7))
    (states,) = heard
    assert states.shape == (2, 7, 10)
    assert (states.abs() < 1).all()
    assert torch.equal(logits, model.head(states))


# -- its weights


def test_only_forget_gates_begin_with_a_bias(cell):
    model = RNN(RNNConfig(vocab_size=13, width=10, layers=2, cell=cell), seeded(0))
    biases = {name: bias for name, bias in model.named_parameters() if bias.dim() == 1}
    assert len(biases) == 5
    for name, bias in biases.items():
        expected = torch.zeros_like(bias)
        if cell == "lstm" and "bias_ih" in name:
            expected[10:20] = 1.0
        assert torch.equal(bias, expected)


def test_the_first_weights_come_from_rng_and_from_nowhere_else(cell):
    config = RNNConfig(vocab_size=13, width=10, cell=cell)
    before = torch.get_rng_state()
    one, same, other = (dict(RNN(config, seeded(seed)).named_parameters()) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one if one[name].dim() == 2)
    for name, weight in one.items():
        assert weight.abs().max() <= 1.0, name


def test_every_weight_gets_a_gradient(cell):
    model = small_rnn(cell, layers=2)
    model(random_ids(3, 9)).logsumexp(-1).sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad.abs().sum() > 0, name


# -- reading on


@torch.no_grad()
@pytest.mark.parametrize("cuts", [[1] * 9, [3, 6], [5, 1, 3]])
def test_reading_in_pieces_is_reading_at_once(cell, cuts):
    model, memory, pieces = small_rnn(cell, layers=2), None, []
    ids = random_ids(3, 9)
    for piece in ids.split(cuts, dim=1):
        logits, memory = model.read(piece, memory)
        pieces.append(logits)
    assert torch.allclose(torch.cat(pieces, dim=1), model(ids), atol=1e-6)


@torch.no_grad()
def test_a_row_after_empty_columns_is_the_row_alone(cell):
    model, ids, more = small_rnn(cell, layers=2), random_ids(4, 9), random_ids(4, 3, seed=1)
    pads = [0, 5, 8, 2]
    logits, memory = model.read(ids, pads=torch.tensor(pads))
    later, _ = model.read(more, memory)
    for row, pad in enumerate(pads):
        alone = model(torch.cat([ids[row, pad:], more[row]])[None])[0]
        assert torch.allclose(torch.cat([logits[row, pad:], later[row]]), alone, atol=1e-6)


@torch.no_grad()
def test_rows_that_are_kept_read_on_as_before(cell):
    model, ids, kept = small_rnn(cell, layers=2), random_ids(4, 9), torch.tensor([3, 1])
    _, memory = model.read(ids[:, :6])
    memory.select(kept)
    logits, _ = model.read(ids[kept, 6:], memory)
    assert torch.allclose(logits, model(ids)[kept, 6:], atol=1e-6)


# -- bad input


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (random_ids(1, 0), r"ids of shape \(B, T\), T at least 1, got shape"),
        (random_ids(5), r"ids of shape \(B, T\)"),
        (torch.tensor([[3, 13]]), "expected ids from 0 to 12, got 3 to 13; use the vocabulary"),
        (torch.tensor([[-1, 3]]), "expected ids from 0 to 12, got -1 to 3"),
    ],
)
def test_ids_that_do_not_fit_are_refused(cell, ids, message):
    with pytest.raises(ValueError, match=f"rnn: .*{message}"):
        small_rnn(cell)(ids)


@pytest.mark.parametrize(
    "changes", [{"vocab_size": 0}, {"width": 0}, {"layers": 0}, {"layers": -1}, {"cell": "LSTM"}]
)
def test_sizes_that_do_not_fit_are_refused(changes):
    with pytest.raises(ValueError, match="a cell of plain, gru, lstm, got"):
        RNNConfig(**{"vocab_size": 13} | changes)
