"""The picture of a pretext shows its inputs and labels as they are."""

import math

import pytest
import torch
from html_tags import Tags
from small_models import seeded

from course_lm.language import lab
from course_lm.language.tokens import Vocabulary
from course_lm.language.windows import IGNORE
from course_lm.training.pretext import Extra, extended, makers, masked_word
from course_lm.viewing.masks import NOTHING, labels_html, mask_explorer
from course_lm.viewing.strips import surprise_colours

VOCABULARY = lab.vocabulary()
NAMES = extended(VOCABULARY)
ENDS = VOCABULARY.ids_of([".", "?"])
TEXT = "<s> anna is in the attic . ben is in the garden . anna takes the red key ."
IDS = VOCABULARY.encode(TEXT)


def explorer(ids=IDS):
    return mask_explorer(VOCABULARY, ids, ENDS, 0, seeded())


def rows_of(text):
    """What the text twin says is read and asked, line by line joined."""
    lines = [line for line in text.splitlines() if line.startswith(("reads", "is asked for"))]
    read = [word for line in lines[::2] for word in line.removeprefix("reads").split()]
    asked = [word for line in lines[1::2] for word in line.removeprefix("is asked for").split()]
    return read, asked


@pytest.mark.parametrize(
    "make", makers(Extra(131), ENDS, 0).values(), ids=makers(Extra(131), ENDS, 0)
)
def test_the_picture_shows_every_input_and_every_label(make):
    inputs, labels = (part[0].tolist() for part in make(torch.tensor([IDS]), seeded()))
    shown = labels_html(inputs, labels, NAMES)
    read, asked = rows_of(shown.text)
    assert read == NAMES.tokens_of(inputs)
    assert asked == [NOTHING if at == IGNORE else NAMES.tokens[at] for at in labels]
    count = sum(label != IGNORE for label in labels)
    assert f"{len(inputs)} tokens are read, {count} label" in shown.html


def test_tensors_are_shown_as_lists_are():
    inputs, labels = masked_word(torch.tensor([IDS]), Extra(131), seeded())
    from_lists = labels_html(inputs[0].tolist(), labels[0].tolist(), NAMES)
    assert labels_html(inputs[0], labels[0], NAMES) == from_lists


def test_what_comes_from_a_text_is_escaped():
    names = extended(Vocabulary(["<script>alert(1)</script>", "a&b", " "]))
    shown = labels_html([0, 1, 2], [0, 1, IGNORE], names)
    assert "<script>" not in shown.html
    assert shown.html.count("&lt;script&gt;") == 2
    assert "a&amp;b" in shown.html
    assert "␣" in shown.html
    assert "script" not in {tag for tag, _ in Tags(shown.html).tags}


def test_rows_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match="expected a label or IGNORE for each of 3 tokens, got 2"):
        labels_html([1, 2, 3], [1, 2], NAMES)


def test_losses_stand_under_their_labels_alone_and_their_mean_below():
    shown = labels_html([0, 1, 2], [IGNORE, 2, 3], NAMES, [9.0, 0.5, 1.5])
    assert [line.split() for line in shown.text.splitlines()] == [
        ["reads", *NAMES.tokens_of([0, 1, 2])],
        ["is", "asked", "for", NOTHING, *NAMES.tokens_of([2, 3])],
        ["loss", NOTHING, "0.500", "1.50"],
        [],
        "3 tokens are read, 2 labels, mean loss 1.00 nats".split(),
    ]
    assert "9.00" not in shown.html
    assert "mean loss 1.00 nats" in shown.html


def test_a_loss_is_as_dark_as_the_share_of_ln_v_that_it_is():
    guessed, known = (
        labels_html([0], [1], NAMES, torch.tensor([loss])).html
        for loss in (math.log(len(NAMES)), 0.0)
    )
    assert f"background:{surprise_colours(1)[0]}" in guessed
    assert f"background:{surprise_colours(0)[0]}" in known


def test_losses_without_any_label_have_no_mean():
    shown = labels_html([0, 1], [IGNORE, IGNORE], NAMES, [1.0, 1.0])
    assert shown.text.splitlines()[-1] == "2 tokens are read, 0 labels"


def test_losses_of_another_length_are_refused():
    with pytest.raises(ValueError, match="expected a loss for each of 3 tokens, got 2"):
        labels_html([1, 2, 3], [1, 2, 3], NAMES, [1.0, 2.0])


def test_the_explorer_begins_with_masked_words_at_15_percent():
    widget = explorer()
    assert (widget.pretext.value, widget.rate.value) == ("masked word", 0.15)
    assert "3 labels" in widget.picture.value
    assert len(widget.children[0].children) == 3  # three controls


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("next word", "18 tokens are read, 18 labels"),
        ("spans", "21 tokens are read, 4 labels"),
        ("sentence order", "20 tokens are read, 1 label"),
        ("replaced word", "19 tokens are read, 19 labels"),
    ],
)
def test_the_explorer_shows_the_chosen_pretext(name, words):
    widget = explorer()
    widget.pretext.value = name
    assert words in widget.picture.value
    assert widget.rate.disabled == (name in ("next word", "sentence order"))


def test_the_rate_changes_how_much_is_hidden_and_a_click_what():
    widget = explorer()
    widget.rate.value = 0.5
    assert "10 labels" in widget.picture.value
    before = widget.picture.value
    widget.again.click()
    assert widget.picture.value != before
    assert "10 labels" in widget.picture.value


def test_a_text_that_is_too_short_gets_a_sentence_and_a_better_choice_goes_on():
    widget = explorer(VOCABULARY.encode("<s> anna is in the attic ."))
    widget.pretext.value = "sentence order"
    assert "role='alert'" in widget.picture.value
    assert "two different whole sentences" in widget.picture.value
    widget.pretext.value = "masked word"
    assert "1 label" in widget.picture.value
    widget.pretext.value = "spans"
    widget.rate.value = 0.95
    assert "expected spans of at least 1 token" in widget.picture.value
