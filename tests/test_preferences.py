"""Chances and agreement by hand, votes against their chances, labels of every kind of vote."""

import itertools
import math

import pytest
import torch
from small_models import seeded, small_transformer

from course_lm.finetuning.tasks import task_vocabulary
from course_lm.language import lab
from course_lm.language.windows import IGNORE
from course_lm.rlhf.annotators import Annotator, as_ids, compared
from course_lm.rlhf.gold import LONGEST, gold, prompts
from course_lm.rlhf.preferences import (
    FIRST,
    MANY,
    SECOND,
    SKIP,
    TIE,
    VOTES,
    Comparison,
    Prompt,
    agreement,
    ceiling,
    kappa,
    labels,
)

VOCABULARY = task_vocabulary()
SENTENCE = r"^\w+: expected [^\n]+, got [^\n]+; [^\n]+$"
PROMPT = Prompt(("<s>", "where", "is", "anna", "?"), ("in", "the", "attic", "."))
KIND = tuple("in the attic . stay well , friend . <s>".split())  # gold reward 1.5, 10 words
PLAIN = tuple("in the attic . here it ends . <s>".split())  # 0.5, 9 words
RUDE = tuple("in the attic . leave now , you fool . <s>".split())  # -0.5, 11 words


def compare(first, second):
    return Comparison(PROMPT, first, second)


def sigmoid(margin):
    return 1 / (1 + math.exp(-margin))


# -- comparisons


def test_a_comparison_has_two_different_responses_to_its_prompt_and_follows_the_seed():
    model = small_transformer(vocab_size=len(VOCABULARY), context=80)
    asked = prompts(40, seeded(0))  # more than one part
    found, again, other = (list(compared(model, VOCABULARY, asked, seeded(n))) for n in (1, 1, 2))
    assert [c.prompt for c in found] == asked
    for comparison in found:
        for response in (comparison.first, comparison.second):
            assert 1 <= len(response) <= LONGEST
            assert "<s>" not in response[:-1]
    assert found == again != other


def test_a_prompt_that_got_one_response_twice_is_left_out():
    def ends(ids):
        logits = torch.full((*ids.shape, len(VOCABULARY)), -math.inf)
        logits[..., VOCABULARY.ids[lab.START]] = 0.0
        return logits

    assert list(compared(ends, VOCABULARY, prompts(3, seeded(0)), seeded(0))) == []


def test_the_ids_of_a_comparison_are_its_prompt_with_each_response():
    ids = as_ids(VOCABULARY, [compare(PLAIN, KIND), compare(RUDE, PLAIN)])
    assert ids.shape == (2, 2, len(PROMPT.words) + len(RUDE))
    rows = [(*PROMPT.words, *response) for response in (PLAIN, KIND, RUDE, PLAIN)]
    for row, words in zip(ids.flatten(0, 1).tolist(), rows, strict=True):
        assert tuple(VOCABULARY.tokens_of(row[: len(words)])) == words
        assert set(row[len(words) :]) <= {IGNORE}


# -- annotators


def test_the_responses_have_the_rewards_that_the_examples_by_hand_need():
    assert [gold(PROMPT, response) for response in (KIND, PLAIN, RUDE)] == [1.5, 0.5, -0.5]


@pytest.mark.parametrize(
    ("annotator", "first", "second", "margin"),
    [
        (Annotator(), KIND, RUDE, 2.0),
        (Annotator(), RUDE, KIND, -2.0),
        (Annotator(), PLAIN, PLAIN, 0.0),
        (Annotator(noise=0.5), KIND, PLAIN, 2.0),
        (Annotator(noise=4), KIND, RUDE, 0.5),
        (Annotator(length=0.3), RUDE, PLAIN, -1 + 0.3 * 2),
        (Annotator(length=1, noise=2), RUDE, KIND, (-2 + 1) / 2),
        (Annotator(first=0.7), PLAIN, PLAIN, 0.7),
        (Annotator(first=-0.7, noise=0.1), PLAIN, KIND, -17.0),
        (Annotator(noise=1e-60), PLAIN, PLAIN, 0.0),
    ],
)
def test_the_chance_of_a_vote_is_the_sigmoid_of_a_margin_by_hand(annotator, first, second, margin):
    (chance,) = annotator.chances([compare(first, second)]).tolist()
    assert chance == pytest.approx(sigmoid(margin), abs=1e-6)


def test_with_the_responses_exchanged_the_chances_sum_to_one_but_for_a_bias_to_the_first():
    pairs = list(itertools.product([KIND, PLAIN, RUDE], repeat=2))
    there = [compare(a, b) for a, b in pairs]
    back = [compare(b, a) for a, b in pairs]
    fair, biased = Annotator(noise=0.7, length=0.2), Annotator(noise=0.7, length=0.2, first=0.5)
    torch.testing.assert_close(fair.chances(there) + fair.chances(back), torch.ones(9))
    assert (biased.chances(there) + biased.chances(back) > 1.01).all()


def test_votes_come_as_often_as_their_chances_say_and_follow_the_seed():
    annotator, pair = Annotator(noise=2), compare(KIND, RUDE)
    votes = annotator.votes([pair] * 4000, seeded(0))
    assert set(votes) == {FIRST, SECOND}
    chance = sigmoid(1.0)
    spread = math.sqrt(chance * (1 - chance) / 4000)
    assert votes.count(FIRST) / 4000 == pytest.approx(chance, abs=4 * spread)
    assert votes == annotator.votes([pair] * 4000, seeded(0))
    assert votes != annotator.votes([pair] * 4000, seeded(1))


def test_one_who_hardly_errs_votes_by_the_gold_reward():
    pairs = [compare(KIND, RUDE), compare(RUDE, PLAIN), compare(PLAIN, KIND)] * 20
    assert Annotator(noise=0.01).votes(pairs, seeded(0)) == [FIRST, SECOND, SECOND] * 20
    assert Annotator().votes([], seeded(0)) == []


@pytest.mark.parametrize("noise", [0, -1, math.inf, math.nan])
def test_a_noise_that_is_none_gets_one_sentence(noise):
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        Annotator(noise=noise)
    assert f"noise={noise}" in str(caught.value)


# -- the ceiling


def test_the_ceiling_by_hand_and_between_a_half_and_one():
    assert ceiling(torch.tensor([0.2, 0.9, 0.5])) == pytest.approx((0.8 + 0.9 + 0.5) / 3, abs=1e-6)
    assert ceiling(torch.full((5,), 0.5)) == 0.5
    assert ceiling(torch.tensor([0.0, 1.0])) == 1.0


def test_the_best_guess_of_each_vote_comes_true_as_often_as_the_ceiling_says():
    pairs = [compare(a, b) for a, b in itertools.product([KIND, PLAIN, RUDE], repeat=2)] * 400
    annotator = Annotator(length=0.5)
    chances = annotator.chances(pairs)
    guessed = [FIRST if chance >= 0.5 else SECOND for chance in chances.tolist()]
    share = agreement(guessed, annotator.votes(pairs, seeded(3)))
    assert share == pytest.approx(ceiling(chances), abs=4 * 0.5 / math.sqrt(3600))


# -- agreement


def by_matrix(one, other):
    """Cohen's kappa from the table of counts, 1 - disagreement / what chance gives."""
    table = torch.zeros(4, 4, dtype=torch.double)
    for a, b in zip(one, other, strict=True):
        table[VOTES.index(a), VOTES.index(b)] += 1
    expected = table.sum(1, keepdim=True) @ table.sum(0, keepdim=True) / table.sum()
    apart = 1 - torch.eye(4, dtype=torch.double)
    return (1 - (apart * table).sum() / (apart * expected).sum()).item()


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_that_of_the_table_of_counts(seed):
    drawn = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), 120, True, generator=seeded(seed))
    one = [VOTES[vote] for vote in drawn[:60].tolist()]
    other = [
        a if place % 2 else VOTES[b]
        for place, (a, b) in enumerate(zip(one, drawn[60:], strict=True))
    ]
    assert kappa(one, other) == pytest.approx(by_matrix(one, other), abs=1e-12)
    assert kappa(one, other) == pytest.approx(kappa(other, one), abs=1e-12)
    assert 0 < kappa(one, other) < agreement(one, other) < 1


def test_kappa_is_one_for_full_agreement_zero_for_chance_and_below_for_contradiction():
    assert kappa([FIRST, SECOND], [FIRST, SECOND]) == 1
    assert kappa([FIRST, FIRST, SECOND, SECOND], [FIRST, SECOND] * 2) == 0
    assert kappa([FIRST, SECOND], [SECOND, FIRST]) == -1
    assert kappa([FIRST] * 3, [FIRST, FIRST, SECOND]) == 0


def test_kappa_of_two_who_always_say_the_same_is_no_number():
    assert math.isnan(kappa([FIRST] * 9, [FIRST] * 9))
    assert agreement([FIRST] * 9, [FIRST] * 9) == 1


def test_what_either_skipped_or_has_not_judged_is_left_out_and_a_tie_is_a_vote():
    one = [FIRST, SKIP, TIE, TIE, None, SECOND, None]
    other = [FIRST, FIRST, TIE, SECOND, None, SKIP, SECOND]
    assert agreement(one, other) == pytest.approx(2 / 3)
    assert kappa(one, other) == kappa([FIRST, TIE, TIE], [FIRST, TIE, SECOND])


@pytest.mark.parametrize("measure", [agreement, kappa])
@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ([], [], "at least one comparison that both judged, got none"),
        ([SKIP, FIRST], [FIRST, None], "got none"),
        ([FIRST, FIRST], [FIRST], "votes on the same comparisons, got 2 and 1"),
    ],
)
def test_votes_that_cannot_be_compared_get_one_sentence(measure, one, other, said):
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        measure(one, other)
    assert said in str(caught.value)


# -- labels


def test_ties_skips_and_missing_votes_are_ignored():
    votes = [FIRST, SECOND, TIE, SKIP, None, SECOND]
    assert labels(votes).tolist() == [0, 1, IGNORE, IGNORE, IGNORE, 1]
    assert labels(votes).dtype == torch.long


@pytest.mark.parametrize(
    ("votes", "said"),
    [
        ([], "at least one vote, got none"),
        ([TIE, SKIP, None], "got 3 votes, all ties or skipped"),
        ([FIRST] * MANY, f"got 'first' every time in {MANY}"),
        ([SECOND] * MANY + [TIE] * 7, f"got 'second' every time in {MANY}"),
    ],
)
def test_votes_that_teach_nothing_get_one_sentence(votes, said):
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        labels(votes)
    assert said in str(caught.value)


def test_few_votes_for_one_side_among_many_ties_may_be_honest():
    assert labels([FIRST] + [TIE] * 50).tolist() == [0] + [IGNORE] * 50
    assert labels([SECOND] * (MANY - 1)).tolist() == [1] * (MANY - 1)
    assert labels([FIRST] * MANY + [SECOND]).tolist() == [0] * MANY + [1]


def test_votes_of_other_names_count_for_agreement_and_are_no_labels():
    one, other = [*"AABB"], [*"ABBB"]
    assert kappa(one, other) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        labels([FIRST, "Second"])
    assert "'Second'" in str(caught.value)


@pytest.mark.parametrize("comparisons", [[], [Comparison(PROMPT, KIND, ())]])
def test_no_comparison_and_a_response_of_no_token_get_one_sentence(comparisons):
    with pytest.raises(ValueError, match=SENTENCE):
        as_ids(VOCABULARY, comparisons)


@pytest.mark.parametrize("chances", [[], [1.5], [math.nan]])
def test_a_ceiling_of_what_are_no_chances_gets_one_sentence(chances):
    with pytest.raises(ValueError, match=SENTENCE):
        ceiling(torch.tensor(chances))


@pytest.mark.parametrize("bias", [{"length": math.nan}, {"first": math.inf}])
def test_a_bias_that_is_no_number_gets_one_sentence(bias):
    with pytest.raises(ValueError, match=SENTENCE):
        Annotator(**bias)
