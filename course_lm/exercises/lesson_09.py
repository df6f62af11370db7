"""Exercises of lesson 09: how does a predictor become an assistant?"""

import math

import torch
from torch import Tensor

from course_lm.language.windows import IGNORE
from course_lm.language.world import NUMBERS

from .checking import exercise
from .expect import expect_equal, expect_number, expect_tensor, fail
from .quiz import Question
from .sentences import brief

base_asked = Question(
    "Prediction: the base model has read millions of words of stories, and no instruction. It gets "
    "a story and then `who has the lamp ? [reply]`. What does it say?",
    (
        (
            "The answer: its stories hold such questions.",
            "They do; the marker is new to it, and so is a question that names no colour.",
        ),
        (
            "Whatever is likely to come next in a story.",
            "It predicts, and was never told that a reply is asked of it.",
        ),
        ("Nothing: it does not know the marker.", "A model gives a distribution for every prompt."),
    ),
    correct=1,
)

at_once = Question(
    "Prediction: the same model is asked for the number at once, and with every sum written out "
    "first. Which reply is right more often, where there are two or three sums?",
    (
        (
            "The number at once: with less to write, less can go wrong.",
            "Less is written, and as much has to be worked out, inside one pass.",
        ),
        (
            "The written one.",
            "Each written sum is read again by the next one; at once, all of them have to be done "
            "inside one pass through the same layers.",
        ),
        (
            "Both the same: the text that they read is the same.",
            "What is written becomes part of what is read.",
        ),
    ),
    correct=1,
)

run_time = Question(
    "What does a low-rank adapter cost at run time, once it is merged?",
    (
        ("Two more products in every layer.", "That is what it costs before it is merged."),
        (
            "Nothing.",
            "B A has the shape of W, so that the sum is one matrix again, as large as before.",
        ),
        ("A matrix of twice the size.", "The sum of two matrices has the size of each."),
    ),
    correct=1,
)


@exercise(
    "9.1",
    "The loss on the response",
    minutes=5,
    hints=(
        "Which labels are given by whoever asks, and which has the model to say itself?",
        "Four labels count: those after the marker. Add their −log p, then divide.",
        "(0.9 + 0.4 + 0.2 + 0.1) / 4.",
    ),
)
def by_hand(student):
    """Give the mean loss on the response, in nats per token, for the labels of the table."""
    prompt, response = [2.0, 3.0], [0.9, 0.4, 0.2, 0.1]
    right = sum(response) / 4
    mistakes = {
        "That counts the prompt, too; it is given, never predicted.": sum(prompt + response) / 6,
        "That is the loss on the prompt; take the rest.": sum(prompt) / 2,
        "The marker counts in it; it belongs to the prompt.": (3.0 + sum(response)) / 5,
        "The first word of the response is missing; the model has to say it, too.": (
            sum(response[1:]) / 3
        ),
        "The end is missing; the model has to know when to stop.": sum(response[:-1]) / 3,
        "That is one place too early: from the marker to the last word.": (
            (3.0 + sum(response[:-1])) / 4
        ),
        "That is the sum; divide it by the number of labels that count.": sum(response),
        "Divide by the four labels that count, not by all six.": sum(response) / 6,
        "A loss is −log p, which is never negative.": -right,
        "That is a probability; the loss is the mean of −log p.": math.exp(-right),
        "That is in bits; the table is in nats, and so is the answer.": right / math.log(2),
    }
    expect_number(student.value, right, tolerance=5e-4, mistakes=mistakes)
    return "Over all six it is 1.1, and most of that is the price of guessing the question."


@exercise(
    "9.2",
    "Write the labels of the response",
    minutes=12,
    hints=(
        "Join both first: `ids = torch.tensor([*prompt, *response])`. Inputs are all but the last, "
        "labels all but the first.",
        "At which place of the inputs is the first word of the response the label? Where the "
        "prompt ends.",
        "`labels[: len(prompt) - 1] = IGNORE`, on a copy: `ids[1:].clone()`.",
    ),
)
def labels(student):
    """Return (inputs, labels), (T,) each: next token, with IGNORE where the label is in the prompt.

    T is len(prompt) + len(response) − 1; the prompt ends with the marker.
    """
    for prompt, response in (
        ([0, 5, 6, 5, 11], [7, 5, 12]),
        ([0, 3, 11], [12]),
        ([11], [4, 4, 12]),
        ([0, 11], [9, 11, 8, 12]),
    ):
        got = student(prompt, response)
        if not isinstance(got, tuple | list) or len(got) != 2:
            fail(f"expected a pair (inputs, labels), got {brief(got)}")
        for name, part in zip(("inputs", "labels"), got, strict=True):
            if not isinstance(part, Tensor) or part.dim() != 1 or part.is_floating_point():
                kind = f", {part.dtype}, {part.dim()}-D" if isinstance(part, Tensor) else ""
                fail(f"expected {name} as whole numbers in a 1-D tensor, got {brief(part)}{kind}")
        _check_inputs(got[0], prompt, response)
        wanted = torch.tensor([IGNORE] * (len(prompt) - 1) + response)
        slips = _label_slips(prompt, response)
        others = {said: slip for said, slip in slips.items() if slip != wanted.tolist()}
        expect_tensor(got[1], wanted, mistakes=others)
    return "Nothing else changes: the same model, the same loss, the same loop."


def _check_inputs(inputs: Tensor, prompt: list[int], response: list[int]) -> None:
    ids = [*prompt, *response]
    mistakes = {
        "The last token is read, too; nothing comes after it, so it is no input.": ids,
        "Without the prompt there is nothing to answer; inputs hold both.": response[:-1],
        "Inputs are what is read, labels hide what does not count; leave inputs as they are.": (
            [IGNORE] * (len(prompt) - 1) + ids[len(prompt) - 1 : -1]
        ),
        "Those are the labels: inputs and labels have changed places.": (
            [IGNORE] * (len(prompt) - 1) + response
        ),
        "Those are the tokens that come next; inputs begin with the first.": ids[1:],
    }
    others = {said: slip for said, slip in mistakes.items() if slip != ids[:-1]}
    expect_tensor(inputs, torch.tensor(ids[:-1]), mistakes=others)


def _label_slips(prompt: list[int], response: list[int]) -> dict[str, list[int]]:
    ids, given = [*prompt, *response], len(prompt) - 1
    return {
        "The prompt has labels, too: the model would learn to ask.": ids[1:],
        "Labels are the token that comes next; these are the inputs again.": (
            [IGNORE] * (given + 1) + ids[given + 1 : -1]
        ),
        "Labels are the token that comes next; these are not moved by one place.": (
            [IGNORE] * given + ids[given:-1]
        ),
        "The first word of the response has no label; it is predicted at the marker.": (
            [IGNORE] * (given + 1) + ids[given + 2 :]
        ),
        "The marker has a label; it is given with the prompt, never predicted.": (
            [IGNORE] * (given - 1) + ids[max(given, 1) :]
        ),
        "The end has no label; the model has to learn when to stop.": (
            [IGNORE] * given + response[:-1] + [IGNORE]
        ),
        "The other way round: the prompt has labels and the response has none.": (
            ids[1 : given + 1] + [IGNORE] * len(response)
        ),
        "0 is a token; the loss leaves out IGNORE alone.": [0] * given + response,
        "−1 is no sign here; the loss leaves out IGNORE alone.": [-1] * given + response,
        "Labels have the length of the inputs: a label, or IGNORE, for each.": response,
    }


def planted_may_look(ids, start):
    """Who may look at whom in a packed row, with a planted bug; the page shows it as 9.3."""
    text = (ids == start).cumsum(1)
    same = text[:, :, None] >= text[:, None, :]
    return same & torch.ones(same.shape[1:], dtype=torch.bool).tril()


@exercise(
    "9.3",
    "Find the planted bug: a leak between neighbours",
    minutes=10,
    hints=(
        "Print `text` for `[[0, 5, 6, 0, 7]]` with start 0. Which numbers do the two texts have?",
        "The fourth token opens the second text. `same` says for it and the third token: 2 >= 1.",
        "Two tokens belong together when their numbers are equal: `==`.",
    ),
    planted=planted_may_look,
)
def may_look(student):
    """Mend it: (B, T) ids -> (B, T, T), true where the token of the row may look at the column's.

    Each `start` opens a text of its own; a token sees itself and what stands before it in its text.
    """
    for ids, start in (
        ([[0, 5, 6, 0, 7], [0, 1, 2, 3, 4]], 0),
        ([[7, 0, 7, 7, 0, 2]], 7),
        ([[4, 4, 0, 5, 0, 0]], 0),
    ):
        ids = torch.tensor(ids)
        right = torch.stack([_seen(row, start) for row in ids])
        got = student(ids, start)
        if isinstance(got, Tensor) and got.dtype is not torch.bool:
            fail(f"expected true and false, got {brief(got)} ({got.dtype}); compare, do not add")
        slips = _look_slips(ids, start, right)
        expect_tensor(got, right, mistakes={k: v for k, v in slips.items() if not v.equal(right)})
    return "Two examples in one row now learn as if each had a row of its own."


def _seen(row: Tensor, start: int) -> Tensor:
    """For each place of a row, those from the start of its text up to itself: (T,) -> (T, T)."""
    seen, begin = torch.zeros(len(row), len(row), dtype=torch.bool), 0
    for place, token in enumerate(row.tolist()):
        begin = place if token == start else begin
        seen[place, begin : place + 1] = True
    return seen


def _look_slips(ids: Tensor, start: int, right: Tensor) -> dict[str, Tensor]:
    opens = (ids == start).long()
    text, late = opens.cumsum(1), opens.cumsum(1) - opens
    together = text[:, :, None] == text[:, None, :]
    causal = torch.ones(right.shape[1:], dtype=torch.bool).tril()
    return {
        "This gives the same as the function on the page: every earlier text can be seen.": (
            planted_may_look(ids, start)
        ),
        "The future can be seen: keep `tril`.": together,
        "That is who may not look; turn it round.": ~right,
        "Rows look, columns are looked at; this is the transpose.": right.transpose(1, 2),
        "The start belongs to the text that it opens, not to the one before.": (
            (late[:, :, None] == late[:, None, :]) & causal
        ),
        "Not every text opens with 0; use `start`.": _zero_opens(ids) & causal,
        "A token sees itself, too.": together & causal.tril(-1),
        "Now later texts see the earlier ones and not themselves.": (
            (text[:, :, None] > text[:, None, :]) & causal
        ),
        "That is one text's mask without the row of the batch; keep (B, T, T).": right[0],
    }


def _zero_opens(ids: Tensor) -> Tensor:
    text = (ids == 0).cumsum(1)
    return text[:, :, None] == text[:, None, :]


@exercise(
    "9.4",
    "Predict: how small is an adapter?",
    minutes=4,
    hints=(
        "Two thin matrices: A is (r × in), B is (out × r).",
        "r · in + out · r numbers stand beside in · out.",
        "8 · (128 + 384) / (128 · 384).",
    ),
)
def adapter_share(student):
    """How many numbers has an adapter of rank 8, as a share of those of its matrix, 384 × 128?"""
    rows, columns, rank = 384, 128, 8
    right = rank * (rows + columns) / (rows * columns)
    mistakes = {
        "That is how many numbers it has; divide by those of the matrix.": rank * (rows + columns),
        "That is A alone; B belongs to it, too.": rank / rows,
        "That is B alone; A belongs to it, too.": rank / columns,
        "Rank 8 makes two matrices with a side of 8, not one of 8 × 8.": rank**2 / (rows * columns),
        "Turn it round: the adapter over the matrix.": 1 / right,
        "Give a share from 0 to 1, not per cent.": 100 * right,
        "The rank counts once in each matrix: r · (in + out).": (rows + columns) / (rows * columns),
        "The rank counts once in each matrix, not twice.": 2 * right,
        "That is what is saved; give what the adapter has.": 1 - right,
        "The numbers of A and of B are added, not multiplied.": float(rank**2),
    }
    expect_number(student.value, right, tolerance=5e-4, mistakes=mistakes)
    return "Ten tasks need one base and ten files, each a twelfth of this matrix."


@exercise(
    "9.5",
    "Write the merge",
    minutes=6,
    hints=(
        "The adapter computes scale · B (A x). Which one matrix does that to x?",
        "(B A) has the shape of W: (out × r) times (r × in).",
        "`weight + scale * (up @ down)`.",
    ),
)
def merged(student):
    """Return the one matrix that does what W and its adapter do together: W + scale · B A.

    weight: W, (out × in). down: A, (r × in). up: B, (out × r).
    """
    rng = torch.Generator().manual_seed(0)
    for rows, columns, rank, scale in ((4, 3, 2, 0.4), (3, 3, 3, 4.0), (3, 3, 1, 8.0)):
        weight = torch.randn(rows, columns, generator=rng)
        down, up = (torch.randn(s, generator=rng) for s in ((rank, columns), (rows, rank)))
        right = weight + scale * (up @ down)
        slips = {
            "The scale is missing.": weight + up @ down,
            "The scale multiplies, it does not divide.": weight + up @ down / scale,
            "The scale belongs to the adapter alone, not to W.": scale * (weight + up @ down),
            "That is the adapter alone; add it to W.": scale * (up @ down),
            "The adapter is added, not taken away.": weight - scale * (up @ down),
            "The scale is divided by the rank a second time.": weight + scale * (up @ down) / rank,
            "The scale counts twice.": weight + scale**2 * (up @ down),
        }
        if rows == columns:
            slips["That is the transpose of the adapter: B A, not (B A)ᵀ."] = (
                weight + scale * (up @ down).T
            )
        if rows == columns == rank:
            slips["Factors in the other order: x meets A first, so it is B A."] = weight + scale * (
                down @ up
            )
        others = {said: slip for said, slip in slips.items() if not torch.allclose(slip, right)}
        expect_tensor(student(weight, down, up, scale), right, mistakes=others)
    return "B begins at 0, so that the first merge changes nothing."


@exercise(
    "9.6",
    "Write the steps out",
    minutes=12,
    hints=(
        "Keep one number, what somebody has, and change it by each amount in turn.",
        "Each step says four things: the verb by the sign, the amount without it, `so`, and what "
        "somebody has now. `NUMBERS[n - 1]` is the word of n.",
        "In the loop: `have += amount`, then `verb = 'finds' if amount > 0 else 'loses'` and "
        "`f'{verb} {NUMBERS[abs(amount) - 1]} so {NUMBERS[have - 1]} .'`. After it: the number.",
    ),
)
def steps(student):
    """Return the response as a text: every change with the number after it, then the number.

    amounts: whole numbers, above 0 for what is found, below for what is lost; totals are 1 to 12.
    """
    for amounts in ([2, 3, -1], [4], [1, 5, -2, 3], [5, -3, -1, 2, 4, 5]):
        got = student(amounts)
        if isinstance(got, list | tuple) and all(isinstance(word, str) for word in got):
            fail(f"expected one text, got {brief(got)}; join the words with spaces")
        if isinstance(got, str):
            got = " ".join(got.split())
        right = _written(amounts)
        slips = {said: slip for said, slip in _step_slips(amounts).items() if slip != right}
        expect_equal(got, right, mistakes=slips)
    return "Each sum has two numbers, both written just before: that is all a model has to see."


def _written(amounts: list[int], totals: list[int] | None = None, verb: str = "loses") -> str:
    """The response, or with other totals, or another verb for what is lost."""
    totals = totals or _sums(amounts)
    words = [
        f"{'finds' if amount > 0 else verb} {_word(abs(amount))} so {_word(total)} ."
        for amount, total in zip(amounts, totals, strict=True)
    ]
    return " ".join([*words, f"{_word(totals[-1])} ."])


def _word(number: int) -> str:
    return NUMBERS[number - 1] if 1 <= number <= len(NUMBERS) else str(number)


def _step_slips(amounts: list[int]) -> dict[str, str]:
    right, sizes = _written(amounts), [abs(n) for n in amounts]
    words, steps = right.split(), right.split(" . ")
    return {
        "The number itself is missing at the end; it is what was asked for.": (
            " . ".join(steps[:-1]) + " ."
        ),
        "That is the number alone; write every sum out before it.": steps[-1],
        "What is lost is called `loses`, and is taken away.": _written(sizes),
        "What is lost is taken away; the verbs are right, the totals are not.": _written(
            amounts, totals=_sums(sizes)
        ),
        "What is lost is called `loses`.": _written(amounts, verb="finds"),
        "After `so` stands what somebody has by then, not the amount again.": _written(
            amounts, totals=sizes
        ),
        "After `so` stands what somebody has after the change, not before.": _written(
            amounts, totals=[0, *_sums(amounts)[:-1]]
        ),
        "The word of n is `NUMBERS[n - 1]`; each word is one too high.": " ".join(
            _word(NUMBERS.index(word) + 2) if word in NUMBERS else word for word in words
        ),
        "Write numbers as words.": " ".join(
            str(NUMBERS.index(word) + 1) if word in NUMBERS else word for word in words
        ),
        "The last full stop is missing.": right.removesuffix(" ."),
        "Each step ends with a full stop.": right.replace(" .", "", len(amounts)),
    }


def _sums(amounts: list[int]) -> list[int]:
    return [sum(amounts[: n + 1]) for n in range(len(amounts))]
