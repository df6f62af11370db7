import math

import pytest
import torch
from html_tags import Tags
from test_figures import HOSTILE

from course_lm.models.rnn import RNN, RNNConfig
from course_lm.models.transformer import Transformer, TransformerConfig, rotate
from course_lm.viewing.attention import attention_explorer, attention_strip, listen, shade
from course_lm.viewing.strips import contrast

IDS = torch.tensor([[1, 4, 2, 0, 3], [3, 3, 1, 2, 4]])


def transformer(**shape):
    sizes = {"vocab_size": 5, "context": 8, "width": 16, "layers": 2, "heads": 2, "kv_heads": 2}
    config = TransformerConfig(**{**sizes, "hidden": 24, **shape})
    return Transformer(config, torch.Generator().manual_seed(0))


def heard_by(model, ids=IDS):
    with listen(model) as heard, torch.no_grad():
        model(ids)
    return heard


def test_what_is_heard_is_the_softmax_of_the_scaled_masked_scores():
    model = transformer(layers=1)
    with torch.no_grad():
        block = model.blocks[0]
        joined = block.attention.qkv(block.attention_norm(model.embed(IDS)))
        parts = joined.view(2, 5, 6, 8).transpose(1, 2)
        queries, keys = rotate(parts[:, :4], model.cos[:5], model.sin[:5]).chunk(2, dim=1)
        scores = torch.einsum("bhtd,bhsd->bhts", queries, keys) / math.sqrt(8)
        scores.masked_fill_(torch.ones(5, 5).triu(1).bool(), -torch.inf)
    torch.testing.assert_close(heard_by(model)[0], scores.softmax(-1))


def test_every_layer_is_heard_and_no_word_looks_ahead():
    heard = heard_by(transformer(layers=3))
    assert [tuple(weights.shape) for weights in heard] == [(2, 2, 5, 5)] * 3
    for weights in heard:
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 5))
        assert weights.triu(1).abs().max() == 0


def test_listening_changes_no_logit_and_ends_with_the_block():
    model = transformer()
    alone = model(IDS)
    with listen(model) as heard:
        assert torch.equal(model(IDS), alone)
        first = heard[0]
        model(IDS.flip(0))
        torch.testing.assert_close(heard[0], first.flip(0))
        last = heard[0]
    model(IDS)
    assert heard[0] is last
    assert not any(module._forward_hooks for module in model.modules())


def test_the_hooks_are_gone_when_the_reading_fails():
    model = transformer()
    with pytest.raises(ValueError, match="vocabulary"), listen(model):
        model(IDS + 5)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_without_attention_cannot_be_heard():
    rnn = RNN(RNNConfig(vocab_size=5, width=8), torch.Generator().manual_seed(0))
    message = "expected a model with attention, got RNN; give a Transformer"
    with pytest.raises(ValueError, match=message), listen(rnn):
        pass


def test_the_strip_names_the_words_that_get_most():
    made = attention_strip(["a", "b", "c", "d"], [0.1, 0.6, 0.3, 0.0], place=2)
    assert str(made) == "Word 2, c, looks at: a 0.100, b 0.600, c 0.300, all others 0"
    spans = [attrs for tag, attrs in Tags(made.html).tags if "title" in attrs]
    assert [span["title"] for span in spans] == ["0.100", "0.600", "0.300", "0"]
    assert ["outline" in span["style"] for span in spans] == [False, False, True, False]
    assert ["opacity" in span["style"] for span in spans] == [False, False, False, True]
    assert shade(1.0) in spans[1]["style"]


def test_the_twin_of_a_long_text_names_five_words_in_order():
    weights = torch.arange(1, 11.0) / 55
    said = str(attention_strip([f"w{i}" for i in range(10)], weights, place=9))
    assert [part.split()[0] for part in said.split(": ")[1].split(", ")][:5] == [
        f"w{i}" for i in range(5, 10)
    ]
    assert said.endswith("all others 0.273")


@pytest.mark.parametrize("share", [step / 20 for step in range(21)])
def test_every_word_reads_well_on_its_colour(share):
    assert max(contrast(shade(share), text) for text in ("#000000", "#ffffff")) >= 4.5


@pytest.mark.parametrize(
    ("weights", "place", "message"),
    [
        ([0.5, 0.5], 0, "one weight for each of 3 words"),
        ([0.5, 0.5, 0.0], 3, "and a place among them, got shape"),
        ([0.5, 0.1, 0.1], 1, "that sum to 1, got a sum of 0.7"),
        ([1.5, -0.5, 0.0], 1, "weights of 0 or more"),
        ([math.nan, 1.0, 0.0], 1, "weights of 0 or more"),
    ],
)
def test_a_strip_of_something_else_is_refused(weights, place, message):
    with pytest.raises(ValueError, match=message):
        attention_strip(["a", "b", "c"], weights, place)


def test_hostile_words_are_escaped():
    made = attention_strip([HOSTILE, "b"], [0.5, 0.5], place=1)
    box = attention_explorer([HOSTILE, "b"], torch.full((1, 1, 2, 2), 0.5), (0, 0, 1))
    for html in (made.html, box.children[1].value):
        assert "img" not in {tag for tag, _ in Tags(html).tags}


def test_the_explorer_shows_the_row_that_its_three_dials_choose():
    words = ["<s>", "anna", "is"]
    weights = torch.stack(heard_by(transformer(), torch.tensor([[0, 1, 2]])))[:, 0]
    box = attention_explorer(words, weights, (1, 0, 2))
    word, layer, head = box.children[0].children
    assert box.children[1].value == attention_strip(words, weights[1, 0, 2], 2).html
    word.value, layer.value, head.value = 1, 0, 1
    assert box.children[1].value == attention_strip(words, weights[0, 1, 1], 1).html


def test_the_explorer_needs_a_square_of_weights_for_its_words():
    with pytest.raises(ValueError, match="stack one text's layers"):
        attention_explorer(["a", "b"], torch.zeros(1, 1, 3, 3), (0, 0, 1))
