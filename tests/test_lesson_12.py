import dataclasses
import functools
import itertools
import math
import random
import re
from fractions import Fraction

import numpy
import pytest
import torch
from verdicts import said

from course_lm.exercises import lesson_12 as lesson
from course_lm.language import corpora
from course_lm.language.tokens import characters
from course_lm.language.windows import all_windows, random_windows
from course_lm.models.llama import places
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.training.loop import Recipe, evaluate, train


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- the questions ----


def bits(nats_per_token, tokens, size):
    return nats_per_token * tokens / (math.log(2) * size)


def test_the_same_chances_in_other_tokens_give_the_same_bits_per_byte_and_no_other_number():
    """Bytes are independent, P(a) = 0.9 and P(b) = 0.1; a token is one byte, or a pair of them."""
    text, chance = "aaabaaaabaaaaaabaaaa", {"a": 0.9, "b": 0.1}
    pairs = [text[i : i + 2] for i in range(0, len(text), 2)]
    one = -sum(math.log(chance[token]) for token in text) / len(text)
    two = -sum(math.log(chance[a] * chance[b]) for a, b in pairs) / len(pairs)
    assert two > 1.5 * one
    assert math.exp(two) > 1.2 * math.exp(one)
    assert bits(one, len(text), len(text)) == pytest.approx(bits(two, len(pairs), len(text)))
    right = lesson.which_number.options[lesson.which_number.correct][0]
    assert right == "The bits per byte."


def held_out_losses(make, recipe, batch, size, unseen):
    """Own text alone, other text and then own, other alone: losses on what is held out of the own.

    Own: so many letters of Python's topics. Other: the plays. As many steps in each run.
    """
    plays, topics = corpora.shakespeare(), corpora.python_topics()
    texts = topics.train[:size], plays.train[: 50 * size], topics.validation[:unseen]
    letters = characters("".join(texts))
    own, other, unseen = (torch.tensor(letters.encode(text)) for text in texts)
    half, losses = dataclasses.replace(recipe, steps=recipe.steps // 2), []
    for phases in ([(own, recipe)], [(other, half), (own, half)], [(other, recipe)]):
        model, rng = make(len(letters)), seeded()
        for ids, some in phases:
            list(train(model, random_windows(ids, 64, batch, rng), some))
        losses.append(evaluate(model, all_windows(unseen, 64, 64)))
    return losses


class PairsOfLetters(torch.nn.Module):
    """A table of logits for the letter after each letter."""

    def __init__(self, size):
        super().__init__()
        self.embed = torch.nn.Parameter(torch.zeros(size, size))

    def forward(self, ids):
        return self.embed[ids]


def transformer(size):
    shape = {"width": 128, "layers": 2, "hidden": 256, "context": 64}
    return Transformer(TransformerConfig(vocab_size=size, **shape), seeded(1))


def test_in_small_other_text_first_and_then_ones_own_foretells_ones_own_best():
    recipe = Recipe(steps=200, rate=0.1, weight_decay=0.0)
    alone, both, other = held_out_losses(PairsOfLetters, recipe, 4, 2_000, 8_000)
    assert both < min(alone, other) - 0.05
    right = lesson.what_helps_most.options[lesson.what_helps_most.correct][0]
    assert right == "First the other text, then yours."


@pytest.mark.slow
def test_with_100_kb_other_text_first_and_then_ones_own_foretells_ones_own_best():
    recipe = Recipe(steps=1200, rate=0.005, matrix_rate=0.02, warmup=0.1)
    alone, both, other = held_out_losses(transformer, recipe, 16, 100_000, 16_000)
    assert both < min(alone, other) - 0.05


# ---- 12.1 ----


def count_by_parts(vocab, width, layers, hidden, tied):
    block = 4 * width**2 + 3 * width * hidden + 2 * width
    return vocab * width * (2 - tied) + layers * block + width


def count_by_names(vocab, width, layers, hidden, tied):
    """What a folder in the Llama format holds."""
    shape = {"vocab_size": vocab, "width": width, "layers": layers, "hidden": hidden, "tied": tied}
    parts = places(TransformerConfig(**shape, heads=1, kv_heads=1)).values()
    return sum(math.prod(size) for names in parts for size in names.values())


@pytest.mark.parametrize(
    "answer",
    [
        count_by_parts,
        count_by_names,
        lambda *shape: float(count_by_parts(*shape)),
        lambda *shape: torch.tensor(count_by_parts(*shape)),
        lambda *shape: numpy.int64(count_by_parts(*shape)),
    ],
)
def test_every_right_count_passes(answer, capsys):
    assert "passed" in said(lesson.weights, answer, capsys)


@pytest.mark.parametrize("tied", [True, False])
def test_the_formula_counts_the_weights_of_our_own_transformer(tied):
    config = TransformerConfig(
        vocab_size=37, context=5, width=24, layers=3, hidden=40, heads=4, kv_heads=4, tied=tied
    )
    counted = sum(weight.numel() for weight in Transformer(config, seeded()).parameters())
    assert count_by_parts(37, 24, 3, 40, tied) == counted


def test_the_first_llama_has_as_many_weights_as_the_exercise_says(capsys):
    assert count_by_parts(32_000, 4096, 32, 11_008, False) == 6_738_415_616
    assert "6,738,415,616" in said(lesson.weights, count_by_parts, capsys)


def counted(head=1, norms=2, last=1, gates=3, squares=4, biases=0):
    """The count with other parts in it."""

    def answer(V, D, layers, H, tied):
        block = squares * D * D + gates * D * H + norms * D + biases * (5 * D + 2 * H)
        return V * D + layers * block + last * D + head * V * D * (not tied)

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (counted(head=0), "The head is missing"),
        (lambda V, D, n, H, t: count_by_parts(V, D, n, H, not t), "The head is missing"),
        (lambda V, D, n, H, t: count_by_parts(V, D, n, H, False), "count V·D once"),
        (counted(norms=0, last=0), "The norms are missing"),
        (counted(norms=0), "The norms of the blocks are missing"),
        (counted(last=0), "The norm behind the blocks is missing"),
        (counted(norms=1), "A block has two norms"),
        (counted(norms=4, last=2), "RMSNorm has D weights, and no bias"),
        (counted(gates=2), "three matrices: gate, up and down"),
        (counted(squares=3), "Attention has four matrices"),
        (counted(biases=1), "No layer has a bias"),
        (lambda V, D, n, H, t: count_by_parts(V, D, 1, H, t), "That has one block"),
        (lambda V, D, n, H, t: n * count_by_parts(V, D, n, H, t), "the blocks alone"),
        (lambda V, D, n, H, t: count_by_parts(0, D, n, H, t), "The tables are missing"),
        (lambda *shape: count_by_parts(*shape) + 1, "expected 3880, got 3881"),
        (lambda *shape: str(count_by_parts(*shape)), "expected a number"),
        (lambda *shape: print(count_by_parts(*shape)), "expected a result, got None"),
        (lambda vocab, width: 1, "expected a function of 5 arguments"),
    ],
)
def test_a_wrong_count_is_named(answer, words, capsys):
    out = said(lesson.weights, answer, capsys)
    assert words in out
    assert "not yet" in out


# ---- 12.2 ----


@pytest.mark.parametrize(
    "answer",
    [
        bits,
        lambda nats, tokens, size: nats * math.log2(math.e) * tokens / size,
        lambda nats, tokens, size: math.log2(math.exp(nats)) / (size / tokens),
        lambda nats, tokens, size: torch.tensor(nats * tokens / size) / math.log(2),
    ],
)
def test_every_right_number_of_bits_passes(answer, capsys):
    assert "passed" in said(lesson.bits_per_byte, answer, capsys)


def test_a_model_that_knows_nothing_of_bytes_needs_eight_bits_for_each():
    assert bits(math.log(256), 70, 70) == pytest.approx(8)
    assert bits(2 * math.log(256), 35, 70) == pytest.approx(8)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda nats, tokens, size: nats * tokens / size, "That is in nats"),
        (lambda nats, tokens, size: nats * tokens * math.log(2) / size, "do not multiply"),
        (lambda nats, tokens, size: bits(nats, size, tokens), "have changed places"),
        (lambda nats, tokens, size: nats / math.log(2), "per token"),
        (lambda nats, tokens, size: nats * tokens / math.log(2), "bits of the whole text"),
        (lambda nats, tokens, size: bits(nats, tokens, size) / 8, "a byte has 8 bits"),
        (lambda nats, tokens, size: nats / math.log(2) / size, "The tokens are not used"),
        (lambda nats, tokens, size: nats * tokens / 2 / size, "That divides by 2"),
        (lambda nats, tokens, size: bits(nats, tokens - 1, size), "over all tokens"),
        (lambda nats, tokens, size: 1.0, "expected 0.952179, got 1"),
        (lambda nats, tokens, size: f"{nats}", "expected a number"),
    ],
)
def test_wrong_bits_are_named(answer, words, capsys):
    out = said(lesson.bits_per_byte, answer, capsys)
    assert words in out
    assert "not yet" in out


# ---- 12.3 ----


def shared_by_sets(train, held_out, n):
    known = {tuple(train[i : i + n]) for i in range(len(train) - n + 1)}
    grams = [tuple(held_out[i : i + n]) for i in range(len(held_out) - n + 1)]
    return sum(gram in known for gram in grams) / len(grams)


def shared_by_slices(train, held_out, n):
    found = [
        any(held_out[i : i + n] == train[j : j + n] for j in range(len(train)))
        for i in range(len(held_out) - n + 1)
    ]
    return sum(found) / len(found)


def shared_by_unfold(train, held_out, n):
    there, asked = (torch.tensor(ids).unfold(0, n, 1) for ids in (train, held_out))
    return (asked[:, None] == there).all(-1).any(-1).float().mean()


def shared_by_text(train, held_out, n):
    """Joined to a text, but with a mark around each id."""
    text = "".join(f"<{token}>" for token in train)
    grams = ["".join(f"<{t}>" for t in held_out[i:][:n]) for i in range(len(held_out) - n + 1)]
    return numpy.mean([gram in text for gram in grams])


def shared_by_zip(train, held_out, n):
    there, asked = (
        list(zip(*(ids[i:] for i in range(n)), strict=False)) for ids in (train, held_out)
    )
    return float(Fraction(sum(map(set(there).__contains__, asked)), len(asked)))


MENDED = [shared_by_sets, shared_by_slices, shared_by_unfold, shared_by_text, shared_by_zip]


@pytest.mark.parametrize("answer", MENDED)
def test_every_mended_share_passes(answer, capsys):
    assert "passed" in said(lesson.overlap, answer, capsys)


def grams(ids, n):
    return [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]


def among(asked, there):
    return sum(gram in there for gram in asked) / len(asked)


def in_order(ids, n):
    return [tuple(sorted(gram)) for gram in grams(ids, n)]


def as_text(train, held_out, n):
    text = " ".join(map(str, train))
    return sum(" ".join(map(str, gram)) in text for gram in grams(held_out, n)) / (
        len(held_out) - n + 1
    )


def both(t, h, n):
    return set(grams(t, n)) & set(grams(h, n))


def cut(ids, n):
    """Without overlap."""
    return grams(ids, n)[::n]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            lambda t, h, n: among([all(x in t for x in g) for g in grams(h, n)], [True]),
            "on the page",
        ),
        (lambda t, h, n: among(h, t), "the share of the tokens"),
        (lambda t, h, n: among(in_order(h, n), in_order(t, n)), "(1, 2) is not (2, 1)"),
        (lambda t, h, n: among([*map(set, grams(h, n))], [*map(set, grams(t, n))]), "not (2, 1)"),
        (as_text, "1 2 stands in 11 2"),
        (lambda t, h, n: among(grams(h, n), cut(t, n)), "every place of `train`"),
        (lambda t, h, n: among(cut(h, n), cut(t, n)), "every place of both"),
        (lambda t, h, n: among(grams(h, n), grams(t[:-1], n)), "The last sequence of `train`"),
        (lambda t, h, n: among(grams(h[:-1], n), grams(t[:-1], n)), "The last sequence of both"),
        (lambda t, h, n: among(grams(t, n), grams(h, n)), "The two texts have changed places"),
        (lambda t, h, n: len(both(t, h, n)) / len({*grams(h, n)}), "what comes twice"),
        (lambda t, h, n: sum(g in grams(t, n) for g in grams(h, n)), "That is the number"),
        (lambda t, h, n: sum(g in grams(t, n) for g in grams(h, n)) / len(h), "not len"),
        (lambda t, h, n: 1 - shared_by_sets(t, h, n), "what is new"),
        (lambda t, h, n: 100 * shared_by_sets(t, h, n), "not per cent"),
        (lambda t, h, n: shared_by_sets(t, h, 2), "expected 0.714286, got 0.875"),
        (lambda t, h, n: both(t, h, n), "expected a number"),
        (lambda t, h, n: {t[i : i + n] for i in range(9)}, "TypeError"),
        (lambda t, h, n: t.pop() / 9, "changed its input"),
    ],
)
def test_a_wrong_share_is_named(answer, words, capsys):
    out = said(lesson.overlap, answer, capsys)
    assert words in out
    assert "not yet" in out


def test_each_usual_error_gives_another_share_in_the_first_case():
    shares = [round(share, 6) for share in lesson._shared_slips(*lesson.COPIED[0]).values()]
    assert len({*shares}) == len(shares)


def test_the_bug_calls_a_text_copied_whose_words_alone_are_old():
    new = list(range(50))
    random.Random(0).shuffle(new)
    assert lesson.planted_shared(range(50), new, 4) == 1
    assert shared_by_sets(range(50), new, 4) == 0


# ---- 12.4 ----

KIND, RUDE = {"love", "glad", "kind", "wise"}, {"hate", "sad", "bad"}
RARE = re.compile(r"\bwhales?\b")
SOUGHT = ["harpoon", "Löwe"]


def kindness(text):
    found = re.findall(r"\w+", text.lower())
    return sum((word in KIND) - (word in RUDE) for word in found) / max(1, len(found))


def shorter_lines(text):
    lines = text.splitlines() or [""]
    return -torch.tensor([float(len(line)) for line in lines]).mean(0, keepdim=True)


def of_whales(text):
    return len(RARE.findall(text))


def of_something_rare(text):
    """Two masts on the sea, as in: a ship of three masts, and a ship of two."""
    return len(re.findall(r"\b(two|three) mast(s|ed)\b", text))


def by_a_helper(text):
    return 1.0 * names(text)


def names(text):
    return sum(text.count(word) for word in SOUGHT)


def of_one_word(text):
    return float("Moby" in text)


WISHES = [
    len,
    kindness,
    shorter_lines,
    of_whales,
    of_something_rare,
    by_a_helper,
    of_one_word,
    lambda text: text.count("?") / max(1, len(text)),
    lambda text: numpy.float32(len({*text.split()})),
    lambda text: Fraction(text.count("e"), 7),
    lambda text: -math.inf if text is None else math.log(1 + len(text)),
    lambda text: 1.0 if text.endswith(".") else 0.0,
    functools.partial(lambda word, text: text.count(word), "king"),
    lambda text: random.Random(text).random(),
]


@pytest.mark.parametrize("answer", WISHES)
def test_every_wish_passes_that_a_policy_can_follow(answer, capsys):
    assert "passed" in said(lesson.wish, answer, capsys)


calls = itertools.count()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda text: 0.0, "expected another number for another text, got 0 for all"),
        (lambda text: 7 * len("whale"), "expected another number for another text, got 35"),
        (lambda text: text.lower().count("Moby Dick"), "into the function's docstring"),
        (lambda text: math.nan, "expected a finite number, got nan"),
        (lambda text: float("inf") if "!" in text else 1.0, "expected a finite number, got inf"),
        (lambda text: 10**400 if "!" in text else 1, "expected a finite number, got inf"),
        (lambda text: torch.tensor(float(len(text))).log(), "got -inf"),
        (lambda text: len(text) / len(text.split()), "ZeroDivisionError"),
        (lambda text: text.split()[0].count("e"), "IndexError"),
        (lambda text: "?" in text, "expected a number, got False; `float(...)`"),
        (lambda text: torch.tensor("?" in text), "expected a number, got False"),
        (lambda text: numpy.bool_("?" in text), "expected a number, got False"),
        (lambda text: text, "expected one number"),
        (lambda text: [1.0], "expected one number"),
        (lambda text: torch.zeros(2), "expected one number"),
        (lambda text: 1j, "expected one number"),
        (lambda text: print(len(text)), "expected a result, got None"),
        (lambda text: random.random(), "expected the same number for the same text"),
        (lambda text: next(calls), "leave chance, time and counters out"),
    ],
)
def test_a_wish_that_no_policy_can_follow_is_named(answer, words, capsys):
    out = said(lesson.wish, answer, capsys)
    assert words in out
    assert "not yet" in out


def test_a_wish_that_never_answers_is_stopped(capsys):
    def endless(text):
        while True:
            pass

    out = said(lesson.wish, endless, capsys)
    assert "expected an answer within 0.2 seconds" in out


# ---- 12.5 ----


def by_largest(ours, theirs, ids):
    one, other = ours(ids), theirs(ids)
    return bool((one - other).abs().max() / one.abs().max() < 1e-5)


def by_allclose(ours, theirs, ids):
    one, other = ours(ids), theirs(ids)
    return torch.allclose(one, other, rtol=0, atol=1e-5 * one.abs().max().item())


def as_a_tensor(ours, theirs, ids):
    one, other = ours(ids), theirs(ids)
    return ((one - other).abs() < 1e-5 * other.abs().max()).all()


def by_numpy(ours, theirs, ids):
    one, other = ours(ids).numpy(), theirs(ids).numpy()
    return numpy.abs(one - other).max() < 1e-5 * numpy.abs(one).max()


def by_loop(ours, theirs, ids):
    one, other = ours(ids).flatten().tolist(), theirs(ids).flatten().tolist()
    most = max(map(abs, one))
    return all(abs(a - b) < 1e-5 * most for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("answer", [by_largest, by_allclose, as_a_tensor, by_numpy, by_loop])
def test_every_mended_comparison_passes(answer, capsys):
    assert "passed" in said(lesson.agree, answer, capsys)


def on(compare):
    """The comparison of two tensors of logits as one of two models."""
    return lambda ours, theirs, ids: bool(compare(ours(ids), theirs(ids)))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (on(lambda a, b: torch.equal(a.argmax(-1), b.argmax(-1))), "the function on the page"),
        (on(lambda a, b: a[0, -1].argmax() == b[0, -1].argmax()), "of the last place"),
        (on(lambda a, b: (a - b).mean().abs() / a.abs().max() < 1e-5), "High and low cancel"),
        (on(lambda a, b: (a - b).abs().mean() / a.abs().max() < 1e-5), "A mean hides"),
        (on(lambda a, b: (a - b).max().abs() / a.abs().max() < 1e-5), "before `.max()`"),
        (on(lambda a, b: (a - b).abs().max() / a.max() < 1e-5), "without its sign"),
        (on(lambda a, b: (a - b).abs().max() < 1e-5), "much for small ones"),
        (on(torch.equal), "Rounding is allowed"),
        (on(torch.allclose), "in a logit near 0 too"),
        (on(lambda a, b: ((a - b) / a).abs().max() < 1e-5), "divide by the largest of all"),
        (on(lambda a, b: (a.softmax(-1) - b.softmax(-1)).abs().max() < 1e-5), "Softmax stays"),
        (on(lambda a, b: (a - b).max() / a.abs().max() < 1e-5), "theirs is higher by 0.3"),
        (on(lambda a, b: (b - a).max() / a.abs().max() < 1e-5), "theirs is lower by 0.3"),
        (on(lambda a, b: (a - b)[:, -1].abs().max() < 1e-5 * a.abs().max()), "the first place"),
        (on(lambda a, b: not (a - b).abs().max() / a.abs().max() > 1e-5), "one logit is nan"),
        (on(lambda a, b: (a - b).abs().max() / a.abs().max() < 1e-3), "by 1e-4 of the largest"),
        (on(lambda a, b: True), "expected False, got True"),
        (on(lambda a, b: False), "expected True, got False"),
        (lambda a, b, ids: a is b, "expected True, got False. Here they are equal"),
        (lambda a, b, ids: (a(ids) - b(ids)).abs().max(), "expected True or False, got"),
        (lambda a, b, ids: 1, "expected True or False, got 1"),
        (lambda a, b, ids: a(ids) == b(ids), "expected True or False, got"),
        (lambda a, b, ids: a.eval(), "AttributeError"),
    ],
)
def test_a_wrong_comparison_is_named(answer, words, capsys):
    out = said(lesson.agree, answer, capsys)
    assert words in out
    assert "not yet" in out


def test_the_right_verdicts_follow_from_the_definition_in_double_precision():
    for one, other, same in lesson._pairs().values():
        one, other = one.double(), other.double()
        assert (torch.dist(one, other, math.inf) < 1e-5 * one.abs().max()).item() is same


def test_with_the_bug_a_copy_in_half_precision_is_the_same_model():
    """Few logits are near each other, so that rounding changes no likeliest token."""
    table = torch.randn(3, 4, generator=seeded())
    ours, theirs = (lesson._model(made) for made in (table, table.bfloat16().float()))
    assert lesson.planted_same_model(ours, theirs, lesson.IDS)
    assert not by_largest(ours, theirs, lesson.IDS)


@pytest.mark.parametrize("check", [lesson.overlap, lesson.agree], ids=["12.3", "12.5"])
def test_a_bug_is_an_attempt_only_once_edited(check, capsys):
    assert "not attempted yet" in said(check, check.planted, capsys)
    out = said(check, lambda *given: check.planted(*given), capsys)
    assert "the function on the page" in out
