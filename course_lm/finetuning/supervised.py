"""Supervised fine-tuning: the same loss and the same loop, with labels on the response alone.

    model = with_more_words(base, len(vocabulary), rng)
    pairs = [response_labels(prompt, response, reply) for ...]
    train(Apart(model, start), packed(pairs, context, rows, rng), recipe)

Source: Ouyang 2022 (supervised fine-tuning, the first step of InstructGPT); Krell 2021 (packing
without contamination).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from course_lm.language.windows import IGNORE, Batch, next_token
from course_lm.models.sampling import generate_batch
from course_lm.models.transformer import Transformer

Ids = Sequence[int]
Pair = tuple[Tensor, Tensor]  # inputs and labels of one example, (T,) each


def response_labels(prompt: Ids, response: Ids, reply: int, context: float = math.inf) -> Pair:
    """Inputs and labels of one example; labels are IGNORE until the response begins: (T,), (T,).

    `prompt` ends with the id `reply`, which stands nowhere else in it. The loss then counts the
    response alone: what the prompt says is given, never predicted. Raises ValueError for an empty
    response, a marker that is missing or stands twice, and more than `context` tokens.
    """
    if not len(response):
        raise ValueError(
            "response_labels: expected a response of at least one token, got none; give the end "
            "token where nothing is to be said"
        )
    if list(prompt).count(reply) != 1 or prompt[-1] != reply:
        raise ValueError(
            f"response_labels: expected a prompt that ends with the response marker (id {reply}) "
            f"and holds it once, got it {list(prompt).count(reply)} times in {len(prompt)} tokens; "
            "take it out of the text, where nobody may write it"
        )
    if len(prompt) + len(response) - 1 > context:
        raise ValueError(
            f"response_labels: expected prompt and response to fit into {context} tokens, got "
            f"{len(prompt)} and {len(response)}; shorten the prompt, its end must not be cut off"
        )
    inputs, labels = next_token(torch.tensor([[*prompt, *response]]))
    asked = torch.arange(labels.shape[1]) >= len(prompt) - 1
    return inputs[0], labels.where(asked, IGNORE)[0]


def pack(pairs: Sequence[Pair], length: int) -> Batch:
    """Examples side by side in rows of `length`, as few as first-fit finds: (R, length) twice.

    The rest of a row is filled with id 0 and IGNORE. `Apart` keeps a model from reading one example
    while it answers another. Raises ValueError for an example that is longer than a row.
    """
    rows, room = [], []
    for pair in pairs:
        size = len(pair[0])
        row = next((index for index, free in enumerate(room) if free >= size), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(length)
        rows[row].append(pair)
        room[row] -= size
    if any(free < 0 for free in room):
        raise ValueError(
            f"pack: expected examples of at most {length} tokens, got one of {length - min(room)}; "
            "give longer rows"
        )
    inputs = torch.zeros(len(rows), length, dtype=torch.long)
    labels = torch.full_like(inputs, IGNORE)
    for row, parts in enumerate(rows):
        joined = [torch.cat(part) for part in zip(*parts, strict=True)]
        inputs[row, : len(joined[0])], labels[row, : len(joined[1])] = joined
    return inputs, labels


def packed(pairs: Sequence[Pair], length: int, rows: int, rng: torch.Generator) -> Iterator[Batch]:
    """Endless batches of packed examples, (rows, length) each; every example once in each round.

    Raises ValueError where there is no example, and what `pack` raises.
    """
    if not len(pairs):
        raise ValueError("packed: expected at least one example, got none; give some")
    inputs = labels = torch.empty(0, length, dtype=torch.long)
    while True:
        for some in torch.randperm(len(pairs), generator=rng).split(16 * rows):
            more = pack([pairs[index] for index in some.tolist()], length)
            inputs, labels = torch.cat([inputs, more[0]]), torch.cat([labels, more[1]])
            while len(inputs) >= rows:
                yield inputs[:rows], labels[:rows]
                inputs, labels = inputs[rows:], labels[rows:]


class Apart(nn.Module):
    """A Transformer for which every id `start` begins a text of its own: (B, T) -> (B, T, V).

    No place sees beyond the last `start` before it, so that texts packed in one row get the logits
    that each gets alone.
    """

    def __init__(self, model: Transformer, start: int) -> None:
        super().__init__()
        self.model, self.start = model, start

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of the token after each place: (B, T) -> (B, T, V)."""
        text = (ids == self.start).cumsum(1)  # the number of the text that a token belongs to
        others = text[:, None, :, None] != text[:, None, None, :]
        hidden = torch.zeros(others.shape, device=ids.device).masked_fill(others, -torch.inf)
        return self.model.read(ids, remember=False, hidden=hidden)[0]


def with_more_words(base: Transformer, vocab_size: int, rng: torch.Generator) -> Transformer:
    """A copy of `base` that knows more words; old ids keep their rows, and old logits stay.

    New words get rows of the embedding from `rng`, as large as the old ones, and as rows of the
    output the mean of the old ones: said about as often as a word that hardly fits (Hewitt 2021).
    Raises ValueError for fewer words than the base has.
    """
    old = base.config.vocab_size
    if vocab_size < old:
        raise ValueError(
            f"with_more_words: expected at least the {old} words of the base, got {vocab_size}; "
            "put new words behind the old ones"
        )
    model = Transformer(replace(base.config, vocab_size=vocab_size), rng)
    for name, weight in base.named_parameters():
        wider = model.get_parameter(name).data
        if len(wider) > len(weight):  # a row for each word
            new = torch.empty(wider.shape).normal_(0, weight.std().item(), generator=rng)
            wider.copy_(weight.mean(0) if name == "head.weight" else new)
        wider[: len(weight)] = weight.data
    return model


def respond(
    model: Transformer, prompts: Sequence[Ids], stop: int, longest: int, rows: int = 64
) -> list[list[int]]:
    """The likeliest continuation of each prompt, token by token, up to `stop` or `longest`.

    A reply ends with its `stop`, unless `longest` tokens came first. Raises ValueError for an empty
    prompt and for one that is longer than the model's context.
    """
    context = getattr(model, "context", math.inf)
    if max(map(len, prompts), default=0) > context:
        raise ValueError(
            f"respond: expected prompts of at most {context} tokens, the model's context, got one "
            f"of {max(map(len, prompts))}; shorten it, or its beginning would not be read"
        )
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    replies: dict[int, list[int]] = {}
    unused = torch.Generator().manual_seed(0)  # one token is left to draw from
    for begin in range(0, len(order), rows):
        part = order[begin : begin + rows]
        texts = [prompts[index] for index in part]
        replies |= zip(
            part, generate_batch(model, texts, longest, unused, stop, top_k=1), strict=True
        )
    return [replies[index] for index in range(len(prompts))]


def exact_match(model: Transformer, pairs: Sequence[tuple[Ids, Ids]], stop: int) -> float:
    """Share of (prompt, response) pairs whose likeliest continuation is the response, whole.

    Responses end with `stop`. Raises ValueError where there is no pair, and what `respond` raises.
    """
    if not pairs:
        raise ValueError(
            "exact_match: expected at least one prompt with its response, got none; give some"
        )
    longest = max(len(response) for _, response in pairs)
    replies = respond(model, [prompt for prompt, _ in pairs], stop, longest)
    right = [reply == list(response) for reply, (_, response) in zip(replies, pairs, strict=True)]
    return sum(right) / len(right)
