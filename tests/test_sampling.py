"""Distributions are reshaped as the dials say, and drawn from as they stand."""

import math
from collections import Counter

import pytest
import torch
from small_models import random_ids, seeded, small_rnn, small_transformer

from course_lm.models.memory import State
from course_lm.models.sampling import adjust, draw, generate, generate_batch, next_logits

CHANCES = [0.1, 0.4, 0.2, 0.3]
LOGITS = torch.tensor(CHANCES).log()


def probs(logits):
    return logits.softmax(-1).tolist()


def step_model(size):
    """After token i comes i + 1, almost surely."""

    def model(ids):
        return 30.0 * torch.nn.functional.one_hot((ids + 1) % size, size)

    return model


# -- the dials


def test_with_all_dials_at_rest_the_logits_stay_as_they_are():
    logits = torch.tensor([0.0, -20.0, -90.0, -math.inf, 5.0, 5.0])
    assert torch.equal(adjust(logits), logits)


@pytest.mark.parametrize("temperature", [0.25, 0.5, 2.0, 10.0])
def test_a_temperature_raises_chances_to_the_power_of_its_inverse(temperature):
    powers = [chance ** (1 / temperature) for chance in CHANCES]
    by_hand = [power / sum(powers) for power in powers]
    assert probs(adjust(LOGITS, temperature=temperature)) == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize(
    ("top_k", "kept"),
    [(1, [0, 1, 0, 0]), (2, [0, 4 / 7, 0, 3 / 7]), (4, CHANCES), (9, CHANCES), (None, CHANCES)],
)
def test_top_k_keeps_the_k_likeliest(top_k, kept):
    assert probs(adjust(LOGITS, top_k=top_k)) == pytest.approx(kept, abs=1e-6)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.01, [0, 1, 0, 0]),
        (0.39, [0, 1, 0, 0]),
        (0.5, [0, 4 / 7, 0, 3 / 7]),
        (0.8, [0, 4 / 9, 2 / 9, 3 / 9]),
        (0.95, CHANCES),
        (1.0, CHANCES),
    ],
)
def test_top_p_keeps_the_fewest_that_reach_p(top_p, kept):
    assert probs(adjust(LOGITS, top_p=top_p)) == pytest.approx(kept, abs=1e-6)


def test_of_equal_tokens_the_first_are_kept():
    logits = torch.zeros(5)
    assert adjust(logits, top_k=2).isfinite().tolist() == [True, True, False, False, False]
    assert adjust(logits, top_p=0.5).isfinite().tolist() == [True, True, True, False, False]


def test_temperature_comes_before_the_cut():
    flat = adjust(LOGITS, temperature=100.0, top_p=0.5)
    sharp = adjust(LOGITS, temperature=0.1, top_p=0.5)
    assert int(flat.isfinite().sum()) == 2
    assert int(sharp.isfinite().sum()) == 1


def test_every_row_is_cut_on_its_own_and_the_input_stays():
    logits = torch.tensor([[[0.0, 1.0, 2.0], [5.0, 4.0, 3.0]]])
    before = logits.clone()
    cut = adjust(logits, top_k=2)
    assert cut.shape == logits.shape
    assert cut.isfinite().tolist() == [[[False, True, True], [True, True, False]]]
    assert torch.equal(logits, before)


def test_an_impossible_token_stays_impossible():
    logits = torch.tensor([0.0, -math.inf, 0.0])
    for dials in ({"temperature": 50.0}, {"top_k": 3}, {"top_p": 1.0}):
        assert probs(adjust(logits, **dials)) == pytest.approx([0.5, 0.0, 0.5])


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        (
            {"temperature": 0.0},
            "temperature above 0 and finite, got 0.0; for the likeliest token take top_k=1",
        ),
        ({"temperature": -1.0}, "temperature above 0 and finite, got -1.0"),
        ({"temperature": math.nan}, "temperature above 0 and finite, got nan"),
        ({"temperature": math.inf}, "temperature above 0 and finite, got inf"),
        ({"top_k": 0}, "top_k of at least 1, got 0"),
        ({"top_k": -2}, "top_k of at least 1, got -2"),
        ({"top_p": 0.0}, "top_p above 0 and up to 1, got 0.0"),
        ({"top_p": 1.1}, "top_p above 0 and up to 1, got 1.1"),
        ({"top_p": math.nan}, "top_p above 0 and up to 1, got nan"),
    ],
)
def test_a_dial_out_of_range_is_refused(dials, message):
    with pytest.raises(ValueError, match=message):
        adjust(LOGITS, **dials)


@pytest.mark.parametrize("bad", [[0.0, math.nan], [-math.inf, -math.inf], [0.0, math.inf]])
def test_logits_that_are_no_distribution_are_refused(bad):
    with pytest.raises(
        ValueError, match=r"sampling: .* got NaN, \+inf or a row of −inf; look at the model"
    ):
        adjust(torch.tensor(bad))


# -- drawing


def test_tokens_are_drawn_as_often_as_they_are_likely():
    total = 20_000
    drawn = draw(adjust(LOGITS).expand(total, -1), seeded(0))
    assert drawn.shape == (total,)
    counts = Counter(drawn.tolist())
    expected = [total * chance for chance in CHANCES]
    statistic = sum((counts[i] - e) ** 2 / e for i, e in enumerate(expected))
    assert statistic < 16.27  # exceeded once in a thousand, three degrees of freedom


def test_what_was_cut_off_is_never_drawn():
    assert set(draw(adjust(LOGITS, top_k=2).expand(5_000, -1), seeded(0)).tolist()) == {1, 3}


def test_the_next_logits_are_those_of_the_last_place():
    logits = next_logits(step_model(5), [3, 1])
    assert logits.shape == (5,)
    assert int(logits.argmax()) == 2


def test_without_a_prompt_there_is_nothing_to_continue():
    with pytest.raises(ValueError, match="at least one token to continue, got none"):
        next_logits(step_model(5), [])
    with pytest.raises(ValueError, match="give a prompt"):
        next(generate(step_model(5), [], 3, seeded(0)))


def test_every_token_is_drawn_given_all_before_it():
    assert list(generate(step_model(4), [1, 2], 6, seeded(0))) == [3, 0, 1, 2, 3, 0]


def test_the_same_seed_generates_the_same_tokens():
    def model(ids):
        return torch.zeros(*ids.shape, 50)

    texts = [list(generate(model, [0], 20, seeded(seed), temperature=0.9)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_the_likeliest_token_comes_with_top_k_1_whatever_the_seed():
    def model(ids):
        return LOGITS.expand(*ids.shape, -1)

    assert set(generate(model, [0], 50, seeded(3), top_k=1)) == {1}


def test_a_model_is_shown_no_more_than_its_context():
    class Short:
        context = 3

        def __call__(self, ids):
            self.shown.append(ids.shape[1])
            return torch.zeros(*ids.shape, 5)

        def __init__(self):
            self.shown = []

    model = Short()
    list(generate(model, [1, 2], 5, seeded(0)))
    assert model.shown == [2, 3, 3, 3, 3]


def test_the_prompt_is_not_changed_and_tokens_come_one_by_one():
    prompt = [1, 2]
    tokens = generate(step_model(4), prompt, 10, seeded(0))
    assert next(tokens) == 3
    assert prompt == [1, 2]


def test_a_bad_dial_is_refused_while_generating():
    with pytest.raises(ValueError, match="temperature above 0"):
        list(generate(step_model(4), [1], 3, seeded(0), temperature=0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kept", range(1, 10))
def test_top_p_keeps_exactly_the_tokens_that_reach_p(dtype, kept):
    equal = torch.zeros(10, dtype=dtype)
    assert adjust(equal, top_p=kept / 10).isfinite().sum() == kept


def test_a_temperature_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="look at the model, and at the temperature"):
        adjust(torch.tensor([-1000.0, -2000.0]), temperature=1e-37)


# -- many rows at once, with a memory


def random_prompts(rows, longest, seed):
    lengths = torch.randint(1, longest + 1, (rows,), generator=seeded(seed)).tolist()
    ids = random_ids(rows, longest, seed=seed).tolist()
    return [row[:length] for row, length in zip(ids, lengths, strict=True)]


def without_memory(model):
    """The same model, which has to read everything each time."""
    return lambda ids: model(ids).float()


SMALL = {
    "transformer": lambda: small_transformer(layers=1),
    "grouped and tied": lambda: small_transformer(layers=1, kv_heads=2, tied=True),
    "plain": lambda: small_rnn("plain"),
    "gru": lambda: small_rnn("gru"),
    "lstm": lambda: small_rnn("lstm"),
    "transformer with tables": lambda: small_transformer(layers=1, grams=4),
    "lstm with tables": lambda: small_rnn("lstm", grams=3),
}


@pytest.mark.parametrize(
    ("name", "batches"),
    [(name, 5 if name in ("transformer", "lstm") else 1) for name in SMALL],
)
def test_for_1000_prompts_the_tokens_are_those_of_the_model_without_memory(name, batches):
    model = SMALL[name]().double()
    for seed in range(batches):
        prompts = random_prompts(200, 13, seed)
        options = {"length": 3, "stop": 0, "temperature": 1.1, "top_p": 0.9}
        ours = generate_batch(model, prompts, rng=seeded(seed), **options)
        plain = generate_batch(without_memory(model), prompts, rng=seeded(seed), **options)
        assert ours == plain
        assert {len(row) for row in ours} >= {1, 3}


@pytest.mark.parametrize("name", SMALL)
def test_one_row_streams_the_tokens_of_a_batch_of_one(name):
    model = SMALL[name]()
    stream = list(generate(model, [3, 1], 12, seeded(0)))
    assert generate_batch(model, [[3, 1]], 12, seeded(0)) == [stream]
    assert stream == list(generate(without_memory(model), [3, 1], 12, seeded(0)))


def test_a_row_ends_with_its_first_stop_token():
    rows = generate_batch(step_model(6), [[1], [4], [0, 2], [5]], 4, seeded(0), stop=5)
    assert rows == [[2, 3, 4, 5], [5], [3, 4, 5], [0, 1, 2, 3]]
    assert generate_batch(step_model(6), [[4]], 4, seeded(0)) == [[5, 0, 1, 2]]


class Spy:
    """A model with a memory that counts what it reads."""

    def __init__(self, model):
        self.model, self.shapes = model, []
        if hasattr(model, "context"):
            self.context = model.context

    def read(self, ids, memory=None, pads=None):
        self.shapes.append(tuple(ids.shape))
        return self.model.read(ids, memory, pads)


@pytest.mark.parametrize("name", SMALL)
def test_a_row_that_has_ended_costs_nothing_and_every_token_is_read_once(name):
    spy = Spy(SMALL[name]())
    rows = generate_batch(spy, random_prompts(30, 5, seed=0), 11, seeded(0), stop=0)
    longest = max(map(len, rows))
    still_open = [sum(len(row) > step for row in rows) for step in range(longest)]
    assert spy.shapes == [(30, 5)] + [(count, 1) for count in still_open[1:]]
    assert still_open[0] > still_open[-1]


@pytest.mark.parametrize("name", SMALL)
def test_equal_prompts_are_read_once_and_go_on_each_for_itself(name):
    spy = Spy(SMALL[name]().double())
    prompts = [[3, 1], [4], [0, 4], [3, 1]] * 15
    rows = generate_batch(spy, prompts, 3, seeded(0))
    assert spy.shapes == [(3, 2), (60, 1), (60, 1)]
    rng, by_hand = seeded(0), [list(prompt) for prompt in prompts]
    for _ in range(3):
        logits = torch.stack([next_logits(spy.model, row) for row in by_hand]).float()
        for row, token in zip(by_hand, draw(logits, rng).tolist(), strict=True):
            row.append(token)
    assert [[*p, *row] for p, row in zip(prompts, rows, strict=True)] == by_hand
    assert len({*map(tuple, rows)}) > 3  # more than there are prompts


def test_when_every_row_has_ended_nothing_more_is_read():
    class Stops:
        reads = 0

        def read(self, ids, memory=None, pads=None):
            self.reads += 1
            return torch.tensor([50.0, 0.0]).expand(*ids.shape, -1), State()

    model = Stops()
    assert generate_batch(model, [[1], [1, 1]], 9, seeded(0), stop=0) == [[0], [0]]
    assert model.reads == 1


def test_beyond_its_context_a_model_reads_the_newer_half_again():
    spy, ids, start = Spy(small_transformer(context=8)), [3, 1, 4], 0
    tokens = list(generate(spy, ids, 20, seeded(0), top_k=1))
    for token in tokens:  # by hand, without a memory
        if len(ids) - start > 8:
            start = len(ids) - 4
        assert int(next_logits(without_memory(spy.model), ids[start:]).argmax()) == token
        ids.append(token)
    lengths = [length for _, length in spy.shapes]
    assert lengths == [3, *[1] * 5, 4, *[1] * 4, 4, *[1] * 4, 4, *[1] * 3]


def test_of_a_prompt_longer_than_the_context_the_end_is_read():
    model, prompts = small_transformer(context=8).double(), [random_ids(15).tolist(), [2, 7], [1]]
    rows = generate_batch(model, prompts, 1, seeded(0))
    ends = [prompt[-8:] for prompt in prompts]
    assert rows == generate_batch(without_memory(model), ends, 1, seeded(0))
    long = generate_batch(model, prompts, 30, seeded(1), stop=0)
    assert all(len(row) == 30 or row[-1] == 0 for row in long)


def test_beyond_the_context_rows_of_a_batch_do_not_mix():
    model, prompts = small_transformer(context=8).double(), [[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]]
    together = generate_batch(model, prompts, 30, seeded(0), top_k=1)
    alone = [generate_batch(model, [prompt], 30, seeded(0), top_k=1)[0] for prompt in prompts]
    assert together == alone


def test_a_context_of_one_token_is_enough():
    model = small_transformer(context=1)
    assert len(generate_batch(model, [[1], [2, 3]], 5, seeded(0))[0]) == 5


def test_an_empty_prompt_among_others_is_refused():
    with pytest.raises(ValueError, match="at least one token in each prompt to continue, got none"):
        generate_batch(small_rnn(), [[1], []], 3, seeded(0))


def test_no_prompts_give_no_rows_and_no_length_gives_no_tokens():
    assert generate_batch(small_rnn(), [], 3, seeded(0)) == []
    assert generate_batch(small_rnn(), [[1], [2]], 0, seeded(0)) == [[], []]
    assert list(generate(small_rnn(), [1], 0, seeded(0))) == []


@pytest.mark.parametrize("name", SMALL)
def test_generating_changes_neither_model_nor_prompts_nor_the_global_generator(name):
    model, prompts, before = SMALL[name](), [[1], [2, 3]], torch.get_rng_state()
    kept = [weight.detach().clone() for weight in model.parameters()]
    rows = generate_batch(model, prompts, 5, seeded(0))
    assert rows == generate_batch(model, prompts, 5, seeded(0))
    assert prompts == [[1], [2, 3]]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, kept, model.parameters()))
    model(random_ids(2, 3)).sum().backward()  # nothing of it hinders the next training step


def test_a_model_that_looks_both_ways_does_not_generate():
    with pytest.raises(ValueError, match="expected a causal model to remember what it reads"):
        list(generate(small_transformer(causal=False), [1], 3, seeded(0)))
