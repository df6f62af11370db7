"""The stories of the lab: a program that yields the distribution of its next word and is told it.

    word = yield {"anna": 0.5, "ben": 0.5}

Every choice shows at once in a word, so what the program has been told fixes what it yields next.
Read `story` first: one function a sentence, in the order in which a story uses them.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from .chances import (
    ADJECTIVES,
    QUESTIONS,
    Distribution,
    after_an_answer,
    animal_starts,
    ending_after,
    ending_starts,
    nouns,
    one_of,
    questions,
    sentence_starts,
    verbs,
)
from .world import NUMBERS, Person, World

START = "<s>"
GRAMMAR = (
    ". , ? is are in the and goes go to takes gives finds loses now has lives comes from a town "
    "near who where how many does have"
)
FEWEST_EVENTS, MOST_EVENTS = 3, 7

Program = Generator[Distribution, str, Any]


@dataclass(slots=True)
class Scene:
    """What a story has said so far. Things are known by their colour: no two share one."""

    world: World
    cast: tuple[Person, ...] = ()  # two people; the first opened the story
    place: dict[str, str] = field(default_factory=dict)  # person -> place
    thing: dict[str, str] = field(default_factory=dict)  # colour -> thing
    holder: dict[str, str] = field(default_factory=dict)  # colour -> person
    item: tuple[str, str] = ()  # singular and plural of what is counted
    count: dict[str, int] = field(default_factory=dict)  # person -> how many items

    def held_by(self, person: str) -> tuple[str, ...]:
        """Colours of the things that a person holds."""
        return tuple(colour for colour, holder in self.holder.items() if holder == person)


def say(text: str) -> Program:
    """Words that follow one another with probability 1."""
    for word in text.split():
        yield {word: 1.0}


def language(world: World) -> Program:
    """The whole language: stories without end, each opened by START."""
    while True:
        yield from say(START)
        yield from story(world)


def story(world: World) -> Program:
    """Two people meet, one takes something, up to seven events, questions, an ending; the Scene."""
    scene = Scene(world)
    yield from opening(scene)
    subject = yield one_of(tuple(scene.place))
    yield from say("takes")
    yield from taking(scene, subject)
    for events in range(1, MOST_EVENTS):
        word = yield sentence_starts(tuple(scene.place), events >= FEWEST_EVENTS, bool(scene.item))
        if word in QUESTIONS:
            break
        yield from (animals(world) if word == "the" else deed(scene, word))
    else:
        word = yield questions(bool(scene.item))
    yield from answered(scene, word)
    word = yield after_an_answer(world, scene.cast[0].manner, bool(scene.item))
    if word in QUESTIONS:
        yield from answered(scene, word)
        word = yield ending_starts(world, scene.cast[0].manner)
    yield from say(ending_after(world, word))
    return scene


def opening(scene: Scene) -> Program:
    """ "A is in the P . B is in the Q ." or "A and B are in the P ." """
    people = {person.name: person for person in scene.world.people}
    first = yield one_of(tuple(people))
    verb = yield one_of(("is", "and"), (0.6, 0.4))
    others = one_of(tuple(name for name in people if name != first))
    if verb == "is":
        yield from say("in the")
        scene.place[first] = yield one_of(scene.world.places)
        yield from say(".")
        second = yield others
        yield from say("is in the")
        scene.place[second] = yield one_of(scene.world.places)
    else:
        second = yield others
        yield from say("are in the")
        scene.place[first] = scene.place[second] = yield one_of(scene.world.places)
    yield from say(".")
    scene.cast = (people[first], people[second])


def deed(scene: Scene, subject: str) -> Program:
    """What somebody of the scene does, or a fact about them."""
    first, second = scene.cast
    person, other = (first, second.name) if subject == first.name else (second, first.name)
    gift = scene.held_by(subject) if scene.place[subject] == scene.place[other] else ()
    verb = yield verbs(person, bool(gift), len(scene.thing) < 2, scene.count.get(subject, 0))
    match verb:
        case "goes":
            yield from say("to the")
            elsewhere = tuple(p for p in scene.world.places if p != scene.place[subject])
            scene.place[subject] = yield one_of(elsewhere)
            yield from say(".")
        case "and":
            yield from say(f"{other} go to the")
            scene.place[subject] = scene.place[other] = yield one_of(scene.world.places)
            yield from say(".")
        case "takes":
            yield from taking(scene, subject)
        case "gives":
            yield from say("the")
            colour = yield one_of(gift)
            yield from say(f"{scene.thing[colour]} to {other} .")
            scene.holder[colour] = other
        case "finds" | "loses" | "now":
            yield from counting(scene, subject, verb)
        case "lives" | "comes":
            yield from fact(scene.world, person, verb)


def taking(scene: Scene, subject: str) -> Program:
    """ "the red lamp ." """
    yield from say("the")
    colour = yield one_of(tuple(c for c in scene.world.colours if c not in scene.thing))
    taken = scene.thing.values()
    thing = yield one_of(tuple(t for t in scene.world.things if t not in taken))
    scene.thing[colour], scene.holder[colour] = thing, subject
    yield from say(".")


def counting(scene: Scene, subject: str, verb: str) -> Program:
    """ "finds two coins", "loses one coin", "now has three coins"; at most twelve in all."""
    have = scene.count.get(subject, 0)
    if verb == "now":
        yield from say(f"has {amount_of(scene.item, have)} .")
        return
    most = min(5, len(NUMBERS) - have) if verb == "finds" else min(3, have - 1)
    amount = NUMBERS.index((yield one_of(NUMBERS[:most]))) + 1
    if scene.item:
        yield from say(scene.item[amount > 1])
    else:
        form = yield one_of(tuple(item[amount > 1] for item in scene.world.items))
        scene.item = next(item for item in scene.world.items if form in item)
    scene.count[subject] = have + amount if verb == "finds" else have - amount
    yield from say(".")


def amount_of(item: tuple[str, str], amount: int) -> str:
    """ "one coin", "two coins"."""
    return f"{NUMBERS[amount - 1]} {item[amount > 1]}"


def fact(world: World, person: Person, verb: str) -> Program:
    """ "lives in arden .", "lives in arden , a town in norland ." or "comes from norland ." """
    land = world.lands[person.home]
    if verb == "comes":
        yield from say(f"from {land} .")
        return
    yield from say(f"in {person.home}")
    if (yield one_of((",", "."))) == ",":
        yield from say(f"a town in {land} .")


def animals(world: World) -> Program:
    """ "small dogs near the gate run .": the verb agrees with the animal, not with the gate."""
    word = yield animal_starts(world)
    if word in ADJECTIVES:
        word = yield nouns(world)
    animal = next(animal for animal in world.animals if word in (animal.one, animal.many))
    forms = tuple(pair[word == animal.many] for pair, _ in animal.verbs)
    weights = tuple(weight for _, weight in animal.verbs)
    if (yield one_of(("near", *forms), (1.0, *weights))) == "near":
        yield from say("the")
        yield one_of(world.spots)
        yield one_of(forms, weights)
    yield from say(".")


def answered(scene: Scene, word: str) -> Program:
    """A question that begins with `word`, and its answer, which the story makes certain."""
    match word:
        case "who":
            yield from say("has the")
            colour = yield one_of(tuple(scene.thing))
            yield from say(f"{scene.thing[colour]} ? {scene.holder[colour]} .")
        case "where":
            yield from say("is")
            asked = yield one_of((*scene.place, "the"), (1.0, 1.0, 2.0))
            if asked == "the":
                colour = yield one_of(tuple(scene.thing))
                yield from say(scene.thing[colour])
                asked = scene.holder[colour]
            yield from say(f"? in the {scene.place[asked]} .")
        case "how":
            yield from say(f"many {scene.item[1]} does")
            owner = yield one_of(tuple(scene.count))
            yield from say(f"have ? {NUMBERS[scene.count[owner] - 1]} .")
