"""Four tasks in the lab language: a prompt, and the one response that is right.

    <s> TEXT task QUESTION [reply]   ->   RESPONSE [end]

| task | text | response |
|---|---|---|
| summarise | a story | where both people are in the end, and who holds what |
| answer | a story | to who, what, where or how many |
| translate | one to three sentences | the same in velic |
| reason | who finds and loses how many | every sum written out, then the number |
| solve | the same texts as `reason` | the number alone |

Held out is held out by *structure*: no training example holds a pair of people (stories), a person
with a thing or place (translation) or two sums in a row (reasoning) that a test example is chosen
for. Longer texts and larger numbers than any in training are a part of their own, "beyond".
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch

from course_lm.language.chances import QUESTIONS, draw, drawn, one_of
from course_lm.language.lab import START, WORLD, sentences, vocabulary
from course_lm.language.stories import Program, Scene, counting, story
from course_lm.language.tokens import Vocabulary
from course_lm.language.world import NUMBERS

from .translation import translate, velic_words

REPLY, END = "[reply]", "[end]"
ASKED = ("summarise", "answer", "translate", "reason", "solve")
NEW_WORDS = (*ASKED, REPLY, END, "what", "nothing", "so", *velic_words())
PARTS = ("train", "test", "beyond")
LONGEST = {"summarise": 6, "answer": 6, "translate": 3, "reason": 4, "solve": 4}
NAMES = tuple(person.name for person in WORLD.people)
OBJECTS = (*WORLD.places, *WORLD.things, *(form for item in WORLD.items for form in item))
LARGEST = 9  # number in a reply, of training and test
EVERY = 5  # about one structure in so many is held out


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A task, and what is right.

    task: one of ASKED. prompt: START to REPLY. response: up to END. size: sentences of a story or
    translation, sums of a reasoning. held_out: it holds a structure kept for tests.
    """

    task: str
    prompt: tuple[str, ...]
    response: tuple[str, ...]
    size: int
    held_out: bool

    @property
    def largest(self) -> int:
        """The largest number that the response names, 0 where it names none."""
        return max(
            (NUMBERS.index(word) + 1 for word in self.response if word in NUMBERS), default=0
        )

    @property
    def part(self) -> str:
        """Where it belongs, one of PARTS."""
        if self.size > LONGEST[self.task] or self.largest > LARGEST:
            return "beyond"
        return "test" if self.held_out else "train"


@cache
def task_vocabulary() -> Vocabulary:
    """The words of the lab with the ids they have, then those of the tasks."""
    return Vocabulary([*vocabulary().tokens, *NEW_WORDS])


def examples(task: str, count: int, rng: torch.Generator, part: str = "train") -> list[Example]:
    """Draw `count` different examples of a task for one of PARTS; ValueError for any other."""
    if task not in ASKED or part not in PARTS:
        raise ValueError(
            f"examples: expected a task of {', '.join(ASKED)} and a part of {', '.join(PARTS)}, "
            f"got {task!r} and {part!r}; choose from these"
        )
    # A stream of its own: with another text's seed, that text's stories would come again.
    own = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=rng)))
    make, chances, found = MAKERS[task], drawn(own), {}
    while len(found) < count:
        example = make(chances)
        if example.part == part:
            found[example.prompt] = example
    return list(found.values())


def run(program: Program, chances: Iterator[float]) -> tuple[list[str], Scene | None]:
    """All words that a program says when it is told what is drawn, and what it returns."""
    words, options = [], next(program)
    try:
        while True:
            words.append(draw(options, chances))
            options = program.send(words[-1])
    except StopIteration as end:
        return words, end.value


def told(chances: Iterator[float]) -> tuple[list[tuple[str, ...]], Scene]:
    """The statements of a new story, before its first question, and how things stand then."""
    words, scene = run(story(WORLD), chances)
    every = sentences(words)
    first = next(i for i, sentence in enumerate(every) if sentence[0] in QUESTIONS)
    return every[:first], scene


def summarise(chances: Iterator[float]) -> Example:
    """Where both people are in the end, and who holds what; in the order of their first mention."""
    said, scene = told(chances)
    (one, first), (two, second) = scene.place.items()
    if first == second:
        where = f"{one} and {two} are in the {first} ."
    else:
        where = f"{one} is in the {first} . {two} is in the {second} ."
    holds = (f"{scene.holder[c]} has the {c} {thing} ." for c, thing in scene.thing.items())
    return about_a_story("summarise", said, scene, "", " ".join((where, *holds)))


def answer(chances: Iterator[float]) -> Example:
    """Who has a thing, what somebody has, where somebody or something is, how many they have."""
    said, scene = told(chances)
    return about_a_story("answer", said, scene, *question(scene, chances))


def question(scene: Scene, chances: Iterator[float], weights: tuple = ()) -> tuple[str, str]:
    """A question about how things stand, and what is right; weights: of who, what, where, thing."""
    colour = draw(one_of(tuple(scene.thing)), chances)
    person = draw(one_of(tuple(scene.place)), chances)
    thing, counted = scene.thing[colour], tuple(scene.count)
    kinds = ("who", "what", "where", "thing", *(("how",) if counted else ()))
    match draw(one_of(kinds, weights), chances):
        case "who":
            pair = f"who has the {thing} ?", scene.holder[colour]
        case "what":
            held = [f"the {c} {scene.thing[c]}" for c in scene.held_by(person)]
            pair = f"what does {person} have ?", " and ".join(held) or "nothing"
        case "where":
            pair = f"where is {person} ?", f"in the {scene.place[person]}"
        case "thing":
            pair = f"where is the {thing} ?", f"in the {scene.place[scene.holder[colour]]}"
        case "how":
            owner = draw(one_of(counted), chances)
            number = NUMBERS[scene.count[owner] - 1]
            pair = f"how many {scene.item[1]} does {owner} have ?", number
    return pair[0], f"{pair[1]} ."


def about_a_story(task: str, said: list, scene: Scene, question: str, response: str) -> Example:
    """The example of a text whose sentences are `said`, kept for tests by its pair of people."""
    one, two = (NAMES.index(person.name) for person in scene.cast)
    prompt = _prompt([word for sentence in said for word in sentence], task, question)
    kept, reply = (one + two) % EVERY == 0, (*response.split(), END)
    return Example(task=task, prompt=prompt, response=reply, size=len(said), held_out=kept)


def _prompt(text: Sequence[str], task: str, question: str = "") -> tuple[str, ...]:
    return (START, *text, task, *question.split(), REPLY)


def translation(chances: Iterator[float]) -> Example:
    """One to five sentences that follow one another in a story, in velic."""
    said, _ = told(chances)
    size = draw(one_of((1, 2, 3, 4, 5)), chances)
    begin = draw(one_of(tuple(range(max(1, len(said) - size + 1)))), chances)
    text = said[begin : begin + size]
    pairs = [(n, o) for s in text for n in s if n in NAMES for o in s if o in OBJECTS]
    held_out = any((NAMES.index(n) + OBJECTS.index(o)) % EVERY == 0 for n, o in pairs)
    velic = [word for sentence in text for word in translate(sentence)]
    return Example(
        task="translate",
        prompt=_prompt(sum(text, ()), "translate"),
        response=(*velic, END),
        size=len(text),
        held_out=held_out,
    )


def reasoning(chances: Iterator[float], task: str = "reason") -> Example:
    """One person, or two, find and lose things, never twice alike: how many has the one then?"""
    one = draw(one_of(NAMES), chances)
    two = draw(one_of(tuple(name for name in NAMES if name != one)), chances)
    size, others = draw(one_of((2, 3, 4, 5, 6)), chances), draw(one_of((0, 1, 2)), chances)
    turns = sorted([one] * size + [two] * others, key=lambda _: next(chances))
    scene, totals = Scene(WORLD), {one: [0], two: [0]}
    text, steps = [], []
    for subject in turns:
        have = totals[subject][-1]
        verb = draw(one_of(("finds", "loses"), (0.6 * (have < 12), 0.4 * (have > 1))), chances)
        words, _ = run(counting(scene, subject, verb), chances)
        text += [subject, verb, *words]
        totals[subject].append(scene.count[subject])
        if subject == one:
            steps += [verb, words[0], "so", NUMBERS[scene.count[one] - 1], "."]
    if len({*zip(text[1::5], text[2::5], strict=True)}) < len(turns):  # two events alike
        return reasoning(chances, task)
    in_a_row = zip(totals[one], totals[one][1:], totals[one][2:], strict=False)
    return Example(
        task=task,
        prompt=_prompt(text, task, f"how many {scene.item[1]} does {one} have ?"),
        response=(*(steps if task == "reason" else ()), *steps[-2:], END),
        size=size,
        held_out=any((a + 2 * b + 2 * c) % EVERY == 0 for a, b, c in in_a_row),
    )


MAKERS: dict[str, Callable[[Iterator[float]], Example]] = {
    "summarise": summarise,
    "answer": answer,
    "translate": translation,
    "reason": reasoning,
    "solve": lambda chances: reasoning(chances, "solve"),
}
