"""Make the assistant that the course ships, and its card: the foundation, tuned on all tasks.

    python -m course_lm.classroom.assistant

It takes a quarter of an hour on one core. Lesson 09 shows it, lessons 10 and 11 start from it.
First come drills, the shortest texts and sums, until the model can look up what is told of whom.
Then all tasks, the drills among them; kinds of request that are rare and hard come more often than
chance has them. A scaffold (`finetuning.scaffold`) stands in both, but in translations.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from course_lm.finetuning.scaffold import Halfway, WordIds, half_labels, with_half
from course_lm.finetuning.supervised import (
    exact_match,
    packed,
    response_labels,
    with_more_words,
)
from course_lm.finetuning.tasks import (
    ASKED,
    END,
    NAMES,
    NEW_WORDS,
    REPLY,
    Example,
    about_a_story,
    examples,
    question,
    run,
    task_vocabulary,
)
from course_lm.language import lab
from course_lm.language.chances import draw, drawn, one_of
from course_lm.language.stories import Scene, opening, taking
from course_lm.language.windows import Batch, mixture, story_pairs
from course_lm.language.world import NUMBERS
from course_lm.models.transformer import Transformer
from course_lm.training.checkpoints import load, save
from course_lm.training.loop import Recipe, evaluate, train

from .foundation import BATCH, FOLDER, ROW, START, made, new_stories, story_batches

VOCABULARY = task_vocabulary()
DRILL, DRILLS = Recipe(steps=2000, rate=0.01, matrix_rate=0.02), 40_000
RECIPE = Recipe(steps=9000, rate=0.008, matrix_rate=0.016)
COUNT = {
    "summarise": 28_000,
    "answer": 36_000,
    "translate": 24_000,
    "reason": 34_000,
    "solve": 8000,
}
HARD = (("answer", "what", 2 / 11), ("answer", "who", 2 / 11), ("summarise", "are", 1 / 11))
AGAIN = 10 / 11  # drills among all tasks; this and the parts of HARD are shares of the answers
SCAFFOLD, HALF = 1.0, 2  # weight of the half-way labels, read after so many layers
REPLAY, STORY_WORDS = 0.1, 1_000_000  # share of rows that hold stories; words of those
SEEDS, TESTED = (1, 2, 3), 100  # of the held-out examples; so many of each task and seed
CARD = """# The assistant

The foundation model, tuned on five kinds of request at once. It is asked with a text, a task and,
for some, a question, and replies in one line.

| task | held out | beyond |
|---|---|---|
{rows}

Exact match, word for word, of the likeliest reply of this one model: the mean of three draws of
{tested} examples (seeds {seeds}), in brackets the lowest and the highest. *Held out*: structures
that no training example holds. *Beyond*: longer texts or larger numbers than any in training.
`solve` asks what `reason` asks, without written steps.

| what | value |
|---|---|
| base | the foundation model, with the {new_words} words of the tasks added |
| before that | {drill_steps} steps of drills: who of two is where and has what, and sums |
| labels | on the replies; half-way (not in translations): of whom a word tells, and what before |
| data | {examples:,} examples; stories in {replay:.0%} of the rows, against forgetting |
| loss on new stories | {loss:.4f} nats per word; before tuning {base_loss:.4f}, floor {floor:.4f} |
{made}
| vocabulary | the {vocab_size} words of `tasks.task_vocabulary()`, in its order |

Made by `python -m course_lm.classroom.assistant`. On another kind of processor the last digits
differ.

## Limits

- It knows the lab's people, places and things, its five requests, and nothing else.
- A request in another form, or a text from which nothing follows, gets an answer all the same.
- Longer translations than those of its training, more sums and larger numbers it nearly always gets
  wrong: see the last column.
"""


def as_ids(some: list[Example]) -> list[tuple[list[int], list[int]]]:
    """Prompt and response of each example, as ids."""
    return [(VOCABULARY.ids_of(e.prompt), VOCABULARY.ids_of(e.response)) for e in some]


def drills(count: int, rng: torch.Generator) -> list[Example]:
    """Different questions about short texts of training: two meet, take things, and may give."""
    chances, found = drawn(rng), {}
    while len(found) < count:
        example = _drill(chances)
        if example.part == "train":
            found[example.prompt] = example
    return list(found.values())


def _drill(chances: Iterator[float]) -> Example:
    """Two take a thing each, mostly; sometimes one is given to the other person."""
    scene = Scene(lab.WORLD)
    words, _ = run(opening(scene), chances)
    one, two = (person.name for person in scene.cast)
    takers = draw(one_of(((one, two), (two, one), (one, one), (two, two)), (4, 4, 1, 1)), chances)
    for taker in takers:
        words += [taker, "takes", *run(taking(scene, taker), chances)[0]]
    if draw(one_of((True, False), (1, 3)), chances):
        colour = draw(one_of(tuple(scene.thing)), chances)
        giver = scene.holder[colour]
        scene.holder[colour] = taker = two if giver == one else one
        words += [giver, *f"gives the {colour} {scene.thing[colour]} to {taker} .".split()]
    asked = question(scene, chances, weights=(0.4, 0.2, 0.1, 0.3))
    return about_a_story("answer", lab.sentences(words), scene, *asked)


def hard(task: str, word: str, count: int, rng: torch.Generator) -> list[Example]:
    """Training examples of a task whose question or response holds `word`."""
    found: dict[tuple[str, ...], Example] = {}
    while len(found) < count:
        for example in examples(task, count, rng):
            if word in (*example.prompt[example.prompt.index(task) :], *example.response):
                found[example.prompt] = example
    return list(found.values())[:count]


def labelled(some: list[tuple[list[int], list[int]]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Inputs, and labels on the response alone."""
    return [response_labels(*pair, VOCABULARY.ids[REPLY], ROW) for pair in some]


def rows(
    count: Mapping[str, int], story_words: int, rng: torch.Generator
) -> tuple[Iterator[Batch], int]:
    """Endless batches of requests with some rows of stories, and how many requests there are."""
    some = [example for task in ASKED for example in examples(task, count[task], rng)]
    answers = count["answer"]
    some += [e for *kind, share in HARD for e in hard(*kind, round(share * answers), rng)]
    ids = torch.tensor(VOCABULARY.ids_of(lab.sample(story_words, rng)))
    some += drills(round(AGAIN * answers), rng)  # so that what they taught is not lost
    texts = labelled(as_ids(some)), story_pairs(ids, START)
    streams = [packed(pairs, ROW, BATCH, rng) for pairs in texts]
    return mixture(streams, (1 - REPLAY, REPLAY), rng), len(some)


def fit(model: Transformer, batches: Iterator[Batch], recipe: Recipe, tasks: list[str]) -> float:
    """Train with half-way labels in texts of `tasks`; the seconds it took."""
    kinds = {"names": NAMES, "things": lab.WORLD.things, "places": lab.WORLD.places}
    kinds |= {"numbers": NUMBERS, "asked": tasks}
    ids = {kind: torch.tensor(VOCABULARY.ids_of(words)) for kind, words in kinds.items()}
    stream = half_labels(batches, WordIds(**ids), START)
    steps = train(Halfway(model, START, HALF), stream, recipe, loss=with_half(SCAFFOLD))
    for step in steps:
        if step.step % 100 == 0:
            print(f"step {step.step}, {step.seconds:.0f} s, loss {step.loss:.4f}", flush=True)
    return step.seconds


def drill(model: Transformer, recipe: Recipe, count: int, rng: torch.Generator) -> float:
    """Texts of a few sentences and sums, in equal parts; the seconds it took."""
    sums = [e for task in ("reason", "solve") for e in examples(task, count // 5, rng)]
    some = as_ids(drills(count, rng)), as_ids(sums)
    streams = [packed(labelled(pairs), ROW, BATCH // 2, rng) for pairs in some]
    both = (map(torch.cat, zip(*pair, strict=True)) for pair in zip(*streams, strict=True))
    return fit(model, map(tuple, both), recipe, ["answer", "reason", "solve"])


def scores(model: Transformer, part: str) -> dict[str, list[float]]:
    """Exact match of every task on one part, for each of SEEDS."""
    stop = VOCABULARY.ids[END]
    rngs = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    return {
        task: [exact_match(model, as_ids(examples(task, TESTED, rng, part)), stop) for rng in rngs]
        for task in ASKED
    }


def main(
    folder: Path = FOLDER,
    recipe: Recipe = RECIPE,
    count: Mapping[str, int] = COUNT,
    story_words: int = STORY_WORDS,
    drill_recipe: Recipe = DRILL,
) -> Path:
    """Drill and tune the foundation model, and save it with its card; the path."""
    torch.set_num_threads(1)  # the same digits, however many cores there are
    rng = torch.Generator().manual_seed(0)
    unread = new_stories()
    batches = story_batches(unread)
    base = load(FOLDER / "foundation.safetensors", lab.vocabulary()).model
    model = with_more_words(base, len(VOCABULARY), rng)
    known, new = model.head.weight.data.split([base.config.vocab_size, len(NEW_WORDS)])
    new.normal_(0, known.std().item(), generator=rng)  # learned sooner than equal rows
    seconds = drill(model, drill_recipe, DRILLS, rng)
    stream, total = rows(count, story_words, rng)
    seconds += fit(model, stream, recipe, ["summarise", "answer", "reason", "solve"])
    facts = {"loss": evaluate(model, batches), "floor": lab.floor(unread), "examples": total}
    facts |= {"base_loss": evaluate(base, batches), "seconds": round(seconds)}
    facts["drill_steps"] = drill_recipe.steps
    facts |= {part: scores(model, part) for part in ("test", "beyond")}
    path = save(folder / "assistant.safetensors", model, vocabulary=VOCABULARY, **facts)
    path.with_suffix(".md").write_text(card(model, facts, recipe), "utf-8")
    return path


def card(model: Transformer, facts: Mapping, recipe: Recipe = RECIPE) -> str:
    """What the model is, what it reached, and what it cannot do, as Markdown."""
    lines = [
        f"| {task} | {_spread(facts['test'][task])} | {_spread(facts['beyond'][task])} |"
        for task in ASKED
    ]
    return CARD.format(
        **facts,
        rows="\n".join(lines),
        made=made(model, facts["seconds"], recipe),
        seeds=", ".join(map(str, SEEDS)),
        tested=TESTED,
        new_words=len(NEW_WORDS),
        replay=REPLAY,
        vocab_size=len(VOCABULARY),
    )


def _spread(shares: list[float]) -> str:
    """Mean, lowest and highest."""
    return f"{sum(shares) / len(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"


if __name__ == "__main__":
    print(main())
