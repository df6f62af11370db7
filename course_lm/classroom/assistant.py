"""Make the assistant that the course ships, and its card: the foundation, tuned on all tasks.

    python -m course_lm.classroom.assistant

It takes about ten minutes on one core. Lesson 09 shows it, lessons 10 and 11 start from it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from course_lm.finetuning.supervised import (
    Apart,
    exact_match,
    packed,
    response_labels,
    with_more_words,
)
from course_lm.finetuning.tasks import (
    ASKED,
    END,
    NEW_WORDS,
    REPLY,
    Example,
    examples,
    task_vocabulary,
)
from course_lm.language import lab
from course_lm.language.windows import Batch, mixture, story_pairs
from course_lm.models.transformer import Transformer
from course_lm.training.checkpoints import load, save
from course_lm.training.loop import Recipe, evaluate, train

from .foundation import BATCH, FOLDER, ROW, START, made, new_stories, story_batches

VOCABULARY = task_vocabulary()
RECIPE = Recipe(steps=1800, rate=0.01, matrix_rate=0.02)
COUNT = {"summarise": 14_000, "answer": 14_000, "translate": 8000, "reason": 12_000, "solve": 5000}
REPLAY, STORY_WORDS = 0.1, 1_000_000  # share of rows that hold stories; words of those
SEEDS, TESTED = (1, 2, 3), 100  # of the held-out examples; so many of each task and seed
CARD = """# The assistant

The foundation model, tuned on five kinds of request at once. It is asked with a text, a task and,
for some, a question, and replies in one line.

| task | held out | beyond |
|---|---|---|
{rows}

Exact match, word for word, of the likeliest reply: the mean of seeds {seeds}, {tested} examples
each, in brackets the lowest and the highest. *Held out*: structures that no training example holds.
*Beyond*: longer texts or larger numbers than any in training. `solve` asks what `reason` asks,
without written steps.

| what | value |
|---|---|
| base | the foundation model, with the {new_words} words of the tasks added |
| data | {examples:,} examples; stories in {replay:.0%} of the rows, against forgetting |
| loss on new stories | {loss:.4f} nats per word; before tuning {base_loss:.4f}, floor {floor:.4f} |
{made}
| vocabulary | the {vocab_size} words of `tasks.task_vocabulary()`, in its order |

Made by `python -m course_lm.classroom.assistant`. On another kind of processor the last digits
differ.

## Limits

- It knows the lab's people, places and things, its five requests, and nothing else.
- A request in another form, or a text from which nothing follows, gets an answer all the same.
- Texts longer than those of its training are where it fails: see the last column.
- Of a sum with several events it adds rightly and often reads the wrong event.
"""


def as_ids(some: list[Example]) -> list[tuple[list[int], list[int]]]:
    """Prompt and response of each example, as ids."""
    return [(VOCABULARY.ids_of(e.prompt), VOCABULARY.ids_of(e.response)) for e in some]


def rows(
    count: Mapping[str, int], story_words: int, rng: torch.Generator
) -> tuple[Iterator[Batch], int]:
    """Endless batches of requests with some rows of stories, and how many requests there are."""
    asked = [pair for task in ASKED for pair in as_ids(examples(task, count[task], rng))]
    labelled = [response_labels(*pair, VOCABULARY.ids[REPLY], ROW) for pair in asked]
    ids = torch.tensor(VOCABULARY.ids_of(lab.sample(story_words, rng)))
    stories = story_pairs(ids, START)
    streams = [packed(some, ROW, BATCH, rng) for some in (labelled, stories)]
    return mixture(streams, (1 - REPLAY, REPLAY), rng), len(asked)


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
) -> Path:
    """Tune the foundation model, a line every 100 steps, and save it with its card; the path."""
    torch.set_num_threads(1)  # the same digits, however many cores there are
    rng = torch.Generator().manual_seed(0)
    unread = new_stories()
    batches = story_batches(unread)
    base = load(FOLDER / "foundation.safetensors", lab.vocabulary()).model
    model = with_more_words(base, len(VOCABULARY), rng)
    known, new = model.head.weight.data.split([base.config.vocab_size, len(NEW_WORDS)])
    new.normal_(0, known.std().item(), generator=rng)  # learned sooner than equal rows
    stream, asked = rows(count, story_words, rng)
    for step in train(Apart(model, START), stream, recipe):
        if step.step % 100 == 0:
            print(f"step {step.step}, {step.seconds:.0f} s, loss {step.loss:.4f}", flush=True)
    facts = {"loss": evaluate(model, batches), "floor": lab.floor(unread), "examples": asked}
    facts |= {"base_loss": evaluate(base, batches), "seconds": round(step.seconds)}
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
