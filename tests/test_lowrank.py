"""An adapter begins as nothing, learns alone, and can be added to its matrix for good."""

import copy

import pytest
import torch
from small_models import random_ids, seeded, small_transformer

from course_lm.finetuning.lowrank import (
    ALPHA,
    LowRank,
    add_adapters,
    learning,
    load_adapters,
    merge,
    save_adapters,
)
from course_lm.finetuning.supervised import respond, with_more_words
from course_lm.models.transformer import Transformer
from course_lm.training.checkpoints import save
from course_lm.training.loop import Recipe, train

SENTENCE = r"^(low rank|checkpoint): expected [^\n]+, got [^\n]+; [^\n]+$"
KNOWN, WORDS = 10, 13
IDS = random_ids(3, 8)


def adapted(rank=3, seed=0, known=None, **changes):
    model = small_transformer(**changes)
    add_adapters(model, rank, seeded(seed), known)
    return model


@torch.no_grad()
def filled(model, seed=1):
    """Random numbers in everything that learns, so that no adapter is nothing."""
    for weight in learning(model).values():
        weight.normal_(0, 0.1, generator=seeded(seed))
    return model


def state_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def batches(count):
    return [(random_ids(4, 9, seed=n), random_ids(4, 9, seed=n + 1)) for n in range(count)]


# -- what an adapter is


def test_an_adapter_adds_a_product_of_two_thin_matrices():
    linear = torch.nn.Linear(4, 3, bias=False)
    adapter = LowRank(linear, 2, seeded(0))
    torch.nn.init.normal_(adapter.up, generator=seeded(1))
    inputs = torch.randn(5, 4, generator=seeded(2))
    by_hand = [linear.weight @ x + ALPHA / 2 * (adapter.up @ (adapter.down @ x)) for x in inputs]
    torch.testing.assert_close(adapter(inputs), torch.stack(by_hand))
    assert torch.linalg.matrix_rank(adapter.up @ adapter.down) == 2


@pytest.mark.parametrize("changes", [{}, {"kv_heads": 2}, {"tied": True}])
def test_at_the_start_nothing_has_changed(changes):
    base, model = small_transformer(**changes), adapted(known=KNOWN, **changes)
    torch.testing.assert_close(model(IDS), base(IDS), rtol=0, atol=1e-6)


@pytest.mark.parametrize("known", [None, KNOWN])
@pytest.mark.parametrize("tied", [False, True])
def test_merged_and_unmerged_agree_and_the_merged_model_is_a_plain_one(known, tied):
    model = filled(adapted(known=known, tied=tied))
    unmerged = model(IDS)
    assert (unmerged - small_transformer(tied=tied)(IDS)).abs().max() > 0.1
    merge(model)
    torch.testing.assert_close(model(IDS), unmerged, rtol=0, atol=1e-5)
    plain = Transformer(model.config, seeded(0))
    assert [*plain.state_dict()] == [*model.state_dict()]
    assert all(weight.requires_grad for weight in model.parameters())
    assert (model.head.weight is model.embed.weight) is tied


def test_a_merged_model_learns_with_all_its_weights():
    model = filled(adapted(known=KNOWN))
    merge(model)
    before = state_of(model)
    list(train(model, batches(2), Recipe(steps=2)))
    assert not any(before[name].equal(weight) for name, weight in model.named_parameters())
    assert not before["embed.weight"][:KNOWN].equal(model.embed.weight[:KNOWN])


def test_a_model_with_adapters_replies_as_the_merged_one_does():
    model = filled(adapted(known=KNOWN))
    prompts = [[1, 2, 3], [4], [11, 12]]
    replies = respond(model, prompts, 12, 10)
    merge(model)
    assert respond(model, prompts, 12, 10) == replies


# -- what learns


@pytest.mark.parametrize("rank", [1, 3, 16])
def test_the_number_of_weights_that_learn_is_that_of_the_formula(rank):
    width, hidden, layers = 16, 20, 2
    sides = [(width, 3 * width), (width, width), (width, 2 * hidden), (hidden, width)]
    adapters = layers * sum(rank * (a + b) for a, b in sides)
    for known, rows in ((None, 0), (WORDS, 0), (KNOWN, 2 * (WORDS - KNOWN) * width)):
        weights = learning(adapted(rank, known=known))
        assert sum(weight.numel() for weight in weights.values()) == adapters + rows


@pytest.mark.parametrize("matrix_rate", [0.02, None])
def test_only_adapters_and_the_rows_of_new_words_move(matrix_rate):
    base = small_transformer(vocab_size=KNOWN)
    model = with_more_words(base, WORDS, seeded(4))
    first = state_of(model)
    add_adapters(model, 2, seeded(0), KNOWN)
    before, own = state_of(model), {*learning(model)}
    recipe = Recipe(steps=5, matrix_rate=matrix_rate, weight_decay=0.1)
    list(train(model, batches(5), recipe))
    after = model.state_dict()
    assert {name for name in before if not after[name].equal(before[name])} == own
    for layer, name in ((model.embed, "embed.weight"), (model.head, "head.weight")):
        assert layer.weight[:KNOWN].equal(first[name][:KNOWN])
        assert not layer.weight[KNOWN:].equal(first[name][KNOWN:])
    merge(model)
    assert model.embed.weight[:KNOWN].equal(base.embed.weight)
    assert model.head.weight[:KNOWN].equal(base.head.weight)


def test_a_copy_of_a_model_with_adapters_keeps_the_old_rows_too():
    model = copy.deepcopy(adapted(known=KNOWN))
    list(train(model, batches(2), Recipe(steps=2)))
    assert model.embed.weight[:KNOWN].equal(small_transformer().embed.weight[:KNOWN])


def test_training_lowers_the_loss_and_two_equal_runs_agree():
    runs = []
    for _ in range(2):
        model = adapted(2)
        runs.append([step.loss for step in train(model, batches(1) * 40, Recipe(steps=40))])
    assert runs[0] == runs[1]
    assert runs[0][-1] < 0.8 * runs[0][0]


# -- bad input


@pytest.mark.parametrize("rank", [0, -1, 17])
def test_a_rank_that_a_matrix_cannot_have_gets_one_sentence_and_leaves_the_model_alone(rank):
    model = small_transformer()
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        add_adapters(model, rank, seeded(0))
    assert (
        f"a rank from 1 to 16, the smaller side of a matrix of shape (48, 16), got {rank}"
        in str(caught.value)
    )
    assert len(learning(model)) == len(list(model.parameters()))


def test_a_rank_too_large_for_a_later_matrix_leaves_the_model_alone():
    model = small_transformer(hidden=5)
    with pytest.raises(ValueError, match="a rank from 1 to 5"):
        add_adapters(model, 8, seeded(0))
    assert same(model.state_dict(), small_transformer(hidden=5).state_dict())
    assert len(learning(model)) == len(list(model.parameters()))


def test_adapters_on_adapters_get_one_sentence():
    model = adapted()
    with pytest.raises(ValueError, match=SENTENCE):
        add_adapters(model, 2, seeded(0))
    assert learning(model)


# -- files


def test_adapters_come_back_from_their_file_into_another_copy_of_the_base(tmp_path):
    model = filled(adapted(known=KNOWN))
    path = save_adapters(tmp_path / "some.safetensors", model)
    other = adapted(known=KNOWN, seed=7)
    load_adapters(path, other)
    assert same(model.state_dict(), other.state_dict())
    assert other(IDS).equal(model(IDS))


def test_the_file_holds_what_learns_and_nothing_of_the_base(tmp_path):
    model = small_transformer(vocab_size=WORDS, width=64, layers=1)
    whole = save(tmp_path / "whole", model).stat().st_size
    add_adapters(model, 1, seeded(0), KNOWN)
    count = sum(weight.numel() for weight in learning(model).values())
    size = save_adapters(tmp_path / "adapters", model).stat().st_size
    assert 4 * count < size < 4 * count + 1_500
    assert size < whole / 10


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rank": 4}, "blocks.0.attention.out.down of shape (4, 16), got (3, 16)"),
        ({"layers": 3}, "blocks.2.attention.out.down of shape (3, 16), got none"),
        ({"layers": 1}, "blocks.1.attention.out.down of shape none, got (3, 16)"),
        ({"width": 8, "heads": 4}, "of shape (3, 8), got (3, 16)"),
        ({"known": 11}, "embed.rows of shape (2, 16), got (3, 16)"),
        ({"known": None}, "embed.rows of shape none, got (3, 16)"),
    ],
)
def test_adapters_of_another_shape_get_one_sentence_and_leave_the_model_alone(
    changes, said, tmp_path
):
    path = save_adapters(tmp_path / "some", filled(adapted(known=KNOWN)))
    model = filled(adapted(**{"known": KNOWN} | changes), seed=5)
    before = state_of(model)
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        load_adapters(path, model)
    assert said in str(caught.value)
    assert "add adapters of the rank in the file to the same base" in str(caught.value)
    assert same(before, model.state_dict())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:-10], "of a longer one"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "bytes that have changed since"),
        (lambda data: b"no file of ours", "one of another kind"),
        (lambda data: b"", "only 0 bytes of a longer one"),
    ],
)
def test_a_file_that_is_not_whole_gets_one_sentence_and_leaves_the_model_alone(
    change, said, tmp_path
):
    path = save_adapters(tmp_path / "some", filled(adapted()))
    path.write_bytes(change(path.read_bytes()))
    model = adapted()
    before = state_of(model)
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        load_adapters(path, model)
    assert said in str(caught.value)
    assert same(before, model.state_dict())


def test_a_checkpoint_is_no_file_of_adapters_and_a_missing_file_is_named(tmp_path):
    path = save(tmp_path / "whole", small_transformer())
    with pytest.raises(ValueError, match=SENTENCE):
        load_adapters(path, adapted())
    with pytest.raises(FileNotFoundError, match="expected a file at"):
        load_adapters(tmp_path / "nothing", adapted())


def test_a_model_without_adapters_has_none_to_save(tmp_path):
    with pytest.raises(ValueError, match=SENTENCE):
        save_adapters(tmp_path / "some", small_transformer())
    assert not list(tmp_path.iterdir())
