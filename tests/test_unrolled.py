import math

import pytest
import torch
from html_tags import Tags
from test_figures import HOSTILE

from course_lm.language import lab
from course_lm.language.tokens import Vocabulary
from course_lm.models.rnn import RNN, RNNConfig
from course_lm.training.losses import cross_entropy
from course_lm.viewing.figures import png
from course_lm.viewing.unrolled import (
    UNITS,
    pull,
    unroll,
    unrolled_explorer,
    unrolled_figure,
    unrolled_html,
)

TEXT = "anna is in the kitchen . ben is in the attic . anna takes the red lamp ."


def network(cell="plain", vocab_size=131, width=16):
    config = RNNConfig(vocab_size=vocab_size, width=width, cell=cell)
    return RNN(config, torch.Generator().manual_seed(0))


def some_ids(rows=3, length=8):
    return torch.randint(131, (rows, length), generator=torch.Generator().manual_seed(1))


def seen(model=None, place=5, words=None):
    ids = some_ids(1)[0].tolist()
    return unroll(model or network(), words or [f"w{i}" for i in range(8)], ids, place)


@pytest.mark.parametrize("cell", ["plain", "gru", "lstm"])
def test_the_pull_of_an_embedding_is_what_a_small_change_of_it_does_to_the_loss(cell):
    model, ids, place = network(cell).double(), some_ids(1), 6
    norms = pull(model, ids, place)
    with torch.no_grad():
        embedded = model.embed(ids[:, :place])

        def loss(change):
            states, _ = model.cells(embedded + change)
            return cross_entropy(model.head(states[:, -1]), ids[:, place])

        slopes = torch.zeros(place, 16, dtype=torch.float64)
        for at in range(place):
            for unit in range(16):
                change = torch.zeros_like(embedded)
                change[0, at, unit] = 1e-5
                slopes[at, unit] = (loss(change) - loss(-change)) / 2e-5
    torch.testing.assert_close(norms[0], slopes.norm(dim=-1), rtol=1e-4, atol=1e-8)


def test_the_pull_of_a_row_does_not_depend_on_the_other_rows():
    model, ids = network("lstm"), some_ids()
    alone = torch.cat([pull(model, row[None], 6) for row in ids])
    torch.testing.assert_close(pull(model, ids, 6), alone)


def test_a_network_without_a_recurrent_matrix_feels_the_last_word_only():
    model = network()
    with torch.no_grad():
        model.cells.weight_hh_l0.zero_()
    norms = pull(model, some_ids(), 6)
    assert (norms[:, -1] > 0).all()
    assert (norms[:, :-1] == 0).all()


def test_looking_changes_neither_the_model_nor_its_gradients():
    model = network()
    before = [weight.clone() for weight in model.parameters()]
    with torch.no_grad():
        pull(model, some_ids(), 6)
    assert all(weight.grad is None for weight in model.parameters())
    assert all(map(torch.equal, before, model.parameters()))
    assert not model.embed._forward_hooks
    assert not model.states._forward_hooks


def test_the_states_shown_are_those_of_the_model_that_move_most():
    model, ids = network(), some_ids(1)
    heard = []
    model.states.register_forward_hook(lambda module, inputs, output: heard.append(output[0]))
    shown = seen(model).states
    whole = heard[0].detach()
    columns = [whole[:, unit] for unit in range(16)]
    assert shown.shape == (5, UNITS)
    for unit in shown.unbind(1):
        assert any(torch.equal(unit, column) for column in columns)
    left_out = sorted(column.var() for column in columns)[: 16 - UNITS]
    assert min(unit.var() for unit in shown.unbind(1)) >= max(left_out)
    assert len(ids) == 1


def test_p_is_the_probability_that_the_model_gives_the_word():
    model, ids = network(), some_ids(1)
    with torch.no_grad():
        probs = model(ids[:, :5])[0, -1].softmax(-1)
    assert seen(model).p == pytest.approx(float(probs[ids[0, 5]]), rel=1e-5)


@pytest.mark.parametrize("place", [0, 8, -1])
def test_a_place_without_a_word_before_it_is_explained(place):
    with pytest.raises(ValueError, match="expected a place from 1 to 7"):
        seen(place=place)


def test_the_figure_carries_the_gradient_of_each_word():
    figure = unrolled_figure(seen())
    head, *rows = figure.numbers
    assert head == ["word", "back", "gradient"]
    assert [row[1] for row in rows] == [5, 4, 3, 2, 1]
    assert all(row[2] > 0 for row in rows)
    assert len(png(figure)) < 100_000


def test_the_html_says_in_words_what_it_shows():
    made = unrolled_html(seen())
    ((_, attrs), *_) = Tags(made.html).tags
    assert attrs["role"] == "img"
    assert attrs["aria-label"].startswith("Unrolled: ")
    assert "'w5'" in attrs["aria-label"]
    assert made.text.splitlines()[1].split() == ["word", "back", "gradient"]


def test_a_word_is_drawn_and_shown_as_text():
    hostile = seen(words=[HOSTILE, "日本", "\n", "$x_$", "", HOSTILE, "a", "b"])
    assert "img" not in {tag for tag, _ in Tags(unrolled_html(hostile).html).tags}
    png(unrolled_figure(hostile))


# ---- the widget ----


@pytest.fixture
def explorer():
    models = {"plain": network(), "lstm": network("lstm")}
    return unrolled_explorer(models, lab.vocabulary(), TEXT)


def spoken(explorer) -> str:
    ((_, attrs), *_) = Tags(explorer.picture.value).tags
    return attrs["aria-label"]


def test_it_begins_with_the_last_word_of_the_text(explorer):
    assert explorer.word.value == explorer.word.max == len(TEXT.split())
    assert "predicts '.'" in spoken(explorer)


def test_the_slider_chooses_the_word_and_the_buttons_the_network(explorer):
    explorer.word.value = len(TEXT.split()) - 1
    plain = spoken(explorer)
    assert "predicts 'lamp'" in plain
    explorer.network.value = "lstm"
    assert "predicts 'lamp'" in spoken(explorer)
    assert spoken(explorer) != plain


def test_another_text_is_read_to_its_last_word(explorer):
    explorer.text.value = "ben and anna"
    assert (explorer.word.max, explorer.word.value) == (3, 3)
    assert "predicts 'anna'" in spoken(explorer)
    explorer.text.value = TEXT
    assert explorer.word.value == len(TEXT.split())


@pytest.mark.parametrize(
    ("text", "part"),
    [("ben and ana", "anna"), ("", "at least two tokens"), ("<s>", "at least two")],
)
def test_a_text_that_cannot_be_read_is_explained_and_the_picture_stays(explorer, text, part):
    before = explorer.picture.value
    explorer.text.value = text
    assert part in explorer.message.value
    assert "role='alert'" in explorer.message.value
    assert explorer.picture.value == before
    explorer.text.value = TEXT + " ben"
    assert explorer.message.value == ""


def test_a_typed_text_is_shown_as_text(explorer):
    explorer.text.value = HOSTILE
    assert "img" not in {tag for tag, _ in Tags(explorer.message.value).tags}


def test_it_takes_any_vocabulary():
    vocabulary = Vocabulary(["a", "b"], split=list, glue="")
    made = unrolled_explorer({"plain": network(vocab_size=2)}, vocabulary, "abba")
    assert made.word.max == 3
    assert math.isfinite(len(spoken(made)))
