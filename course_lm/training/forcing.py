"""What a model reads while it learns, and while it speaks: the truth, or its own words.

Teacher forcing: every prediction is made after the true words, so all places of a text are learned
at once. Free running: every prediction is made after the model's own words, and a slip stays in
what it reads. Nothing of this is in the loss: only the inputs differ.

Source: Williams and Zipser 1989 (teacher forcing); Bengio 2015 (scheduled sampling); Ranzato 2016
(exposure bias). Huszár 2015: scheduled sampling is no longer a fair score of the language.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lm.language.windows import Batch
from course_lm.models.contract import Model
from course_lm.models.sampling import adjust, draw, generate_batch

from .losses import token_log_probs


@dataclass(frozen=True, slots=True)
class ByPosition:
    """Means over rows at each place t of a text, (T,) each; place 0 is the word after the prompt.

    NaN where no row is left to count.

    loss: −log P_truth(word | words before), nats, over rows that are possible up to here.
    slips: share of the rows, possible up to the word before, whose word has probability 0.
    lost: share of all rows with an impossible word here or before.
    """

    loss: Tensor
    slips: Tensor
    lost: Tensor


def score(truth: Model, ids: Tensor, prompt: int = 1) -> ByPosition:
    """Score texts, (B, T), by the exact truth, from place `prompt` on.

    Raises ValueError for texts that end with their prompt.
    """
    ids = torch.as_tensor(ids)
    if ids.dim() != 2 or not 1 <= prompt < ids.shape[1]:
        raise ValueError(
            "score: expected texts of shape (B, T) with a prompt of 1 to T − 1 words, got shape "
            f"{tuple(ids.shape)} and {prompt}; give the words after the prompt as well"
        )
    log_probs = token_log_probs(truth(ids[:, :-1]), ids[:, 1:])[:, prompt - 1 :]
    slip = log_probs == -torch.inf
    slips = slip.cumsum(1)  # so far
    fine, first = slips == 0, slip & (slips == 1)
    loss = -log_probs.where(fine, 0.0).sum(0) / fine.sum(0)
    return ByPosition(loss, first.sum(0) / (fine | first).sum(0), 1 - fine.float().mean(0))


def free_running(
    model: Model, prompts: Tensor, length: int, rng: torch.Generator, **dials: float
) -> Tensor:
    """Texts that the model continues on its own words: (B, P) -> (B, P + length)."""
    rows = generate_batch(model, prompts.tolist(), length, rng, **dials)
    return torch.cat([prompts, torch.tensor(rows, dtype=torch.long)], dim=1)


@torch.no_grad()
def teacher_forced(model: Model, ids: Tensor, rng: torch.Generator, **dials: float) -> Tensor:
    """At each place one word drawn from the model after the *true* words: (B, T) -> (B, T − 1)."""
    logits = adjust(model(ids[:, :-1]), **dials)
    return draw(logits.flatten(0, 1), rng).view(ids.shape[0], -1)


@torch.no_grad()
def own_words(model: Model, ids: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Inputs (B, T) in which each word but the first is, with probability `share`, the model's own.

    Word t is then drawn from the model after the words already chosen, so T steps follow one after
    another, where teacher forcing needs a single one. Raises ValueError for a share that is none,
    TypeError for a model without `read`.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"own_words: expected a share from 0 to 1, got {share}; correct it")
    if not hasattr(model, "read"):
        raise TypeError(
            "own_words: expected a model that reads word by word, with `read`, got "
            f"{type(model).__name__}; give an RNN or a Transformer"
        )
    mixed, memory = ids.clone(), None
    own = torch.rand(ids.shape, generator=rng) < share
    for place in range(1, ids.shape[1]):
        logits, memory = model.read(mixed[:, place - 1 : place], memory)
        drawn = draw(logits[:, -1], rng)
        mixed[:, place] = torch.where(own[:, place], drawn, mixed[:, place])
    return mixed


def scheduled(
    model: Model, batches: Iterable[Batch], shares: Iterable[float], rng: torch.Generator
) -> Iterator[Batch]:
    """Batches whose inputs hold more and more of the model's own words; the labels stay true.

    shares: of own words, one for each batch; always 0 is teacher forcing, always 1 is training
    without it. When the shares end, no batch has been taken that is not given on.
    """
    for share, (inputs, labels) in zip(shares, batches, strict=False):
        yield (own_words(model, inputs, share, rng) if share else inputs), labels
