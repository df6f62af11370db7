"""Two worlds, one grammar, one vocabulary: each is exact by itself, and no story is of both."""

import math
from itertools import chain

import pytest
from small_models import seeded

from course_lm.language import lab
from course_lm.language.chances import QUESTIONS
from course_lm.language.harbour import HARBOUR

WORLDS = {"the first": lab.WORLD, "the harbour": HARBOUR}
JOINT = lab.vocabulary(lab.WORLD, HARBOUR)


def stories(world, seed=0, words=20_000):
    text = " ".join(lab.sample(words, seeded(seed), world))
    return [[lab.START, *story.split()] for story in text.split(lab.START)[1:]]


def possible(story, world):
    known = set(story) <= set(lab.vocabulary(world).tokens)
    return known and min(lab.log_probs(story, world)) > -math.inf


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_the_floor_is_the_mean_entropy_of_the_next_word(world):
    words = lab.sample(60_000, seeded(1), world)
    options = list(lab.distributions(words, world))[1:-1]
    entropies = [-sum(p * math.log(p) for p in chances.values()) for chances in options]
    assert lab.floor(words, world) == pytest.approx(sum(entropies) / len(entropies), abs=0.01)


@pytest.mark.parametrize(
    ("own", "other"), [(lab.WORLD, HARBOUR), (HARBOUR, lab.WORLD)], ids=["the first", "the harbour"]
)
def test_a_story_is_possible_in_its_own_world_and_in_no_other(own, other):
    told = stories(own)
    assert all(possible(story, own) for story in told)
    assert not any(possible(story, other) for story in told)


def test_the_joint_vocabulary_keeps_the_ids_of_the_first_world_and_adds_what_is_new():
    alone, second = lab.vocabulary().tokens, lab.vocabulary(HARBOUR).tokens
    assert JOINT.tokens[: len(alone)] == alone
    assert set(JOINT.tokens) == {*alone, *second}
    assert JOINT.ids[lab.START] == 0
    assert JOINT.decode(JOINT.ids_of(second)) == " ".join(second)


def test_a_part_of_the_words_is_shared_and_a_part_is_new():
    alone, second = set(lab.vocabulary().tokens), set(lab.vocabulary(HARBOUR).tokens)
    assert len(alone & second) > 60
    assert len(second - alone) > 50
    assert {person.name for person in HARBOUR.people} & {p.name for p in lab.WORLD.people}
    assert not set(HARBOUR.places) & set(lab.WORLD.places)


def test_the_same_dog_does_other_things():
    opening = "{} is in the {} . {} is in the {} . {} takes the red lamp . the dog"
    first = opening.format("anna", "attic", "ben", "attic", "ben")
    second = opening.format("anna", "deck", "ben", "deck", "ben")
    assert lab.next_word(first.split())["runs"] > lab.next_word(first.split())["waits"] > 0
    assert lab.next_word(second.split(), HARBOUR)["waits"] == pytest.approx(0.4)
    assert "runs" not in lab.next_word(second.split(), HARBOUR)


def test_what_the_harbour_names_fits_together():
    assert {person.home for person in HARBOUR.people} <= set(HARBOUR.lands)
    assert {person.manner for person in HARBOUR.people} == set(HARBOUR.manners)
    endings = chain.from_iterable(HARBOUR.endings.values())
    firsts = [ending.split()[0] for ending in endings]
    assert len({*firsts, *QUESTIONS}) == len(firsts) + len(QUESTIONS)
    homes = {p.name: p.home for p in lab.WORLD.people}
    assert all(homes.get(person.name) != person.home for person in HARBOUR.people)
