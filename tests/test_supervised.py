"""Labels by hand, packed examples against each alone, replies against the plainest loop."""

import math
from itertools import islice

import pytest
import torch
from small_models import random_ids, randomised, seeded, small_transformer

from course_lm.finetuning.supervised import (
    Apart,
    exact_match,
    pack,
    packed,
    respond,
    response_labels,
    with_more_words,
)
from course_lm.language.windows import IGNORE
from course_lm.models.transformer import Transformer
from course_lm.training.loop import Recipe, evaluate, make_optimisers, train
from course_lm.training.losses import cross_entropy, token_log_probs

START, REPLY, STOP = 0, 11, 12
SENTENCE = r"^\w+: expected [^\n]+, got [^\n]+; [^\n]+$"


def pair(size, begin=1):
    """Inputs and labels of a text without a repeated word: START, begin, begin + 1, ..."""
    ids = torch.tensor([START, *range(begin, begin + size)])
    return ids[:-1], ids[1:]


def texts(*sizes, seed=0):
    """Random texts that begin with START and hold it nowhere else, with labels on their end."""
    pairs = []
    for number, size in enumerate(sizes):
        ids = 1 + random_ids(size, size=10, seed=seed + number)
        prompt = [START, *ids[: size // 2].tolist(), REPLY]
        pairs.append(response_labels(prompt, [*ids[size // 2 :].tolist(), STOP], REPLY))
    return pairs


# -- labels on the response alone


def test_labels_begin_with_the_first_word_of_the_response():
    inputs, labels = response_labels([0, 5, 6, 9], [7, 8, 1], reply=9)
    assert inputs.tolist() == [0, 5, 6, 9, 7, 8]
    assert labels.tolist() == [IGNORE, IGNORE, IGNORE, 7, 8, 1]


def test_a_response_of_one_word_is_one_label_and_no_input():
    inputs, labels = response_labels([9], [1], reply=9)
    assert (inputs.tolist(), labels.tolist()) == ([9], [1])


def test_the_loss_is_the_mean_over_the_response_and_the_prompt_has_no_gradient():
    model = small_transformer()
    inputs, labels = response_labels([0, 5, 6, 9], [7, 8, 1], reply=9)
    logits = model(inputs[None])
    logits.retain_grad()
    loss = cross_entropy(logits, labels[None])
    said = logits[0].log_softmax(-1)
    assert loss.item() == pytest.approx(-(said[3, 7] + said[4, 8] + said[5, 1]).item() / 3)
    loss.backward()
    assert not logits.grad[0, :3].any()
    assert logits.grad[0, 3:].any(-1).all()


@pytest.mark.parametrize(
    ("prompt", "response", "context", "said"),
    [
        ([0, 5, 9], [], math.inf, "a response of at least one token, got none"),
        ([0, 5, 6], [7], math.inf, "holds it once, got it 0 times in 3 tokens"),
        ([0, 9, 5, 9], [7], math.inf, "holds it once, got it 2 times in 4 tokens"),
        ([0, 9, 5], [7], math.inf, "ends with the response marker"),
        ([], [7], math.inf, "holds it once, got it 0 times in 0 tokens"),
        ([0, 5, 9], [7, 8], 3, "fit into 3 tokens, got 3 and 2"),
    ],
)
def test_an_example_that_cannot_be_labelled_gets_one_sentence(prompt, response, context, said):
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        response_labels(prompt, response, 9, context)
    assert said in str(caught.value)


def test_an_example_may_fill_the_context_since_its_last_word_is_never_read():
    inputs, _ = response_labels([0, 5, 9], [7, 8], 9, context=4)
    assert len(inputs) == 4


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda model, batch: cross_entropy(model(batch[0]), batch[1]),
            "not all labels are IGNORE",
        ),
        (lambda model, batch: list(train(model, [batch], Recipe(steps=1))), "at least one label"),
        (lambda model, batch: evaluate(model, [batch]), "at least one label, got none"),
    ],
)
def test_labels_that_are_all_ignored_have_no_mean(call, said):
    inputs = random_ids(2, 5)
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        call(small_transformer(), (inputs, torch.full_like(inputs, IGNORE)))
    assert said in str(caught.value)


# -- packing


def test_examples_go_to_the_first_row_that_has_room():
    sizes = {5: 1, 3: 21, 4: 41, 2: 61, 1: 81}  # size -> first word
    inputs, labels = pack([pair(size, begin) for size, begin in sizes.items()], 6)
    first, second, third = [0, 1, 2, 3, 4, 0], [0, 21, 22, 0, 61, 0], [0, 41, 42, 43, 0, 0]
    assert inputs.tolist() == [first, second, third]
    assert labels.tolist() == [
        [1, 2, 3, 4, 5, 81],
        [21, 22, 23, 61, 62, IGNORE],
        [41, 42, 43, 44, IGNORE, IGNORE],
    ]


def test_nothing_packed_is_no_row():
    assert [part.shape for part in pack([], 4)] == [(0, 4), (0, 4)]


def test_an_example_longer_than_a_row_gets_one_sentence():
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        pack([pair(2), pair(7), pair(1)], 5)
    assert "at most 5 tokens, got one of 7" in str(caught.value)


def labels_in(batches):
    return sorted(
        label for _, labels in batches for label in labels.flatten().tolist() if label > 0
    )


def test_every_label_is_kept_exactly_once():
    pairs = [pair(1 + number % 7, 10 * number + 1) for number in range(40)]
    assert labels_in([pack(pairs, 16)]) == labels_in(pairs)


def test_endless_batches_give_every_example_once_in_each_round():
    pairs = [pair(1 + number % 7, 10 * number + 1) for number in range(50)]
    wanted = torch.cat([labels for _, labels in pairs])
    counts = torch.zeros(501, dtype=torch.long)
    for inputs, labels in islice(packed(pairs, 9, 2, seeded(0)), 80):
        assert inputs.shape == labels.shape == (2, 9)
        counts += torch.bincount(labels[labels > 0], minlength=501)
        fewest, most = counts[wanted].aminmax()
        assert most <= fewest + 1
    assert counts.sum() == counts[wanted].sum()
    assert most > 3


def test_batches_follow_the_seed_and_each_round_has_an_order_of_its_own():
    pairs = [pair(3, 10 * number + 1) for number in range(12)]
    one, again, other = (list(islice(packed(pairs, 3, 4, seeded(n)), 9)) for n in (1, 1, 2))
    assert all(a[0].equal(b[0]) for a, b in zip(one, again, strict=True))
    assert not all(a[0].equal(b[0]) for a, b in zip(one, other, strict=True))
    first, second = torch.cat([a[0] for a in one])[:24].split(12)
    assert sorted(first.tolist()) == sorted(second.tolist())
    assert not first.equal(second)


def test_no_examples_make_no_endless_wait():
    with pytest.raises(ValueError, match=SENTENCE):
        next(packed([], 8, 2, seeded(0)))


# -- apart


@pytest.mark.parametrize("heads", [4, 2])
def test_packed_examples_get_the_logits_that_each_gets_alone(heads):
    model, pairs = small_transformer(kv_heads=heads), texts(2, 5, 3, 1, 4, 6)
    inputs, labels = pack(pairs, 16)
    assert len(inputs) < len(pairs)
    logits = Apart(model, START)(inputs)
    for given, wanted in pairs:
        row, begin = next(
            (row, begin)
            for row in range(len(inputs))
            for begin in range(16 - len(given) + 1)
            if inputs[row, begin : begin + len(given)].equal(given)
            and labels[row, begin : begin + len(given)].equal(wanted)
        )
        there = logits[row, begin : begin + len(given)]
        torch.testing.assert_close(there, model(given[None])[0], rtol=0, atol=1e-5)


def test_the_mean_loss_of_a_packed_row_is_that_of_the_examples_one_by_one():
    model, pairs = small_transformer(), texts(4, 3, 5, 2)
    inputs, labels = pack(pairs, 16)
    alone = [token_log_probs(model(a[None]), b[None]).sum().item() for a, b in pairs]
    count = sum(int((b != IGNORE).sum()) for _, b in pairs)
    together = evaluate(Apart(model, START), [(inputs, labels)])
    assert together == pytest.approx(-sum(alone) / count, abs=1e-5)
    assert evaluate(model, [(inputs, labels)]) != pytest.approx(together, abs=1e-3)


def test_another_word_in_one_example_changes_no_bit_of_the_others():
    model = small_transformer()
    ids = torch.tensor([[START, 3, 4, 5, START, 6, 7, START, 8, 9]])
    logits = Apart(model, START)(ids)
    changed = ids.clone()
    changed[0, 5] = 10
    other = Apart(model, START)(changed)
    assert other[0, :5].equal(logits[0, :5])
    assert other[0, 7:].equal(logits[0, 7:])
    assert not other[0, 5:7].equal(logits[0, 5:7])
    assert not model(changed)[0, 7:].equal(model(ids)[0, 7:])


def test_training_apart_is_training_the_model_with_the_optimisers_that_it_has_alone():
    model, batch = small_transformer(), pack(texts(4, 3, 5, 2), 16)
    alone, inside = (
        make_optimisers(model, Recipe(steps=9)),
        make_optimisers(Apart(model, START), Recipe(steps=9)),
    )
    for one, other in zip(alone, inside, strict=True):
        assert {*map(id, one.weights.values())} == {*map(id, other.weights.values())}
    steps = list(train(Apart(model, START), [batch] * 30, Recipe(steps=30)))
    assert steps[-1].loss < steps[0].loss / 2
    assert steps[0].tokens == int((batch[1] != IGNORE).sum())


# -- more words


def test_new_words_get_the_mean_of_the_old_logits_and_rows_of_the_old_size():
    base = small_transformer()
    model, ids = with_more_words(base, 400, seeded(1)), random_ids(2, 9)
    new = model(ids)[..., base.config.vocab_size :]
    torch.testing.assert_close(new, base(ids).mean(-1, keepdim=True).expand_as(new))
    rows = model.embed.weight[base.config.vocab_size :]
    assert rows.std().item() == pytest.approx(base.embed.weight.std().item(), rel=0.1)


@pytest.mark.parametrize("tied", [False, True])
def test_more_words_leave_the_old_logits_as_they_were(tied):
    base = small_transformer(tied=tied)
    model, ids = with_more_words(base, 20, seeded(1)), random_ids(2, 9)
    assert model.config.vocab_size == 20
    assert model(ids)[..., :13].equal(base(ids)) or torch.allclose(
        model(ids)[..., :13], base(ids), rtol=0, atol=1e-6
    )
    assert model(ids + 7).shape == (2, 9, 20)
    assert (model.head.weight is model.embed.weight) is tied


def test_the_base_is_copied_and_the_new_rows_follow_the_seed():
    base = small_transformer()
    before = [weight.clone() for weight in base.parameters()]
    one, again, other = (with_more_words(base, 15, seeded(n)) for n in (1, 1, 2))
    assert one.embed.weight.equal(again.embed.weight)
    assert not one.embed.weight[13:].equal(other.embed.weight[13:])
    randomised(one, seed=5)
    assert all(a.equal(b) for a, b in zip(before, base.parameters(), strict=True))


def test_fewer_words_than_the_base_has_get_one_sentence():
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        with_more_words(small_transformer(), 12, seeded(0))
    assert "at least the 13 words of the base, got 12" in str(caught.value)


# -- replies


@torch.no_grad()
def greedy(model, prompt, stop, longest):
    """One prompt, one word at a time, nothing remembered."""
    ids = list(prompt)
    while len(ids) < len(prompt) + longest and (ids[-1] != stop or len(ids) == len(prompt)):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("rows", [64, 2])
def test_replies_are_those_of_the_plainest_loop_in_the_order_of_the_prompts(rows):
    model = small_transformer(seed=3)
    prompts = [random_ids(size, seed=size).tolist() for size in (5, 2, 7, 1, 4, 3, 6)]
    replies = respond(model, prompts, STOP, 8, rows=rows)
    assert replies == [greedy(model, prompt, STOP, 8) for prompt in prompts]
    assert len({*map(tuple, replies)}) > 1


def test_a_reply_ends_with_its_stop_and_no_prompt_has_no_reply():
    model = small_transformer(seed=3)
    (reply,) = respond(model, [[1, 2]], STOP, 14)
    stop = reply[2]
    assert respond(model, [[1, 2]], stop, 14) == [reply[: reply.index(stop) + 1]]
    assert respond(model, [], STOP, 5) == []


def test_a_prompt_longer_than_the_context_gets_one_sentence():
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        respond(small_transformer(), [[1], [1] * 17], STOP, 3)
    assert "at most 16 tokens, the model's context, got one of 17" in str(caught.value)


class Says:
    """A model that goes on with a sentence of its own, whatever the prompt, of `begin` words."""

    def __init__(self, sentence, begin):
        self.sentence, self.begin = sentence, begin

    def __call__(self, ids):
        said = ids.shape[1] - self.begin
        return torch.nn.functional.one_hot(
            torch.tensor(self.sentence[said]).expand(ids.shape), 13
        ).float()


@pytest.mark.parametrize(
    ("responses", "share"),
    [
        ([[5, 6, STOP]], 1.0),
        ([[5, STOP]], 0.0),  # right so far, and then too long
        ([[5, 6, 6, STOP]], 0.0),
        ([[5, 7, STOP]], 0.0),
        ([[5, 6, STOP], [5, 7, STOP], [5, STOP], [5, 6, STOP]], 0.5),
    ],
)
def test_a_reply_counts_when_it_is_right_as_a_whole(responses, share):
    pairs = [([0, place, 9], response) for place, response in enumerate(responses)]
    assert exact_match(Says([5, 6, STOP], 3), pairs, STOP) == share


def test_the_share_of_nothing_gets_one_sentence():
    with pytest.raises(ValueError, match=SENTENCE):
        exact_match(small_transformer(), [], STOP)


def test_a_model_learns_to_reply_and_is_scored_by_whole_replies():
    """[START, a, REPLY] is answered by a, STOP."""
    model = Transformer(small_transformer().config, seeded(0))
    asked = [([START, word, REPLY], [word, STOP]) for word in range(1, 11)]
    pairs = [response_labels(prompt, response, REPLY) for prompt, response in asked]
    assert exact_match(model, asked, STOP) < 0.5
    list(train(Apart(model, START), packed(pairs, 16, 2, seeded(0)), Recipe(steps=60)))
    assert exact_match(model, asked, STOP) == 1.0
