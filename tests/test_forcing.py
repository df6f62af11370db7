"""Teacher forcing and free running differ in what the model reads, and the truth can tell."""

import itertools
import math

import pytest
import torch
from small_models import random_ids, seeded, small_rnn, small_transformer

from course_lm.language import lab
from course_lm.models.sampling import draw, generate_batch
from course_lm.training.forcing import free_running, own_words, scheduled, score, teacher_forced

INF = math.inf
MODELS = {"transformer": small_transformer, "lstm": small_rnn, "gru": lambda: small_rnn("gru")}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


# -- scored by the truth


# P(next | last) of a language of three words; after 2 only 0 can come.
CHANCES = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])


def truth(ids):
    return CHANCES.log()[ids]


def test_texts_are_scored_place_by_place():
    ids = torch.tensor(
        [
            [0, 1, 1, 2, 0],  # 1/4, 1/2, 1/2, 1
            [0, 2, 1, 1, 0],  # 1/4, a slip, then nothing counts
            [0, 0, 0, 1, 0],  # 1/2, 1/2, 1/4, a slip
            [0, 0, 2, 2, 2],  # 1/2, 1/4, a slip, then nothing counts
        ]
    )
    by_position = score(truth, ids)
    ln2 = math.log(2)
    assert by_position.loss.tolist() == pytest.approx(
        [(2 + 2 + 1 + 1) * ln2 / 4, (1 + 1 + 2) * ln2 / 3, (1 + 2) * ln2 / 2, 0.0]
    )
    assert by_position.slips.tolist() == pytest.approx([0, 1 / 4, 1 / 3, 1 / 2])
    assert by_position.lost.tolist() == pytest.approx([0, 1 / 4, 1 / 2, 3 / 4])


def test_after_a_prompt_the_words_of_the_prompt_are_not_scored():
    ids = torch.tensor([[0, 1, 1, 2, 0], [0, 2, 1, 1, 1]])
    whole, later = score(truth, ids), score(truth, ids, prompt=3)
    assert later.loss.tolist() == pytest.approx([1.0 * math.log(2), math.log(2) / 2])
    assert later.slips.tolist() == [0.0, 0.0]
    assert later.lost.tolist() == [0.0, 0.0]
    assert whole.lost.tolist() == [0.0, 0.5, 0.5, 0.5]


def test_where_no_row_is_left_there_is_no_loss():
    by_position = score(truth, torch.tensor([[0, 2, 1, 1]]))
    assert by_position.loss[0] == pytest.approx(math.log(4))
    assert by_position.loss[1:].isnan().all()
    assert by_position.slips[:2].tolist() == [0.0, 1.0]
    assert by_position.slips[2].isnan()
    assert by_position.lost.tolist() == [0.0, 1.0, 1.0]


def test_what_is_lost_stays_lost():
    words = lab.sample(3_000, seeded(0))
    text = torch.tensor(lab.vocabulary().ids_of(words))
    starts = (text == 0).nonzero().flatten()[:40]
    ids = text[starts[:, None] + torch.arange(20)]
    wrong = torch.rand(ids.shape, generator=seeded(1)) < 0.05
    wrong[:, 0] = False
    ids = torch.where(wrong, random_ids(*ids.shape, size=131, seed=2), ids)
    by_position = score(lab.Truth(), ids)
    assert (by_position.lost.diff() >= 0).all()
    assert 0.2 < by_position.lost[-1] < 1
    left = torch.cat([torch.ones(1), 1 - by_position.lost[:-1]])
    assert torch.allclose(by_position.slips * left, by_position.lost - (1 - left), atol=1e-6)


def test_true_stories_are_never_lost_and_cost_the_entropy_of_the_lab():
    words = lab.sample(2_000, seeded(0))
    text = torch.tensor(lab.vocabulary().ids_of(words))
    starts = (text == 0).nonzero().flatten()[:20]
    ids = text[starts[:, None] + torch.arange(15)]
    by_position = score(lab.Truth(), ids)
    assert (by_position.lost == 0).all()
    floors = [lab.floor(lab.vocabulary().tokens_of(row)) for row in ids.tolist()]
    assert by_position.loss.mean().item() == pytest.approx(sum(floors) / 20, abs=1e-4)


@pytest.mark.parametrize(
    ("ids", "prompt"), [([[0, 1]], 0), ([[0, 1]], 2), ([0, 1], 1), ([[0]], 1), ([[0, 1, 1]], -1)]
)
def test_texts_that_end_with_their_prompt_are_refused(ids, prompt):
    with pytest.raises(ValueError, match="score: expected texts of shape"):
        score(truth, torch.tensor(ids), prompt)


# -- reading the truth, or one's own words


def test_free_running_goes_on_after_the_prompts(model):
    prompts = random_ids(5, 3)
    texts = free_running(model, prompts, 6, seeded(0), temperature=0.5)
    assert texts.shape == (5, 9)
    assert texts.dtype == torch.long
    assert torch.equal(texts[:, :3], prompts)
    rows = generate_batch(model, prompts.tolist(), 6, seeded(0), temperature=0.5)
    assert texts[:, 3:].tolist() == rows
    assert torch.equal(free_running(model, prompts, 0, seeded(0)), prompts)


def test_teacher_forced_words_are_drawn_after_true_words_only(model):
    ids = random_ids(4, 8)
    drawn = teacher_forced(model, ids, seeded(0))
    assert drawn.shape == (4, 7)
    by_hand = draw(torch.cat([model(row[None, :-1])[0] for row in ids]).detach(), seeded(0))
    assert torch.equal(drawn, by_hand.view(4, 7))
    likeliest = teacher_forced(model, ids, seeded(0), top_k=1)
    assert torch.equal(likeliest, model(ids[:, :-1]).argmax(-1))
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 13  # the last word is read by nobody
    assert torch.equal(teacher_forced(model, changed, seeded(0)), drawn)


def test_no_share_of_own_words_is_teacher_forcing(model):
    ids = random_ids(4, 8)
    assert torch.equal(own_words(model, ids, 0.0, seeded(0)), ids)


def test_own_words_alone_are_free_running_after_the_first(model):
    ids, rng = random_ids(4, 8), seeded(0)
    mixed = own_words(model, ids, 1.0, seeded(0))
    torch.rand(ids.shape, generator=rng)  # which places, drawn before
    assert torch.equal(mixed, free_running(model, ids[:, :1], 7, rng))
    assert not torch.equal(mixed, ids)


@torch.no_grad()
def test_half_of_the_words_are_own_and_each_is_drawn_after_what_stands_before(model):
    ids, rng = random_ids(50, 9), seeded(3)
    before = ids.clone()
    mixed = own_words(model, ids, 0.5, seeded(3))
    own = torch.rand(ids.shape, generator=rng) < 0.5
    by_hand = ids.clone()
    for place in range(1, 9):
        drawn = draw(model(by_hand[:, :place])[:, -1], rng)
        by_hand[:, place] = torch.where(own[:, place], drawn, by_hand[:, place])
    assert torch.equal(mixed, by_hand)
    assert torch.equal(ids, before)
    assert (mixed[:, 0] == ids[:, 0]).all()
    assert 0.35 < (mixed[:, 1:] != ids[:, 1:]).float().mean() < 0.55


def test_with_scheduled_sampling_inputs_change_and_labels_stay_true(model):
    batches = [(random_ids(4, 8, seed=n), random_ids(4, 8, seed=50 + n)) for n in range(4)]
    shares = [0.0, 0.5, 1.0]
    mixed = list(scheduled(model, batches, shares, seeded(0)))
    assert len(mixed) == 3
    for (inputs, labels), (true_inputs, true_labels), share in zip(mixed, batches, shares):  # noqa: B905
        assert torch.equal(labels, true_labels)
        assert torch.equal(inputs[:, 0], true_inputs[:, 0])
        assert torch.equal(inputs, true_inputs) == (share == 0)


def test_when_the_shares_end_no_batch_is_lost():
    batches = iter([(random_ids(2, 3, seed=n),) * 2 for n in range(3)])
    assert len(list(scheduled(small_rnn(), batches, [0.0, 0.5], seeded(0)))) == 2
    assert torch.equal(next(batches)[0], random_ids(2, 3, seed=2))


def test_scheduled_batches_come_one_by_one_from_the_model_as_it_is_then():
    model = small_rnn()
    batches = scheduled(
        model, itertools.repeat((random_ids(4, 8),) * 2), itertools.repeat(1.0), seeded(0)
    )
    first, _ = next(batches)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.arange(13.0) == 7).mul_(100)
    second, _ = next(batches)
    assert (second[:, 1:] == 7).all()
    assert not (first[:, 1:] == 7).all()


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, INF])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="own_words: expected a share from 0 to 1, got"):
        own_words(small_rnn(), random_ids(2, 3), share, seeded(0))
    with pytest.raises(ValueError, match="own_words: expected a share from 0 to 1, got"):
        list(scheduled(small_rnn(), [(random_ids(2, 3),) * 2], [share], seeded(0)))


def test_a_model_that_cannot_read_word_by_word_is_named():
    with pytest.raises(
        TypeError, match=r"a model that reads word by word, with `read`, got Truth;"
    ):
        own_words(lab.Truth(), random_ids(2, 3), 0.5, seeded(0))
