"""Windows show every token once, and labels are the inputs moved by one."""

import itertools

import pytest
import torch
from small_models import seeded

from course_lm.language import lab
from course_lm.language.windows import (
    IGNORE,
    all_windows,
    mix_rows,
    mixture,
    next_token,
    random_windows,
    story_pairs,
    story_windows,
)


def first(batches):
    return next(iter(batches))


def test_labels_are_the_inputs_moved_by_one_place():
    inputs, labels = next_token(torch.tensor([[5, 6, 7], [1, 2, 3]]))
    assert inputs.tolist() == [[5, 6], [1, 2]]
    assert labels.tolist() == [[6, 7], [2, 3]]


def test_a_random_window_is_a_piece_of_the_text():
    inputs, labels = first(random_windows(range(100), context=7, batch=50, rng=seeded(0)))
    assert inputs.shape == labels.shape == (50, 7)
    assert (inputs == inputs[:, :1] + torch.arange(7)).all()
    assert (labels == inputs + 1).all()


def test_every_window_can_be_drawn_and_none_beyond_the_text():
    batches = random_windows(range(10), context=7, batch=200, rng=seeded(0))
    inputs, labels = first(batches)
    assert set(inputs[:, 0].tolist()) == {0, 1, 2}
    assert int(labels.max()) == 9


def test_the_same_seed_draws_the_same_windows():
    draw = [
        [inputs.tolist() for inputs, _ in itertools.islice(random_windows(*args), 3)]
        for args in [(range(99), 5, 4, seeded(seed)) for seed in (1, 1, 2)]
    ]
    assert draw[0] == draw[1] != draw[2]


def test_windows_can_begin_only_where_stories_begin():
    ids = [0, 1, 2, 0, 3, 4, 5, 0, 6]
    inputs, _ = first(random_windows(ids, context=2, batch=100, rng=seeded(0), start=0))
    assert {tuple(row) for row in inputs.tolist()} == {(0, 1), (0, 3)}


def test_a_start_that_never_comes_is_refused():
    with pytest.raises(ValueError, match="expected id 7 with 2 tokens after it, got none"):
        first(random_windows([0, 1, 2, 3], context=2, batch=1, rng=seeded(0), start=7))


@pytest.mark.parametrize(("length", "context", "batch"), [(50, 7, 3), (50, 49, 1), (3, 10, 2)])
def test_all_windows_predict_every_token_but_the_first_exactly_once(length, context, batch):
    batches = list(all_windows(range(length), context, batch))
    labels = torch.cat([labels.flatten() for _, labels in batches])
    inputs = torch.cat([inputs.flatten() for inputs, _ in batches])
    assert labels[labels != IGNORE].tolist() == list(range(1, length))
    assert inputs[labels != IGNORE].tolist() == list(range(length - 1))
    assert all(inputs.shape[1] == context for inputs, _ in batches)
    assert all(inputs.shape[0] == batch for inputs, _ in batches[:-1])


def test_the_last_window_is_filled_up_with_ignored_places():
    inputs, labels = first(all_windows([3, 4, 5, 6], context=2, batch=5))
    assert inputs.tolist() == [[3, 4], [5, 0]]
    assert labels.tolist() == [[4, 5], [6, IGNORE]]


@pytest.mark.parametrize(
    ("ids", "context"), [([], 1), ([1], 1), ([1, 2], 2), ([1, 2, 3], 0), ([[1, 2], [3, 4]], 1)]
)
def test_a_text_that_does_not_fill_a_window_is_refused(ids, context):
    with pytest.raises(ValueError, match="give a longer text or a shorter context"):
        first(random_windows(ids, context, 1, seeded(0)))


@pytest.mark.parametrize(("ids", "context"), [([], 1), ([1], 1), ([1, 2, 3], 0), ([1, 2], -1)])
def test_all_windows_of_a_text_without_a_label_are_refused(ids, context):
    with pytest.raises(ValueError, match="give a longer text or a shorter context"):
        first(all_windows(ids, context, 1))


def test_the_ids_are_not_changed():
    ids = torch.arange(20)
    list(all_windows(ids, 6, 2))
    first(random_windows(ids, 6, 2, seeded(0)))
    assert ids.tolist() == list(range(20))


# -- one story a row


def test_each_story_is_a_row_and_the_next_start_its_last_label():
    inputs, labels = first(story_windows([0, 5, 6, 7, 0, 8, 0, 9, 9], 0, context=4, batch=9))
    assert inputs.tolist() == [[0, 5, 6, 7], [0, 8, 0, 0], [0, 9, 0, 0]]
    x = IGNORE
    assert labels.tolist() == [[5, 6, 7, 0], [8, 0, x, x], [9, 9, x, x]]


def test_stories_can_be_had_one_by_one_too():
    pairs = story_pairs([0, 5, 6, 0, 8, 0], 0)
    assert [(inputs.tolist(), labels.tolist()) for inputs, labels in pairs] == [
        ([0, 5, 6], [5, 6, 0]),
        ([0, 8], [8, 0]),
    ]


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_stories_of_the_lab_predict_every_word_but_the_first_exactly_once(batch):
    ids = lab.vocabulary().ids_of(lab.sample(2_000, seeded(0)))
    start = lab.vocabulary().ids[lab.START]
    batches = list(story_windows(ids, start, 128, batch))
    predicted = [labels[labels != IGNORE].tolist() for _, labels in batches]
    assert [id for part in predicted for id in part] == ids[1:]
    seen = [inputs[labels != IGNORE].tolist() for inputs, labels in batches]
    assert [id for part in seen for id in part] == ids[:-1]
    for inputs, labels in batches:
        assert len(inputs) <= batch
        assert (inputs[:, 0] == start).all()
        assert ((inputs == start) & (labels != IGNORE)).sum() == len(inputs)
    assert sum(len(inputs) for inputs, _ in batches) == ids[:-1].count(start)


def test_rows_are_as_long_as_the_longest_story():
    inputs, _ = first(story_windows([0, 5, 0, 6, 7], 0, context=100, batch=9))
    assert inputs.shape == (2, 2)


def test_a_start_at_the_very_end_is_a_label_only():
    inputs, labels = first(story_windows([0, 5, 0], 0, context=9, batch=9))
    assert (inputs.tolist(), labels.tolist()) == ([[0, 5]], [[5, 0]])


@pytest.mark.parametrize(
    ("ids", "start", "got"),
    [
        ([0, 1, 2, 3, 0, 1], 0, "stories of at most 3 tokens, got one of 4; give a longer"),
        ([4, 0, 1, 2], 0, "begins with id 0, got id 4 first; cut the text"),
        ([0, 1, 2], 9, "begins with id 9, got id 0 first; cut the text"),
    ],
)
def test_a_text_that_is_not_in_stories_is_refused(ids, start, got):
    with pytest.raises(ValueError, match=got):
        first(story_windows(ids, start, context=3, batch=2))


@pytest.mark.parametrize("ids", [[], [0]])
def test_stories_without_a_label_are_refused(ids):
    with pytest.raises(ValueError, match="give a longer text"):
        first(story_windows(ids, 0, context=3, batch=2))


# -- several streams, one batch


def streams(*firsts, batch=64, context=5):
    """Endless streams of different numbers: what a row holds says where it came from."""
    return [
        random_windows(range(first, first + 50), context, batch, seeded(first)) for first in firsts
    ]


def test_every_row_of_a_mixture_is_whole_and_keeps_its_labels():
    inputs, labels = first(mixture(streams(0, 1000), (0.5, 0.5), seeded(0)))
    assert inputs.shape == labels.shape == (64, 5)
    assert (inputs == inputs[:, :1] + torch.arange(5)).all()
    assert (labels == inputs + 1).all()
    assert 0 < (inputs[:, 0] >= 1000).sum() < 64


@pytest.mark.parametrize("shares", [(0.9, 0.1), (0.5, 0.5), (0.2, 0.3, 0.5)])
def test_each_stream_has_its_share_of_the_rows(shares):
    mixed = mixture(streams(*range(0, 1000 * len(shares), 1000)), shares, seeded(0))
    rows = torch.cat([inputs[:, 0] // 1000 for inputs, _ in itertools.islice(mixed, 100)])
    for stream, share in enumerate(shares):
        spread = (share * (1 - share) / len(rows)) ** 0.5
        assert abs((rows == stream).float().mean() - share) < 4 * spread


def test_a_share_of_nothing_leaves_its_stream_out():
    mixed = mixture(streams(0, 1000), (1, 0), seeded(0))
    assert max(int(inputs.max()) for inputs, _ in itertools.islice(mixed, 50)) < 1000


def test_the_same_seed_mixes_the_same_rows():
    drawn = [
        first(mixture(streams(0, 1000), (0.7, 0.3), seeded(seed)))[0].tolist() for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_mixture_ends_with_the_first_of_its_streams():
    short = [next_token(torch.zeros(4, 6, dtype=torch.long))] * 3
    assert len(list(mixture([short, *streams(0, batch=4)], (0.5, 0.5), seeded(0)))) == 3


def test_rows_are_copies_so_that_the_streams_stay_as_they_were():
    batches = [next_token(torch.arange(12).view(2, 6)), next_token(torch.arange(12, 24).view(2, 6))]
    inputs, _ = mix_rows(batches, (0.5, 0.5), seeded(0))
    inputs.zero_()
    assert batches[0][0].tolist() == [[0, 1, 2, 3, 4], [6, 7, 8, 9, 10]]


@pytest.mark.parametrize(
    "shares",
    [(1.2, -0.2), (0.5, 0.6), (0.5, 0.4), (1.0,), (0.5, 0.25, 0.25), (), (float("nan"), 1)],
)
def test_shares_that_are_no_probabilities_of_the_streams_are_refused(shares):
    with pytest.raises(ValueError, match="expected a share from 0 to 1 for each of 2 streams"):
        first(mixture(streams(0, 1000), shares, seeded(0)))


@pytest.mark.parametrize("other", [{"batch": 3}, {"context": 4}])
def test_streams_of_different_shapes_are_refused(other):
    uneven = [*streams(0), *streams(1000, **other)]
    with pytest.raises(ValueError, match=r"one shape, got \(64, 5\) and"):
        first(mixture(uneven, (0.5, 0.5), seeded(0)))
