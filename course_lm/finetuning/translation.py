"""Velic, a second small language with another word order, and the one right translation into it.

    anna gives the red lamp to ben .   ->   anna LAMP RED ben TO GIVE .

(LAMP stands for the velic word.) The verb comes last; what describes a noun follows it, and so do
"in", "to", "from" and "near"; there is no article. A verb has one form for one and for many; many
animals or things without a number are followed by a word of their own. Names stay as they are.
"""

from collections.abc import Sequence
from functools import cache

from course_lm.language.chances import ADJECTIVES
from course_lm.language.lab import WORLD
from course_lm.language.world import NUMBERS

FIRST, SECOND, VOWELS = "bdfgklprstvz", "mnrlvsk", "aeiou"  # of the made-up words
MANY = "ke"
PLACING, ARTICLES = ("in", "to", "from", "near"), ("the", "a")
BEHIND = (*WORLD.colours, *ADJECTIVES, *NUMBERS, *PLACING)  # they follow their noun
PLURALS = {animal.many: animal.one for animal in WORLD.animals}
PLURALS |= {one + "s": one for one in WORLD.spots if one + "s" in WORLD.spots}
VERB_FORMS = {"are": "is", "go": "goes"}
VERB_FORMS |= {many: one for animal in WORLD.animals for (one, many), _ in animal.verbs}
VERBS = (*dict.fromkeys(VERB_FORMS.values()), *"takes gives finds loses has lives comes".split())


@cache
def dictionary() -> dict[str, str]:
    """Lab word -> velic word; words that differ in number alone share one."""
    one_of = {many: one for one, many in WORLD.items} | PLURALS | VERB_FORMS
    nouns = (*WORLD.places, *WORLD.things, *dict.fromkeys(one_of.values()))
    own = dict.fromkeys((*nouns, *BEHIND, *VERBS, "and", "now", "town"))
    words = {word: _syllables(index) for index, word in enumerate(own)}
    return words | {many: words[one] for many, one in one_of.items()}


def velic_words() -> tuple[str, ...]:
    """Every word that velic does not share with the lab."""
    return (*dict.fromkeys(dictionary().values()), MANY)


def translate(sentence: Sequence[str]) -> list[str]:
    """One statement of the lab in velic, both with their full stop.

    >>> " ".join(translate("small dogs near the gate run .".split()))
    'kuse ke zeki sore gomu deli .'
    """
    said, verb, waiting = [], [], []  # waiting: what will stand behind the next noun
    for word in sentence:
        velic = dictionary().get(word, word)
        if word in BEHIND:
            waiting.insert(0, velic)
        elif word in VERBS or word in VERB_FORMS:
            verb = [velic]
        elif word == ".":
            said += [*verb, "."]
        elif word not in ARTICLES:
            said += [velic, *([MANY] if word in PLURALS else []), *waiting]
            waiting = []
    return said


def _syllables(index: int) -> str:
    """Two syllables that no other index has."""
    row, column = divmod(index, len(FIRST))
    second = (row + column) % len(SECOND)
    return FIRST[column] + VOWELS[column % 5] + SECOND[second] + VOWELS[row % 5]
