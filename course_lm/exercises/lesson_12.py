"""Exercises of lesson 12: can I do this with my own text?"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import islice
from numbers import Real
from types import CodeType, FunctionType

import torch
from torch import Tensor

from .checking import exercise
from .expect import expect_number, fail, one_number
from .quiz import Question
from .sentences import brief

which_number = Question(
    "Two models cut the same text into other tokens. Which of their numbers may be compared?",
    (
        (
            "The loss per token.",
            "Longer tokens are fewer and each is harder to guess: the same model of the same text "
            "has another loss per token.",
        ),
        (
            "The perplexity per token.",
            "It is exp of the loss per token: a choice among other tokens, and among others again.",
        ),
        (
            "The bits per byte.",
            "The bits of all tokens together, divided by what both models read: the bytes.",
        ),
    ),
    correct=2,
)

what_helps_most = Question(
    "Prediction: you have 100 kB of your own text, and much more text of another kind. Three runs "
    "have the same number of steps. Which one foretells the held-out part of your text best?",
    (
        (
            "From scratch, on your text alone.",
            "So short a text is read again and again: the model learns it by heart, and is sure of "
            "the wrong tokens in what is held out.",
        ),
        (
            "First the other text, then yours.",
            "What all text has in common comes from the long one, what is your own from yours.",
        ),
        (
            "The other text alone.",
            "It is never read twice, and never says what your text says.",
        ),
    ),
    correct=1,
)


@exercise(
    "12.1",
    "How many weights?",
    minutes=8,
    hints=(
        "Three parts: the embedding, the blocks, and behind them a norm and the head.",
        "A block: 4 D² in attention, 3 D·H in the feed-forward layer, 2 D in its two norms.",
        "`V * D + layers * (4 * D**2 + 3 * D * H + 2 * D) + D`, and `V * D` again unless tied.",
    ),
)
def weights(student):
    """Return the number of weights of our Transformer: vocab, width, layers, hidden, tied -> int.

    With V tokens, width D and hidden width H: the embedding V·D; each block 4 D² (q, k, v, out),
    3 D·H (gate, up, down) and two norms of D; a last norm of D; a head of V·D, unless it is tied
    to the embedding. Heads share nothing, and no layer has a bias.
    """
    for shape in (
        (101, 8, 3, 20, False),
        (60, 10, 5, 28, True),
        (7, 6, 1, 9, False),
        (32_000, 4096, 32, 11_008, False),
    ):
        slips = _weight_slips(*shape)
        expect_number(student(*shape), slips.pop(""), tolerance=1e-9, mistakes=slips)
    return "The last shape that was tried is that of the first Llama: 6,738,415,616, called 7B."


def _weight_slips(V: int, D: int, layers: int, H: int, tied: bool) -> dict[str, int]:
    """What the usual errors give; the right number under ""."""
    attention, feed, norms, table = 4 * D * D, 3 * D * H, 2 * D, V * D
    tables = table if tied else 2 * table
    right = tables + layers * (attention + feed + norms) + D
    return {
        "": right,
        "The head is missing: it is not tied, and has V·D weights of its own.": right - table,
        "A tied head is the embedding once more; count V·D once.": right + table,
        "The norms are missing: two of D in a block, and one behind the blocks.": (
            right - layers * norms - D
        ),
        "The norms of the blocks are missing.": right - layers * norms,
        "The norm behind the blocks is missing.": right - D,
        "A block has two norms, not one.": right - layers * D,
        "RMSNorm has D weights, and no bias.": right + layers * norms + D,
        "The feed-forward layer has three matrices: gate, up and down.": right - layers * D * H,
        "Attention has four matrices of D²: the one behind it counts, too.": right - layers * D * D,
        "That has one block; multiply it by the layers.": (
            right - (layers - 1) * (attention + feed + norms)
        ),
        "The layers multiply the blocks alone, not the embedding and what stands behind.": (
            layers * right
        ),
        "The norms of the blocks: two in each of the layers.": right - (layers - 1) * norms,
        "The norm behind the blocks is there once, not in each block.": right + (layers - 1) * D,
        "A matrix of attention has D² weights, not D.": right - layers * (attention - 4 * D),
        "No layer has a bias.": right + layers * (5 * D + 2 * H),
        "The tables are missing: the embedding and, unless tied, the head.": right - tables,
    }


@exercise(
    "12.2",
    "Write the bits per byte",
    minutes=8,
    hints=(
        "How many nats does the model need for the whole text?",
        "A nat is 1 / ln 2 = 1.44 bits. Divide the bits of the whole text by its bytes.",
        "`nats_per_token * tokens / (math.log(2) * bytes)`.",
    ),
)
def bits_per_byte(student):
    """Return the bits that a model needs for a byte: nats per token, tokens, bytes -> one number.

    The text has so many tokens and so many bytes; the loss is the mean over its tokens.
    """
    for nats, tokens, size in ((2.2, 300, 1000), (1.25, 800, 900), (6.5, 40, 170)):
        total = nats * tokens
        slips = {
            "That is in nats; a nat is 1 / ln 2 bits.": total / size,
            "Divide by ln 2, do not multiply: a nat is more than a bit.": (
                total * math.log(2) / size
            ),
            "Tokens and bytes have changed places.": nats * size / (math.log(2) * tokens),
            "That is in bits, and per token; spread all bits over the bytes.": nats / math.log(2),
            "Those are the bits of the whole text; divide by its bytes.": total / math.log(2),
            "That is the share of the size; a byte has 8 bits.": total / (8 * math.log(2) * size),
            "The loss is the mean over all tokens; multiply it by all of them.": (
                nats * (tokens - 1) / (math.log(2) * size)
            ),
            "The tokens are not used.": nats / (math.log(2) * size),
            "That divides by 2; a nat is 1 / ln 2 bits.": total / (2 * size),
        }
        expect_number(student(nats, tokens, size), total / (math.log(2) * size), mistakes=slips)
    return (
        "The same for every way to cut. A model of single bytes that knows nothing needs 8; one of "
        "merges needs less, because the merges know something."
    )


def planted_shared(train, held_out, n):
    """What is copied from the training text, with a planted bug; the page shows it as 12.3."""
    known = set(train)
    grams = [held_out[i : i + n] for i in range(len(held_out) - n + 1)]
    return sum(known.issuperset(gram) for gram in grams) / len(grams)


@exercise(
    "12.3",
    "Find the planted bug: everything is copied",
    minutes=10,
    hints=(
        "Run it on `[1, 2, 3]` and `[3, 2, 1]` with n = 2. Does (3, 2) stand in `[1, 2, 3]`?",
        "It asks whether every *token* has been seen. The order, and what stood together, is lost. "
        "A list cannot stand in a set; a `tuple` can.",
        "`known` has to hold sequences: `{tuple(train[i : i + n]) for i in range(...)}`, and then "
        "`tuple(gram) in known`.",
    ),
    planted=planted_shared,
)
def overlap(student):
    """Mend it: which share of the held-out text's sequences of n tokens stands in `train`?

    train, held_out: lists of ids, at least n long. Every place of `held_out` where n tokens begin
    counts once; the tokens of a sequence stand side by side and in this order.
    """
    for train, held_out, n in COPIED:
        slips = _shared_slips(train, held_out, n)
        expect_number(student(train, held_out, n), slips.pop(""), mistakes=slips)
    return (
        "With the bug every new sentence of old words looks copied, and no held-out text is left."
    )


COPIED = (  # train, held_out, n: each usual error gives another number for the first
    ([1, 12, 3, 2, 11, 2, 11, 12, 2, 2, 12], [2, 12, 12, 11, 1, 12, 11, 7, 2, 11], 2),
    ([1, 11, 1, 2, 1, 2, 1, 2, 11, 11, 1, 1], [12, 1, 11, 1, 1, 2, 1, 2, 1], 3),
    ([12, 31, 12, 1], [12, 2, 31, 31, 1, 1, 11], 1),
)


def _grams(ids: list[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]


def _spelled(gram: Sequence[int]) -> str:
    return " ".join(map(str, gram))


def _shared_slips(train: list[int], held_out: list[int], n: int) -> dict[str, float]:
    """What the usual errors give; the right share under ""."""
    there, asked = _grams(train, n), _grams(held_out, n)
    kinds = set(there) & set(asked)

    def share(asked: list, there: list, key: Callable = tuple) -> float:
        known = [key(gram) for gram in there]
        return sum(key(gram) in known for gram in asked) / max(1, len(asked))

    right, text = share(asked, there), _spelled(train)
    return {
        "": right,
        "This gives the same as the function on the page: each token has been seen, somewhere.": (
            planted_shared(train, held_out, n)
        ),
        "`issuperset` asks for single tokens; ask whether `tuple(gram) in known`.": 0.0,
        "That is the share of the tokens; n of them stand together.": (
            share(_grams(held_out, 1), _grams(train, 1))
        ),
        "The order counts: (1, 2) is not (2, 1).": share(asked, there, sorted),
        "Joined to a text, 1 2 stands in 11 2, too; compare the ids.": (
            sum(_spelled(gram) in text for gram in asked) / len(asked)
        ),
        "A sequence begins at every place of `train`, not at every n-th.": share(asked, there[::n]),
        "Sequences begin at every place of both texts, not at every n-th.": (
            share(asked[::n], there[::n])
        ),
        "The last sequence of `train` is missing: there are len − n + 1.": share(asked, there[:-1]),
        "The last sequence of both is missing: there are len − n + 1.": (
            share(asked[:-1], there[:-1])
        ),
        "The two texts have changed places.": share(there, asked),
        "Every place counts; a set counts once what comes twice.": len(kinds) / len(set(asked)),
        "That is the number; divide by how many sequences there are.": right * len(asked),
        "`held_out` has len − n + 1 sequences, not len.": right * len(asked) / len(held_out),
        "That is the share of what is new.": 1 - right,
        "Give a share from 0 to 1, not per cent.": 100 * right,
    }


TEXTS = (
    "The king is kind, and the queen is wise.",
    "",
    "?! ... 12, 7 -- (!)",
    "to be or not to be " * 500,
    "O",
    'She said: "Where have you been?"\nNOBODY: At home!\n\nAnd the dog barked, barked.',
    "I love you. I hate you. You are bad, it is sad, we are glad.",
    "def wish(text):\n    return len(text)  # a line of code",
    "Grüße aus Köln. Привет! 你好",
)


@exercise(
    "12.4",
    "Write your wish",
    minutes=15,
    hints=(
        "What should the model say more of? Count it: a word, a sign, a rhyme, short lines.",
        "Divide by the length, if long texts should not win; `max(1, len(...))` for empty ones.",
        '`return text.count("?") / max(1, len(text.split()))`.',
    ),
    limit=0.2,
)
def wish(student):
    """Return a number for a text, higher for what you want the model to say more of: str -> float.

    Nothing is wrong but what no policy can follow: every text, the empty one too, has a finite
    number, the same each time it is asked, and not all texts have the same. Be quick: thousands
    are asked.
    """
    given = []
    for text in TEXTS:
        given.append(_finite(student(text)))
        again = _finite(student(text))
        if not math.isclose(again, given[-1], rel_tol=1e-6):
            fail(
                f"expected the same number for the same text, got {brief(given[-1])} and then "
                f"{brief(again)}; leave chance, time and counters out of a wish"
            )
    written = list(islice(_texts_in(student._answer, {}), 100))  # a rare word, another language
    if len({*given}) == 1 and len({_finite(student(text)) for text in ["", *written]}) == 1:
        fail(
            f"expected another number for another text, got {brief(given[0])} for all of them; "
            "a policy needs better texts and worse ones. If you look for something rare, write a "
            "text that has it into the function's docstring"
        )
    return "No wish is wrong, and none is whole: read what the policy makes of what it leaves out."


def _finite(got: object) -> float:
    """The answer to a text, if a policy can be moved by it."""
    got = one_number(got)
    got = got.item() if getattr(got, "ndim", None) == 0 else got
    if isinstance(got, bool):
        fail(f"expected a number, got {got}; `float(...)` makes 1 or 0 of it")
    if not isinstance(got, Real):
        fail(f"expected one number, got {brief(got)}")
    try:
        number = float(got)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        fail(
            f"expected a finite number, got {number}; one such reward spoils all weights, so look "
            "for 0 / 0, the log of 0 and inf"
        )
    return number


def _texts_in(thing: object, names: Mapping[str, object], depth: int = 5) -> Iterator[str]:
    """The texts that stand in a function, in what it calls by name and in its patterns."""
    parts: list = []
    if isinstance(thing, str):
        yield from (thing[:1000], re.sub(r"\\.", " ", thing[:1000]))
    elif isinstance(thing, FunctionType):
        names, parts = thing.__globals__, [thing.__code__]
    elif isinstance(thing, CodeType):
        parts = [*thing.co_consts, *(names[name] for name in thing.co_names if name in names)]
    elif isinstance(thing, re.Pattern):
        parts = [thing.pattern]
    elif isinstance(thing, list | tuple | Set | Mapping):
        parts = [*islice(thing, 50)]
    for part in parts if depth else ():
        yield from _texts_in(part, names, depth - 1)


def planted_same_model(ours, theirs, ids):
    """Whether two models are the same, with a planted bug; the page shows it as exercise 12.5."""
    one, other = ours(ids), theirs(ids)
    return bool((one.argmax(-1) == other.argmax(-1)).all())


@exercise(
    "12.5",
    "Find the planted bug: the same greedy text",
    minutes=8,
    hints=(
        "Let `theirs` give half of each logit. What does the function say? And would both models "
        "draw the same samples?",
        "`argmax` sees which logit is the largest, and not how large any of them is.",
        "`(one - other).abs().max() / one.abs().max() < 1e-5`, as a `bool`.",
    ),
    planted=planted_same_model,
)
def agree(student):
    """Mend it: are the two the same model? ours, theirs: (B, T) ids -> (B, T, V) logits.

    True if the largest difference between two logits is less than 1e-5 of our largest logit, both
    without their signs; otherwise False.
    """
    pairs = _pairs()
    got = [_yes(student(_model(one), _model(other), IDS)) for one, other, _ in pairs.values()]
    for (where, pair), said in zip(pairs.items(), got, strict=True):
        if said is not pair[-1]:
            made = {k: [same(a, b) for a, b, _ in pairs.values()] for k, same in _SLIPS.items()}
            named = [slip for slip, answers in made.items() if answers == got]
            fail(f"expected {pair[-1]}, got {said}. {[*named, where][0]}")
    return "A copy in half precision may write the same greedy text, and is another model."


IDS = torch.tensor([[0, 1, 2]])


def _yes(got: object) -> bool:
    got = one_number(got)
    got = got.item() if getattr(got, "ndim", None) == 0 else got
    if not isinstance(got, bool):
        fail(f"expected True or False, got {brief(got)}; compare with 1e-5")
    return got


def _model(table: Tensor) -> Callable[[Tensor], Tensor]:
    """A model that sees the last token alone, and gives its row."""

    def model(ids):
        return table[ids]

    return model


def _pairs() -> dict[str, tuple[Tensor, Tensor, bool]]:
    """What is to be told apart: the tables of two models, (3, 4), and whether they are the same."""
    a = torch.tensor([[2.0, -1.0, 0.001, 0.5], [-0.3, 1.2, 0.4, -2.5], [0.7, 0.2, 1.9, -0.6]])
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0])
    one, far, broken = a.clone(), a.clone(), a.clone()
    one[0, 1] -= 1e-4
    far[0, 1] += 1
    broken[1, 2] = math.nan
    big, tiny = 1000 * a, a / 10_000
    return {
        "Here they are equal to the last digit.": (a, a, True),
        "Here they differ by rounding, 6e-6 of the largest.": (a, a + 1.5e-5 * signs, True),
        "Here they differ by 0.015, and the largest is 2,500.": (big, big + 0.015 * signs, True),
        "Here they differ by 1e-6, and the largest is 0.00025.": (tiny, tiny + 1e-6 * signs, False),
        "Here every logit of theirs is half of ours.": (a, a / 2, False),
        "Here every logit of theirs is higher by 0.3.": (a, a + 0.3, False),
        "Here every logit of theirs is lower by 0.3.": (a, a - 0.3, False),
        "Here theirs are higher and lower by 1e-4 of the largest.": (a, a + 2.5e-4 * signs, False),
        "Here one logit differs, at the first place, by 4e-5 of the largest.": (a, one, False),
        "Here one logit of theirs is higher by 1.": (a, far, False),
        "Here all logits are below 0, and theirs are half of ours.": (a - 10, (a - 10) / 2, False),
        "Here one logit is nan, and no comparison with nan is true.": (a, broken, False),
    }


_SLIPS: dict[str, Callable[[Tensor, Tensor], bool]] = {
    "This gives the same as the function on the page: it compares the likeliest tokens.": (
        lambda a, b: planted_same_model(_model(a), _model(b), IDS)
    ),
    "That compares the likeliest token of the last place.": (
        lambda a, b: bool(a[-1].argmax() == b[-1].argmax())
    ),
    "Take `.abs()` before `.max()`: a difference of −1 is as large as one of 1.": (
        lambda a, b: bool((a - b).max().abs() / a.abs().max() < 1e-5)
    ),
    "The largest logit without its sign: it may be far below 0.": (
        lambda a, b: bool((a - b).abs().max() / a.max() < 1e-5)
    ),
    "High and low cancel in a mean; take the largest difference, without its sign.": (
        lambda a, b: bool((a - b).mean().abs() / a.abs().max() < 1e-5)
    ),
    "A mean hides the one logit that is wrong; take the largest difference.": (
        lambda a, b: bool((a - b).abs().mean() / a.abs().max() < 1e-5)
    ),
    "Divide by the largest logit: 1e-5 is much for small ones and little for large ones.": (
        lambda a, b: bool((a - b).abs().max() < 1e-5)
    ),
    "Rounding is allowed, in a logit near 0 too: divide by the largest of all.": torch.equal,
    "Softmax stays the same when all logits rise; compare the logits.": (
        lambda a, b: bool((a.softmax(-1) - b.softmax(-1)).abs().max() < 1e-5)
    ),
}
