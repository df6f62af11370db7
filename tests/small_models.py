"""Models small enough for a test, with weights that are all random and large enough to matter."""

import torch

from course_lm.models.rnn import RNN, RNNConfig
from course_lm.models.transformer import Transformer, TransformerConfig

CELLS = ("plain", "gru", "lstm")
TRANSFORMER = {
    "vocab_size": 13,
    "context": 16,
    "width": 16,
    "layers": 2,
    "heads": 4,
    "kv_heads": 4,
    "hidden": 20,
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def randomised(model, seed=0):
    """Matrices that keep the size of a vector, biases about 0, scales about 1; none begins at 0."""
    rng = seeded(seed)
    for name, weight in model.named_parameters():
        weight.normal_(0, 1, generator=rng)
        if weight.dim() == 2:
            weight.mul_(weight.shape[1] ** -0.5 if "embed" not in name else 1)
        else:
            weight.mul_(0.3).add_(1.0 if "scale" in name else 0.0)
    return model


def small_transformer(seed=0, **changes):
    config = TransformerConfig(**TRANSFORMER | changes)
    return randomised(Transformer(config, seeded(seed)), seed)


def small_rnn(cell="lstm", seed=0, **changes):
    config = RNNConfig(**{"vocab_size": 13, "width": 10, "cell": cell} | changes)
    return randomised(RNN(config, seeded(seed)), seed)


def random_ids(*shape, size=13, seed=0):
    return torch.randint(size, shape, generator=seeded(seed))
