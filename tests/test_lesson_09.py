import dataclasses
import math

import numpy
import pytest
import torch

from course_lm.exercises import lesson_09 as lesson
from course_lm.exercises.checking import Exercise
from course_lm.finetuning.lowrank import ALPHA, LowRank
from course_lm.finetuning.supervised import Apart, pack, response_labels
from course_lm.finetuning.tasks import END, examples
from course_lm.language.windows import IGNORE
from course_lm.language.world import NUMBERS
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.training.loop import Recipe, train
from course_lm.training.losses import cross_entropy

EXERCISES = [item for item in vars(lesson).values() if isinstance(item, Exercise)]


def said(check, answer, capsys):
    """What a fresh copy of the exercise says, so that no attempt is carried to another test."""
    dataclasses.replace(check, attempts=0, passed=False)(answer)
    return capsys.readouterr().out


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- 9.1 ----


@pytest.mark.parametrize("answer", [0.4, 1.6 / 4, torch.tensor(0.4), numpy.float64(0.4)])
def test_the_loss_passes_as_any_kind_of_number(answer, capsys):
    assert "passed" in said(lesson.by_hand, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (1.1, "That counts the prompt, too"),
        (2.5, "the loss on the prompt"),
        (0.92, "The marker counts in it"),
        (0.7 / 3, "The first word of the response is missing"),
        (0.5, "The end is missing"),
        (1.125, "one place too early"),
        (1.6, "That is the sum"),
        (1.6 / 6, "not by all six"),
        (-0.4, "never negative"),
        (math.exp(-0.4), "That is a probability"),
        (0.4 / math.log(2), "in bits"),
        ("0.4", "expected a number"),
        (3.0, "Your answer: expected another number, got 3\n"),
    ],
)
def test_a_wrong_loss_is_named(answer, words, capsys):
    assert words in said(lesson.by_hand, answer, capsys)


def test_the_loss_is_what_the_package_gives_for_these_log_probs():
    """Logits that are log-probabilities with what is left on another word give them back."""
    nats = torch.tensor([2.0, 3.0, 0.9, 0.4, 0.2, 0.1])
    logits = torch.stack([-nats, (1 - (-nats).exp()).log()], -1)[None]
    _, labels = response_labels([1, 1, 0], [0, 0, 0, 0], reply=0)
    assert labels.tolist() == [IGNORE, IGNORE, 0, 0, 0, 0]
    assert cross_entropy(logits, labels[None]).item() == pytest.approx(0.4, abs=1e-6)


# ---- 9.2 ----


def of_the_package(prompt, response):
    return response_labels(prompt, response, reply=11)


def by_slices(prompt, response):
    ids = torch.tensor(prompt + response)
    labels = ids[1:].clone()
    labels[: len(prompt) - 1] = IGNORE
    return ids[:-1], labels


def by_lists(prompt, response):
    labels = [IGNORE for _ in prompt[1:]] + response
    return [torch.tensor(prompt + response[:-1]), torch.tensor(labels)]


@pytest.mark.parametrize("answer", [by_slices, by_lists])
def test_every_right_pair_passes(answer, capsys):
    assert "passed" in said(lesson.labels, answer, capsys)


def with_labels(change):
    def answer(prompt, response):
        inputs, labels = by_slices(prompt, response)
        return inputs, torch.tensor(change(prompt, response, labels.tolist()))

    return answer


def with_inputs(change):
    def answer(prompt, response):
        inputs, labels = by_slices(prompt, response)
        return torch.tensor(change(prompt, response, inputs.tolist())), labels

    return answer


def masked(first, ids):
    return [IGNORE] * first + ids[first:]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (with_labels(lambda p, r, _: p[1:] + r), "The prompt has labels, too"),
        (with_labels(lambda p, r, _: masked(len(p), (p + r)[:-1])), "these are the inputs again"),
        (with_labels(lambda p, r, _: masked(len(p) - 1, (p + r)[:-1])), "not moved by one place"),
        (
            with_labels(lambda p, r, _: masked(len(p), p[1:] + r)),
            "The first word of the response has no label",
        ),
        (with_labels(lambda p, r, _: masked(len(p) - 2, p[1:] + r)), "The marker has a label"),
        (with_labels(lambda p, r, ids: [*ids[:-1], IGNORE]), "The end has no label"),
        (with_labels(lambda p, r, _: p[1:] + [IGNORE] * len(r)), "The other way round"),
        (with_labels(lambda p, r, _: [0] * (len(p) - 1) + r), "0 is a token"),
        (with_labels(lambda p, r, _: [-1] * (len(p) - 1) + r), "−1 is no sign here"),
        (with_labels(lambda p, r, _: r), "Labels have the length of the inputs"),
        (with_labels(lambda p, r, ids: [*ids[:-1], 3]), "expected 12 at position 6, got 3"),
        (with_inputs(lambda p, r, _: p + r), "The last token is read, too"),
        (with_inputs(lambda p, r, _: r[:-1]), "Without the prompt there is nothing to answer"),
        (
            with_inputs(lambda p, r, ids: masked(0, [IGNORE] * (len(p) - 1) + ids[len(p) - 1 :])),
            "leave inputs as they are",
        ),
        (with_inputs(lambda p, r, _: p[1:] + r), "inputs begin with the first"),
        (lambda p, r: by_slices(p, r)[::-1], "inputs and labels have changed places"),
        (lambda p, r: by_slices(p, r)[0], "expected a pair (inputs, labels)"),
        (lambda p, r: [part.tolist() for part in by_slices(p, r)], "inputs as whole numbers in a"),
        (lambda p, r: [part[None] for part in by_slices(p, r)], "torch.int64, 2-D"),
        (lambda p, r: [part / 1 for part in by_slices(p, r)], "torch.float32, 1-D"),
        (lambda p, r: (by_slices(p, r), p.extend(r))[0], "changed its input"),
        (lambda p, r: p.extend(r), "expected a result, got None"),
    ],
)
def test_a_wrong_pair_is_named(answer, words, capsys):
    assert words in said(lesson.labels, answer, capsys)


def test_the_packages_own_labels_are_the_right_ones_where_the_marker_stands_once():
    for prompt, response in (([0, 5, 6, 11], [7, 8, 12]), ([11], [4, 12])):
        for one, other in zip(
            of_the_package(prompt, response), by_slices(prompt, response), strict=True
        ):
            assert one.equal(other)


def test_a_right_answer_can_be_packed_and_trains_a_model():
    pairs = [by_lists([0, word, 11], [word, 12]) for word in range(1, 11)]
    shape = {"vocab_size": 13, "context": 16, "width": 16, "layers": 1, "heads": 2, "kv_heads": 2}
    model = Transformer(TransformerConfig(**shape, hidden=20), seeded())
    steps = list(train(Apart(model, 0), [pack(pairs, 16)] * 60, Recipe(steps=60)))
    assert steps[-1].loss < steps[0].loss / 2


# ---- 9.3 ----


def with_equal(ids, start):
    text = (ids == start).cumsum(1)
    same = text[:, :, None] == text[:, None, :]
    return same & torch.ones(same.shape[1:], dtype=torch.bool).tril()


def by_loops(ids, start):
    rows, length = ids.shape
    may = torch.zeros(rows, length, length, dtype=torch.bool)
    for b in range(rows):
        for t in range(length):
            s = t
            may[b, t, s] = True
            while s > 0 and ids[b, s] != start:
                s -= 1
                may[b, t, s] = True
    return may


@pytest.mark.parametrize("answer", [with_equal, by_loops])
def test_every_right_mask_passes(answer, capsys):
    assert "passed" in said(lesson.may_look, answer, capsys)


def numbers(ids, start):
    return (ids == start).cumsum(1)


def texts_apart(ids, start, number=numbers):
    text = number(ids, start)
    return text[:, :, None] == text[:, None, :]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            lambda ids, start: (
                numbers(ids, start)[:, None, :] <= numbers(ids, start)[:, :, None]
            ).tril(),
            "the same as the function on the page",
        ),
        (texts_apart, "The future can be seen"),
        (lambda ids, start: ~with_equal(ids, start), "who may not look"),
        (lambda ids, start: texts_apart(ids, start).triu(), "this is the transpose"),
        (
            lambda ids, start: texts_apart(
                ids, start, lambda ids, start: numbers(ids, start) - (ids == start).long()
            ).tril(),
            "The start belongs to the text that it opens",
        ),
        (lambda ids, start: texts_apart(ids, start).tril(-1), "A token sees itself, too"),
        (
            lambda ids, start: (
                numbers(ids, start)[:, :, None] > numbers(ids, start)[:, None, :]
            ).tril(),
            "Now later texts see the earlier ones",
        ),
        (lambda ids, start: with_equal(ids, start)[0], "keep (B, T, T)"),
        (lambda ids, start: with_equal(ids, 0), "use `start`"),
        (lambda ids, start: with_equal(ids, start).float(), "expected true and false"),
        (lambda ids, start: with_equal(ids, start).tolist(), "expected a tensor"),
    ],
)
def test_a_wrong_mask_is_named(answer, words, capsys):
    assert words in said(lesson.may_look, answer, capsys)


def test_the_mask_is_that_of_the_package():
    """Where a token may not look, the model's attention has a weight of exactly 0."""
    shape = {"vocab_size": 9, "context": 8, "width": 8, "layers": 1, "heads": 2, "kv_heads": 2}
    model = Transformer(TransformerConfig(**shape, hidden=8), seeded())
    seen = []
    model.blocks[0].attention.weights.register_forward_hook(lambda *args: seen.append(args[2]))
    ids = torch.tensor([[0, 5, 6, 0, 7, 0], [0, 1, 2, 3, 4, 4]])
    Apart(model, 0)(ids)
    assert (seen[0] > 0).all(1).equal(with_equal(ids, 0))
    assert (seen[0] > 0).any(1).equal(with_equal(ids, 0))


def test_an_edit_of_the_planted_function_is_an_attempt_and_the_function_itself_is_none(capsys):
    assert "not attempted yet" in said(lesson.may_look, lesson.planted_may_look, capsys)
    out = said(lesson.may_look, lambda ids, start: lesson.planted_may_look(ids, start), capsys)
    assert "not yet (attempt 1)" in out
    assert "the same as the function on the page" in out


# ---- 9.4 ----


@pytest.mark.parametrize("answer", [1 / 12, 0.0833, torch.tensor(1 / 12), numpy.float32(1 / 12)])
def test_the_share_passes_as_any_kind_of_number(answer, capsys):
    assert "passed" in said(lesson.adapter_share, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (4096, "That is how many numbers it has"),
        (8 * 128 / (384 * 128), "That is A alone"),
        (8 * 384 / (384 * 128), "That is B alone"),
        (64 / (384 * 128), "not one of 8 × 8"),
        (12, "Turn it round"),
        (8.3333, "not per cent"),
        (512 / (384 * 128), "The rank counts once in each matrix: r · (in + out)"),
        (1 / 6, "The rank counts once in each matrix, not twice"),
        (11 / 12, "That is what is saved"),
        (64, "added, not multiplied"),
        ([1, 12], "expected a number"),
    ],
)
def test_a_wrong_share_is_named(answer, words, capsys):
    out = said(lesson.adapter_share, answer, capsys)
    assert words in out
    assert "0.083" not in out


def test_the_share_is_that_of_an_adapter_of_the_package():
    linear = torch.nn.Linear(128, 384, bias=False)
    adapter = LowRank(linear, 8, seeded())
    assert (adapter.down.numel() + adapter.up.numel()) / linear.weight.numel() == 1 / 12


# ---- 9.5 ----


def by_product(weight, down, up, scale):
    return weight + scale * (up @ down)


def by_adding_ranks(weight, down, up, scale):
    result = weight.clone()
    for k in range(len(down)):
        result += scale * torch.outer(up[:, k], down[k])
    return result


def by_asking(weight, down, up, scale):
    """What the layer does to each unit vector is a column."""
    return torch.stack(
        [weight @ x + scale * (up @ (down @ x)) for x in torch.eye(down.shape[1])], 1
    )


@pytest.mark.parametrize("answer", [by_product, by_adding_ranks, by_asking])
def test_every_right_merge_passes(answer, capsys):
    assert "passed" in said(lesson.merged, answer, capsys)


def transposed(weight, down, up, scale):
    product = up @ down
    return weight + scale * (product.T if product.shape[0] == product.shape[1] else product)


def other_order(weight, down, up, scale):
    square = down.shape == up.shape
    return weight + scale * (down @ up if square else up @ down)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda weight, down, up, scale: weight + up @ down, "The scale is missing"),
        (lambda weight, down, up, scale: weight + up @ down / scale, "it does not divide"),
        (lambda weight, down, up, scale: scale * (weight + up @ down), "not to W"),
        (lambda weight, down, up, scale: scale * up @ down, "That is the adapter alone"),
        (lambda weight, down, up, scale: weight - scale * up @ down, "not taken away"),
        (
            lambda weight, down, up, scale: weight + scale / len(down) * up @ down,
            "divided by the rank a second time",
        ),
        (lambda weight, down, up, scale: weight + scale * (scale * up @ down), "counts twice"),
        (transposed, "(B A)ᵀ"),
        (other_order, "so it is B A"),
        (lambda weight, down, up, scale: weight + scale * (down @ up), "expected a result, got"),
        (lambda weight, down, up, scale: up, "expected shape (4, 3), got shape (4, 2)"),
        (lambda weight, down, up, scale: weight.add_(scale * up @ down), "changed its input"),
        (lambda weight, down, up, scale: by_product(weight, down, up, scale).tolist(), "a tensor"),
    ],
)
def test_a_wrong_merge_is_named(answer, words, capsys):
    assert words in said(lesson.merged, answer, capsys)


def test_the_package_merges_in_the_same_way():
    linear = torch.nn.Linear(5, 4, bias=False)
    adapter = LowRank(linear, 2, seeded())
    torch.nn.init.normal_(adapter.up, generator=seeded(1))
    right = by_product(linear.weight.clone(), adapter.down, adapter.up, ALPHA / 2)
    torch.testing.assert_close(adapter.merged().weight, right)


# ---- 9.6 ----


def by_loop(amounts):
    words, have = [], 0
    for amount in amounts:
        have += amount
        verb = "finds" if amount > 0 else "loses"
        words += [verb, NUMBERS[abs(amount) - 1], "so", NUMBERS[have - 1], "."]
    return " ".join([*words, NUMBERS[have - 1], "."])


def by_sums(amounts):
    text = ""
    for n, amount in enumerate(amounts, 1):
        text += "loses " if amount < 0 else "finds "
        text += f"{NUMBERS[max(amount, -amount) - 1]} so {NUMBERS[sum(amounts[:n]) - 1]} .\n"
    return text + f"{NUMBERS[sum(amounts) - 1]} ."


@pytest.mark.parametrize("answer", [by_loop, by_sums])
def test_every_right_text_passes(answer, capsys):
    assert "passed" in said(lesson.steps, answer, capsys)


def step_by_step(
    verb=lambda n: "finds" if n > 0 else "loses", total=sum, word=lambda n: NUMBERS[n - 1]
):
    def answer(amounts):
        words, last = [], 0
        for n, amount in enumerate(amounts, 1):
            last = total(amounts[:n])
            words.append(f"{verb(amount)} {word(abs(amount))} so {word(last)} .")
        return " ".join([*words, f"{word(last)} ."])

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda amounts: by_loop(amounts).rpartition(" . ")[0] + " .", "missing at the end"),
        (lambda amounts: f"{NUMBERS[sum(amounts) - 1]} .", "That is the number alone"),
        (lambda amounts: by_loop([abs(n) for n in amounts]), "and is taken away"),
        (step_by_step(total=lambda part: sum(map(abs, part))), "the totals are not"),
        (step_by_step(verb=lambda n: "finds"), "What is lost is called `loses`."),
        (step_by_step(total=lambda part: abs(part[-1])), "not the amount again"),
        (
            step_by_step(
                total=lambda part: sum(part[:-1]), word=lambda n: NUMBERS[n - 1] if n else "0"
            ),
            "after the change, not before",
        ),
        (step_by_step(word=lambda n: NUMBERS[n]), "each word is one too high"),
        (step_by_step(word=str), "Write numbers as words"),
        (lambda amounts: by_loop(amounts)[:-2], "The last full stop is missing"),
        (
            lambda amounts: by_loop(amounts).replace(" .", "", len(amounts)),
            "Each step ends with a full stop",
        ),
        (lambda amounts: by_loop(amounts).split(), "join the words with spaces"),
        (lambda amounts: len(amounts), "expected a text"),
        (lambda amounts: print(amounts), "expected a result, got None"),
    ],
)
def test_a_wrong_text_is_named(answer, words, capsys):
    assert words in said(lesson.steps, answer, capsys)


def test_the_steps_are_those_of_the_task():
    signs = {"finds": 1, "loses": -1}
    for example in examples("reason", 50, seeded()):
        words = example.response
        amounts = [
            signs[word] * (NUMBERS.index(words[i + 1]) + 1)
            for i, word in enumerate(words)
            if word in signs
        ]
        assert " ".join(words) == f"{by_loop(amounts)} {END}"


# ---- the page ----


def of_any_arguments(*args): ...


STUBS = {"9.1": ..., "9.3": lesson.planted_may_look, "9.4": ...}


@pytest.mark.parametrize("check", EXERCISES, ids=lambda check: check.number)
def test_the_stub_of_the_page_is_not_attempted_yet_and_shows_the_task(check, capsys):
    out = said(check, STUBS.get(check.number, of_any_arguments), capsys)
    assert out.endswith(f"not attempted yet.\n{check.task}\n")
