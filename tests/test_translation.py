"""Every kind of sentence is translated by hand once; for the rest, what a translation must keep.

The hand examples name each velic word by its lab word in capitals; the dictionary is looked up
word by word and nothing else of the module is used.
"""

import pytest
import torch

from course_lm.finetuning.translation import MANY, dictionary, translate, velic_words
from course_lm.language import lab
from course_lm.language.world import NUMBERS

NAMES = {person.name for person in lab.WORLD.people}
KEPT = NAMES | {*lab.WORLD.lands, *lab.WORLD.lands.values(), ",", "."}  # names and signs


def velic(text):
    """LAMP is the velic word of lamp, KE the word for many; small words stay as they are."""
    return [
        MANY if word == "KE" else dictionary()[word.lower()] if word.isupper() else word
        for word in text.split()
    ]


def statements():
    """Every different statement of some stories."""
    text = " ".join(lab.sample(30_000, torch.Generator().manual_seed(2)))
    found = set()
    for story in text.split(lab.START)[1:]:
        for sentence in story.split(" . "):
            if "?" in sentence or sentence.split()[0] not in {*NAMES, "the", *ANIMAL_STARTS}:
                break
            found.add(f"{sentence.strip()} .")
    return sorted(found)


ANIMALS = {form: animal for animal in lab.WORLD.animals for form in (animal.one, animal.many)}
ANIMAL_STARTS = {*ANIMALS, "old", "young", "small"}
STATEMENTS = statements()


@pytest.mark.parametrize(
    ("sentence", "translation"),
    [
        ("anna is in the kitchen .", "anna KITCHEN IN IS ."),
        ("anna and ben are in the attic .", "anna AND ben ATTIC IN IS ."),
        ("cleo goes to the garden .", "cleo GARDEN TO GOES ."),
        ("dan and eva go to the cellar .", "dan AND eva CELLAR TO GOES ."),
        ("ben takes the red lamp .", "ben LAMP RED TAKES ."),
        ("anna gives the red lamp to ben .", "anna LAMP RED ben TO GIVES ."),
        ("finn finds one coin .", "finn COIN ONE FINDS ."),
        ("finn finds three coins .", "finn COIN THREE FINDS ."),
        ("gita loses two eggs .", "gita EGG TWO LOSES ."),
        ("hugo now has four shells .", "hugo NOW SHELL FOUR HAS ."),
        ("dan lives in dunmore .", "dan dunmore IN LIVES ."),
        ("dan lives in dunmore , a town in ostland .", "dan dunmore IN , TOWN ostland IN LIVES ."),
        ("cleo comes from ostland .", "cleo ostland FROM COMES ."),
        ("the dog runs .", "DOG RUNS ."),
        ("the dogs run .", "DOG KE RUNS ."),
        ("the old cat sleeps .", "CAT OLD SLEEPS ."),
        ("the young birds sing .", "BIRD KE YOUNG SINGS ."),
        ("the horse near the trees waits .", "HORSE TREE KE NEAR WAITS ."),
        ("the small horses near the wall wait .", "HORSE KE SMALL WALL NEAR WAITS ."),
        ("the old dogs near the gates sleep .", "DOG KE OLD GATE KE NEAR SLEEPS ."),
    ],
)
def test_each_kind_of_sentence_is_translated_as_by_hand(sentence, translation):
    assert translate(sentence.split()) == velic(translation)


def test_every_velic_word_is_new_and_no_two_are_alike():
    words = velic_words()
    assert len(set(words)) == len(words)
    assert set(words).isdisjoint(lab.vocabulary().tokens)


def test_only_forms_of_one_word_share_a_velic_word():
    shared = {}
    for word, other in dictionary().items():
        shared.setdefault(other, set()).add(word)
    forms = [set(pair) for pair in lab.WORLD.items]
    forms += [{animal.one, animal.many} for animal in lab.WORLD.animals]
    forms += [{*verb} for animal in lab.WORLD.animals for verb, _ in animal.verbs]
    forms += [
        {"gate", "gates"},
        {"tree", "trees"},
        {"wall", "walls"},
        {"is", "are"},
        {"go", "goes"},
    ]
    alike = [words for words in shared.values() if len(words) > 1]
    assert sorted(map(sorted, alike)) == sorted(
        {tuple(sorted(form)): sorted(form) for form in forms}.values()
    )


def test_every_word_of_a_statement_but_names_and_articles_has_a_translation():
    said = {word for sentence in STATEMENTS for word in sentence.split()}
    assert said - KEPT - {"the", "a"} == dictionary().keys() & said
    assert dictionary().keys() <= said | {*NUMBERS}  # and no word is there for nothing


def test_a_translation_holds_each_word_once_without_articles_and_a_word_for_many():
    for sentence in STATEMENTS:
        words = sentence.split()
        kept = [dictionary().get(word, word) for word in words if word not in ("the", "a")]
        many = [MANY for word in words if word in PLURALS]
        assert sorted(translate(words)) == sorted(kept + many), sentence


PLURALS = {animal.many for animal in lab.WORLD.animals} | {"gates", "trees", "walls"}
VERBS = "is are goes go takes gives finds loses has lives comes".split()
VERBS += [form for animal in lab.WORLD.animals for verb, _ in animal.verbs for form in verb]


def test_the_verb_stands_last_and_the_word_for_many_behind_its_noun():
    nouns = {dictionary()[word] for word in PLURALS}
    verbs = {dictionary()[word] for word in VERBS}
    for sentence in STATEMENTS:
        *said, verb, stop = translate(sentence.split())
        assert stop == "."
        assert verb in verbs
        assert verbs.isdisjoint(said)
        assert all(said[i - 1] in nouns for i, word in enumerate(said) if word == MANY)


def test_no_two_statements_have_one_translation():
    assert len({tuple(translate(sentence.split())) for sentence in STATEMENTS}) == len(STATEMENTS)


def undone(words):
    """The lab's order again: each part that follows its noun is put before it."""
    back = {velic: lab for lab, velic in reversed(dictionary().items())}
    adjectives = {*lab.WORLD.colours, *NUMBERS, "old", "young", "small"}
    *said, verb, _ = [back.get(word, word) for word in words]
    groups = []  # [what stands before, the noun, many]
    for word in said:
        if word in adjectives:
            groups[-1][0].append(word)
        elif word in ("in", "to", "from", "near"):
            groups[-1][0].insert(0, word)
        elif word == MANY:
            groups[-1][2] = True
        else:
            groups.append([[], word, False])
    return groups, verb


def test_the_order_of_the_lab_comes_back_from_velic_by_its_rules():
    for sentence in STATEMENTS:
        groups, _ = undone(translate(sentence.split()))
        one_of = {many: one for one, many in lab.WORLD.items}
        one_of |= {form: animal.one for form, animal in ANIMALS.items()}
        one_of |= {"gates": "gate", "trees": "tree", "walls": "wall"}
        flat = [word for before, noun, _ in groups for word in (*before, noun)]
        dropped = {"the", "a", ".", *VERBS}
        plain = [one_of.get(word, word) for word in sentence.split() if word not in dropped]
        assert flat == plain, sentence
