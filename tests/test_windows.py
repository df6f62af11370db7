"""Windows show every token once, and labels are the inputs moved by one."""

import itertools

import pytest
import torch

from course_lm.language.windows import IGNORE, all_windows, next_token, random_windows


def seeded(seed):
    return torch.Generator().manual_seed(seed)


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
