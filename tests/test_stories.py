"""The stories make sense: an independent reader plays them and never finds a contradiction."""

import math
from collections import Counter, defaultdict

import pytest
import torch

from course_lm.language import chances, lab
from course_lm.language.world import NUMBERS

PEOPLE = {person.name: person for person in lab.WORLD.people}
STYLE = {sentence: style for style, group in lab.WORLD.endings.items() for sentence in group}
PLURALS = dict(lab.WORLD.items)
VERBS = {
    (noun, pair[many])
    for animal in lab.WORLD.animals
    for many, noun in enumerate((animal.one, animal.many))
    for pair, _ in animal.verbs
}


class Reader:
    """Plays one story, sentence by sentence, from the words alone."""

    def __init__(self):
        self.where, self.holder, self.count, self.item = {}, {}, {}, None
        self.opener = self.style = None
        self.facts, self.asked = [], []

    def read(self, sentence):
        match sentence:
            case [who, "is", "in", "the", place]:
                self.opener = self.opener or who
                self.where[who] = place
            case [who, "and", other, "are" | "go", *_, "the", place]:
                self.opener = self.opener or who
                self.where[who] = self.where[other] = place
            case [who, "goes", "to", "the", place]:
                assert place != self.where[who]
                self.where[who] = place
            case [who, "takes", "the", colour, thing]:
                taken = [word for pair in self.holder for word in pair]
                assert colour not in taken
                assert thing not in taken
                self.holder[colour, thing] = who
            case [who, "gives", "the", colour, thing, "to", other]:
                assert self.holder[colour, thing] == who
                assert self.where[who] == self.where[other]
                self.holder[colour, thing] = other
            case [who, "finds" | "loses" | "now" as verb, *_, number, noun] if who in PEOPLE:
                self.read_count(who, verb, NUMBERS.index(number) + 1, noun)
            case [who, "lives", "in", town, *_, land]:
                assert lab.WORLD.lands[town] == land
                self.facts.append((who, "lives", town))
            case [who, "lives" | "comes" as verb, _, place]:
                self.facts.append((who, verb, place))
            case ["the", *_, "near", "the", _, _] | ["the", *_]:
                self.read_animal(sentence)
            case ["who" | "where" | "how", *_]:
                self.read_question(sentence)
            case _:
                self.style = STYLE[" ".join([*sentence, "."])]

    def read_count(self, who, verb, amount, noun):
        one = next(one for one, many in PLURALS.items() if noun in (one, many))
        assert noun == (one if amount == 1 else PLURALS[one])
        assert one == (self.item or one)
        self.item = one
        have = self.count.get(who, 0)
        if verb == "now":
            assert amount == have
        else:
            self.count[who] = have + amount if verb == "finds" else have - amount
        assert 1 <= self.count[who] <= len(NUMBERS)

    def read_animal(self, sentence):
        words = [word for word in sentence[1:] if word not in chances.ADJECTIVES]
        noun, verb = words[0], words[-1]
        assert (noun, verb) in VERBS
        assert len(words) == 2 or (words[1:3] == ["near", "the"] and words[3] in lab.WORLD.spots)

    def read_question(self, sentence):
        self.asked.append(sentence[0])
        match sentence:
            case ["who", "has", "the", colour, thing, "?", answer]:
                assert answer == self.holder[colour, thing]
            case ["where", "is", "the", colour, thing, "?", "in", "the", place]:
                assert place == self.where[self.holder[colour, thing]]
            case ["where", "is", who, "?", "in", "the", place]:
                assert place == self.where[who]
            case ["how", "many", nouns, "does", who, "have", "?", number]:
                assert nouns == PLURALS[self.item]
                assert number == NUMBERS[self.count[who] - 1]
            case _:
                raise AssertionError(f"an unknown question: {sentence}")


def sentences(story):
    sentence = []
    for word in story:
        if word == ".":
            yield sentence
            sentence = []
        else:
            sentence.append(word)
    assert not sentence


def play(story):
    reader = Reader()
    for sentence in sentences(story):
        assert reader.style is None, "a sentence after the ending"
        reader.read(sentence)
    return reader


@pytest.fixture(scope="module")
def text():
    return lab.sample(200_000, torch.Generator().manual_seed(11))


@pytest.fixture(scope="module")
def stories(text):
    return [story.split() for story in " ".join(text).split("<s>")[1:]]


@pytest.fixture(scope="module")
def readers(stories):
    return [play(story) for story in stories]


def test_every_story_is_free_of_contradictions_and_its_answers_are_right(readers):
    assert len(readers) > 2_000
    asked = Counter(question for reader in readers for question in reader.asked)
    assert min(asked[word] for word in ("who", "where", "how")) > 100


def test_every_story_asks_one_or_two_questions_and_ends_once(readers):
    assert {len(reader.asked) for reader in readers} == {1, 2}
    assert all(reader.style for reader in readers)


def test_the_reader_itself_finds_a_planted_contradiction():
    true = "anna is in the attic . ben is in the cellar . anna takes the red lamp . "
    play((true + "who has the red lamp ? anna .").split())
    for wrong in (
        "who has the red lamp ? ben .",
        "where is the red lamp ? in the cellar .",
        "anna gives the red lamp to ben .",
        "anna finds one coins .",
        "the dogs near the tree runs .",
    ):
        with pytest.raises(AssertionError):
            play((true + wrong).split())


def test_every_answer_is_certain(text):
    answering = answers = 0
    for word, options in zip(text, lab.distributions(text), strict=False):
        if answering:
            assert options == {word: 1.0}
            answers += 1
        answering = word == "?" or (answering and word != ".")
    assert answers > 5_000


def test_an_answer_reaches_back_over_many_sentences():
    story = (
        "<s> anna is in the attic . ben is in the cellar . anna takes the red lamp . "
        "ben finds two eggs . the old dog runs . ben goes to the garden . ben takes the blue key . "
        "who has the red lamp ?"
    ).split()
    assert lab.next_word(story) == {"anna": 1.0}
    story[story.index("takes") - 1] = "ben"
    assert lab.next_word(story) == {"ben": 1.0}


def test_the_verb_agrees_with_the_animal_and_not_with_its_neighbour():
    opening = "<s> anna is in the attic . ben is in the cellar . anna takes the red lamp . the "
    for noun, neighbour, many in (("dog", "gates", False), ("dogs", "gate", True)):
        verbs = lab.next_word((opening + f"{noun} near the {neighbour}").split())
        expected = {"run", "sleep", "wait"} if many else {"runs", "sleeps", "waits"}
        assert set(verbs) == expected


def test_only_true_facts_are_told(readers):
    told = {fact for reader in readers for fact in reader.facts}
    for name, verb, place in told:
        home = PEOPLE[name].home
        assert place == (home if verb == "lives" else lab.WORLD.lands[home])


def test_a_fact_is_told_if_and_only_if_it_has_a_weight(readers):
    told = Counter((name, verb) for reader in readers for name, verb, _ in reader.facts)
    for person in lab.WORLD.people:
        assert (told[person.name, "lives"] > 0) == (person.lives > 0)
        assert (told[person.name, "comes"] > 0) == (person.comes > 0)
    assert any(person.lives == 0 for person in lab.WORLD.people)


def test_how_a_story_ends_depends_on_who_opened_it(readers):
    ends = defaultdict(Counter)
    for reader in readers:
        ends[PEOPLE[reader.opener].manner][reader.style] += 1
    assert set(ends) == set(lab.WORLD.manners)
    for manner, counts in ends.items():
        total = counts.total()
        for style, share in zip(lab.WORLD.endings, lab.WORLD.manners[manner], strict=True):
            four_sigma = 4 * math.sqrt(share * (1 - share) / total)
            assert counts[style] / total == pytest.approx(share, abs=four_sigma)


# -- the world and its chances


def test_every_home_lies_in_a_land_and_every_manner_is_known():
    for person in lab.WORLD.people:
        assert person.home in lab.WORLD.lands
        assert person.manner in lab.WORLD.manners
    for weights in lab.WORLD.manners.values():
        assert sum(weights) == pytest.approx(1)
        assert len(weights) == len(lab.WORLD.endings)


def test_every_ending_is_known_by_its_first_word():
    firsts = [sentence.split()[0] for sentence in STYLE]
    assert len(set(firsts)) == len(firsts)
    for sentence in STYLE:
        first = sentence.split()[0]
        assert first + chances.ending_after(lab.WORLD, first) == sentence


def test_weights_become_chances_and_what_has_no_weight_is_left_out():
    assert chances.one_of(("a", "b")) == {"a": 0.5, "b": 0.5}
    assert chances.one_of(("a", "b", "c"), (3.0, 1.0, 0.0)) == {"a": 0.75, "b": 0.25}


def test_a_mixture_shares_the_chance_out():
    assert chances.mixture({"a": 1.0}, {"b": 0.5, "c": 0.5}, 0.2) == pytest.approx(
        {"a": 0.8, "b": 0.1, "c": 0.1}
    )


def test_nobody_can_give_or_lose_what_they_do_not_have():
    anna = PEOPLE["anna"]
    nothing = chances.verbs(anna, can_give=False, can_take=False, have=0)
    assert not {"gives", "takes", "loses", "now"} & set(nothing)
    full = chances.verbs(anna, can_give=True, can_take=True, have=len(NUMBERS))
    assert "finds" not in full
    assert {"gives", "takes", "loses", "now"} <= set(full)
