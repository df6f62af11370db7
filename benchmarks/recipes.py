"""What is trained, and for how long: chosen on validation text, the plain RNN as the LSTM.

Each `Setup` is for one budget: more time pays for a longer context.
"""

from dataclasses import dataclass, replace

import torch
from torch import nn

from course_lm.models.rnn import RNN, RNNConfig
from course_lm.models.transformer import Transformer, TransformerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A model's shape, its batches, and its Recipe without the budget."""

    shape: dict[str, int | str]
    context: int
    batch: int
    recipe: dict[str, float | None]

    @property
    def window(self) -> int:
        """Characters that it reads of held-out text in one piece: a recurrent one takes any."""
        return 1_024 if "cell" in self.shape else self.context

    def model(self, vocab_size: int, rng: torch.Generator) -> nn.Module:
        """A model that has learned nothing yet."""
        if "cell" in self.shape:
            return RNN(RNNConfig(vocab_size=vocab_size, **self.shape), rng)
        config = TransformerConfig(vocab_size=vocab_size, context=self.context, **self.shape)
        return Transformer(config, rng)


# In the Llama shape. Nats per character of validation text after 250,000 characters: 1.960; with
# rates of 0.003 and 0.02, 1.978; with 0.006 and 0.04, 2.125.
LLAMA = Setup(
    shape={"layers": 2, "width": 128, "hidden": 352},
    context=64,
    batch=8,
    recipe={"rate": 0.002, "matrix_rate": 0.01},
)
# The fastest: tables for groups of up to five letters at the input. After one million characters
# 1.586; with groups of up to six, 1.593. Without tables, after 500,000, 1.890. After 1.2 million
# 1.534, without the weight decay 1.542; the plain RNN after 900,000 1.576, without it 1.592.
LSTM = Setup(
    shape={"cell": "lstm", "width": 128, "grams": 5},
    context=64,
    batch=16,
    recipe={"rate": 0.01, "matrix_rate": 0.04, "weight_decay": 0.1},
)
# For a minute, all with tables. The Transformer after 1.2 million characters: 1.605, with a weight
# decay of 0.1 1.603, of 0.3 1.608.
MINUTE = {
    "Transformer": Setup(
        shape={"layers": 1, "width": 128, "hidden": 352, "grams": 5},
        context=64,
        batch=16,
        recipe={"rate": 0.003, "matrix_rate": 0.02},
    ),
    "LSTM": LSTM,
    "plain RNN": replace(LSTM, shape={"cell": "plain", "width": 128, "grams": 5}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured.

    peer_steps: of the GPT-2 recipe. llama, short, middle: budgets in steps, tried in turn until
    one reaches the loss that it is for. budgets: of the rivals, in seconds. seconds: of lab text.
    rounds: steps that are timed. repetitions: of what is timed as a whole. length: tokens that
    are generated. contexts, widths: sizes whose cost is compared.
    """

    peer_steps: int
    llama: tuple[int, ...]
    short: tuple[int, ...]
    middle: tuple[int, ...]
    budgets: tuple[float, ...]
    seconds: float
    rounds: int
    repetitions: int
    length: int
    contexts: tuple[int, ...]
    widths: tuple[int, ...]


FULL = Effort(
    peer_steps=2_000,
    llama=(600, 900),
    short=(80, 100, 120, 180),
    middle=(900, 1_200),  # with more it learns the text by heart
    budgets=(20, 60),  # on a fast machine they learn the text by heart in the longer one
    seconds=60,
    rounds=30,
    repetitions=5,
    length=256,
    contexts=(64, 128, 256, 512, 1_024),
    widths=(64, 128, 256, 512),
)
QUICK = Effort(  # to see whether everything runs
    peer_steps=15,
    llama=(10, 20),
    short=(10, 20),
    middle=(10,),
    budgets=(2,),
    seconds=2,
    rounds=3,
    repetitions=1,
    length=32,
    contexts=(64, 128, 256),
    widths=(64, 128),
)
