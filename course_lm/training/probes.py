"""What has a model learned? Questions in the lab language, each with one right answer.

A probe is a list of choices: after a beginning, which of several continuations does the model hold
for the likeliest? Nothing is trained and nothing is generated. `measure(model, lab_probes(rng))`
gives the share of right choices of each probe; chance and the lab's own Truth are its limits.

Source: Warstadt 2020 (BLiMP: pairs of sentences that differ in one thing); Petroni 2019 (facts
asked by letting a model fill in the end).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from course_lm.language import lab
from course_lm.language.world import NUMBERS, World
from course_lm.models.contract import Model

LONGEST, ROWS = 64, 64  # words of a beginning; texts that are read at once
SAMPLE, MOST_SAMPLES = 4_000, 120  # words drawn at once, and how often at most
OFTEN = 0.05  # weight of a fact that is stated often
HELD_OUT_SUMS = frozenset({(1, 4), (2, 3), (2, 5), (3, 3), (4, 2), (4, 5), (5, 3)})  # (have, finds)


@dataclass(frozen=True, slots=True)
class Choice:
    """After `prompt`, the first of the `options` is right; all are rows of ids."""

    prompt: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]


Probes = Mapping[str, Sequence[Choice]]


def measure(model: Model, probes: Probes) -> dict[str, float]:
    """Share of choices in which the right option has the highest log P(option | prompt).

    Where it shares the first place with others it counts as 1 over how many they are, so that a
    model that prefers nothing is at chance.
    """
    log_probs = option_log_probs(model, [choice for group in probes.values() for choice in group])
    if torch.cat(log_probs).isnan().any():
        raise ValueError("measure: expected log P of each option, got nan; take a sound model")
    rows = iter(log_probs)
    shares = {}
    for name, group in probes.items():
        won = 0.0
        for _ in group:
            right, *others = next(rows).tolist()
            won += (right >= max(others)) / (1 + others.count(right))
        shares[name] = won / len(group)
    return shares


def chance(choices: Sequence[Choice]) -> float:
    """Share of right choices of someone who guesses."""
    return sum(1 / len(choice.options) for choice in choices) / len(choices)


@torch.no_grad()
def option_log_probs(model: Model, choices: Sequence[Choice]) -> list[torch.Tensor]:
    """Σ log P(word | all before) over the words of each option, in nats: (options,) per choice.

    Every text is read once, although options may share it.
    """
    if not choices or any(len(c.options) < 2 or not all(c.options) for c in choices):
        raise ValueError(
            "probes: expected choices of at least two options, none of them empty, got fewer; "
            "give a right and a wrong continuation"
        )
    texts = {c.prompt + option[:-1]: None for c in choices for option in c.options}
    known: dict[tuple[int, ...], torch.Tensor] = {}
    ordered = sorted(texts, key=len)
    for begin in range(0, len(ordered), ROWS):
        part = ordered[begin : begin + ROWS]
        rows = torch.zeros(len(part), len(part[-1]), dtype=torch.long)
        for row, text in zip(rows, part, strict=True):
            row[: len(text)] = torch.tensor(text)
        logs = model(rows).float().log_softmax(-1)
        known |= {text: row[: len(text)] for text, row in zip(part, logs, strict=True)}
    return [torch.stack([_sum(known, c.prompt, o) for o in c.options]) for c in choices]


def _sum(known: Mapping, prompt: tuple[int, ...], option: tuple[int, ...]) -> torch.Tensor:
    logs = known[prompt + option[:-1]][len(prompt) - 1 :]
    return logs.gather(-1, torch.tensor(option)[:, None]).sum()


def lab_probes(rng: torch.Generator, count: int = 40, world: World = lab.WORLD) -> Probes:
    """Up to `count` choices for each probe, out of new stories; at most one a story and probe."""
    vocabulary = lab.vocabulary(world)
    probes: dict[str, list[Choice]] = {name: [] for name in NAMES}
    for _ in range(MOST_SAMPLES):
        for story in stories(lab.sample(SAMPLE, rng, world)):
            asked = dict(_questions(story, world, rng))  # the last one of each name
            for name, (prompt, options) in asked.items():
                if len(prompt) <= LONGEST and len(probes[name]) < count:
                    texts = [prompt, *(option.split() for option in options)]
                    prompt_ids, *ends = (tuple(vocabulary.ids_of(text)) for text in texts)
                    probes[name].append(Choice(prompt_ids, tuple(ends)))
        if all(len(group) == count for group in probes.values()):
            break
    return {name: tuple(group) for name, group in probes.items() if group}


def stories(words: Sequence[str]) -> Iterator[list[str]]:
    """The stories of a text, each from START to before the next."""
    begins = [place for place, word in enumerate(words) if word == lab.START]
    for begin, end in pairwise([*begins, len(words)]):
        yield list(words[begin:end])


def without_sums(words: Sequence[str]) -> list[str]:
    """The text without the stories in which somebody who has k finds n, (k, n) in HELD_OUT_SUMS."""
    kept = [s for s in stories(words) if not any(sum_ in HELD_OUT_SUMS for sum_ in _sums(s))]
    return [word for story in kept for word in story]


NAMES = tuple(
    "agreement; agreement, far; word order; home, often; home, rarely; home, never; land, stated; "
    "land, two steps; who has it; where is it; counting; counting, new".split("; ")
)
Question = tuple[str, tuple[list[str], Sequence[str]]]  # name, (prompt, options)


def _questions(story: list[str], world: World, rng: torch.Generator) -> Iterator[Question]:
    yield from _agreement(story, world)
    yield _order(story, rng)
    yield from _facts(story, world)
    yield from _memory(story, world)
    yield from _counting(story)


def _agreement(story: list[str], world: World) -> Iterator[Question]:
    """ "the small dogs near the gate": run, not runs."""
    forms = {f: pair for animal in world.animals for pair, _ in animal.verbs for f in pair}
    number = {form: k for a in world.animals for k, form in enumerate((a.one, a.many))}
    for place, word in enumerate(story):
        if word in forms:
            near = story[place - 3] == "near"
            many = number[story[place - 4 if near else place - 1]]
            pair = forms[word]
            if not near:
                yield "agreement", (story[:place], (word, pair[1 - many]))
            elif story[place - 1].endswith("s") != bool(many):
                yield "agreement, far", (story[:place], (word, pair[1 - many]))


def _order(story: list[str], rng: torch.Generator) -> Question:
    """A sentence as it stands, and with two neighbours swapped."""
    ends = [place + 1 for place, word in enumerate(story) if word == "."]
    spans = [(a, b) for a, b in pairwise([1, *ends]) if "?" not in story[a:b] and b - a > 2]
    begin, end = spans[int(torch.randint(len(spans), (), generator=rng))]
    right = story[begin:end]
    at = int(torch.randint(len(right) - 2, (), generator=rng))
    wrong = [*right[:at], right[at + 1], right[at], *right[at + 2 :]]
    return "word order", (story[:begin], (" ".join(right), " ".join(wrong)))


def _facts(story: list[str], world: World) -> Iterator[Question]:
    """Home and land of the one who opened the story, asked after its first deed."""
    person = next(person for person in world.people if person.name == story[1])
    prompt = [*story[: story.index("takes") + 5], person.name]
    homes = sorted(world.lands, key=lambda town: town != person.home)
    right = world.lands[person.home]
    lands = [right, *(land for land in dict.fromkeys(world.lands.values()) if land != right)]
    often = "never" if not person.lives else "often" if person.lives > OFTEN else "rarely"
    yield f"home, {often}", ([*prompt, "lives", "in"], homes)
    if person.comes:
        yield "land, stated", ([*prompt, "comes", "from"], lands)
    elif person.lives:  # the town is stated, and the town's land
        yield "land, two steps", ([*prompt, "comes", "from"], lands)


def _memory(story: list[str], world: World) -> Iterator[Question]:
    """Who has a thing, and where it is: with whoever has it, in two steps."""
    names = {person.name for person in world.people}
    cast = list(dict.fromkeys(word for word in story if word in names))
    for place, word in enumerate(story):
        if word != "?" or story[place - 3] != "the":  # "who has the red lamp ?"
            continue
        asked = story[place - 5]
        end, all_ = (place + 1, cast) if asked == "who" else (place + 3, world.places)
        options = sorted(all_, key=lambda option, right=story[end]: option != right)
        yield "who has it" if asked == "who" else "where is it", (story[:end], options)


def _counting(story: list[str]) -> Iterator[Question]:
    """How many there are after somebody who had some found more."""
    last: dict[str, tuple[int, int]] = {}
    for place, owner, change, have in _counts(story):
        if change is not None:
            last[owner] = (have, change)
        elif last[owner][0] > 0 < last[owner][1]:
            right = story[place]
            others = [number for number in NUMBERS if number != right]
            new = "counting, new" if last[owner] in HELD_OUT_SUMS else "counting"
            yield new, (story[:place], (right, *others))


def _counts(story: list[str]) -> Iterator[tuple[int, str, int | None, int]]:
    """(place of a number, its owner, change or None where it is told, had before it)."""
    count: dict[str, int] = {}
    for place, word in enumerate(story[:-1]):  # the last one tells nothing more
        if word in ("finds", "loses"):
            owner, sign = story[place - 1], 1 if word == "finds" else -1
            change = sign * (NUMBERS.index(story[place + 1]) + 1)
            yield place + 1, owner, change, count.get(owner, 0)
            count[owner] = count.get(owner, 0) + change
        elif story[place : place + 2] == ["now", "has"]:
            yield place + 2, story[place - 1], None, count[story[place - 1]]
        elif word == "does":
            yield place + 4, story[place + 1], None, count[story[place + 1]]


def _sums(story: list[str]) -> Iterator[tuple[int, int]]:
    yield from ((have, change) for _, _, change, have in _counts(story) if change is not None)
