"""The lab's world: who lives in it, what they own, where they go, what is true, how they speak.

A world is data; the program that tells stories about it is in `stories.py`. A second domain of the
lab is another `World`, in `harbour.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

COUNTING = "one two three four five six seven eight nine ten eleven twelve"
NUMBERS = tuple(COUNTING.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody of the world, with two facts and how often stories state them.

    name: one word.
    home: the town where the person lives; the town's land is the second step.
    lives: weight of the sentence "NAME lives in HOME" (0: never stated anywhere).
    comes: weight of the sentence "NAME comes from LAND" (0: has to be worked out in two steps).
    manner: how stories opened by this person tend to end, a key of `World.manners`.
    """

    name: str
    home: str
    lives: float
    comes: float
    manner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Animal:
    """A kind of animal: its singular, its plural, the weight of each (singular, plural) verb."""

    one: str
    many: str
    weight: float
    verbs: tuple[tuple[tuple[str, str], float], ...]


OFTEN, RARELY, NEVER = 0.12, 0.01, 0.0


def people(*rows: tuple[str, str, float, float, str]) -> tuple[Person, ...]:
    """A Person for each row of (name, home, lives, comes, manner)."""
    fields = ("name", "home", "lives", "comes", "manner")
    return tuple(Person(**dict(zip(fields, row, strict=True))) for row in rows)


def _people() -> tuple[Person, ...]:
    return people(
        ("anna", "arden", OFTEN, OFTEN, "warm"),
        ("ben", "belmar", OFTEN, OFTEN, "warm"),
        ("cleo", "corvo", OFTEN, OFTEN, "even"),
        ("dan", "dunmore", OFTEN, NEVER, "even"),
        ("eva", "elsin", RARELY, RARELY, "even"),
        ("finn", "farrow", RARELY, NEVER, "cold"),
        ("gita", "belmar", NEVER, OFTEN, "warm"),
        ("hugo", "dunmore", NEVER, NEVER, "cold"),
    )


def _animals() -> tuple[Animal, ...]:
    sleep, sing, run, wait = (
        ("sleeps", "sleep"),
        ("sings", "sing"),
        ("runs", "run"),
        ("waits", "wait"),
    )
    return (
        Animal(one="dog", many="dogs", weight=0.4, verbs=((run, 0.6), (sleep, 0.2), (wait, 0.2))),
        Animal(one="cat", many="cats", weight=0.3, verbs=((sleep, 0.7), (wait, 0.2), (run, 0.1))),
        Animal(one="bird", many="birds", weight=0.2, verbs=((sing, 0.9), (wait, 0.1))),
        Animal(
            one="horse", many="horses", weight=0.1, verbs=((run, 0.5), (wait, 0.4), (sleep, 0.1))
        ),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """Everything that stories may mention; every word is one token. Never changed once made.

    items: singular and plural. lands: town -> land. endings: style -> closing sentences, each with
    a first word of its own. manners: manner -> weight of each style, in the order of `endings`.
    """

    people: tuple[Person, ...] = _people()
    places: tuple[str, ...] = ("kitchen", "garden", "cellar", "attic", "market", "station")
    things: tuple[str, ...] = ("key", "lamp", "book", "ring", "map", "drum")
    colours: tuple[str, ...] = ("red", "blue", "green", "white")
    items: tuple[tuple[str, str], ...] = (
        ("coin", "coins"),
        ("apple", "apples"),
        ("egg", "eggs"),
        ("shell", "shells"),
    )
    animals: tuple[Animal, ...] = _animals()
    spots: tuple[str, ...] = ("gate", "gates", "tree", "trees", "wall", "walls")
    lands: Mapping[str, str] = field(
        default_factory=lambda: {
            "arden": "norland",
            "belmar": "norland",
            "corvo": "ostland",
            "dunmore": "ostland",
            "elsin": "sudland",
            "farrow": "sudland",
        }
    )
    endings: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "kind": (
                "thank you , dear friend .",
                "please come again soon .",
                "stay well , friend .",
            ),
            "plain": ("that is all .", "here it ends ."),
            "rude": ("leave now , you fool .", "stop asking , lazy fool .", "get out of here ."),
        }
    )
    manners: Mapping[str, tuple[float, ...]] = field(
        default_factory=lambda: {
            "warm": (0.7, 0.2, 0.1),
            "even": (0.2, 0.6, 0.2),
            "cold": (0.1, 0.3, 0.6),
        }
    )
