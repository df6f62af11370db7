"""Make the Shakespeare model that the course ships, and its card: a Transformer over words.

    python -m course_lm.classroom.shakespeare

It reads what is spoken in 32 plays, for about six minutes on one core. Lesson 11 moves it toward
kinder words.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch

from course_lm.language import corpora
from course_lm.language.ratings import RUDE
from course_lm.language.tokens import UNKNOWN, Vocabulary, split_words, words
from course_lm.language.windows import IGNORE, Batch, all_windows, random_windows
from course_lm.models.counts import kneser_ney
from course_lm.models.sampling import generate_batch
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.training.checkpoints import Saved, save
from course_lm.training.loop import Recipe, evaluate, train

from .foundation import FOLDER, halve, told

SHAPE = TransformerConfig(
    vocab_size=4096,
    context=64,
    width=128,
    layers=4,
    heads=4,
    kv_heads=4,
    hidden=256,
    tied=True,
)
RECIPE = Recipe(steps=2000, rate=0.01, matrix_rate=0.01)
BATCH, JUDGED = 16, 20_000  # rows in a step; words of the held-out plays
PROMPTS, LONGEST = ("my lord , i have", "the king is", "o sweet"), 16
CARD = """# The Shakespeare model

A Transformer over words that has read what is spoken in 32 plays: no names of speakers, no stage
directions, no line ends, lower case.

| what | value |
|---|---|
| held-out loss | {loss:.3f} nats per word, on the known among {judged:,} words of unread plays |
| of the same words | trigrams (Kneser-Ney) {trigram:.3f}, single words {unigram:.3f} |
| limit | not known: nobody knows the entropy of Shakespeare |
| data | {words:,} words, {unknown:.1%} of them outside the vocabulary; {tokens:,} labels |
| shape | {layers} layers, width {width}, {heads} heads, feed-forward {hidden}, context {context} |
| weights | {weights:,}, the output uses the input's embedding; in the file bfloat16 |
| recipe | {steps} steps of {batch} rows of {context} words; Muon {matrix_rate}, AdamW {rate} |
| time | {minutes:.0f} minutes on one busy core |
| vocabulary | the {vocab_size} most frequent words and signs, among the facts in the file |
| text | {source}, {licence} |

Made by `python -m course_lm.classroom.shakespeare`. On another kind of processor the last digits
differ.

## What it writes

{samples}

## Limits

- It has the tone and hardly a thought: few sentences of it make sense to their end.
- A word outside its vocabulary it reads as `{UNKNOWN}`: never a label, and so hardly ever said.
- Swear words are outside its vocabulary (`ratings.RUDE`, a short list). Insults, blood and the
  prejudices of its time are in the plays, and it says them.
"""


def speech(text: str) -> str:
    """What is spoken in a text of `corpora.shakespeare`: no names of speakers, no directions.

    >>> speech("EGEUS:\\nFull of vexation come I. [Kneels]")
    'Full of vexation come I. '
    """
    text = re.sub(r"\[[^\]]*\]", "", text)
    return re.sub(r"(?:(?<=\n\n)|\A)[^\n:]{1,40}:\n", "", text)


def sayable(text: str, size: int) -> Vocabulary:
    """UNKNOWN and the most frequent words and signs of `text` that `RUDE` does not find."""
    kept = [word for word in words(text, size + 100).tokens if not RUDE.search(word)]
    return Vocabulary(kept[:size], split_words)


def vocabulary(saved: Saved) -> Vocabulary:
    """The words of the shipped model, which lie in its file."""
    return Vocabulary(saved.facts["tokens"], split_words)


def known(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Batches whose labels are IGNORE where the word is unknown (id 0): it need not be said."""
    for inputs, labels in batches:
        yield inputs, labels.masked_fill(labels == 0, IGNORE)


def counted(ids: torch.Tensor, order: int, size: int):
    """The n-gram model of these words, never UNKNOWN: (B, T) -> (B, T, V)."""
    model = kneser_ney(ids, order, size)
    return lambda asked: model(asked).index_fill(-1, torch.tensor([0]), -1e9)


def main(folder: Path = FOLDER, recipe: Recipe = RECIPE, judged: int = JUDGED) -> Path:
    """Train the model, a line every 100 steps, and save it with its card; where it lies."""
    torch.set_num_threads(1)  # the same digits, however many cores there are
    rng = torch.Generator().manual_seed(0)
    plays = corpora.shakespeare()
    spoken = speech(plays.train)
    vocab = sayable(spoken, SHAPE.vocab_size)
    ids, unread = (torch.tensor(vocab.encode(text)) for text in (spoken, speech(plays.validation)))
    batches = list(known(all_windows(unread[:judged], SHAPE.context, 32)))
    model = Transformer(SHAPE, rng)
    for step in train(model, known(random_windows(ids, SHAPE.context, BATCH, rng)), recipe):
        if step.step % 100 == 0:
            print(f"step {step.step}, {step.seconds:.0f} s, loss {step.loss:.3f}", flush=True)
    halve(model)
    facts = {"loss": evaluate(model, batches), "tokens": list(vocab.tokens), "read": step.tokens}
    counts = {"unigram": 1, "trigram": 3}
    for name, order in counts.items():
        facts[name] = evaluate(counted(ids, order, len(vocab)), batches)
    facts |= {"words": len(ids), "unknown": (ids == 0).double().mean().item(), "judged": judged}
    facts |= {"seconds": round(step.seconds), "source": plays.source, "licence": plays.licence}
    said = generate_batch(model, [vocab.encode(p) for p in PROMPTS], LONGEST, rng)
    facts["samples"] = [f"{p} {vocab.decode(r)}" for p, r in zip(PROMPTS, said, strict=True)]
    path = folder / "shakespeare.safetensors"
    save(path, model, vocabulary=vocab, dtype=torch.bfloat16, **facts)
    path.with_suffix(".md").write_text(card(model, facts, recipe), "utf-8")
    return path


def card(model: Transformer, facts: Mapping, recipe: Recipe = RECIPE) -> str:
    """What the model is, what it reached, and what it cannot do, as Markdown."""
    samples = "\n".join(f"> {text}\n" for text in facts["samples"]).rstrip()
    more = {"tokens": facts["read"], "samples": samples, "batch": BATCH, "UNKNOWN": UNKNOWN}
    return CARD.format(**(told(model, recipe, facts) | more))


if __name__ == "__main__":
    print(main())
