"""What is trained, and for how long: chosen on validation text, the plain RNN as the LSTM.

Each `Setup` is for one budget: more time pays for a longer context.
"""

from dataclasses import dataclass

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

    def model(self, vocab_size: int, rng: torch.Generator) -> nn.Module:
        """A model that has learned nothing yet."""
        if "cell" in self.shape:
            return RNN(RNNConfig(vocab_size=vocab_size, **self.shape), rng)
        config = TransformerConfig(vocab_size=vocab_size, context=self.context, **self.shape)
        return Transformer(config, rng)


# To the loss at which the GPT-2 recipe ends. Nats per character of validation text after 250,000
# characters: 1.960; with rates of 0.003 and 0.02, 1.978; with 0.006 and 0.04, 2.125.
SHORT = Setup(
    shape={"layers": 2, "width": 128, "hidden": 352},
    context=64,
    batch=8,
    recipe={"rate": 0.002, "matrix_rate": 0.01},
)
# To the best n-gram's loss, and for as long as the GPT-2 recipe takes.
LONG = Setup(
    shape={"layers": 2, "width": 128, "hidden": 352},
    context=128,
    batch=8,
    recipe={"rate": 0.002, "matrix_rate": 0.01},
)
# For a minute. The LSTM after 500,000 characters in batches of 16: 1.890; with rates of 0.005 and
# 0.015, 2.038. With AdamW alone (0.005) it needs 2.7 million characters to 1.971.
MINUTE = {
    "Transformer": SHORT,
    "LSTM": Setup(
        shape={"cell": "lstm", "width": 128},
        context=64,
        batch=8,
        recipe={"rate": 0.01, "matrix_rate": 0.04},
    ),
    "plain RNN": Setup(
        shape={"cell": "plain", "width": 128},
        context=64,
        batch=8,
        recipe={"rate": 0.01, "matrix_rate": 0.04},
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured.

    peer_steps: of the GPT-2 recipe. short, middle: budgets in steps, tried in turn until one
    reaches the loss that it is for. seconds: of the rivals. rounds: steps that are
    timed. repetitions: of what is timed as a whole. length: tokens that are generated. contexts,
    widths: sizes whose cost is compared.
    """

    peer_steps: int
    short: tuple[int, ...]
    middle: tuple[int, ...]
    seconds: float
    rounds: int
    repetitions: int
    length: int
    contexts: tuple[int, ...]
    widths: tuple[int, ...]


FULL = Effort(
    peer_steps=2_000,
    short=(400, 600, 900),
    middle=(2_500,),
    seconds=60,
    rounds=30,
    repetitions=5,
    length=256,
    contexts=(64, 128, 256, 512, 1_024),
    widths=(64, 128, 256, 512),
)
QUICK = Effort(  # to see whether everything runs
    peer_steps=15,
    short=(10, 20),
    middle=(10,),
    seconds=2,
    rounds=3,
    repetitions=1,
    length=32,
    contexts=(64, 128, 256),
    widths=(64, 128),
)
