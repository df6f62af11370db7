"""How near a Transformer comes to the lab's exact floor in a minute, beside the best counts."""

from collections.abc import Iterator

import torch
from language import best_ngram
from recipes import Effort
from table import Row, row

from course_lm.finetuning.supervised import Apart, packed
from course_lm.language import lab
from course_lm.language.windows import story_pairs, story_windows
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.training.loop import Recipe, evaluate, train

VOCABULARY = lab.vocabulary()
START = VOCABULARY.ids[lab.START]
WORDS, NEW = 2_000_000, 20_000  # to learn from and to report on
ROW, BATCH = 128, 8  # words of a row, which holds whole stories; rows of a step
# Nats above the floor after a minute: 0.029. Four layers, as the foundation model has: 0.039, three
# 0.044; a matrix rate of 0.02, 0.048.
SHAPE = TransformerConfig(
    vocab_size=len(VOCABULARY), context=128, width=128, layers=2, hidden=256, embed_std=1.0
)
RATES = {"rate": 0.03, "matrix_rate": 0.01}


def floor_rows(effort: Effort) -> Iterator[Row]:
    """Nats above the floor of new stories, each read by itself."""
    rng = torch.Generator().manual_seed(0)
    ids = torch.tensor(VOCABULARY.ids_of(lab.sample(WORDS, rng)))
    texts = [lab.sample(NEW, torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    new, chosen_on = (torch.tensor(VOCABULARY.ids_of(words)) for words in texts)
    floor = lab.floor(texts[0])
    model = Transformer(SHAPE, rng)
    rows = packed(story_pairs(ids, START), ROW, BATCH, rng)
    *_, last = train(Apart(model, START), rows, Recipe(seconds=effort.seconds, **RATES))
    stories = list(story_windows(new, START, SHAPE.context, 32))
    counts = best_ngram(ids, chosen_on, len(VOCABULARY))
    gaps = [evaluate(some, stories) - floor for some in (model, counts)]
    about = f"best n-gram, order {counts.order}; {last.step:,} steps; floor {floor:.3f}; asked 0.01"
    yield row(f"{effort.seconds:.0f} s on lab text: over the floor", "nats/word", *gaps, about)
