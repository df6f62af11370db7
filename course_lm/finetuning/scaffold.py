"""Labels for the middle of a network: a scaffold that stands while a circuit is built.

    train(Halfway(model, start, depth=2), half_labels(batches, ...), recipe, loss=with_half(0.3))

To answer `where is anna ?` a model needs two steps, one upon the other: each word has to know whose
sentence it stands in, and then the question finds the sentence of that person. Either alone lowers
no loss, and so training waits for both by chance: thousands of steps (measured: 5,500 on texts of
two sentences). A label for the first step, read off after half of the layers, makes it a matter of
two hundred. The text gives that label for nothing: the last name that was said.

Source: Lee 2015, *Deeply-supervised nets* (losses for hidden layers).
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from course_lm.language.windows import IGNORE, Batch
from course_lm.models.transformer import Transformer
from course_lm.training.losses import cross_entropy

from .supervised import Apart


def last_name(inputs: Tensor, names: Tensor, start: int) -> Tensor:
    """For each token the last of `names` up to it in its text, IGNORE before the first: (B, T).

    Every id `start` begins a text.

    >>> last_name(torch.tensor([[0, 5, 9, 6, 9, 0, 9]]), torch.tensor([5, 6]), start=0)
    tensor([[-100,    5,    5,    6,    6, -100, -100]])
    """
    places = torch.arange(inputs.shape[1]).expand_as(inputs)
    marked = torch.isin(inputs, names) | (inputs == start)
    last = places.where(marked, -1).cummax(1).values
    named = inputs.gather(1, last.clamp(min=0))
    return named.where((last >= 0) & (named != start), IGNORE)


def last_mention(inputs: Tensor, words: Tensor, start: int) -> Tensor:
    """Where each of `words` stood last before this place of its text, −1 elsewhere: (B, T).

    >>> last_mention(torch.tensor([[0, 7, 9, 7, 0, 7]]), torch.tensor([7]), start=0)
    tensor([[-1, -1, -1,  1, -1, -1]])
    """
    text, places = (inputs == start).cumsum(1), torch.arange(inputs.shape[1])
    alike = (inputs[:, :, None] == inputs[:, None]) & (text[:, :, None] == text[:, None])
    earlier = places.where(alike & (places < places[:, None]), -1).amax(2)
    return earlier.where(torch.isin(inputs, words), -1)


def half_labels(
    batches: Iterable[Batch], names: Tensor, things: Tensor, start: int, asked: Tensor
) -> Iterator[Batch]:
    """Batches with two rows of labels, those they had and a name: (B, T), (2, B, T).

    The name is `last_name`; for a thing that comes again, the one at its last mention. It is IGNORE
    in a text that holds no id of `asked`.
    """
    for inputs, labels in batches:
        text = (inputs == start).cumsum(1)
        found = torch.zeros_like(text).scatter_add(1, text, torch.isin(inputs, asked).long())
        named, before = last_name(inputs, names, start), last_mention(inputs, things, start)
        named = named.gather(1, before.clamp(min=0)).where(before >= 0, named)
        named = named.where(found.gather(1, text) > 0, IGNORE)
        yield inputs, torch.stack([labels, named])


class Halfway(nn.Module):
    """A Transformer with texts kept apart, read twice: (B, T) -> (2, B, T, V).

    First its logits, then those that its norm and head make of what stands after `depth` blocks.
    """

    def __init__(self, model: Transformer, start: int, depth: int) -> None:
        super().__init__()
        self.apart, self.depth = Apart(model, start), depth

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (2, B, T, V)."""
        model, heard = self.apart.model, []
        listener = model.blocks[self.depth - 1].register_forward_hook(
            lambda block, given, stream: heard.append(stream)
        )
        try:
            logits = self.apart(ids)
        finally:
            listener.remove()
        return torch.stack([logits, model.head(model.norm(heard[0]))])


def with_half(weight: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of the response plus `weight` times that of the half-way labels, nats per label.

    Where a batch has no half-way label, the first alone.
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        whole = cross_entropy(logits[0], labels[0])
        if (labels[1] == IGNORE).all():
            return whole
        return whole + weight * cross_entropy(logits[1], labels[1])

    return loss
