"""Each answer is checked against the lab's own program or by reading the text, never by the task.

The program gives the only word that can follow a story and a question. What is held out is looked
up in the examples themselves: no rule of the module is repeated here.
"""

import dataclasses
import math
from functools import cache
from itertools import combinations

import pytest
import torch

from course_lm.classroom.foundation import WORDS
from course_lm.finetuning.tasks import (
    ASKED,
    END,
    LARGEST,
    LONGEST,
    NEW_WORDS,
    PARTS,
    REPLY,
    examples,
    task_vocabulary,
)
from course_lm.finetuning.translation import translate, velic_words
from course_lm.language import lab
from course_lm.language.lab import START, WORLD

NAMES = [person.name for person in WORLD.people]
OBJECTS = {*WORLD.places, *WORLD.things, *(form for item in WORLD.items for form in item)}
NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()
COUNTS = {"summarise": 100, "answer": 240, "translate": 150, "reason": 150, "solve": 100}
STORIES = ("summarise", "answer")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@cache
def drawn(task, part):
    return examples(task, COUNTS[task], seeded(), part)


def everything(*tasks):
    return [example for task in tasks or ASKED for part in PARTS for example in drawn(task, part)]


def text_of(example):
    """The words before the task's name."""
    return example.prompt[1 : example.prompt.index(example.task)]


def question_of(example):
    return " ".join(example.prompt[example.prompt.index(example.task) + 1 : -1])


def cut(words):
    sentences, sentence = [], []
    for word in words:
        sentence.append(word)
        if word == ".":
            sentences.append(tuple(sentence))
            sentence = []
    assert not sentence
    return sentences


def certain(story, question, length=1):
    """The words that the lab's program says after a story and a question, all of them certain."""
    said = []
    for _ in range(length):
        ((word, chance),) = lab.next_word([*story, *question.split(), *said]).items()
        assert chance == 1
        said.append(word)
    return " ".join(said)


def things_in(story):
    """(colour, thing) of every thing that was taken, in the order of the story."""
    return [tuple(story[i + 2 : i + 4]) for i, word in enumerate(story) if word == "takes"]


def holder_in(story, colour, thing):
    return certain(story, f"who has the {colour} {thing} ?")


def place_in(story, asked):
    return certain(story, f"where is {asked} ?", 3).removeprefix("in the ")


def people_in(story):
    return list(dict.fromkeys(word for word in story if word in NAMES))


def sums(example):
    """By reading: (verb, amount, word of the item, total after it), for the person asked about."""
    asked = question_of(example).split()[4]
    rows, have = [], 0
    for name, verb, amount, item, _ in cut(text_of(example)):
        if name == asked:
            have += {"finds": 1, "loses": -1}[verb] * (NUMBERS.index(amount) + 1)
            rows.append((verb, amount, item, NUMBERS[have - 1]))
    return rows


# -- prompts and responses


def test_the_vocabulary_is_that_of_the_lab_with_the_new_words_behind_it():
    tokens, known = task_vocabulary().tokens, lab.vocabulary().tokens
    assert tokens[: len(known)] == known
    assert tokens[len(known) :] == NEW_WORDS
    assert set(known).isdisjoint(NEW_WORDS)
    assert len(set(NEW_WORDS)) == len(NEW_WORDS)


def test_a_prompt_ends_with_the_reply_marker_and_a_response_with_the_end_and_nowhere_else():
    for example in everything():
        for words, sign in ((example.prompt, REPLY), (example.response, END)):
            assert words[-1] == sign
            assert words.count(sign) == 1
        assert example.prompt[0] == START
        assert example.prompt.count(START) == example.prompt.count(example.task) == 1
        assert not {START, REPLY} & {*example.response}
        assert END not in example.prompt
        task_vocabulary().ids_of([*example.prompt, *example.response])


def test_every_example_is_short_enough_for_the_foundation_model():
    assert max(len(e.prompt) + len(e.response) for e in everything()) <= 192


def test_every_new_word_that_is_not_velic_is_used():
    used = {word for example in everything() for word in example.prompt + example.response}
    assert used >= {*NEW_WORDS} - {*velic_words()}


@pytest.mark.parametrize("task", ASKED)
def test_no_example_is_drawn_twice_and_a_seed_gives_the_same_again(task):
    some = examples(task, 40, seeded(4), "test")
    assert len({example.prompt for example in some}) == 40
    assert some == examples(task, 40, seeded(4), "test")
    assert some != examples(task, 40, seeded(5), "test")


@pytest.mark.parametrize(("task", "part"), [("poem", "train"), ("answer", "held out")])
def test_an_unknown_task_or_part_gets_one_sentence(task, part):
    with pytest.raises(ValueError, match=rf"^examples: expected .*, got '{task}' and '{part}';"):
        examples(task, 1, seeded(), part)


# -- answers, by the program of the lab


def test_every_answer_is_the_only_one_that_the_program_allows():
    asked = set()
    for example in everything("answer"):
        story, question = text_of(example), question_of(example)
        asked.add(" ".join(question.split()[: 2 + question.startswith("where is the")]))
        colours = {thing: colour for colour, thing in things_in(story)}
        words = question.split()
        if question.startswith("what"):
            held = [pair for pair in things_in(story) if holder_in(story, *pair) == words[2]]
            right = " and ".join(f"the {a} {b}" for a, b in held) or "nothing"
        elif words[-2] in colours:  # the lab asks for a thing with its colour
            words.insert(-2, colours[words[-2]])
            right = certain(story, " ".join(words), 3 if words[0] == "where" else 1)
        else:
            right = certain(story, question, 3 if words[0] == "where" else 1)
        assert example.response == (*right.split(), ".", END)
    assert asked == {"who has", "what does", "where is", "where is the", "how many"}


def test_somebody_holds_nothing_one_thing_or_several():
    held = [e.response for e in everything("answer") if question_of(e).startswith("what")]
    assert {("and" in response, "nothing" in response) for response in held} == {
        (False, False),
        (False, True),
        (True, False),
    }


def test_every_summary_says_where_both_are_and_who_holds_what_as_the_program_does():
    together = 0
    for example in everything("summarise"):
        story = text_of(example)
        one, two = people_in(story)
        where = {name: place_in(story, name) for name in (one, two)}
        if where[one] == where[two]:
            lines = [f"{one} and {two} are in the {where[one]} ."]
            together += 1
        else:
            lines = [f"{name} is in the {place} ." for name, place in where.items()]
        lines += [f"{holder_in(story, a, b)} has the {a} {b} ." for a, b in things_in(story)]
        assert example.response == (*" ".join(lines).split(), END)
    assert 0 < together < len(everything("summarise"))


@pytest.mark.parametrize("task", STORIES)
def test_a_story_ends_before_its_questions_and_its_sentences_are_counted(task):
    for example in everything(task):
        story = text_of(example)
        assert "?" not in story
        assert example.size == len(cut(story))
        assert {"who", "where"} <= lab.next_word(story).keys()


# -- translations


def test_a_translation_is_that_of_each_sentence_and_the_text_stands_in_one_story():
    for example in everything("translate"):
        text = cut(text_of(example))
        assert example.size == len(text)
        assert example.response == (*(w for s in text for w in translate(s)), END)
        assert len(people_in(text_of(example))) <= 2


# -- sums


def test_the_number_is_what_a_reader_of_the_text_counts():
    for example in everything("reason", "solve"):
        *_, (*_, total) = rows = sums(example)
        assert example.response[-3:] == (total, ".", END)
        assert example.size == len(rows)
        ((one, many),) = [pair for pair in WORLD.items if pair[1] in question_of(example)]
        assert all(item == (one if amount == "one" else many) for _, amount, item, _ in rows)


def test_the_written_steps_are_the_sums_of_the_person_asked_about_in_their_order():
    for example in everything("reason"):
        steps = [f"{verb} {amount} so {total} ." for verb, amount, _, total in sums(example)]
        assert " ".join(example.response[:-3]) == " ".join(steps)


def test_without_steps_the_response_is_the_number_alone():
    assert {len(example.response) for example in everything("solve")} == {3}


def test_no_two_events_of_a_sum_are_alike_so_that_each_can_be_found_again():
    for example in everything("reason", "solve"):
        events = [said[1:3] for said in cut(text_of(example))]
        assert len(set(events)) == len(events)


@pytest.mark.parametrize("place", [0, 1])
def test_each_change_of_a_test_stands_at_its_place_in_some_training_text_too(place):
    """Held out is the pair of sums in a row; if a change itself were, nobody could learn it."""
    tested, trained = (
        {sums(example)[place][:2] for example in examples("reason", 300, seeded(0), part)}
        for part in ("test", "train")
    )
    assert tested <= trained


def test_often_another_person_counts_too_so_that_the_numbers_have_to_be_kept_apart():
    cast = [len({said[0] for said in cut(text_of(e))}) for e in everything("reason", "solve")]
    assert set(cast) == {1, 2}
    assert cast.count(2) > len(cast) / 3


@pytest.mark.parametrize("task", ["reason", "solve"])
def test_one_text_gives_the_same_number_with_and_without_steps(task):
    (other,) = {"reason", "solve"} - {task}
    pairs = zip(examples(task, 20, seeded(2)), examples(other, 20, seeded(2)), strict=True)
    for example, twin in pairs:
        assert text_of(example) == text_of(twin)
        assert example.response[-3:] == twin.response[-3:]


# -- held out by structure


def structures(example):
    """What may be held out, read from the example: pairs of people, of a person with an object,
    two sums in a row."""
    if example.task in STORIES:
        return {frozenset(people_in(text_of(example)))}
    if example.task == "translate":
        return {
            (name, word)
            for sentence in cut(text_of(example))
            for name in {*sentence} & {*NAMES}
            for word in {*sentence} & OBJECTS
        }
    totals = ["nothing", *(total for *_, total in sums(example))]
    return {*zip(totals, totals[1:], totals[2:], strict=False)}


@pytest.mark.parametrize("task", ASKED)
def test_every_test_example_holds_a_structure_that_no_training_example_holds(task):
    trained = {found for e in examples(task, 500, seeded(1)) for found in structures(e)}
    new = [structures(e) - trained for e in drawn(task, "test")]
    assert all(new)
    if task in STORIES:
        pairs = {frozenset(pair) for pair in combinations(NAMES, 2)}
        assert trained | {pair for pairs_of_one in new for pair in pairs_of_one} == pairs


@pytest.mark.parametrize("task", ASKED)
def test_beyond_is_longer_or_has_larger_numbers_than_anything_in_training_and_in_the_test(task):
    near = [e for part in ("train", "test") for e in drawn(task, part)]
    assert max(e.size for e in near) == LONGEST[task]
    assert max(e.largest for e in near) <= LARGEST
    assert all(e.size > LONGEST[task] or e.largest > LARGEST for e in drawn(task, "beyond"))


def test_beyond_holds_short_sums_with_large_numbers_and_long_sums_with_small_ones():
    for task in ("reason", "solve"):
        short = [e for e in drawn(task, "beyond") if e.size <= LONGEST[task]]
        assert {e.largest for e in short} == {10, 11, 12}
        assert any(e.size > LONGEST[task] and e.largest <= LARGEST for e in drawn(task, "beyond"))


def test_the_largest_number_of_a_reply_is_read_off_its_words():
    some = dataclasses.replace(drawn("reason", "test")[0], response=("so", "four", "so", "two"))
    assert some.largest == 4
    assert dataclasses.replace(some, response=("in", "the", "attic")).largest == 0


@pytest.mark.parametrize("task", ASKED)
def test_no_prompt_of_one_part_stands_in_another(task):
    parts = [{example.prompt for example in drawn(task, part)} for part in PARTS]
    assert all(one.isdisjoint(other) for one, other in combinations(parts, 2))


# -- contamination


def stories_of(words):
    """The statements of each story of a text, up to its first question."""
    text = " ".join(words).split(START)[1:]
    firsts = [min(s.index(q) for q in (" who ", " where ", " how ") if q in s) for s in text]
    return {s[:first].strip() for s, first in zip(text, firsts, strict=True)}


def test_no_story_of_a_test_stands_in_the_text_of_fine_tuning():
    tuned = {text_of(e) for task in STORIES for e in drawn(task, "train")}
    for task in STORIES:
        for part in ("test", "beyond"):
            assert tuned.isdisjoint(text_of(e) for e in drawn(task, part))


def test_no_story_stands_in_the_text_of_pretraining_though_the_seed_is_the_same():
    """With one stream of chances for both, one story in twenty would come again."""
    read = stories_of(lab.sample(300_000, seeded(0)))  # the foundation's own text begins so
    assert len(read) > 5_000
    texts = {" ".join(text_of(e)) for e in everything(*STORIES)}
    assert texts.isdisjoint(read)


def test_by_chance_none_of_them_is_to_be_expected_in_all_the_text_of_pretraining():
    """Expected meetings = Σ P(story) · stories read, by the exact probabilities of the lab."""
    tested = {text_of(e) for task in STORIES for e in drawn(task, "test")}
    chance = math.fsum(math.exp(sum(lab.log_probs([START, *story]))) for story in tested)
    assert chance * WORDS / 50 < 0.5  # a story has more than 50 words
