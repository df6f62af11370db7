import math

import pytest
import torch

from course_lm.language import lab
from course_lm.language.world import NUMBERS
from course_lm.models.rnn import RNN, RNNConfig
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.training import probes
from course_lm.training.losses import token_log_probs
from course_lm.training.probes import Choice, chance, lab_probes, measure, option_log_probs

UNKNOWABLE = {"home, never", "land, two steps"}  # the stories never state it
V = len(lab.vocabulary())


@pytest.fixture(scope="module")
def asked():
    return lab_probes(torch.Generator().manual_seed(0), count=12)


def tiny(seed, **shape):
    config = TransformerConfig(vocab_size=V, width=16, layers=1, heads=2, kv_heads=2, **shape)
    return Transformer(config, torch.Generator().manual_seed(seed))


def test_every_probe_has_as_many_choices_as_asked_for(asked):
    assert {name: len(group) for name, group in asked.items()} == dict.fromkeys(probes.NAMES, 12)


def test_the_truth_is_always_right_where_the_stories_decide_and_guesses_where_they_do_not(asked):
    for name, share in measure(lab.Truth(), asked).items():
        assert share == pytest.approx(chance(asked[name]) if name in UNKNOWABLE else 1.0), name


def test_a_model_that_prefers_nothing_is_exactly_at_chance(asked):
    shares = measure(lambda ids: torch.zeros(*ids.shape, V), asked)
    for name, share in shares.items():
        assert share == pytest.approx(chance(asked[name])), name


def test_untrained_models_are_near_chance_on_average(asked):
    runs = [measure(tiny(seed), asked) for seed in range(8)]
    for name, group in asked.items():
        mean = sum(run[name] for run in runs) / len(runs)
        assert abs(mean - chance(group)) < 0.25, name


def test_the_same_generator_asks_the_same_and_another_asks_something_else(asked):
    again = lab_probes(torch.Generator().manual_seed(0), count=12)
    assert again == asked
    assert lab_probes(torch.Generator().manual_seed(1), count=12) != asked


def test_the_wrong_options_stand_in_the_order_of_the_world(asked):
    vocabulary, lands = lab.vocabulary(), list(dict.fromkeys(lab.WORLD.lands.values()))
    for choice in asked["land, stated"] + asked["land, two steps"]:
        right, *others = map(vocabulary.decode, choice.options)
        assert others == [land for land in lands if land != right]


def test_a_choice_by_hand():
    """P(1 | 0) = 2/3, P(2 | 0) = 1/3; after 1 comes 1 with 1/4; after 2 comes 2 with 3/4."""
    table = torch.tensor([[0, 2 / 3, 1 / 3], [0.5, 0.25, 0.25], [0.125, 0.125, 0.75]]).log()
    model = table.__getitem__
    found = option_log_probs(model, [Choice((0,), ((1, 1), (2, 2)))])[0]
    assert found.exp().tolist() == pytest.approx([2 / 3 * 1 / 4, 1 / 3 * 3 / 4])
    assert measure(model, {"pair": [Choice((0,), ((1, 1), (2, 2)))]}) == {"pair": 0.0}
    assert measure(model, {"pair": [Choice((0,), ((2, 2), (1, 1)))]}) == {"pair": 1.0}
    ties = {"tie": [Choice((1,), ((1,), (2,))), Choice((1,), ((2,), (1,), (0,)))]}
    assert measure(model, ties) == {"tie": 0.25}  # a half, and nothing where a third is likelier


@pytest.mark.parametrize("kind", ["transformer", "rnn"])
def test_each_option_is_scored_as_if_it_were_read_alone(kind, asked):
    rng = torch.Generator().manual_seed(3)
    model = tiny(1) if kind == "transformer" else RNN(RNNConfig(vocab_size=V, width=8), rng)
    choices = [group[k] for group in asked.values() for k in (0, 5)]
    for choice, found in zip(choices, option_log_probs(model, choices), strict=True):
        for option, log_prob in zip(choice.options, found.tolist(), strict=True):
            ids = torch.tensor([choice.prompt + option])
            with torch.no_grad():
                each = token_log_probs(model(ids[:, :-1]), ids[:, 1:])[0]
            assert log_prob == pytest.approx(each[-len(option) :].sum().item(), abs=1e-4)


def test_chance_is_one_over_the_options():
    assert chance([Choice((0,), ((1,), (2,))), Choice((0,), ((1,), (2,), (3,), (4,)))]) == 0.375


def test_the_wrong_form_differs_in_one_word_and_the_far_one_stands_beside_the_wrong_number(asked):
    vocabulary = lab.vocabulary()
    for choice in asked["agreement, far"]:
        words = vocabulary.tokens_of(choice.prompt)
        right, wrong = (vocabulary.decode(option) for option in choice.options)
        many = not right.endswith("s")
        assert {right, wrong} == {right.rstrip("s"), right.rstrip("s") + "s"}
        assert words[-3] == "near"
        assert words[-4].endswith("s") is many is not words[-1].endswith("s")


def test_word_order_swaps_two_neighbours_and_what_comes_out_cannot_be(asked):
    vocabulary = lab.vocabulary()
    for choice in asked["word order"]:
        right, wrong = choice.options
        moved = [k for k, (one, other) in enumerate(zip(right, wrong, strict=True)) if one != other]
        assert moved == [moved[0], moved[0] + 1]
        assert sorted(right) == sorted(wrong)
        assert -math.inf in lab.log_probs(vocabulary.tokens_of(choice.prompt + wrong))


def test_what_a_story_tells_of_its_counts_is_what_was_counted():
    told = 0
    for story in probes.stories(lab.sample(30_000, torch.Generator().manual_seed(2))):
        for place, _, change, have in probes._counts(story):
            if change is None:
                told += 1
                assert NUMBERS.index(story[place]) + 1 == have
    assert told > 50


def test_without_sums_drops_whole_stories_and_only_those_that_hold_one():
    words = lab.sample(60_000, torch.Generator().manual_seed(4))
    kept = probes.without_sums(words)
    before, after = (list(probes.stories(text)) for text in (words, kept))
    assert [s for s in before if not probes.HELD_OUT_SUMS & set(probes._sums(s))] == after
    assert 0.9 < len(kept) / len(words) < 1
    again = [sum_ for story in after for sum_ in probes._sums(story)]
    assert not probes.HELD_OUT_SUMS & set(again)
    totals = {have + found for have, found in again if have > 0}
    assert {have + found for have, found in probes.HELD_OUT_SUMS} <= totals  # by other ways


def test_a_text_that_ends_anywhere_can_be_searched_for_sums():
    words = "<s> anna is here . anna finds two apples . anna loses one apple .".split()
    words += "how many apples does anna have ? one".split()
    for end in range(1, len(words) + 1):
        assert probes.without_sums(words[:end]) == words[:end]
    assert list(probes._sums(words)) == [(0, 2), (2, -1)]


def test_a_sum_is_held_out_exactly_where_its_probe_says_so(asked):
    vocabulary = lab.vocabulary()
    for name in ("counting", "counting, new"):
        for choice in asked[name]:
            story = [*vocabulary.tokens_of(choice.prompt), vocabulary.decode(choice.options[0])]
            rows = list(probes._counts(story))
            place, owner, told, _ = rows[-1]
            assert (place, told) == (len(story) - 1, None)
            asked_for = [
                (have, found) for _, who, found, have in rows if who == owner and found is not None
            ]
            assert (asked_for[-1] in probes.HELD_OUT_SUMS) is (name == "counting, new")


def test_a_model_that_has_diverged_is_not_given_a_share(asked):
    with pytest.raises(ValueError, match="measure: expected log P of each option, got nan"):
        measure(lambda ids: torch.full((*ids.shape, V), math.nan), asked)


@pytest.mark.parametrize(
    "choices", [[], [Choice((0,), ((1,),))], [Choice((0,), ((1,), ()))]], ids=str
)
def test_a_choice_between_fewer_than_two_is_refused_with_a_sentence(choices):
    with pytest.raises(ValueError, match="expected choices of at least two options"):
        option_log_probs(tiny(0), choices)
