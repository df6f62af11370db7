"""The Transformer is Llama's, weight for weight; its parts do what their formulas say."""

import math

import pytest
import torch
from small_models import TRANSFORMER, random_ids, randomised, seeded, small_transformer

from course_lm.models.llama import llama_weights, to_llama
from course_lm.models.transformer import RMSNorm, Transformer, TransformerConfig, rotate, rotation

SHAPES = {
    "plain": {},
    "grouped heads": {"kv_heads": 2},
    "one head for all keys": {"kv_heads": 1},
    "tied": {"tied": True},
    "grouped and tied": {"kv_heads": 2, "tied": True},
    "other numbers": {"epsilon": 0.01, "wave": 300.0},
}


@pytest.fixture(params=SHAPES)
def changes(request):
    return SHAPES[request.param]


@pytest.fixture
def model(changes):
    return small_transformer(**changes)


# -- against the Llama of another library


def as_llama(model):
    """The Llama of `transformers`, with copies of the weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**to_llama(model.config), attn_implementation="eager")
    theirs = LlamaForCausalLM(config).eval()
    weights = llama_weights(model)
    weights.setdefault("lm_head.weight", model.embed.weight)  # tied
    theirs.load_state_dict(weights, strict=True)
    return theirs


@torch.no_grad()
def test_with_copied_weights_the_logits_are_those_of_llama(model):
    ids = random_ids(3, 16)
    ours = model(ids)
    assert ours.std() > 0.5
    assert torch.allclose(ours, as_llama(model)(ids).logits, rtol=0, atol=1e-5)


# -- its parts, by hand


def test_rms_norm_divides_by_the_root_of_the_mean_square():
    norm = RMSNorm(2)
    norm.scale.data = torch.tensor([1.0, 2.0])
    size = math.sqrt((3**2 + 4**2) / 2 + 1e-5)
    assert norm(torch.tensor([3.0, 4.0])).tolist() == pytest.approx([3 / size, 8 / size])
    assert torch.allclose(norm(torch.tensor([300.0, 400.0])), norm(torch.tensor([3.0, 4.0])))


def test_a_pair_turns_by_the_angle_of_its_place_and_later_pairs_turn_slower():
    cos, sin = rotation(6, 4)
    turned = rotate(torch.tensor([[1.0, 0.0, 0.0, 2.0]]).expand(6, -1), cos, sin)
    for place, vector in enumerate(turned.tolist()):
        fast, slow = place, place * 10_000 ** (-2 / 4)
        by_hand = [math.cos(fast), -2 * math.sin(slow), math.sin(fast), 2 * math.cos(slow)]
        assert vector == pytest.approx(by_hand, abs=1e-6)


def test_products_of_rotated_vectors_depend_on_their_distance_alone():
    query, key = torch.randn(2, 1, 8, generator=seeded(0), dtype=torch.float64)
    cos, sin = (table.double() for table in rotation(30, 8))
    products = rotate(query.expand(30, -1), cos, sin) @ rotate(key.expand(30, -1), cos, sin).T
    for distance in range(-29, 30):
        diagonal = products.diagonal(distance)
        assert torch.allclose(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5)
    assert products[0].std() > 0.1
    assert torch.allclose(products.diagonal(), (query @ key.T)[0])


def listened(model, read):
    """What the first layer's `weights` passes on during `read`."""
    heard = []
    listener = model.blocks[0].attention.weights
    handle = listener.register_forward_hook(lambda module, args, result: heard.append(result))
    read()
    handle.remove()
    return heard[-1]


def test_attention_weights_sum_to_one_and_are_zero_in_the_future(model):
    weights = listened(model, lambda: model(random_ids(3, 9)))
    assert weights.shape == (3, 4, 9, 9)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 4, 9))
    assert (weights.triu(1) == 0).all()
    assert (weights.tril() > 0).sum() == 3 * 4 * 9 * 10 / 2
    assert weights[0, 0].std() > 0.05


def test_columns_without_a_token_get_no_attention():
    model, pads = small_transformer(), torch.tensor([0, 4, 2])
    weights = listened(model, lambda: model.read(random_ids(3, 9), pads=pads))
    for row, pad in enumerate(pads):
        assert (weights[row, :, pad:, :pad] == 0).all()
        assert torch.allclose(weights[row, :, pad:, pad:].sum(-1), torch.ones(4, 9 - pad))


def test_what_a_viewer_hears_is_what_the_model_uses():
    model = small_transformer()
    ids, before = random_ids(2, 5), small_transformer()(random_ids(2, 5))
    halve = model.blocks[0].attention.weights.register_forward_hook(lambda m, a, result: result / 2)
    assert not torch.allclose(model(ids), before)
    halve.remove()
    assert torch.equal(model(ids), before)


def test_without_the_mask_a_causal_model_is_the_model_that_looks_both_ways():
    causal, both = small_transformer(), small_transformer(causal=False)
    ids = random_ids(3, 9)
    assert not torch.allclose(causal(ids), both(ids), atol=0.1)
    causal.future.zero_()
    assert torch.allclose(causal(ids), both(ids), atol=1e-6)
    assert (listened(both, lambda: both(ids)) > 0).all()


# -- its weights


def test_the_number_of_weights_is_as_computed_by_hand(model, changes):
    kv = changes.get("kv_heads", 4) * 4
    block = 16 * (16 + 2 * kv) + 16 * 16 + 3 * 16 * 20 + 2 * 16
    total = 13 * 16 * (1 if "tied" in changes else 2) + 2 * block + 16
    assert sum(weight.numel() for weight in model.parameters()) == total


def test_the_state_holds_weights_only_and_a_tied_head_is_the_embedding():
    assert set(small_transformer().state_dict()) == set(
        dict(small_transformer().named_parameters())
    )
    tied = small_transformer(tied=True)
    assert tied.head.weight is tied.embed.weight


@torch.no_grad()
def test_at_first_every_block_adds_nothing():
    model = Transformer(TransformerConfig(**TRANSFORMER), seeded(0))
    ids = random_ids(2, 7)
    assert torch.equal(model(ids), model.head(model.norm(model.embed(ids))))


def test_the_first_weights_come_from_rng_and_from_nowhere_else(changes):
    config = TransformerConfig(**TRANSFORMER | changes)
    before = torch.get_rng_state()
    one, same, other = (Transformer(config, seeded(seed)).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[n], other[n]) for n in one if "embed" in n or "qkv" in n)


def test_every_weight_gets_a_gradient(model):
    model(random_ids(3, 9)).logsumexp(-1).sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad.abs().sum() > 0, name


# -- reading on


@torch.no_grad()
@pytest.mark.parametrize("cuts", [[1] * 16, [16], [3, 13], [5, 1, 1, 9], [7, 2, 7]])
def test_reading_in_pieces_is_reading_at_once(model, cuts):
    ids, memory, pieces = random_ids(3, 16), None, []
    for piece in ids.split(cuts, dim=1):
        logits, memory = model.read(piece, memory)
        pieces.append(logits)
    assert memory.length == 16
    assert torch.allclose(torch.cat(pieces, dim=1), model(ids), atol=1e-5)


@torch.no_grad()
def test_a_row_after_empty_columns_is_the_row_alone(model):
    pads = [0, 5, 8, 2]
    ids = random_ids(4, 9)
    logits, memory = model.read(ids, pads=torch.tensor(pads))
    more, memory = model.read(random_ids(4, 3, seed=1), memory)
    for row, pad in enumerate(pads):
        alone = model(torch.cat([ids[row, pad:], random_ids(4, 3, seed=1)[row]])[None])[0]
        assert torch.allclose(torch.cat([logits[row, pad:], more[row]]), alone, atol=1e-5)


@torch.no_grad()
def test_rows_that_are_kept_read_on_as_before():
    model, ids, kept = small_transformer(), random_ids(4, 9), torch.tensor([3, 1])
    _, memory = model.read(ids[:, :6], pads=torch.tensor([1, 3, 0, 2]))
    expected, _ = model.read(ids[:, 6:], memory)
    _, memory = model.read(ids[:, :6], pads=torch.tensor([1, 3, 0, 2]))
    memory.select(kept)
    logits, _ = model.read(ids[kept, 6:], memory)
    assert torch.allclose(logits, expected[kept], atol=1e-5)


def test_a_model_that_looks_both_ways_cannot_read_on():
    with pytest.raises(ValueError, match="expected a causal model to remember what it reads"):
        small_transformer(causal=False).read(random_ids(1, 3))


@torch.no_grad()
def test_it_computes_in_the_precision_of_its_weights():
    ids = random_ids(2, 16)
    exact = small_transformer().double()(ids)
    assert exact.dtype == torch.float64
    assert torch.allclose(exact.float(), small_transformer()(ids), atol=1e-5)


# -- bad input


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (random_ids(1, 17), r"T from 1 to 16, its context, got shape \(1, 17\); give rows"),
        (random_ids(1, 0), r"T from 1 to 16, its context, got shape \(1, 0\)"),
        (random_ids(5), r"ids of shape \(B, T\)"),
        (torch.tensor([[3, 13]]), "expected ids from 0 to 12, got 3 to 13; use the vocabulary"),
        (torch.tensor([[-1, 3]]), "expected ids from 0 to 12, got -1 to 3"),
    ],
)
def test_ids_that_do_not_fit_are_refused(ids, message):
    with pytest.raises(ValueError, match=f"transformer: .*{message}"):
        small_transformer()(ids)


def test_a_memory_that_is_full_is_refused():
    model = small_transformer()
    _, memory = model.read(random_ids(1, 14))
    with pytest.raises(ValueError, match="at most 16 tokens, got 17 with those in memory"):
        model.read(random_ids(1, 3), memory)


def test_no_rows_give_no_logits():
    assert small_transformer()(random_ids(0, 4)).shape == (0, 4, 13)


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 0},
        {"context": 0},
        {"layers": 0},
        {"hidden": 0},
        {"width": 0},
        {"heads": 0},
        {"heads": -4},
        {"kv_heads": 0},
        {"kv_heads": 3},
        {"kv_heads": 8},
        {"width": 18},
        {"width": 12},
        {"embed_std": 0.0},
        {"embed_std": float("nan")},
        {"epsilon": 0.0},
        {"wave": -1.0},
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes):
    with pytest.raises(ValueError, match="transformer: expected sizes of at least 1"):
        TransformerConfig(**TRANSFORMER | changes)


@pytest.mark.parametrize("tied", [False, True])
def test_the_embedding_begins_with_the_spread_that_the_config_names(tied):
    config = TransformerConfig(vocab_size=400, width=64, heads=4, embed_std=1.0, tied=tied)
    model = Transformer(config, torch.Generator().manual_seed(0))
    assert model.embed.weight.std().item() == pytest.approx(1.0, rel=0.02)
    assert model.head.weight.std().item() == pytest.approx(1.0 if tied else 0.02, rel=0.02)


def test_the_weights_of_the_tests_are_all_random():
    for weight in randomised(Transformer(TransformerConfig(**TRANSFORMER), seeded(0))).parameters():
        assert weight.std() > 0.1
