"""Half-way labels: what they are, where they are read, and that they teach the lower half alone."""

import pytest
import torch
from small_models import random_ids, seeded, small_transformer

from course_lm.classroom.masked import SCENE
from course_lm.finetuning.scaffold import (
    Halfway,
    WordIds,
    half_labels,
    last_alike,
    last_of,
    whereabouts,
    with_half,
)
from course_lm.finetuning.supervised import Apart
from course_lm.language import lab
from course_lm.language.windows import IGNORE
from course_lm.training.losses import cross_entropy

START, ANNA, BEN, SUM = 0, 5, 6, 9
NAMES, THINGS = torch.tensor([ANNA, BEN]), torch.tensor([7, 8])
ONE, TWO, THREE, ATTIC, HALL = 10, 11, 12, 13, 14
WORDS = WordIds(
    names=NAMES,
    things=THINGS,
    places=torch.tensor([ATTIC, HALL]),
    numbers=torch.tensor([ONE, TWO, THREE]),
    asked=torch.tensor([SUM]),
)


def slowly(row):
    """The last name up to each token of its text, word by word."""
    last, found = IGNORE, []
    for token in row:
        last = IGNORE if token == START else token if token in (ANNA, BEN) else last
        found.append(last)
    return found


def test_the_last_name_is_what_a_reader_remembers_word_by_word():
    ids = random_ids(20, 30, size=12)
    assert last_of(ids, NAMES, START).tolist() == [slowly(row) for row in ids.tolist()]


def test_a_thing_is_looked_up_where_its_text_said_it_last():
    for row in random_ids(30, 20, size=10):
        seen, found = {}, []
        for place, token in enumerate(row.tolist()):
            seen = {} if token == START else seen
            found.append(seen.get(token, -1) if token in (7, 8) else -1)
            seen[token] = place
        keys = row.where(torch.isin(row, THINGS), IGNORE)
        assert last_alike(keys[None], row[None], START).tolist() == [found]


def test_a_thing_that_comes_again_is_labelled_with_the_name_at_its_last_mention():
    row = torch.tensor([[START, ANNA, 7, BEN, 8, SUM, 7, 8, START, BEN, SUM, 7]])
    ((_, both),) = half_labels([(row, row)], WORDS, START)
    text = [IGNORE, ANNA, ANNA, BEN, BEN, BEN, ANNA, BEN]
    assert both[1].tolist() == [[*text, IGNORE, BEN, BEN, BEN]]


def test_behind_a_place_that_comes_again_is_labelled_who_was_there_last():
    row = torch.tensor([[START, ANNA, ATTIC, 3, BEN, HALL, 3, BEN, ATTIC, 3, SUM, ATTIC, 3]])
    ((_, both),) = half_labels([(row, row)], WORDS, START)
    text = [IGNORE, ANNA, ANNA, ANNA, BEN, BEN, BEN, BEN, BEN, ANNA]
    assert both[1].tolist() == [[*text, BEN, BEN, BEN]]  # behind the mark nobody goes anywhere


def test_what_ends_one_row_says_nothing_of_the_next():
    row = torch.tensor([[START, ANNA, ATTIC, 3, SUM, START, BEN, ATTIC, SUM, ATTIC]])
    ((_, both),) = half_labels([(row, row)], WORDS, START)
    assert both[1].tolist() == [[IGNORE, *[ANNA] * 4, IGNORE, *[BEN] * 4]]


def test_a_number_is_labelled_with_the_one_told_before_of_the_same_person():
    row = torch.tensor([[START, ANNA, ONE, BEN, TWO, ANNA, THREE, BEN, ONE, SUM, ANNA, TWO]])
    ((_, both),) = half_labels([(row, row)], WORDS, START)
    text = [IGNORE, ANNA, ANNA, BEN, BEN, ANNA, ONE, BEN, TWO]
    assert both[1].tolist() == [[*text, BEN, ANNA, ANNA]]  # behind the mark nothing is told


def test_only_texts_with_what_is_asked_for_get_labels_halfway():
    row = torch.tensor([[START, ANNA, 3, SUM, START, BEN, 4, 4]])
    labels = torch.arange(8)[None]
    ((inputs, both),) = half_labels([(row, labels)], WORDS, START)
    assert torch.equal(inputs, row)
    assert torch.equal(both[0], labels)
    assert both[1].tolist() == [[IGNORE, ANNA, ANNA, ANNA, *[IGNORE] * 4]]


LAB, STOP = lab.vocabulary(), lab.vocabulary().ids["."]


def told_in(text):
    """What the half-way labels of a lab text say, by place."""
    ids = torch.tensor([LAB.ids_of(text)])
    labels = whereabouts(ids, SCENE, START, STOP)[0].tolist()
    return {place: LAB.tokens[label] for place, label in enumerate(labels) if label != IGNORE}


def test_who_or_what_is_asked_for_is_labelled_with_the_answer_that_the_story_gives():
    asked = 0
    for seed in range(100):
        words = lab.sample(1, seeded(seed))
        told = told_in(words)
        for place in range(len(words) - 3):
            if words[place + 1] == "?" and words[place + 2 : place + 4] == ["in", "the"]:
                assert told[place] == words[place + 4]
                asked += 1
    assert asked > 40


def test_a_thing_goes_where_its_holder_goes_and_each_story_begins_anew():
    met = "<s> anna is in the attic . ben is in the garden . anna takes the red key ."
    went = "anna goes to the market . where is the red key ? in the market . <s> anna is"
    told = told_in([*met.split(), *went.split()])
    assert " ".join(told.values()) == "anna ben attic anna attic market anna"


def test_a_thing_is_where_it_was_said_to_be_when_nobody_stood_beside_it():
    text = "<s> anna is in the attic . where is the red key ? in the market . the key"
    assert list(told_in(text.split()).values())[-1] == "market"


def test_a_text_that_is_cut_off_tells_the_next_one_nothing():
    met = "<s> anna is in the attic . anna takes the red key . the key"
    told = told_in(f"{met} <s> ben is in the garden . the key".split())
    assert " ".join(told.values()) == "anna attic anna attic ben ben"


def test_whereabouts_are_those_of_what_was_read_so_far():
    words = lab.sample(150, seeded(5))
    whole = told_in(words)
    for end in range(1, len(words)):
        assert told_in(words[:end]) == {p: said for p, said in whole.items() if p < end}


def test_the_last_depth_gives_the_logits_themselves():
    model, ids = small_transformer(), random_ids(3, 9)
    end, halfway = Halfway(model, START, depth=2)(ids)
    assert torch.equal(end, Apart(model, START)(ids))
    assert torch.allclose(halfway, end)


def test_halfway_is_what_a_model_of_the_lower_blocks_says():
    model, ids = small_transformer(), random_ids(3, 9)
    halfway = Halfway(model, START, depth=1)(ids)[1]
    model.blocks = model.blocks[:1]
    assert torch.allclose(halfway, Apart(model, START)(ids))


def test_labels_halfway_move_no_block_above():
    model, ids = small_transformer(), random_ids(3, 9)
    cross_entropy(Halfway(model, START, depth=1)(ids)[1], ids).backward()
    assert model.blocks[0].attention.qkv.weight.grad.abs().sum() > 0
    assert model.blocks[1].attention.qkv.weight.grad.abs().sum() == 0


def test_the_loss_is_that_of_the_response_and_a_share_of_the_other():
    logits, labels = torch.randn(2, 3, 4, 13), random_ids(2, 3, 4)
    by_hand = cross_entropy(logits[0], labels[0]) + 0.3 * cross_entropy(logits[1], labels[1])
    assert torch.isclose(with_half(0.3)(logits, labels), by_hand)


def test_a_batch_without_a_label_halfway_has_the_loss_of_the_response():
    logits, labels = torch.randn(2, 3, 4, 13), random_ids(2, 3, 4)
    labels[1] = IGNORE
    assert torch.equal(with_half(0.3)(logits, labels), cross_entropy(logits[0], labels[0]))


@pytest.mark.parametrize("depth", [-1, 0, 3])
def test_a_depth_that_the_model_does_not_have_is_refused(depth):
    with pytest.raises(ValueError, match="halfway: expected a depth from 1 to the model's 2 blo"):
        Halfway(small_transformer(), START, depth)


def test_half_way_labels_for_no_task_are_refused():
    nothing = WordIds(names=NAMES, things=NAMES, places=NAMES)
    row = torch.tensor([[START, ANNA]])
    with pytest.raises(ValueError, match="expected the ids of at least one task"):
        next(half_labels([(row, row)], nothing, START))


def test_a_row_of_empty_texts_has_no_labels():
    row = torch.full((1, 4), START)
    ((_, both),) = half_labels([(row, row)], WORDS, START)
    assert both[1].tolist() == [[IGNORE] * 4]


def test_a_failed_reading_leaves_no_listener_behind():
    model = small_transformer()
    with pytest.raises(ValueError, match="expected"):
        Halfway(model, START, depth=1)(random_ids(1, 99))
    assert not model.blocks[0]._forward_hooks
