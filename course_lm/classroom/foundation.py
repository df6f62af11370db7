"""Make the foundation model that the course ships, and its card.

    python -m course_lm.classroom.foundation

It reads lab text alone, for half an hour on one core. Lessons 09 to 11 start from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from course_lm.finetuning.supervised import Apart, packed
from course_lm.language import lab
from course_lm.language.windows import Batch, story_pairs, story_windows
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.training.checkpoints import save
from course_lm.training.loop import Recipe, evaluate, train

FOLDER = Path(__file__).parents[1] / "states"
VOCABULARY = lab.vocabulary()
START = VOCABULARY.ids[lab.START]
SHAPE = TransformerConfig(
    vocab_size=len(VOCABULARY),
    context=256,
    width=128,
    layers=4,
    heads=4,
    kv_heads=4,
    hidden=256,
    embed_std=1.0,
)
RECIPE = Recipe(steps=6000, rate=0.03, matrix_rate=0.01)
ROW, BATCH = 128, 8  # words in a row, rows in a step
WORDS, NEW_WORDS = 4_000_000, 50_000  # drawn with seed 0 and seed 1
MADE = """\
| shape | {layers} layers, width {width}, {heads} heads, feed-forward {hidden}, context {context} |
| weights | {weights:,}, float32 |
| recipe | {steps} steps of {batch} rows of {row} words; Muon {matrix_rate}, AdamW {rate} |
| time | {minutes:.0f} minutes on one busy core |"""
CARD = """# The foundation model

A Transformer that has read stories of the lab language and nothing else. Nobody told it what a
fact, a sum or an answer is: its one task was the next word.

| what | value |
|---|---|
| held-out loss | {loss:.4f} nats per word, on {new_words:,} words of new stories (seed 1) |
| floor of the same words | {floor:.4f} nats per word: no model can be expected below it |
| data | {words:,} words of lab stories (seed 0); {tokens:,} read, whole stories side by side |
{made}
| vocabulary | the {vocab_size} words of `lab.vocabulary()`, in its order |

Made by `python -m course_lm.classroom.foundation`. On another kind of processor the last digits
differ.

## Limits

- It knows the world of the lab and no word beyond it. Nothing measured with it is about English.
- No story has more than 100 words. Its context is {context}: places beyond those are untrained.
- What the stories never state, such as where gita lives, it cannot know, and it guesses anyway.
- It continues stories. It follows no instruction; lesson 09 teaches that.

## More words

A task may need words that the lab has not. Put them after those of the lab, and every old id, row
and logit stays what it was:

```python
wider = Vocabulary([*lab.vocabulary().tokens, "summary", "translate"])
base = load(state_path("foundation"), lab.vocabulary()).model
model = with_more_words(base, len(wider), rng)
```
"""


def new_stories() -> list[str]:
    """The held-out text of the card."""
    return lab.sample(NEW_WORDS, torch.Generator().manual_seed(1))


def story_batches(words: Sequence[str]) -> list[Batch]:
    """A row for each story, so that every word is predicted from all that it depends on."""
    ids = torch.tensor(VOCABULARY.ids_of(words))
    return list(story_windows(ids, START, SHAPE.context, 32))


def main(folder: Path = FOLDER, recipe: Recipe = RECIPE, words: int = WORDS) -> Path:
    """Train the model, a line every 50 steps, and save it with its card; where it lies."""
    torch.set_num_threads(1)  # the same digits, however many cores there are
    rng = torch.Generator().manual_seed(0)
    ids = torch.tensor(VOCABULARY.ids_of(lab.sample(words, rng)))
    unread = new_stories()
    batches = story_batches(unread)
    model = Transformer(SHAPE, rng)
    rows = packed(story_pairs(ids, START), ROW, BATCH, rng)
    some = batches[:4]
    net, held_out = Apart(model, START), lambda: evaluate(model, some)
    for step in train(net, rows, recipe, held_out=held_out, every=50):
        if step.held_out is not None:
            print(
                f"step {step.step}, {step.seconds:.0f} s, held out {step.held_out:.4f}", flush=True
            )
    facts = {"loss": evaluate(model, batches), "floor": lab.floor(unread)}
    facts |= {"tokens": step.tokens, "seconds": round(step.seconds)}
    path = save(folder / "foundation.safetensors", model, vocabulary=VOCABULARY, **facts)
    path.with_suffix(".md").write_text(card(model, facts, recipe, words), "utf-8")
    return path


def card(
    model: Transformer, facts: Mapping[str, float], recipe: Recipe = RECIPE, words: int = WORDS
) -> str:
    """What the model is, what it reached, and what it cannot do, as Markdown."""
    return CARD.format(
        **facts,
        made=made(model, facts["seconds"], recipe),
        words=words,
        new_words=NEW_WORDS,
        context=model.config.context,
        vocab_size=model.config.vocab_size,
    )


def made(model: Transformer, seconds: float, recipe: Recipe) -> str:
    """The rows of a card that say what a model is and how it was trained."""
    return MADE.format(**told(model, recipe, {"seconds": seconds}), batch=BATCH, row=ROW)


def told(model: Transformer, recipe: Recipe, facts: Mapping) -> dict[str, object]:
    """What a card may tell: shape, recipe, facts, how many weights, minutes of training."""
    weights = sum(weight.numel() for weight in model.parameters())
    all_told = asdict(model.config) | asdict(recipe) | dict(facts)
    return all_told | {"weights": weights, "minutes": facts["seconds"] / 60}


@torch.no_grad()
def halve(model: Transformer) -> None:
    """Round the weights to bfloat16, as they will lie in a file half the size."""
    for weight in model.parameters():
        weight.copy_(weight.bfloat16())


if __name__ == "__main__":
    print(main())
