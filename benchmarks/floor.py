"""How near a Transformer comes to the lab's exact floor in a minute, beside the best counts."""

from collections.abc import Iterator, Sequence

import torch
from language import best_ngram
from recipes import Effort
from table import Row, row

from course_lm.finetuning.supervised import Apart, packed
from course_lm.language import lab
from course_lm.language.windows import story_pairs, story_windows
from course_lm.models.contract import Model
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.training.loop import Recipe, evaluate, train

VOCABULARY = lab.vocabulary()
START = VOCABULARY.ids[lab.START]
WORDS, NEW = 2_000_000, 20_000  # to learn from; to report on, and as many to choose the counts on
ROW, BATCH = 128, 8  # words of a row, which holds whole stories; rows of a step
# Above the floor after a minute of two busy cores, seeds 0 and 1: 0.025 and 0.021. Without tables
# for groups of words, with two layers of four heads: 0.029; with three layers 0.044, four 0.039.
SHAPE = TransformerConfig(
    vocab_size=len(VOCABULARY),
    context=ROW,
    width=128,
    layers=1,
    heads=8,
    kv_heads=8,
    hidden=256,
    grams=5,
    embed_std=1.0,
)
RATES = {"rate": 0.03, "matrix_rate": 0.01}


def over_floor(model: Model, words: Sequence[str]) -> float:
    """Loss less the entropy of the stories that `words` hold, each read by itself: nats a word."""
    ids = torch.tensor(VOCABULARY.ids_of(words))
    return evaluate(model, story_windows(ids, START, ROW, 32)) - lab.floor(words)


def floor_rows(effort: Effort) -> Iterator[Row]:
    """Nats above the floor of new stories."""
    rng = torch.Generator().manual_seed(0)
    ids = torch.tensor(VOCABULARY.ids_of(lab.sample(WORDS, rng)))
    new, others = (lab.sample(NEW, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    model = Transformer(SHAPE, rng)
    rows = packed(story_pairs(ids, START), ROW, BATCH, rng)
    *_, last = train(Apart(model, START), rows, Recipe(seconds=effort.seconds, **RATES))
    counts = best_ngram(ids, torch.tensor(VOCABULARY.ids_of(others)), len(VOCABULARY))
    about = f"best n-gram, order {counts.order}; {last.step:,} steps; target 0.01 in 60 s"
    what = f"{effort.seconds:.0f} s on lab text: over its floor"
    yield row(what, "nats/word", over_floor(model, new), over_floor(counts, new), about)
