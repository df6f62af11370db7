import math
from itertools import combinations

import numpy
import pytest
import torch
from verdicts import said

from course_lm.exercises import lesson_04 as lesson
from course_lm.language import lab

# ---- 4.1 ----


@pytest.mark.parametrize(
    "answer", [0.98**20, 0.667, 0.668, numpy.float32(0.6676), torch.tensor(0.6676)]
)
def test_the_share_of_possible_texts_passes_as_any_kind_of_number(answer, capsys):
    assert "passed" in said(lesson.by_hand, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (0.6, "That subtracts 2 % for each word"),
        (1 - 0.98**20, "give the share without"),
        (0.4, "That is 20 times 2 %"),
        (0.98, "That is for one word"),
        (0.02**20, "all 20 words are impossible"),
        (66.76, "That is in per cent"),
        (0.98**19, "That is for 19 words"),
        (0.98**21, "That is for 21 words"),
        (19.6, "That multiplies 0.98 by 20"),
        (0.67, "That is rounded too far; give three digits"),
        (0.7, "One digit is too few; give three digits"),
        ("0.6676", "expected a number, got '0.6676'"),
    ],
)
def test_a_wrong_share_of_possible_texts_is_named(answer, words, capsys):
    assert words in said(lesson.by_hand, answer, capsys)


# ---- 4.2 ----


@pytest.mark.parametrize("answer", ["b", "B", "b.", "b)"])
def test_the_letter_passes_however_it_is_written(answer, capsys):
    assert "passed" in said(lesson.colder, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("a", "The loss is lowest near temperature 1"),
        ("c", "rare words become rarer"),
        ("d", "rare words become rarer"),
        ("both fall", "expected one of the letters a, b, c, d"),
        ("ab", "expected one of the letters a, b, c, d"),
        (2, "in quotation marks, got 2"),
    ],
)
def test_a_wrong_letter_is_named_and_the_right_one_is_not_told(answer, words, capsys):
    out = said(lesson.colder, answer, capsys)
    assert words in out
    assert "not yet" in out


# ---- 4.3 ----


def in_a_loop(words, own, say):
    mixed = words.clone()
    for place in range(1, words.shape[1]):
        mixed[:, place] = torch.where(own[:, place], say(mixed[:, :place]), words[:, place])
    return mixed


def by_columns(words, own, say):
    columns = [words[:, 0]]
    for place in range(1, words.shape[1]):
        said = say(torch.stack(columns, 1))
        columns.append(said * own[:, place] + words[:, place] * ~own[:, place])
    return torch.stack(columns, 1)


def by_rows(words, own, say):
    mixed = words.clone()
    for row in range(len(words)):
        for place in range(1, words.shape[1]):
            if own[row, place]:
                mixed[row, place] = say(mixed[row : row + 1, :place])[0]
    return mixed


def as_in_the_third_hint(words, own, say):
    mixed = words.clone()
    for place in range(1, words.shape[1]):
        said = say(mixed[:, :place])
        mixed[:, place] = torch.where(own[:, place], said, words[:, place])
    return mixed


@pytest.mark.parametrize("answer", [in_a_loop, by_columns, by_rows, as_in_the_third_hint])
def test_every_right_mixture_passes(answer, capsys):
    assert "passed" in said(lesson.mixed_inputs, answer, capsys)


def after_the_true_words(words, own, say):
    mixed = words.clone()
    for place in range(1, words.shape[1]):
        mixed[:, place] = torch.where(own[:, place], say(words[:, :place]), words[:, place])
    return mixed


def reads_what_it_replaces(words, own, say):
    mixed = words.clone()
    for place in range(1, words.shape[1]):
        said = say(mixed[:, : place + 1])
        mixed[:, place] = torch.where(own[:, place], said, words[:, place])
    return mixed


def one_place_late(words, own, say):
    mixed = words.clone()
    for place in range(1, words.shape[1] - 1):
        said = say(mixed[:, :place])
        mixed[:, place + 1] = torch.where(own[:, place + 1], said, words[:, place + 1])
    return mixed


def every_row(words, own, say):
    mixed = words.clone()
    for place in range(1, words.shape[1]):
        if own[:, place].any():
            mixed[:, place] = say(mixed[:, :place])
    return mixed


def first_word_too(words, own, say):
    mixed = in_a_loop(words, own, say)
    mixed[:, 0] = say(words[:, :1]).where(own[:, 0], words[:, 0])
    return mixed


def in_place(words, own, say):
    for place in range(1, words.shape[1]):
        words[:, place] = torch.where(own[:, place], say(words[:, :place]), words[:, place])
    return words


def from_an_empty_text(words, own, say):
    for place in range(words.shape[1]):
        words = torch.where(own, say(words[:, :place])[:, None], words)
    return words[:, :0]


def a_row_without_its_axis(words, own, say):
    mixed = words.clone()
    for row in range(len(words)):
        for place in range(1, words.shape[1]):
            if own[row, place]:
                mixed[row, place] = say(mixed[row, :place])
    return mixed


def asks_the_place_before(words, own, say):
    mixed = words.clone()
    for place in range(1, words.shape[1]):
        said = say(mixed[:, :place])
        mixed[:, place] = torch.where(own[:, place - 1], said, words[:, place])
    return mixed


def gives_the_last_word_alone(words, own, say):
    mixed = words.clone()
    for place in range(1, words.shape[1]):
        said = say(mixed[:, place - 1 : place])
        mixed[:, place] = torch.where(own[:, place], said, words[:, place])
    return mixed


def forgets_the_last_place(words, own, say):
    mixed = words.clone()
    for place in range(1, words.shape[1] - 1):
        mixed[:, place] = torch.where(own[:, place], say(mixed[:, :place]), words[:, place])
    return mixed


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (a_row_without_its_axis, "say: expected words of shape (B, t), got shape (1,)"),
        (asks_the_place_before, "`own[:, t]` belongs to `words[:, t]`; yours is moved."),
        (gives_the_last_word_alone, "The model has read one word alone"),
        (forgets_the_last_place, "The last place is left out"),
        (lambda words, own, say: words * math.nan, "expected words, got nan"),
        (after_the_true_words, "it should read the mixed ones"),
        (lambda words, own, say: in_a_loop(words, ~own, say), "where `own` is False"),
        (lambda words, own, say: in_a_loop(words, own | True, say), "Every word is the model's"),
        (every_row, "Every row is changed where one of them should be."),
        (lambda words, own, say: words.clone(), "Nothing is replaced"),
        (reads_what_it_replaces, "The model has read the word that it should replace."),
        (one_place_late, "one place too late"),
        (first_word_too, "expected the first word to stay"),
        (in_place, "your function changed its input"),
        (from_an_empty_text, "expected shape (2, 6), got shape (2, 0)"),
        (lambda words, own, say: in_a_loop(words, own, say).tolist(), "expected a tensor, got ["),
        (lambda words, own, say: say(words), "expected shape (2, 6), got shape (2,)"),
    ],
)
def test_a_wrong_mixture_is_named(answer, words, capsys):
    assert words in said(lesson.mixed_inputs, answer, capsys)


# ---- 4.4 ----


def mended(words, own, say, mix):
    return mix(words, own, say)[:, :-1], words[:, 1:]


def mixes_the_inputs_alone(words, own, say, mix):
    return mix(words[:, :-1], own[:, :-1], say), words[:, 1:]


@pytest.mark.parametrize(
    "answer",
    [mended, mixes_the_inputs_alone, lambda *given: list(mended(*given))],
)
def test_every_right_batch_passes(answer, capsys):
    assert "passed" in said(lesson.scheduled_batch, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda w, own, say, mix: (mix(w, own, say)[:, :-1], mix(w, own, say)[:, 1:]), "is right."),
        (lambda w, own, say, mix: (w[:, :-1], w[:, 1:]), "that is teacher forcing"),
        (lambda w, own, say, mix: (mix(w, own, say)[:, :-1], w[:, :-1]), "not moved"),
        (lambda w, own, say, mix: (mix(w, own, say)[:, 1:], w[:, 1:]), "would read its label"),
        (lambda *given: mended(*given)[::-1], "the first of the pair are the inputs"),
        (lambda w, own, say, mix: (mix(w, own, say)[:, :-1],) * 2, "In the labels: These are the"),
        (lambda w, own, say, mix: (mix(w, own, say), w), "inputs of shape (2, 4), got shape (2, 5"),
        (lambda *given: mended(*given)[0], "expected a pair (inputs, labels)"),
        (lambda *given: tuple(part.tolist() for part in mended(*given)), "inputs as a tensor"),
    ],
)
def test_a_wrong_batch_is_named(answer, words, capsys):
    assert words in said(lesson.scheduled_batch, answer, capsys)


def test_the_planted_bug_under_other_names_is_told_its_slip_once(capsys):
    def renamed(a, b, c, d):
        e = d(a, b, c)
        return e[:, :-1], e[:, 1:]

    out = said(lesson.scheduled_batch, renamed, capsys)
    assert "In the labels: They hold the model's own words" in out
    assert "The labels" not in out


# ---- 4.5 ----


def test_the_code_of_the_hints_runs_and_finds_the_rise(capsys):
    _, second, third = lesson.cheap.hints
    cost, pairs = "-math.log(q) + math.log(p)", "zip(words[1:], list(lab.distributions(words))[1:])"
    assert f"`{cost}`" in second
    assert f"`pairs = {pairs}`" in third
    space = {"lab": lab, "math": math}
    space["words"] = lab.sample(20_000, torch.Generator().manual_seed(0))
    loop = f"costs = []\nfor word, options in {pairs}:\n p = options[word]\n"
    exec(f"{loop} q = 0.986 * p + 0.014 / 131\n costs.append({cost})", space)
    rise = sum(space["costs"]) / len(space["costs"])
    assert "passed" in said(lesson.cheap, rise, capsys)
    assert "passed" in said(lesson.cheap, round(rise, 4), capsys)
    assert "passed" in said(lesson.cheap, numpy.float64(rise), capsys)


RISE, SLIP = lesson._blind(0.014)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (-math.log(0.986), "the most that it can cost"),
        (RISE / math.log(2), "That is in bits"),
        (-RISE, "The sign: the loss rises."),
        (RISE + lesson._floor(), "take away the floor"),
        (0.6384, "take away the floor"),
        ((RISE + lesson._floor()) * 20_009 / 20_010 + 0.01399 / 20_010, "take away the floor"),
        (0.014, "the share of blind draws, or rounded too far"),
        (0.01399, "That is the worked pair"),
        (0.0141, "the most that it can cost"),
        (0.0137, "the share of impossible words"),
        (SLIP, "the share of impossible words"),
        (RISE * (len(lesson._words()) - 1), "for the sum over the text; give the mean"),
        (RISE * (len(lesson._words()) - 1) + 0.01399, "for the sum over the text"),
        (276.1, "for the sum over the text"),
        (10**400, "expected a number, got one above 1e308"),
        (math.nan, "expected a number, got nan"),
        (0.02, "expected another number, got 0.02"),
        ([RISE], "expected a number, got ["),
    ],
)
def test_a_wrong_rise_is_named_and_the_right_one_is_not_told(answer, words, capsys):
    out = said(lesson.cheap, answer, capsys)
    assert words in out
    assert f"expected {RISE:.4f}" not in out


def test_the_truth_with_blind_draws_is_what_the_lab_itself_says_it_is():
    words = lab.sample(300, torch.Generator().manual_seed(4))
    ids = torch.tensor([lab.vocabulary().ids_of(words)])
    exact = lab.Truth()(ids[:, :-1])[0].double()
    blind = (0.986 * exact.exp() + 0.014 / 131).log()
    rise = (exact - blind).gather(-1, ids[0, 1:, None]).mean().item()
    slip = (blind.exp() * (exact == -torch.inf)).sum(-1).mean().item()
    assert 0 < rise < -math.log(0.986)
    assert rise == pytest.approx(RISE, rel=0.05)
    assert slip == pytest.approx(SLIP, rel=0.05)


def test_the_named_answers_are_different_numbers():
    named = [RISE, -math.log(0.986), RISE / math.log(2), SLIP, RISE + lesson._floor()]
    assert min(abs(one - other) for one, other in combinations(named, 2)) > 5e-5
    named += [0.014, 0.01399]
    assert min(abs(one - other) for one, other in combinations(named, 2)) > 9e-6
