"""Exercises of lesson 08: how does a general model become a specialist?"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from course_lm.language import lab
from course_lm.language.harbour import HARBOUR

from .checking import exercise
from .expect import expect_equal, expect_number, expect_shape, expect_tensor, fail
from .quiz import Question
from .sentences import brief

what_happens = Question(
    "Prediction: the town's model goes on with the harbour's text and sees no more of the town. "
    "What happens to its loss in the town?",
    (
        (
            "It stays: words that do not come are not touched.",
            "78 of the town's 131 words come in the harbour, too, and the layers between serve "
            "all of them.",
        ),
        (
            "It falls a little: the grammar is the same, and it gets more practice.",
            "The grammar does get practice; what the town is like is written over.",
        ),
        (
            "It rises, far above what it was.",
            "Nothing in the new loss rewards what is true in the town alone.",
        ),
    ),
    correct=2,
)

share_needed = Question(
    "Prediction: how much of the text has to be old, so that most of the forgetting is spared?",
    (
        ("Half: both worlds matter equally.", "So much is more than it needs; see the curve."),
        (
            "A tenth.",
            "To be reminded is cheaper than to learn: the weights are nearly right already.",
        ),
        (
            "Nine tenths: whatever is new pushes out what is old.",
            "The two do not compete for room, as the curve shows.",
        ),
    ),
    correct=1,
)

replayed_text = Question(
    "Which text of the old domain must never be replayed?",
    (
        ("What the model was trained with before.", "That is the usual source of replay."),
        (
            "The held-out text by which forgetting is measured.",
            "Its loss would fall because it was trained on, and would no longer measure anything.",
        ),
        ("Text of the old domain that nobody has used yet.", "It serves as well, if there is any."),
    ),
    correct=1,
)


@exercise(
    "8.1",
    "Forgetting spared, gain kept",
    minutes=5,
    hints=(
        "Without replay the old loss rises by 1.6 nats. By how much does it rise with replay?",
        "What is spared is 1 − (rise with replay) / (rise without). The gain: new loss before − "
        "after.",
        "spared = 1 − 0.4 / 1.6; kept = (4.0 − 1.3) / (4.0 − 1.0).",
    ),
)
def by_hand(student):
    """Give (spared, kept), two shares from 0 to 1, for the losses of the table."""
    base, alone, run = (4.0, 0.8), (1.0, 2.4), (1.3, 1.2)  # (new, old)
    spared = 1 - (run[1] - base[1]) / (alone[1] - base[1])
    kept = (base[0] - run[0]) / (base[0] - alone[0])
    half = 1 - run[1] / alone[1]
    mistakes = {
        "The first is the share still forgotten; give the share spared.": (1 - spared, kept),
        "The second is the share of the gain that is lost; give what is kept.": (spared, 1 - kept),
        "Both are the shares that are lost.": (1 - spared, 1 - kept),
        "The two have changed places.": (kept, spared),
        "Give shares from 0 to 1, not per cent.": (100 * spared, 100 * kept),
        "Those are nats; divide each by what the run without replay lost or won.": (
            alone[1] - run[1],
            base[0] - run[0],
        ),
        "Divide by what was lost without replay, not by the loss itself.": (half, kept),
        "Divide by what was won without replay, not by the loss at the start.": (
            spared,
            (base[0] - run[0]) / base[0],
        ),
        "Divide by what the run without replay lost or won, not by a loss.": (
            half,
            (base[0] - run[0]) / base[0],
        ),
        "Those are nats against the wrong run; see hint 2.": (
            run[1] - base[1],
            run[0] - alone[0],
        ),
    }
    expect_tensor(student.value, [spared, kept], tolerance=1e-3, mistakes=mistakes)
    return "A quarter of the forgetting is still there; more replay would spare more of it."


@exercise(
    "8.2",
    "Predict: the price of serving two",
    minutes=6,
    hints=(
        "At the first word nothing tells which world the story is from. What does a perfect model "
        "believe then?",
        "It gives every story of the town 1/4 of its true probability, and is certain after that.",
        "It pays −ln(1/4) once a story; a story has 50 words.",
    ),
)
def price(student):
    """A perfect model of both worlds: what does it pay above the town's floor, in nats per word?

    A quarter of the stories are the town's, each of 50 words.
    """
    right = math.log(4) / 50
    mistakes = {
        "That is the price of the other world, whose share is 3/4.": math.log(4 / 3) / 50,
        "That is paid once a story; divide it by its 50 words.": math.log(4),
        "That is in bits; use the natural logarithm.": 2 / 50,
        "A price is positive: it is −ln(1/4).": -right,
        "That is ln 2, for two worlds of equal share.": math.log(2) / 50,
        "That is the entropy of the two shares, the mean price of both worlds.": (
            (math.log(4) / 4 + 3 * math.log(4 / 3) / 4) / 50
        ),
        "A share is no price; take −ln of it.": 0.25 / 50,
        "Do not weigh the price by the share: only town stories are asked for.": (
            math.log(4) / 4 / 50
        ),
        "That is log to base 10; use the natural logarithm.": math.log10(4) / 50,
        "That is the other world's price, once a story.": math.log(4 / 3),
    }
    expect_number(student.value, right, tolerance=5e-4, mistakes=mistakes)
    return (
        "So replay costs next to nothing in the limit; what it costs in training is its share of "
        "the rows."
    )


@exercise(
    "8.3",
    "Write the mixture",
    minutes=15,
    hints=(
        "Which stream does each row come from? Draw one number for each row: "
        "`torch.multinomial(torch.tensor(shares), rows, replacement=True, generator=rng)`.",
        "Stack the inputs of all batches to (streams, B, T), then choose for each row b the "
        "stream chosen[b].",
        "`inputs[chosen, torch.arange(B)]`, and the same for the labels, with the same `chosen`.",
    ),
)
def mix(student):
    """Return one (inputs, labels) whose row b is row b of batch i with chance shares[i].

    A row stays whole, and its labels belong to its inputs.
    """
    for shares in ((0.8, 0.2), (0.5, 0.3, 0.2)):
        batches = _numbered(len(shares), 600)
        mixed = student(batches, shares, _seeded(0))
        from_where = _sources(mixed, batches)
        if len(mixed[0][:, 0].unique()) < len(from_where) / 2:
            fail(
                "expected other rows of a text each time, got the same row again and again; take "
                "row b"
            )
        again = _sources(student(batches, shares, _seeded(0)), batches)
        if not torch.equal(from_where, again):
            fail("expected the same rows for the same seed, got others; draw with `rng` alone")
        got = torch.bincount(from_where, minlength=len(shares)) / len(from_where)
        _check_shares(got, torch.tensor(shares))
        other = _sources(student(batches, shares, _seeded(1)), batches)
        if torch.equal(from_where, other):
            fail("expected other rows for another seed, got the same; draw with `rng`")
    small = _numbered(2, 4)
    rare = [_sources(student(small, (0.9, 0.1), _seeded(seed)), small) for seed in range(60)]
    count = int(torch.cat(rare).sum())
    if not 6 <= count <= 48:  # 24 ± 5 × 4.6
        fail(
            f"expected about 24 of 240 rows from a stream with a share of 0.1, in batches of 4, "
            f"got {count}; a tenth of 4 rows is no whole number: draw for each row"
        )
    return "Rows of both worlds stand in one batch, so that no step forgets what the next recalls."


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _numbered(streams: int, rows: int) -> list[tuple[Tensor, Tensor]]:
    """Batches in which every token says which stream and row it stands in; labels are + 1."""
    inputs = torch.arange(streams * rows * 4).view(streams, rows, 4) * 2
    return [(part, part + 1) for part in inputs]


def _sources(got: object, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The stream of each row, (B,), once the rows have been found whole."""
    shape = batches[0][0].shape
    if not isinstance(got, tuple | list) or len(got) != 2:
        fail(f"expected a pair (inputs, labels), got {brief(got)}")
    for name, part in zip(("inputs", "labels"), got, strict=True):
        if not isinstance(part, Tensor) or part.shape != shape or part.is_floating_point():
            fail(f"expected {name} of shape {tuple(shape)}, whole numbers, got {brief(part)}")
    inputs, labels = got
    if (inputs[:, 0] == labels[:, 0] + 1).all():
        fail("inputs and labels have changed places; return (inputs, labels)")
    steps = torch.arange(4) * 2
    if (inputs != inputs[:, :1] + steps).any() or (inputs[:, 0] % 8).any():
        fail("expected whole rows, got tokens of two texts in one row; choose once for each row")
    if (labels != labels[:, :1] + steps).any() or (labels != inputs + 1).any():
        fail(
            "expected the labels of the row that the inputs come from, got others; choose once, "
            "and use it for both"
        )
    found = inputs[:, 0] // (8 * len(inputs))
    if found.min() < 0 or found.max() >= len(batches):
        fail(
            "expected rows of the given batches, got others; choose rows and leave them as they are"
        )
    return found


def _check_shares(got: Tensor, shares: Tensor) -> None:
    if (got - shares).abs().max() < 0.1:
        return
    said = f"expected shares near {brief(shares.tolist())}, got {brief(got.tolist())}"
    equal = torch.full_like(got, 1 / len(got))
    if got.max() == 1:
        fail(f"{said}. All rows come from one stream; draw for each row, not for the batch")
    if (got - shares.flip(0)).abs().max() < 0.1:
        fail(f"{said}. The streams have changed places")
    if (got - equal).abs().max() < 0.1:
        fail(f"{said}. Every stream comes equally often; use the shares")
    fail(said)


def planted_join(old, new):
    """The words of two worlds, with a planted bug; the page shows it as exercise 8.4."""
    return sorted({*old, *new})


@exercise(
    "8.4",
    "Find the planted bug: whose word is number 17?",
    minutes=8,
    hints=(
        "A row of the embedding belongs to an id. Which id has `is` before, and which after?",
        "The old words have to keep their ids, so they come first, in their order.",
        "`[*old, *(word for word in new if word not in old)]`.",
    ),
    planted=planted_join,
)
def join(student):
    """Mend it: the words of both lists, each once, so that a model of `old` still knows its ids.

    The added words stand in the order of `new`.
    """
    for old, new in (
        (["<s>", "is", "anna", "attic"], ["<s>", "deck", "is", "ben"]),
        (["b", "a"], ["c", "a", "d"]),
        (["b", "a"], ["a", "b"]),
    ):
        added = [word for word in new if word not in old]
        mistakes = {
            "This gives the same as the function on the page: sorting moves the old words.": (
                planted_join(old, new)
            ),
            "The new words stand first; the old ones have other ids then.": [
                *new,
                *(word for word in old if word not in new),
            ],
            "A word of both worlds stands twice.": [*old, *new],
            "The words of the new world alone: the old ones are lost.": new,
            "The old words alone: what is new has no id.": old,
            "The added words should keep the order of `new`.": [*old, *reversed(added)],
            "The old words have to keep their order, too.": [*sorted(old), *added],
        }
        right = [*old, *added]
        wrong = {text: words for text, words in mistakes.items() if words != right}
        expect_equal(student(old, new), right, mistakes=wrong)
    return "With the bug the run starts with shuffled words, far above the loss of the base."


def planted_average(gradients, counts):
    """The mean over the labels of all machines, with a planted bug; the page shows it as 8.5."""
    return sum(gradients) / len(counts)


@exercise(
    "8.5",
    "Find the planted bug: two machines, one mean",
    minutes=8,
    hints=(
        "How much should a machine count that has no label at all? What does this line do with it?",
        "Each mean counts as its share of the labels, counts[i] / sum(counts).",
        "`sum(g * (n / sum(counts)) for g, n in zip(gradients, counts) if n)`: 0 · nan is nan.",
    ),
    planted=planted_average,
)
def average(student):
    """Mend it: the mean gradient over the labels of all machines, from (gradients, counts).

    gradients[i] is the mean over the counts[i] labels of machine i; a machine without labels has
    nan there, 0 / 0, and counts nothing.
    """
    rng = _seeded(0)
    for counts in ([6, 2], [5, 1, 3], [4, 0, 2]):
        gradients = [torch.randn(n, 2, 3, generator=rng).mean(0) for n in counts]
        values = expect_shape(student(gradients, counts), (2, 3))
        if not values.isfinite().all():
            fail(
                "expected numbers, got nan or inf. A machine without labels counts nothing; leave "
                "it out, since 0 · nan is nan"
            )
        slips = _mean_slips(gradients, counts)
        expect_tensor(values, slips.pop(""), mistakes=slips)
    return "This sum is all that data-parallel training sends from machine to machine."


def _mean_slips(gradients: Sequence[Tensor], counts: Sequence[int]) -> dict[str, Tensor]:
    """What the usual errors give over the machines that have labels; the right mean under ""."""
    known = [(g, n) for g, n in zip(gradients, counts, strict=True) if n]
    means, sums = sum(g for g, _ in known), sum(g * n for g, n in known)
    upside_down = sum(g / n for g, n in known)
    return {
        "": sums / sum(counts),
        "That is the mean of the means; weigh each by its number of labels.": means / len(known),
        "Machines without labels lower this mean of means; weigh by labels.": means / len(counts),
        "The means are added up and divided by nothing.": means,
        "The sum over all labels is not divided by their number.": sums,
        "The sum over all labels is divided by the machines; divide by the labels.": (
            sums / len(counts)
        ),
        "The weights are upside down: more labels weigh more.": (
            upside_down / sum(1 / n for _, n in known)
        ),
        "Each mean is divided by its labels once more; multiply.": upside_down / sum(counts),
    }


@exercise(
    "8.6",
    "Measure: how much of the harbour is new?",
    minutes=8,
    hints=(
        "`lab.vocabulary().ids` holds the words of the town. Which words of the text are not in "
        "it?",
        "Count every word of the text, as often as it comes, and leave no START out.",
        "`sum(word not in known for word in words) / len(words)`.",
    ),
)
def new_words(student):
    """Give the share of the words of a harbour text that the town's vocabulary does not hold.

    The text is `lab.sample(20_000, torch.Generator().manual_seed(0), HARBOUR)`, all of it.
    """
    words = lab.sample(20_000, torch.Generator().manual_seed(0), HARBOUR)
    known = set(lab.vocabulary().tokens)
    kinds = set(words)
    share = sum(word not in known for word in words) / len(words)
    mistakes = {
        "That is the share that the town knows; give the rest.": 1 - share,
        "That is the share of different words; count each as often as it comes.": (
            sum(word not in known for word in kinds) / len(kinds)
        ),
        "That counts words, not their share.": share * len(words),
        "Give a share from 0 to 1, not per cent.": 100 * share,
        "That is how many different words are new, as a share of the joint vocabulary.": (
            len(kinds - known) / len(lab.vocabulary(lab.WORLD, HARBOUR))
        ),
        "Divide by the words of the text: it ends with a whole story, so there are over 20,000.": (
            share * len(words) / 20_000
        ),
    }
    expect_number(student.value, share, tolerance=5e-4, mistakes=mistakes)
    return "The other words are old ones in new company: there pretraining helps, and misleads."
