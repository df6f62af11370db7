"""How near a Transformer comes to the lab's exact floor in a minute, beside the best counts.

It learns as the foundation model does, in another shape.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from language import best_ngram
from recipes import Effort
from table import Row, row

from course_lm.classroom import foundation
from course_lm.classroom.foundation import BATCH, ROW, START, VOCABULARY
from course_lm.finetuning.supervised import Apart, packed
from course_lm.language import lab
from course_lm.language.windows import story_pairs
from course_lm.models.contract import Model
from course_lm.models.transformer import Transformer
from course_lm.training.loop import evaluate, train

WORDS, NEW = 2_000_000, 20_000  # to learn from; to report on, and as many to choose the counts on
# Above the floor after a minute of two busy cores, seeds 0 and 1: 0.025 and 0.021. Without tables
# for groups of words, with two layers of four heads: 0.029; with three layers 0.044, four 0.039.
SHAPE = replace(foundation.SHAPE, context=ROW, layers=1, heads=8, kv_heads=8, grams=5)


def over_floor(model: Model, words: Sequence[str]) -> float:
    """Loss less the entropy of the stories that `words` hold, each read by itself: nats a word."""
    return evaluate(model, foundation.story_batches(words)) - lab.floor(words)


def floor_rows(effort: Effort) -> Iterator[Row]:
    """Nats above the floor of new stories."""
    rng = torch.Generator().manual_seed(0)
    ids = torch.tensor(VOCABULARY.ids_of(lab.sample(WORDS, rng)))
    new, others = (lab.sample(NEW, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    model = Transformer(SHAPE, rng)
    rows = packed(story_pairs(ids, START), ROW, BATCH, rng)
    recipe = replace(foundation.RECIPE, steps=None, seconds=effort.seconds)
    *_, last = train(Apart(model, START), rows, recipe)
    counts = best_ngram(ids, torch.tensor(VOCABULARY.ids_of(others)), len(VOCABULARY))
    about = f"best n-gram, order {counts.order}; {last.step:,} steps; target 0.01 in 60 s"
    what = f"{effort.seconds:.0f} s on lab text: over its floor"
    yield row(what, "nats/word", over_floor(model, new), over_floor(counts, new), about)
