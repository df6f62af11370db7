"""Labels for the middle of a network: a scaffold that stands while a circuit is built.

    train(Halfway(model, start, depth=2), half_labels(batches, ...), recipe, loss=with_half(0.3))

To answer `where is anna ?` a model needs two steps, one upon the other: each word has to know whose
sentence it stands in, and then the question finds the sentence of that person. Either alone lowers
no loss, and so training waits for both by chance: thousands of steps (measured: 5,500 on texts of
two sentences). A label for the first step, read off after half of the layers, makes it a matter of
two hundred. The text gives that label for nothing: the last name that was said. So it is where one
event follows another: unless a label ties each to the one before, a model of sums goes on as was
usual in training, and fails on sums kept for tests (measured, 2,500 steps on sums alone: 0.86 of
the replies right, 0.99 with the label). And where two people have come together: who was in a place
last (2,000 steps on summaries alone: 0.55 right, 0.76 with the label).

For a model that looks both ways, `whereabouts` labels each person and thing with its place.

Source: Lee 2015, *Deeply-supervised nets* (losses for hidden layers).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lm.language.windows import IGNORE, Batch
from course_lm.models.transformer import Transformer
from course_lm.training.losses import cross_entropy

from .supervised import Apart


def last_of(inputs: Tensor, words: Tensor, start: int) -> Tensor:
    """For each token the last of `words` up to it in its text, IGNORE before the first: (B, T).

    Every id `start` begins a text.

    >>> last_of(torch.tensor([[0, 5, 9, 6, 9, 0, 9]]), torch.tensor([5, 6]), start=0)
    tensor([[-100,    5,    5,    6,    6, -100, -100]])
    """
    places = torch.arange(inputs.shape[1]).expand_as(inputs)
    marked = torch.isin(inputs, words) | (inputs == start)
    last = places.where(marked, -1).cummax(1).values
    word = inputs.gather(1, last.clamp(min=0))
    return word.where((last >= 0) & (word != start), IGNORE)


def last_alike(keys: Tensor, inputs: Tensor, start: int) -> Tensor:
    """Where the key of this place stood last before it in its text, −1 where it did not: (B, T).

    A key of IGNORE is like no other.

    >>> last_alike(torch.tensor([[3, 7, 3, 7, 7]]), torch.tensor([[0, 1, 1, 0, 1]]), start=0)
    tensor([[-1, -1,  0, -1,  3]])
    """
    text, places = (inputs == start).cumsum(1), torch.arange(inputs.shape[1])
    alike = (keys[:, :, None] == keys[:, None]) & (text[:, :, None] == text[:, None])
    return _latest(alike & (places < places[:, None])).where(keys != IGNORE, -1)


_NO_IDS = torch.tensor([], dtype=torch.long)


@dataclass(frozen=True, slots=True, kw_only=True)
class WordIds:
    """Ids that half-way labels are made of, (N,) each.

    names: of people. For `half_labels` only: numbers, of how many there are; asked, of the tasks
    whose texts get labels.
    """

    names: Tensor
    things: Tensor
    places: Tensor
    numbers: Tensor = _NO_IDS
    asked: Tensor = _NO_IDS


def half_labels(batches: Iterable[Batch], words: WordIds, start: int) -> Iterator[Batch]:
    """Batches with two rows of labels, those they had and a word: (B, T), (2, B, T).

    The word is the last name said; for a thing that comes again, the last name at its last mention
    (who gave it, where it was given: the upper half has to read on); behind a place that comes
    again, who was there last; for a number told of a person, the number told of that person before.
    It is IGNORE in a text without an id of `asked`. Raises ValueError where `asked` is empty.
    """
    if not len(words.asked):
        raise ValueError(
            "half_labels: expected the ids of at least one task in `asked`, got none; give those "
            "whose texts get labels"
        )
    for inputs, labels in batches:
        text, asked = (inputs == start).cumsum(1), torch.isin(inputs, words.asked)
        counts = text.new_zeros(len(text), text.shape[1] + 1)  # of a row of n ids, n texts at most
        found = counts.scatter_add(1, text, asked.long()).gather(1, text) > 0
        told = (last_of(inputs, words.asked, start) == IGNORE) & (inputs != start)
        half = named = last_of(inputs, words.names, start)
        before = inputs.roll(1, 1)
        things = inputs.where(torch.isin(inputs, words.things), IGNORE)
        places = before.where(told & torch.isin(before, words.places), IGNORE)
        numbers = named.where(told & torch.isin(inputs, words.numbers), IGNORE)
        for keys, known in ((things, named), (places, named), (numbers, inputs)):
            last = last_alike(keys, inputs, start)
            half = known.gather(1, last.clamp(min=0)).where(last >= 0, half)
        yield inputs, torch.stack([labels, half.where(found, IGNORE)])


def whereabouts(ids: Tensor, words: WordIds, start: int, end: int) -> Tensor:
    """For names where that person was put last, for things where their holder is: (B, T) -> (B, T).

    Only earlier sentences of the text count. A thing's holder is the last person of the sentence
    that last spoke of it; if nobody stood in it, the thing is in the last place of a sentence about
    it. Where no place is known, the last name said, IGNORE before any. All other words: IGNORE.
    Every id `start` begins a text. `end` ends a sentence: the full stop alone, so that a question
    and its answer are one.

    >>> anna, key, attic = (torch.tensor([word]) for word in (5, 7, 13))
    >>> words = WordIds(names=anna, things=key, places=attic)
    >>> whereabouts(torch.tensor([[0, 5, 13, 1, 5, 7, 1, 7]]), words, start=0, end=1)
    tensor([[-100,    5, -100, -100,   13,    5, -100,   13]])
    """
    texts, ends = (ids == start).cumsum(1), ((ids == end) | (ids == start)).long()
    sentences = ends.cumsum(1) - ends
    is_person, is_thing, is_place = (
        torch.isin(ids, some) for some in (words.names, words.things, words.places)
    )
    together = sentences[:, :, None] == sentences[:, None]
    earlier = (texts[:, :, None] == texts[:, None]) & (sentences[:, None] < sentences[:, :, None])
    alike = ids[:, :, None] == ids[:, None]
    mention = _latest(alike & earlier & is_thing[:, None])
    beside = together.gather(1, mention.clamp(min=0)[..., None].expand_as(together))
    holder = _latest(beside & is_person[:, None] & (mention >= 0)[..., None])
    who = ids.gather(1, holder.clamp(min=0)).where(holder >= 0, ids)
    # (B, T, T): does the sentence of the second speak of the one asked for at the first?
    told = ((who[:, :, None] == ids[:, None]).float() @ together.float()) > 0
    at = _latest(told & earlier & is_place[:, None])
    word = ids.gather(1, at.clamp(min=0)).where(at >= 0, last_of(ids, words.names, start))
    return word.where(is_person | is_thing, IGNORE)


def _latest(found: Tensor) -> Tensor:
    """For each row the last place that is true, −1 where none is: (..., T) -> (...)."""
    return torch.arange(found.shape[-1]).where(found, -1).amax(-1)


class Halfway(nn.Module):
    """A Transformer with texts kept apart, read twice: (B, T) -> (2, B, T, V).

    First its logits, then those that its norm and head make of what stands after `depth` blocks.
    Raises ValueError for a depth that it does not have.
    """

    def __init__(self, model: Transformer, start: int, depth: int) -> None:
        super().__init__()
        if not 1 <= depth <= len(model.blocks):
            raise ValueError(
                f"halfway: expected a depth from 1 to the model's {len(model.blocks)} blocks, got "
                f"{depth}; take about half of them"
            )
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

    Each is a mean over its own labels. Where a batch has no half-way label, the first alone.
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        whole = cross_entropy(logits[0], labels[0])
        if (labels[1] == IGNORE).all():
            return whole
        return whole + weight * cross_entropy(logits[1], labels[1])

    return loss
