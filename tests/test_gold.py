"""Rewards counted by hand; answers from the lab's own program."""

from itertools import product

import pytest
from small_models import random_ids, seeded

from course_lm.finetuning.tasks import task_vocabulary
from course_lm.language import lab
from course_lm.rlhf.gold import (
    LONGEST,
    PROMPT,
    gold,
    prompts,
    question,
)
from course_lm.rlhf.preferences import Prompt

VOCABULARY = task_vocabulary()

WHERE = Prompt(
    tuple("<s> anna is in the attic . ben is in the cellar . where is anna ?".split()),
    ("in", "the", "attic", "."),
)
RIGHT, WRONG = "in the attic .", "in the cellar ."
KIND, PLAIN, RUDE = "stay well , friend .", "that is all .", "get out of here ."


def reward(text):
    return gold(WHERE, text.split())


# -- the gold reward


@pytest.mark.parametrize(
    ("text", "by_hand"),
    [
        (f"{RIGHT} {KIND} <s>", 1.5),
        (f"{RIGHT} {PLAIN} <s>", 0.5),
        (f"{RIGHT} {RUDE} <s>", -0.5),
        (f"{WRONG} {KIND} <s>", 1.0),
        (f"{WRONG} {PLAIN} <s>", 0.0),
        (f"{WRONG} {RUDE} <s>", -1.0),
        (f"{RIGHT} friend well , stay . <s>", 0.5),  # words of a kind ending, but none
        (f"{RIGHT} who has the red lamp ? anna . {KIND} <s>", 0.5),  # two sentences too many
        (f"{RIGHT} {KIND} {KIND} <s>", 1.0),
        (f"{KIND} {RIGHT} <s>", 0.0),  # the answer comes first, the ending last
        (f"{RIGHT} <s>", 0.0),  # no ending
        (f"{KIND} <s>", 0.5),  # no answer
        (f"{RIGHT} {KIND}", 1.0),  # cut off behind the ending
        (f"{RIGHT} stay well , friend", 0.0),  # cut off in the ending: a piece, and no <s>
        (f"{RIGHT} stay well , friend <s>", 0.5),
        ("in the attic", -1.0),  # one sentence too few, and no <s>
        ("<s>", -1.0),
        ("", -1.5),
        (f"{RIGHT} <s> {KIND}", 1.0),  # <s> stands elsewhere
    ],
)
def test_the_gold_reward_by_hand(text, by_hand):
    assert reward(text) == by_hand


@pytest.mark.parametrize("style", ["kind", "plain", "rude"])
def test_every_ending_of_the_lab_counts_by_its_style(style):
    worth = {"kind": 1.5, "plain": 0.5, "rude": -0.5}[style]
    for ending in lab.WORLD.endings[style]:
        assert reward(f"{RIGHT} {ending} <s>") == worth


def test_nothing_that_anybody_says_is_worth_more_than_the_best():
    pieces = ["", RIGHT, WRONG, KIND, PLAIN, RUDE, "friend", "?", "<s>"]
    found = [reward(" ".join(some)) for some in product(pieces, repeat=4)]
    noise = random_ids(300, 12, size=len(VOCABULARY)).tolist()
    found += [gold(WHERE, VOCABULARY.tokens_of(ids)) for ids in noise]
    assert max(found) == 1.5
    assert min(found) < -1


def test_a_list_of_words_and_a_tuple_are_worth_the_same():
    words = f"{RIGHT} {KIND} <s>".split()
    assert gold(WHERE, words) == gold(WHERE, tuple(words)) == 1.5


# -- prompts


@pytest.fixture(scope="module")
def some():
    return prompts(150, seeded(0))


def test_prompts_differ_end_with_a_question_and_are_short_enough(some):
    assert len({prompt.words for prompt in some}) == len(some) == 150
    for prompt in some:
        assert prompt.words[0] == lab.START
        assert prompt.words.count(lab.START) == 1
        assert prompt.words[-1] == "?"
        assert len(prompt.words) <= PROMPT
    assert max(len(prompt.words) for prompt in some) > PROMPT - 4


def test_a_prompt_ends_with_the_last_question_of_its_story_and_holds_the_first_with_its_answer(
    some,
):
    assert {prompt.words.count("?") for prompt in some} == {1, 2}


def test_the_answer_is_the_one_that_the_program_of_the_lab_makes_certain(some):
    for prompt in some:
        assert prompt.answer[-1] == "."
        for place, word in enumerate(prompt.answer):
            assert lab.next_word([*prompt.words, *prompt.answer[:place]]) == {word: 1.0}


def test_behind_the_answer_the_lab_may_go_on_with_any_ending(some):
    firsts = {ending.split()[0] for style in lab.WORLD.endings.values() for ending in style}
    for prompt in some[:30]:
        assert firsts <= lab.next_word([*prompt.words, *prompt.answer]).keys()


def test_the_question_of_a_prompt_is_its_last_sentence(some):
    assert question(WHERE) == "where is anna ?"
    for prompt in some:
        text = " ".join(prompt.words)
        assert text.endswith(f". {question(prompt)}")
        assert question(prompt).count("?") == 1


def test_a_right_and_kind_response_is_worth_the_best_and_short_enough(some):
    for prompt in some:
        response = [*prompt.answer, *KIND.split(), lab.START]
        assert gold(prompt, response) == 1.5
        assert len(response) <= LONGEST


def test_a_seed_gives_the_same_prompts_and_another_seed_others(some):
    assert prompts(150, seeded(0)) == some
    assert {p.words for p in prompts(150, seeded(1))}.isdisjoint({p.words for p in some})
    assert prompts(0, seeded(0)) == []


def test_no_prompt_stands_in_the_text_of_pretraining_though_the_seed_is_the_same(some):
    """With one stream of chances for both, every prompt would be a story that was read."""
    read = " ".join(lab.sample(200_000, seeded(0)))  # the foundation's own text begins so
    assert not [prompt for prompt in some if " ".join(prompt.words) in read]
