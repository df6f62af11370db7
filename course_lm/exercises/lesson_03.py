"""Exercises of lesson 03: can a network remember?"""

import statistics
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from course_lm.language import lab
from course_lm.models.rnn import RNN, RNNConfig

from .checking import exercise
from .expect import expect_number, expect_shape, expect_tensor, fail
from .quiz import Question
from .sentences import brief

fifty_words_back = Question(
    "Prediction: each step back multiplies the gradient by 0.8. About how much of it is left 50 "
    "words back?",
    (
        ("A fiftieth.", "That would be 1 / 50; the factors multiply."),
        ("A seventy-thousandth.", "0.8 ** 50 is 0.000014: learning hardly sees that word."),
        ("0.8 of it.", "That is one step back; there are fifty."),
    ),
    correct=1,
)

shorter_step = Question(
    "Prediction: a gradient of norm 50 is clipped to norm 1. What becomes of the step?",
    (
        ("Each number above 1 is cut off.", "That bends it; the norm divides all by the same 50."),
        (
            "It keeps its direction and becomes 50 times shorter.",
            "All numbers are multiplied by 1/50, so downhill stays downhill.",
        ),
        ("It is left out.", "It is made, only shorter."),
    ),
    correct=1,
)

only_pairs = Question(
    "Diagnosis: the loss of a recurrent network falls to that of counted pairs and stays there. "
    "What does the network make use of?",
    (
        ("The last word alone.", "So do counted pairs; whoever knows more gets below their loss."),
        ("Two states.", "A pair is a word and the word after it."),
        ("Nothing at all.", "Then the loss would be that of single words, or ln V."),
    ),
    correct=0,
)


@exercise(
    "3.1",
    "Two steps by hand",
    minutes=5,
    hints=(
        "First h_1 from the first word and the state 0; then h_2 from the second word and h_1.",
        "h_1 = tanh(1 · 1 + 0.5 · 0). What is added to 1 · 0 in the second step?",
        "`math.tanh(0.5 * math.tanh(1))`.",
    ),
)
def two_steps(student):
    """One number as the state: w = 1, u = 0.5, b = 0, the words 1 and then 0. Give h_2.

    h_t = tanh(w e_t + u h_{t−1} + b), and h_0 = 0; three digits after the point are enough.
    """
    mistakes = {
        "That is h_1; one more step.": 0.76159,
        "The second step has a tanh, too.": 0.38080,
        "The first step has a tanh, too.": 0.46212,
        "Both steps have a tanh.": 0.5,
        "The state is multiplied by u = 0.5 before it is added.": 0.64201,
        "The second word is 0, not 1 again.": 0.88107,
        "That takes the sigmoid; the plain network takes tanh.": 0.59039,
        "That forgets the state: h_1 is added in the second step.": 0.0,
    }
    expect_number(student.value, 0.36340, tolerance=5e-4, mistakes=mistakes)
    return "The first word is still there, less than half as strong, and nothing renews it."


@exercise(
    "3.2",
    "Write the step",
    minutes=8,
    hints=(
        "A matrix W that maps vectors to vectors is applied to each row of `e` by `e @ W.T`.",
        "Add what the word says, what the state says and the bias; then squash.",
        "`torch.tanh(e @ W.T + h @ U.T + b)`.",
    ),
)
def rnn_step(student):
    """Return h_t = tanh(W e_t + U h_{t−1} + b) for each row: e (B, E), h (B, D) -> (B, D)."""
    rng = torch.Generator().manual_seed(3)
    for wide in (3, 2):
        shapes = (2, wide), (2, 3), (3, wide), (3, 3), (3,)
        e, h, W, U, b = (torch.randn(shape, generator=rng) for shape in shapes)
        right = torch.tanh(e @ W.T + h @ U.T + b)
        slips = _slips_of_a_step(e, h, W, U, b) if wide == 3 else {}
        expect_tensor(student(e, h, W, U, b), right, mistakes=slips)
    got = student(e, h, W.requires_grad_(), U, b)
    if got.grad_fn is None:
        fail(
            "expected a tensor that gradients can flow through; leave out `.detach()` and "
            "`torch.no_grad()`"
        )
    return (
        "Three learned tensors, used again at every word; what it remembers of the text is in `h`."
    )


def _slips_of_a_step(e: Tensor, h: Tensor, W: Tensor, U: Tensor, b: Tensor) -> dict[str, Tensor]:
    word, state = e @ W.T, h @ U.T
    inside = word + state + b
    return {
        "The state is left out: without U h the network has no memory.": torch.tanh(word + b),
        "The word is left out.": torch.tanh(state + b),
        "The bias is left out.": torch.tanh(word + state),
        "The tanh is missing: states could grow without end.": inside,
        "That squashes with a sigmoid; take tanh.": torch.sigmoid(inside),
        "W is for the word, U for the state.": torch.tanh(h @ W.T + e @ U.T + b),
        "For each row W e is `e @ W.T`, and U h is `h @ U.T`.": torch.tanh(e @ W + h @ U + b),
        "For each row U h is `h @ U.T`.": torch.tanh(word + h @ U + b),
        "For each row W e is `e @ W.T`.": torch.tanh(e @ W + state + b),
        "The bias stands inside the tanh.": torch.tanh(word + state) + b,
        "Nothing is added outside the tanh.": h + torch.tanh(inside),
        "U h is added, not subtracted.": torch.tanh(word - state + b),
        "The bias is added, not subtracted.": torch.tanh(word + state - b),
    }


@exercise(
    "3.3",
    "Write clipping by norm",
    minutes=8,
    hints=(
        "One norm for all tensors together: the root of the sum of all squares.",
        "If it is above `largest`, multiply every tensor by the same number. Which one?",
        "`norm = sum((g**2).sum() for g in gradients) ** 0.5`; where it is above `largest`, return "
        "`[g * largest / norm for g in gradients]`.",
    ),
)
def clip_by_norm(student):
    """Return the gradients, shrunk together to the norm `largest`; smaller ones stay as they are.

    gradients: a list of tensors; their norm is the root of the sum of all squares. Return new
    tensors and leave those in the list as they were.
    """
    large = [torch.tensor([[3.0, 0.0], [0.0, -4.0]]), torch.tensor([7.2, -9.6])]  # norms 5, 12; 13
    _expect_list(student(large, 2.6), [0.2 * g for g in large], _slips_of_clipping(large, 2.6))
    for numbers, largest, slip in _EDGES:
        gradients = [torch.tensor([number]) for number in numbers]
        norm = sum(number**2 for number in numbers) ** 0.5
        shrunk = [g * min(1, largest / norm) for g in gradients]
        unlike = torch.tensor(numbers) * (1 if norm > largest else largest / norm)
        _expect_list(student(gradients, largest), shrunk, {slip: unlike})
    nothing = [torch.zeros(2), torch.zeros(1)]
    _expect_list(student(nothing, 1.0), nothing, {})
    return "The direction stays; only the length of the step is limited."


# Gradients of one number each, `largest`, and what went wrong where they are shrunk (or left) amiss
_EDGES = (
    (
        (1.2, 1.6),
        3.0,
        "Their norm is 2, below `largest` (its square is not); leave them as they are.",
    ),
    ((3.0, 4.0), 4.5, "Each is below `largest`, but the norm of all is 5; compare that one."),
    ((0.3, 0.4), 0.4, "Their norm is 0.5, above `largest` (its square is not); shrink them."),
    ((3.0, 4.0, 12.0), 6.5, "There are three tensors, and all of them count."),
)


def _slips_of_clipping(gradients: list[Tensor], largest: float) -> dict[str, Tensor]:
    flat = torch.cat([g.flatten() for g in gradients])
    norm, norms = flat.norm(), torch.stack([g.norm() for g in gradients])
    shares = {
        "Nothing was shrunk.": 1.0,
        "That turns the step around; the sign stays.": -largest / norm,
        "That divides by the sum of the norms; take the root of the sum of all squares.": (
            largest / norms.sum()
        ),
        "The root is missing: that divides by the squared norm.": largest / norm**2,
        "That takes the mean of the squares; take their sum.": largest / norm * len(flat) ** 0.5,
        "That has the norm 1; it should be `largest`.": 1 / norm,
        "That takes the largest number for the norm.": largest / flat.abs().max(),
        "That takes the largest of the norms; take one norm for all.": largest / norms.max(),
        "That takes the first tensor alone for the norm.": largest / norms[0],
        "That takes the sum of the sizes for the norm.": largest / flat.abs().sum(),
        "Multiply by `largest / norm`, not by `norm / largest`.": norm / largest,
    }
    return {
        "That cuts off each number and bends the direction; multiply all by one number.": (
            flat.clamp(-largest, largest)
        ),
        "Each tensor has a norm of its own here; take one norm for all of them.": torch.cat(
            [(g * largest / g.norm()).flatten() for g in gradients]
        ),
    } | {text: share * flat for text, share in shares.items()}


def _expect_list(got: object, want: list[Tensor], mistakes: dict[str, Tensor]) -> None:
    if not isinstance(got, list | tuple) or len(got) != len(want):
        fail(f"expected a list of {len(want)} tensors, got {brief(got)}")
    for one in got:
        if not isinstance(one, Tensor):
            fail(f"expected a list of tensors, got one with {brief(one)} in it")
    flat = [expect_shape(one, right.shape).flatten() for one, right in zip(got, want, strict=True)]
    expect_tensor(torch.cat(flat), torch.cat([w.flatten() for w in want]), mistakes=mistakes)


def planted_read_in_pieces(model, ids, size):
    """Logits of a long text, read in pieces, with a planted bug; exercise 3.4 shows it."""
    parts = []
    for piece in ids.split(size, dim=1):
        logits, _ = model.read(piece)
        parts.append(logits)
    return torch.cat(parts, dim=1)


@cache
def _network(cell: str) -> RNN:
    config = RNNConfig(vocab_size=5, width=4, cell=cell)
    return RNN(config, torch.Generator().manual_seed(5)).requires_grad_(False)


@dataclass(frozen=True)
class _Reader:
    """A small network that reads at most three tokens at once."""

    cell: str

    def read(self, ids: Tensor, memory=None):
        if ids.shape[1] > 3:
            raise ValueError("this model reads at most 3 tokens at once")
        return _network(self.cell).read(ids, memory)

    def __call__(self, ids: Tensor) -> Tensor:
        return self.read(ids)[0]


@exercise(
    "3.4",
    "Find the planted bug: a text in pieces",
    minutes=8,
    hints=(
        "Which word does the first prediction of the second piece not know of?",
        "`model.read(piece, memory)` begins where `memory` ended; None is an empty memory.",
        "`memory = None` before the loop, and `logits, memory = model.read(piece, memory)` in it.",
    ),
    planted=planted_read_in_pieces,
)
def read_in_pieces(student):
    """Mend the function: the logits of a text read in pieces are those of the whole text."""
    one, two = torch.randint(5, (2, 2, 7), generator=torch.Generator().manual_seed(6))
    for cell in ("lstm", "plain"):
        reader = _Reader(cell)
        whole, other = _network(cell)(one), _network(cell)(two)
        first, second, third = one.split(3, dim=1)
        end = reader.read(first)[1]
        begun, later = reader(first), reader.read(second, end)[1]
        ends = {
            "This gives the same as the function on the page: every piece begins with an empty "
            "memory.": (None, None),
            "Every piece begins with the memory of the first; pass on the newest.": (end, end),
            "The memory comes a piece late.": (None, end),
            "The second piece begins with an empty memory.": (None, reader.read(second)[1]),
        }
        slips = {
            text: torch.cat([begun, reader.read(second, a)[0], reader.read(third, b)[0]], dim=1)
            for text, (a, b) in ends.items()
        }
        expect_tensor(student(reader, one, 3), whole, mistakes=slips)
        leak = _network(cell).read(two, reader.read(third, later)[1])[0]
        text = "The state of the text before is still there; begin each text with an empty memory."
        expect_tensor(student(reader, two, 3), other, mistakes={text: leak})
    expect_tensor(student(reader, one, 1), whole)
    return "The memory has one size for any length: so the network writes, a word at a time."


@exercise(
    "3.5",
    "Measure: how far back must an answer look?",
    minutes=5,
    hints=(
        "A question is `who has the COLOUR THING ? ANSWER`: find each `who`, then its colour.",
        "Walk back from the question's colour to the same colour before; count from there to the "
        "answer.",
        "For `i` with `words[i] == 'who'`: `j = max(j for j in range(i) if words[j] == words[i + "
        "3])`, and the distance is `i + 6 - j`; then `statistics.median` of all distances.",
    ),
)
def median_distance(student):
    """Give the median number of words from the last mention of a colour to the `who` answer."""
    distances = _distances()
    ends, firsts = zip(*distances, strict=True)
    middle = statistics.median(ends)
    mistakes = {
        "That is the mean; give the median.": statistics.mean(ends),
        "That counts to the word `who`; count to the answer.": middle - 6,
        "That counts to the colour in the question; count to the answer.": middle - 3,
        "That counts one word too many; neighbours are 1 apart.": middle + 1,
        "That counts one word too few; count from the colour to the answer.": middle - 1,
        "That is the longest; give the median.": max(ends),
        "That counts from the colour in the question itself.": 3,
        "That counts from the first mention; the thing may have changed hands since.": (
            statistics.median(firsts)
        ),
    }
    expect_number(student.value, middle, tolerance=1e-3, mistakes=mistakes)
    return "Half of the answers look back farther than this; no 5-gram sees any of them."


@cache
def _distances() -> list[tuple[int, int]]:
    """For each `who` answer: words since its colour was last named, and since it was first."""
    words, start, found = lab.sample(60_000, torch.Generator().manual_seed(0)), 0, []
    for i, word in enumerate(words):
        start = i if word == lab.START else start
        if word == "who":
            places = [j for j in range(start, i) if words[j] == words[i + 3]]
            found.append((i + 6 - places[-1], i + 6 - places[0]))
    return found
