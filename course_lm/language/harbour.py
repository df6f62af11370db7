"""A second domain of the lab: the harbour, told in the grammar of the first world.

Sentences, numbers and adjectives are shared, and a few names, things, colours, items and animals.
What is true of them is not: anna has another home, and the dog, which runs in the first world,
waits and sleeps. No place is shared, so no story of one world is possible in the other.
"""

from .world import NEVER, OFTEN, RARELY, Animal, World, people

_CALL, _DIVE, _SLEEP, _WAIT = (
    ("calls", "call"),
    ("dives", "dive"),
    ("sleeps", "sleep"),
    ("waits", "wait"),
)

HARBOUR = World(
    people=people(
        ("anna", "marin", OFTEN, OFTEN, "cold"),
        ("ben", "nessel", OFTEN, NEVER, "even"),
        ("ida", "marin", OFTEN, OFTEN, "warm"),
        ("jon", "orlin", OFTEN, OFTEN, "warm"),
        ("kira", "pelham", OFTEN, NEVER, "even"),
        ("leo", "quarr", RARELY, RARELY, "even"),
        ("mona", "rosvik", NEVER, OFTEN, "cold"),
        ("nils", "orlin", NEVER, NEVER, "warm"),
    ),
    places=("harbour", "lighthouse", "deck", "beach", "cabin", "bridge"),
    things=("lamp", "map", "rope", "net", "anchor", "bell"),
    colours=("red", "white", "black", "yellow"),
    items=(("coin", "coins"), ("shell", "shells"), ("crab", "crabs"), ("pearl", "pearls")),
    animals=(
        Animal(one="gull", many="gulls", weight=0.4, verbs=((_CALL, 0.6), (_DIVE, 0.4))),
        Animal(one="seal", many="seals", weight=0.3, verbs=((_SLEEP, 0.5), (_DIVE, 0.5))),
        Animal(one="dog", many="dogs", weight=0.2, verbs=((_WAIT, 0.8), (_SLEEP, 0.2))),
        Animal(one="goose", many="geese", weight=0.1, verbs=((_CALL, 0.7), (_WAIT, 0.3))),
    ),
    spots=("boat", "boats", "rock", "rocks", "wall", "walls"),
    lands={
        "marin": "westland",
        "nessel": "westland",
        "orlin": "ostland",
        "pelham": "ostland",
        "quarr": "skerland",
        "rosvik": "skerland",
    },
    endings={
        "kind": ("fair winds , dear friend .", "come aboard again soon .", "sail well , friend ."),
        "plain": ("that is all .", "so it ends ."),
        "rude": ("off my deck , you fool .", "row away , lazy fool .", "no more of this ."),
    },
)
