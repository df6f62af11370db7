"""Exercises of lesson 04: why feed the truth, and what does it hide?"""

import math
from collections.abc import Callable
from functools import cache
from numbers import Real

import torch
from torch import Tensor

from course_lm.language import lab

from .checking import exercise
from .expect import expect_number, expect_tensor, fail
from .quiz import Question
from .sentences import brief

one_percent = Question(
    "Prediction: after true words, 1 word in 100 of a model is impossible. About what share of the "
    "60-word texts that it writes on its own has an impossible word in it?",
    (
        ("1 %.", "That is the share of words; one such word is enough to spoil a text."),
        ("45 %.", "A text stays possible with 0.99 ** 60 = 0.55; the rest is lost."),
        ("60 %.", "That adds 1 % for each word, and counts a text with two slips twice."),
    ),
    correct=1,
)

always_own = Question(
    "Prediction: in training, the inputs are always the model's own words; the labels stay the "
    "true next words. What can be learned from that?",
    (
        (
            "To recover from its own mistakes.",
            "The label is no correction: it goes on from the true text, which the model never saw.",
        ),
        (
            "Little more than how often each word comes at each place.",
            "After the first choice, what the model reads and what it should say come from two "
            "different stories; only the place in the text is shared.",
        ),
        (
            "Nothing; the loss stays at ln V.",
            "Some words are more frequent than others, and that can be learned from labels alone.",
        ),
    ),
    correct=1,
)

all_at_once = Question(
    "Prediction: why can training make the predictions at all places of a text in one pass, while "
    "writing needs one pass a word?",
    (
        ("Training has no need for exact results.", "Both compute the same numbers."),
        (
            "In training every input is known beforehand.",
            "The true words are there already. What the model writes is not: each word has to be "
            "drawn before the next one can be predicted.",
        ),
        ("Training uses larger batches.", "Batches help both; each row still waits for its words."),
    ),
    correct=1,
)


@exercise(
    "4.1",
    "Errors compound, by hand",
    minutes=3,
    hints=(
        "The first word is possible with 0.98. What about the first two together?",
        "Every word has to be possible: 0.98 for each, multiplied.",
        "0.98 ** 20.",
    ),
)
def by_hand(student):
    """Each word is impossible with 0.02. Give the share of 20-word texts without such a word.

    Three digits after the point.
    """
    right = 0.98**20
    mistakes = {
        "That subtracts 2 % for each word; a text with two slips is counted twice.": 0.6,
        "That is the share of texts with a slip; give the share without.": 1 - right,
        "That is 20 times 2 %; and give the share without a slip.": 0.4,
        "That is for one word; a text has 20.": 0.98,
        "That is the chance that all 20 words are impossible.": 0.02**20,
        "That is in per cent; give a share from 0 to 1.": 100 * right,
        "That is for 19 words.": 0.98**19,
        "That is for 21 words.": 0.98**21,
        "That multiplies 0.98 by 20; the 20 chances are multiplied with each other.": 19.6,
        "That is rounded too far; give three digits after the point.": 0.67,
        "One digit is too few; give three digits after the point.": 0.7,
    }
    expect_number(student.value, right, tolerance=7e-4, mistakes=mistakes)
    return "2 % a word sounds small. One text in three is lost after 20 words."


@exercise(
    "4.2",
    "Predict, then run: a colder model",
    minutes=5,
    hints=(
        "At temperature 0.5 the likely becomes likelier. Are impossible words likely or not?",
        "And the loss: what does the model now give to a true word that is rare?",
        "The rare true words cost more, and they come; the impossible ones come less often.",
    ),
)
def colder(student):
    """At temperature 0.5, what becomes of the held-out loss and of the lost texts? Give a letter.

    a: both fall. b: the loss rises, fewer texts are lost. c: the loss falls, more texts are lost.
    d: both rise.
    """
    answer = student.value
    if not isinstance(answer, str) or answer.strip(" .)").lower() not in {*"abcd"}:
        fail(f"expected one of the letters a, b, c, d in quotation marks, got {brief(answer)}")
    letter = answer.strip(" .)").lower()
    reasons = {
        "a": "The loss is lowest near temperature 1: training has seen to that.",
        "c": "Impossible words are rare in a trained model, and rare words become rarer.",
        "d": "Impossible words are rare in a trained model, and rare words become rarer.",
    }
    if letter in reasons:
        fail(f"expected another letter, got {letter!r}. {reasons[letter]}")
    return "So the loss of the distribution does not rank the texts. Run the next cell."


Say = Callable[[Tensor], Tensor]


def _say(seen: Tensor) -> Tensor:
    """A model without chance for the checks: its word depends on all words so far."""
    if seen.ndim != 2:
        raise ValueError(
            f"say: expected words of shape (B, t), got shape {tuple(seen.shape)}; "
            "a row alone is `mixed[b : b + 1, :t]`"
        )
    weights = torch.arange(1, seen.shape[1] + 1)
    return (seen * weights).sum(1) % 89 + 7


def _mixed(words: Tensor, own: Tensor, say: Say, after: str = "mixed", late: int = 0) -> Tensor:
    """The right inputs, or those of a named slip."""
    mixed = words.clone()
    for place in range(1, words.shape[1] - late):
        seen = words if after == "true" else mixed
        said = say(seen[:, :place] if after != "itself" else seen[:, : place + 1])
        at = place + late
        mixed[:, at] = torch.where(own[:, at], said, mixed[:, at])
    return mixed


@exercise(
    "4.3",
    "Write the inputs of scheduled sampling",
    minutes=12,
    hints=(
        "Go through the places from 1 on. What has the model read when it is asked for a word?",
        "It reads the inputs that are already mixed: `say(mixed[:, :place])`.",
        "`mixed = words.clone()`; for each place from 1: `said = say(mixed[:, :place])`, then "
        "`mixed[:, place] = torch.where(own[:, place], said, words[:, place])`; return it.",
    ),
)
def mixed_inputs(student):
    """Return the words, (B, T), with the model's own word wherever `own` is True: (B, T).

    `say(seen)` gives the model's words after `seen`: (B, t) -> (B,). The first word stays.
    """
    words = torch.tensor([[0, 11, 12, 13, 14, 15], [0, 21, 22, 23, 24, 25]])
    own = torch.tensor([[1, 1, 0, 0, 1, 0], [0, 0, 1, 0, 0, 1]]).bool()
    right, after_true = _mixed(words, own, _say), _mixed(words, own, _say, "true")
    places = torch.arange(words.shape[1])
    rows, moved = own.any(0).expand_as(own) & (places > 0), own.roll(1, 1)
    cut = own & (places < places[-1])
    after_one = _mixed(words, own, lambda seen: _say(seen[:, -1:]))
    mistakes = {
        "The model is asked after the true words; it should read the mixed ones.": after_true,
        "The own words stand where `own` is False.": _mixed(words, ~own, _say),
        "Every word is the model's own; look at `own`.": _mixed(words, own | True, _say),
        "Every row is changed where one of them should be.": _mixed(words, rows, _say),
        "Nothing is replaced; a true word stands where `own` is True.": words,
        "The model has read the word that it should replace.": _mixed(words, own, _say, "itself"),
        "The own words stand one place too late.": _mixed(words, own, _say, late=1),
        "`own[:, t]` belongs to `words[:, t]`; yours is moved.": _mixed(words, moved, _say),
        "The model has read one word alone; give it all words up to here.": after_one,
        "The last place is left out; it can be the model's own, too.": _mixed(words, cut, _say),
    }
    got = student(words, own, _say)
    if isinstance(got, Tensor) and got.isnan().any():
        fail("expected words, got nan; each place is filled from `words` or by `say`")
    if isinstance(got, Tensor) and got.shape == words.shape and (got[:, 0] != words[:, 0]).any():
        fail("expected the first word to stay, got another; there is nothing to draw it from")
    expect_tensor(got, right, mistakes=mistakes)
    short = words[1:, :4], ~own[1:, :4]
    expect_tensor(student(*short, _say), _mixed(*short, _say))
    return "Each place waits for the one before it: this is what teacher forcing saves."


def planted_scheduled_batch(words, own, say, mix):
    """The batch of scheduled sampling with a planted bug; the page shows it as exercise 4.4."""
    mixed = mix(words, own, say)
    return mixed[:, :-1], mixed[:, 1:]


def _mix(words: Tensor, own: Tensor, say: Say) -> Tensor:
    return _mixed(words, own, say)


@exercise(
    "4.4",
    "Find the planted bug: who is right?",
    minutes=8,
    hints=(
        "Follow one own word through the batch: in which of the two tensors does it stand?",
        "The inputs may hold the model's own words. What should the labels be?",
        "Labels are the true next words: `words[:, 1:]`.",
    ),
    planted=planted_scheduled_batch,
)
def scheduled_batch(student):
    """Mend the function: return inputs (B, T) with own words, and labels (B, T), of (B, T + 1)."""
    words = torch.tensor([[0, 11, 12, 13, 14], [0, 21, 22, 23, 24]])
    own = torch.tensor([[0, 1, 0, 1, 0], [0, 0, 1, 0, 1]]).bool()
    got = student(words, own, _say, _mix)
    if not isinstance(got, list | tuple) or len(got) != 2:
        fail(f"expected a pair (inputs, labels), got {brief(got)}")
    mixed = _mixed(words, own, _say)
    mixed_inputs, mixed_labels, true_inputs = mixed[:, :-1], mixed[:, 1:], words[:, :-1]
    slips = {
        "These are the true words; that is teacher forcing.": true_inputs,
        "These begin one word too late: the model would read its label.": mixed_labels,
        "These are labels; the first of the pair are the inputs.": words[:, 1:],
    }
    _expect_part("inputs", got[0], mixed_inputs, slips)
    slips = {
        "They hold the model's own words: it learns that whatever it says is right. This is "
        "what the function on the page gives.": mixed_labels,
        "These are the true words, not moved: a label is the next word.": true_inputs,
        "These are the inputs.": mixed_inputs,
    }
    _expect_part("labels", got[1], words[:, 1:], slips)
    return "With own words as labels the loss falls toward 0, and the language is never asked."


def _expect_part(name: str, got: object, right: Tensor, mistakes: dict[str, Tensor]) -> None:
    if not isinstance(got, Tensor):
        fail(f"expected {name} as a tensor, got {brief(got)}")
    if got.shape != right.shape:
        fail(f"expected {name} of shape {tuple(right.shape)}, got shape {tuple(got.shape)}")
    expect_tensor(got, right, mistakes={f"In the {name}: {k}": v for k, v in mistakes.items()})


@exercise(
    "4.5",
    "Measure: how cheap is a lost text?",
    minutes=12,
    hints=(
        "The true word had probability p, and now has q = 0.986 p + 0.014 / V: what does that "
        "cost?",
        "`-math.log(q) + math.log(p)` at each place, and the mean over all words but the first "
        "`<s>`.",
        "`pairs = zip(words[1:], list(lab.distributions(words))[1:])`; for each `word, options` of "
        "it p is `options[word]`.",
    ),
)
def cheap(student):
    """Give the rise of the loss, in nats a word, when 14 words in 1,000 are drawn blindly.

    The model is the lab's truth in all other draws: q = 0.986 p + 0.014 / V, with V = 131.
    """
    rise, slip = _blind(0.014)
    loss, total = rise + _floor(), rise * (len(_words()) - 1)
    mistakes = {
        "That is the most that it can cost; a rare true word gains a little.": -math.log(0.986),
        "That is in bits; give nats.": rise / math.log(2),
        "The sign: the loss rises.": -rise,
        "That is the loss itself; take away the floor.": _near(student.value, loss, 1e-3),
        "That is the share of blind draws, or rounded too far.": 0.014,
        "That is the worked pair, for one word of probability 1; give the mean.": 0.01399,
        "That is the share of impossible words.": slip,
        "That is for the sum over the text; give the mean.": _near(student.value, total, 0.1),
    }
    expect_number(student.value, rise, tolerance=6e-6, mistakes=mistakes)
    lost = 1 - (1 - slip) ** 50
    return (
        f"{slip:.2%} of the words are impossible, so {lost:.0%} of all 50-word texts are lost, for "
        f"{rise:.4f} nats a word: no learning curve shows that."
    )


def _near(got: object, wrong: float, by: float) -> float:
    """`got` where it is `wrong` but for rounding, or for the first `<s>` counted as well."""
    return float(got) if isinstance(got, Real) and wrong - by < got < wrong + by else wrong


@cache
def _words() -> list[str]:
    return lab.sample(20_000, torch.Generator().manual_seed(0))


def _floor() -> float:
    return lab.floor(_words())


@cache
def _blind(share: float) -> tuple[float, float]:
    """Rise of the loss, and share of impossible words, when so many draws are blind."""
    size, rises, slips = len(lab.vocabulary()), [], []
    for word, options in zip(_words()[1:], list(lab.distributions(_words()))[1:-1], strict=True):
        p = options[word]
        rises.append(math.log(p) - math.log((1 - share) * p + share / size))
        slips.append(share * (size - len(options)) / size)
    return math.fsum(rises) / len(rises), math.fsum(slips) / len(slips)
