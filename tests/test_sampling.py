"""Distributions are reshaped as the dials say, and drawn from as they stand."""

import math
from collections import Counter

import pytest
import torch

from course_lm.models.sampling import adjust, draw, generate, next_logits

CHANCES = [0.1, 0.4, 0.2, 0.3]
LOGITS = torch.tensor(CHANCES).log()


def seeded(seed):
    return torch.Generator().manual_seed(seed)


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
    with pytest.raises(ValueError, match=r"got NaN, \+inf or no possible token; look at the model"):
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
    with pytest.raises(ValueError, match="look at the model and at the temperature"):
        adjust(torch.tensor([-1000.0, -2000.0]), temperature=1e-37)
