"""Pretext labels give back what was hidden, ask for nothing else, and keep to their shares."""

import math

import pytest
import torch
from small_models import seeded

from course_lm.language import lab
from course_lm.language.windows import IGNORE, next_token
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.training.loop import Recipe, train
from course_lm.training.pretext import (
    CAUSAL,
    Extra,
    extended,
    hidden_places,
    hidden_word,
    makers,
    masked_word,
    replaced_word,
    sentence_order,
    span_corruption,
)

EXTRA = Extra(131)
VOCABULARY = lab.vocabulary()
ENDS = VOCABULARY.ids_of([".", "?"])


def rows(batch=8, length=40, seed=0):
    """Windows of lab text that begin with a story."""
    ids = torch.tensor(VOCABULARY.ids_of(lab.sample(batch * 400, seeded(seed))))
    begins = (ids == 0).nonzero().flatten()[:batch]
    return ids[begins[:, None] + torch.arange(length)]


# -- the extra tokens


def test_the_extra_tokens_stand_behind_those_of_the_text_and_have_names():
    names = extended(VOCABULARY)
    assert len(names) == len(EXTRA)
    assert names.tokens[:131] == VOCABULARY.tokens
    assert names.tokens[EXTRA.mask] == "[mask]"
    assert names.tokens[EXTRA.asked] == "[order?]"
    assert names.tokens_of(EXTRA.order) == ["[in-order]", "[swapped]"]
    assert names.tokens_of(EXTRA.replaced) == ["[kept]", "[replaced]"]
    assert names.tokens_of(EXTRA.sentinels)[:2] == ["[A]", "[B]"]
    assert names.encode("anna is in the [mask] .")[4] == EXTRA.mask


def test_no_two_extra_tokens_share_an_id():
    ids = [EXTRA.mask, EXTRA.asked, *EXTRA.order, *EXTRA.replaced, *EXTRA.sentinels]
    assert sorted(ids) == list(range(131, len(EXTRA)))


# -- masked word


def test_the_labels_of_masked_words_restore_the_text_and_stand_nowhere_else():
    ids = rows()
    inputs, labels = masked_word(ids, EXTRA, seeded())
    asked = labels != IGNORE
    assert (inputs.where(~asked, labels) == ids).all()
    assert (inputs[~asked] == ids[~asked]).all()
    assert (asked.sum(1) == 6).all()  # 15 % of 40


def test_of_the_hidden_words_80_percent_are_masks_10_random_and_10_themselves():
    ids = torch.zeros(400, 100, dtype=torch.long)
    inputs, labels = masked_word(ids, Extra(1000), seeded())
    shown = inputs[labels != IGNORE]
    assert len(shown) == 400 * 15
    shares = [(shown == Extra(1000).mask), (shown > 0) & (shown < 1000), shown == 0]
    sizes = [share.float().mean().item() for share in shares]
    assert sizes == pytest.approx([0.8, 0.1, 0.1], abs=4 * math.sqrt(0.8 * 0.2 / 6000))
    assert len(shown[shares[1]].unique()) > 300  # any word of the vocabulary


@pytest.mark.parametrize(("rate", "count"), [(0.15, 3), (0.5, 10), (0.001, 1), (0.99, 20)])
def test_each_row_hides_its_share_of_words_and_at_least_one(rate, count):
    places = hidden_places(torch.zeros(5, 20), rate, seeded())
    assert places.sum(1).tolist() == [count] * 5


def test_every_place_is_hidden_equally_often():
    often = hidden_places(torch.zeros(6000, 10), 0.3, seeded()).float().mean(0)
    assert often.tolist() == pytest.approx([0.3] * 10, abs=4 * math.sqrt(0.21 / 6000))


def test_the_same_seed_hides_the_same_words():
    one, same, other = (masked_word(rows(), EXTRA, seeded(seed))[0] for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_one_hidden_word_is_always_the_mask():
    ids = rows(batch=3)
    inputs, labels = hidden_word(ids, torch.tensor([0, 7, 39]), EXTRA)
    assert (inputs == EXTRA.mask).nonzero().tolist() == [[0, 0], [1, 7], [2, 39]]
    assert (inputs.where(labels == IGNORE, labels) == ids).all()
    assert int((labels != IGNORE).sum()) == 3


# -- span corruption


def restored(inputs, labels, extra):
    """The text of one row of span corruption, read back from what the model sees and says."""
    sequence = [*inputs.tolist(), int(labels[-1])]
    second = sequence.index(extra.sentinels[0], sequence.index(extra.sentinels[0]) + 1)
    text, answer, spans = sequence[:second], sequence[second:], {}
    for token in answer:
        if token in extra.sentinels:
            spans[token] = current = []
        else:
            current.append(token)
    assert spans.pop(sequence[-1]) == []  # the last sentinel says: that was all
    return [word for token in text for word in spans.get(token, [token])], spans


@pytest.mark.parametrize(("rate", "mean", "length"), [(0.15, 3, 40), (0.5, 2, 30), (0.3, 1, 10)])
def test_span_corruption_can_be_undone_and_hides_its_share(rate, mean, length):
    ids = rows(length=length)
    inputs, labels = span_corruption(ids, EXTRA, seeded(), rate, mean)
    for row, *made in zip(ids.tolist(), inputs, labels, strict=True):
        text, spans = restored(*made, EXTRA)
        assert text == row
        assert sum(map(len, spans.values())) == round(rate * length)
        assert all(spans.values())
        assert len(spans) == round(round(rate * length) / mean)


def test_span_labels_are_the_next_tokens_of_the_spans_and_nothing_of_the_text():
    ids = rows()
    inputs, labels = span_corruption(ids, EXTRA, seeded())
    assert inputs.shape == labels.shape == (8, 40 + 2 * 2)
    asked = labels != IGNORE
    assert (labels[:, :-1] == inputs[:, 1:])[asked[:, :-1]].all()
    assert (asked.sum(1) == 6 + 2).all()  # the hidden words, and the end of each span
    assert (asked.int().diff(dim=1) >= 0).all()  # nothing before the answer, all of it after
    assert (inputs[~asked[:, :-1].any(1)] == 0).all()


def test_spans_by_hand():
    row = torch.tensor([[1, 2]])
    inputs, labels = span_corruption(row, Extra(9), seeded(), 0.5, 1)
    a, b = Extra(9).sentinels[:2]
    assert inputs.tolist() == [[1, a, a, 2]]
    assert labels.tolist() == [[IGNORE, IGNORE, 2, b]]


def test_spans_lie_anywhere_but_on_the_first_word():
    ids = torch.arange(10).repeat(2000, 1)
    inputs, _ = span_corruption(ids, Extra(10), seeded(), 0.2, 1)
    gone = [place for row in inputs.tolist() for place in set(range(10)) - set(row[:10])]
    often = torch.tensor(gone).bincount(minlength=10)
    assert often[0] == 0
    assert (often[1:] > 2000 * 2 / 9 * 0.6).all()


# -- sentence order


def test_sentences_are_swapped_in_half_of_the_rows_and_the_answer_says_which():
    ids = rows(batch=200)
    inputs, labels = sentence_order(ids, ENDS, 0, EXTRA, seeded())
    assert inputs.shape == labels.shape == (200, 41)
    assert (labels[:, :-1] == IGNORE).all()
    assert (inputs[:, -1] == EXTRA.asked).all()
    same = (inputs[:, :-1] == ids).all(1)
    in_order, swapped = EXTRA.order
    assert (labels[same, -1] == in_order).all()
    assert (labels[~same, -1] == swapped).all()
    assert 0.4 < (~same).float().mean() < 0.6


def test_a_swap_moves_one_whole_sentence_past_its_neighbour():
    text = "<s> anna is in the attic . ben is in the garden . anna takes the red key . <s> cleo is"
    ids = torch.tensor([VOCABULARY.encode(text)]).repeat(60, 1)
    inputs, _ = sentence_order(ids, ENDS, 0, EXTRA, seeded())
    got = {VOCABULARY.decode(row[:-1]) for row in inputs.tolist()}
    first, second, third = (
        "anna is in the attic .",
        "ben is in the garden .",
        "anna takes the red key .",
    )
    orders = [(first, second, third), (second, first, third), (first, third, second)]
    assert got == {" ".join(["<s>", *order, "<s> cleo is"]) for order in orders}


def test_sentences_of_two_stories_are_no_neighbours():
    text = "<s> anna and ben are in the attic . <s> cleo and dan are in the attic ."
    ids = torch.tensor([VOCABULARY.encode(text)])
    with pytest.raises(
        ValueError, match="two different whole sentences side by side in every row, got 18"
    ):
        sentence_order(ids, ENDS, 0, EXTRA, seeded())


def test_half_a_sentence_at_the_beginning_of_a_row_is_not_moved():
    text = "the attic . ben is in the garden . anna takes the red key ."
    ids = torch.tensor([VOCABULARY.encode(text)]).repeat(20, 1)
    inputs, _ = sentence_order(ids, ENDS, 0, EXTRA, seeded())
    swapped = "the attic . anna takes the red key . ben is in the garden ."
    assert {VOCABULARY.decode(row[:-1]) for row in inputs.tolist()} == {text, swapped}


def test_two_equal_sentences_cannot_be_swapped():
    text = "<s> anna takes the red key . anna takes the red key ."
    with pytest.raises(ValueError, match="two different whole sentences"):
        sentence_order(torch.tensor([VOCABULARY.encode(text)]), ENDS, 0, EXTRA, seeded())


# -- replaced word


def test_every_word_is_asked_whether_it_was_replaced():
    ids = rows(batch=50)
    inputs, labels = replaced_word(ids, EXTRA, seeded())
    kept, replaced = EXTRA.replaced
    assert ((labels == replaced) == (inputs != ids)).all()
    assert ((labels == kept) == (inputs == ids)).all()
    assert (inputs < 131).all()
    assert ((inputs != ids).sum(1) <= 6).all()
    assert (inputs != ids).float().mean() > 0.1


def test_replacements_can_be_proposed_and_an_equal_one_counts_as_kept():
    ids = torch.tensor([[1, 2, 3, 4]] * 40)
    inputs, labels = replaced_word(ids, Extra(9), seeded(), 0.5, torch.full_like(ids, 2))
    assert set(inputs[inputs != ids].tolist()) == {2}
    assert (labels[:, 1] == Extra(9).replaced[0]).all()


# -- one loss, one model; bad input


MAKERS = {k: make for k, make in makers(EXTRA, ENDS, 0).items() if k != "next word"}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_one_loss_trains_the_same_transformer_on_every_pretext(make):
    rng = seeded()
    shape = {"vocab_size": len(EXTRA), "context": 48, "width": 16, "layers": 1, "hidden": 16}
    model = Transformer(TransformerConfig(**shape, causal=False), rng)
    batches = (make(rows(), rng) for _ in range(30))
    losses = [step.loss for step in train(model, batches, Recipe(steps=30))]
    assert losses[0] == pytest.approx(math.log(len(EXTRA)), abs=0.1)
    assert losses[-1] < losses[0] - 0.5


def test_a_maker_by_its_name_makes_what_its_function_makes():
    ids, named = rows(), makers(EXTRA, ENDS, 0)
    pairs = {
        "next word": next_token(ids),
        "masked word": masked_word(ids, EXTRA, seeded(), 0.4),
        "spans": span_corruption(ids, EXTRA, seeded(), 0.4),
        "sentence order": sentence_order(ids, ENDS, 0, EXTRA, seeded()),
        "replaced word": replaced_word(ids, EXTRA, seeded(), 0.4),
    }
    assert list(named) == list(pairs)
    assert set(CAUSAL) < set(named)
    for name, expected in pairs.items():
        made = named[name](ids, seeded(), 0.4)
        assert all((one == other).all() for one, other in zip(made, expected, strict=True))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_text_that_was_given_stays_as_it_was(make):
    ids = rows()
    make(ids, seeded())
    assert (ids == rows()).all()


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, math.nan])
@pytest.mark.parametrize("make", [masked_word, span_corruption, replaced_word])
def test_a_rate_outside_0_and_1_is_refused(make, rate):
    with pytest.raises(ValueError, match="expected a rate above 0 and below 1, got"):
        make(rows(), EXTRA, seeded(), rate)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (torch.zeros(2, 0, dtype=torch.long), "T at least 1"),
        (torch.zeros(5, dtype=torch.long), "T at least 1"),
        (torch.tensor([[0, 131]]), "expected ids from 0 to 130, got 0 to 131"),
        (torch.tensor([[-100, 5]]), "expected ids from 0 to 130, got -100 to 5"),
    ],
)
def test_empty_rows_and_tokens_from_elsewhere_are_refused(make, ids, words):
    with pytest.raises(ValueError, match=words):
        make(ids, seeded())


@pytest.mark.parametrize(
    ("length", "rate", "mean"), [(1, 0.15, 3), (4, 0.9, 1), (40, 0.9, 2), (40, 0.15, 0)]
)
def test_rows_too_short_for_their_spans_are_refused(length, rate, mean):
    with pytest.raises(ValueError, match="expected spans of at least 1 token, at most 15, each"):
        span_corruption(rows(length=length), EXTRA, seeded(), rate, mean)


def test_a_place_outside_the_row_is_refused():
    with pytest.raises(ValueError, match=r"expected places from 0 to 39, one for each of 8 rows"):
        hidden_word(rows(), torch.arange(8) + 35, EXTRA)


@pytest.mark.parametrize("name", ["spans", "sentence order"])
def test_a_row_that_its_extra_tokens_make_too_long_for_the_model_is_refused(name):
    inputs, _ = MAKERS[name](rows(), seeded())
    shape = {"vocab_size": len(EXTRA), "context": 40, "width": 8, "layers": 1, "hidden": 8}
    model = Transformer(TransformerConfig(**shape), seeded())
    with pytest.raises(ValueError, match=r"T from 1 to 40, its context, got shape \(8, 4"):
        model(inputs)
