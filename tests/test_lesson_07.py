import collections
import dataclasses
import hashlib
import math

import numpy
import pytest
import torch
from verdicts import said

from course_lm.exercises import lesson_07 as lesson
from course_lm.language import cleaning, lab
from course_lm.language.crawl import crawl
from course_lm.training.losses import token_log_probs

# ---- 7.1 ----

DAYS = 1.2e20 / 8e14 / 86_400


@pytest.mark.parametrize("answer", [DAYS, 1.74, numpy.float64(DAYS), torch.tensor(1.736)])
def test_the_days_pass_as_any_kind_of_number(answer, capsys):
    assert "passed" in said(lesson.price, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (DAYS / 3, "forward alone"),
        (DAYS * 2 / 3, "backward alone"),
        (DAYS * 0.4, "40 % of their best"),
        (DAYS * 8, "there are eight"),
        (DAYS * 86_400, "Those are seconds"),
        (DAYS * 24, "Those are hours"),
        (DAYS * 64, "an eighth of the time"),
        (DAYS * 0.16, "slower cards take longer"),
        ("two", "expected a number"),
    ],
)
def test_a_wrong_price_is_named(answer, words, capsys):
    assert words in said(lesson.price, answer, capsys)


# ---- 7.2 ----


def right_score(model, prompt, option):
    logs = model(torch.tensor([prompt + option]))[0].log_softmax(-1)
    return sum(logs[len(prompt) - 1 + k, token].item() for k, token in enumerate(option))


def by_the_package(model, prompt, option):
    ids = torch.tensor([prompt + option])
    return token_log_probs(model(ids[:, :-1]), ids[:, 1:])[0, len(prompt) - 1 :].sum()


def word_by_word(model, prompt, option):
    total, seen = 0.0, list(prompt)
    for token in option:
        total += model(torch.tensor([seen]))[0, -1].softmax(-1)[token].log().item()
        seen.append(token)
    return total


@pytest.mark.parametrize("answer", [right_score, by_the_package, word_by_word])
def test_every_way_to_score_an_option_passes(answer, capsys):
    assert "passed" in said(lesson.option_score, answer, capsys)


def reading_at_the_token(model, prompt, option):
    logs = model(torch.tensor([prompt + option]))[0].log_softmax(-1)
    return sum(logs[len(prompt) + k, token].item() for k, token in enumerate(option))


def with_the_prompt(model, prompt, option):
    ids = torch.tensor([prompt + option])
    return token_log_probs(model(ids[:, :-1]), ids[:, 1:]).sum().item()


def of_logits(model, prompt, option):
    logits = model(torch.tensor([prompt + option]))[0]
    return sum(logits[len(prompt) - 1 + k, token].item() for k, token in enumerate(option))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda m, p, o: right_score(m, p, o) / len(o), "That is a mean"),
        (with_the_prompt, "The prompt is scored, too"),
        (reading_at_the_token, "those are about the next one"),
        (lambda m, p, o: math.exp(right_score(m, p, o)), "give its log"),
        (lambda m, p, o: right_score(m, p, o[:1]), "the first token alone"),
        (lambda m, p, o: -right_score(m, p, o), "The sign is turned"),
        (of_logits, "Those are logits"),
        (lambda m, p, o: "high", "expected a number"),
        (lambda m, p, o: print(right_score(m, p, o)), "end the function"),
    ],
)
def test_a_wrong_score_is_named(answer, words, capsys):
    assert words in said(lesson.option_score, answer, capsys)


# ---- 7.3 ----


def by_polyfit(tokens, losses, floor):
    slope, height = numpy.polyfit(numpy.log(tokens), numpy.log(numpy.array(losses) - floor), 1)
    return float(numpy.exp(height)), float(-slope)


def by_least_squares(tokens, losses, floor):
    x = torch.tensor(tokens, dtype=torch.float64).log()
    y = (torch.tensor(losses, dtype=torch.float64) - floor).log()
    columns = torch.stack([torch.ones_like(x), -x], dim=1)
    height, slope = torch.linalg.lstsq(columns, y[:, None]).solution[:, 0]
    return [height.exp(), slope]


def by_numpy_alone(tokens, losses, floor):
    slope, height = numpy.polyfit(numpy.log(tokens), numpy.log(numpy.array(losses) - floor), 1)
    return numpy.array([numpy.exp(height), -slope])


@pytest.mark.parametrize(
    "answer",
    [
        by_polyfit,
        by_least_squares,
        by_numpy_alone,
        lambda d, L, E: tuple(map(numpy.float32, by_polyfit(d, L, E))),
        lambda d, L, E: tuple(map(numpy.array, by_polyfit(d, L, E))),
        lambda d, L, E: torch.stack(by_least_squares(d, L, E)),
    ],
)
def test_every_way_to_fit_a_line_passes(answer, capsys):
    assert "passed" in said(lesson.power_law, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda d, L, E: by_polyfit(d, L, 0.0), "The floor is still in it"),
        (lambda d, L, E: (by_polyfit(d, L, E)[0], -by_polyfit(d, L, E)[1]), "the slope is −a"),
        (lambda d, L, E: (math.log(by_polyfit(d, L, E)[0]), by_polyfit(d, L, E)[1]), "is log A"),
        (lambda d, L, E: by_polyfit(d, L, E)[::-1], "changed places"),
        (lambda d, L, E: by_polyfit(d, L, E)[0], "expected two numbers"),
        (lambda d, L, E: ("A", "a"), "expected a number for A"),
        (lambda d, L, E: (by_polyfit(d, L, E)[0], None), "expected a number for a"),
        (lambda d, L, E: by_numpy_alone(d, L, E)[:1], "expected two numbers"),
        (lambda d, L, E: numpy.array(1.0), "expected two numbers"),
    ],
)
def test_a_wrong_line_is_named(answer, words, capsys):
    assert words in said(lesson.power_law, answer, capsys)


# ---- 7.4 ----


def with_a_set(pages):
    seen, kept = set(), []
    for page in pages:
        key = tuple(page.text.lower().split())
        if key not in seen:
            seen.add(key)
            kept.append(page)
    return kept


def with_hashes(pages):
    keys = [hashlib.sha256(" ".join(p.text.lower().split()).encode()).digest() for p in pages]
    return tuple(page for n, page in enumerate(pages) if keys[n] not in keys[:n])


def with_key(key, last=False):
    def drop(pages):
        found = {key(page): page for page in (pages if last else reversed(pages))}
        return sorted(found.values(), key=lambda page: page.number)

    return drop


def nothing_that_repeats(pages):
    keys = [" ".join(page.text.lower().split()) for page in pages]
    return [page for page, key in zip(pages, keys, strict=True) if keys.count(key) == 1]


@pytest.mark.parametrize("answer", [cleaning.drop_copies, with_a_set, with_hashes])
def test_every_way_to_drop_copies_passes(answer, capsys):
    assert "passed" in said(lesson.drop_copies, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (with_key(lambda p: p.text), "spaces made equal"),
        (with_key(lambda p: p.text, last=True), "the last page stays"),
        (with_key(lambda p: " ".join(p.text.lower().split()), last=True), "keep the first"),
        (with_key(lambda p: p.text.lower()), "two spaces or one"),
        (with_key(lambda p: " ".join(p.text.split())), "`The` and `the`"),
        (with_key(lambda p: frozenset(p.text.lower().split())), "in another order are no copy"),
        (nothing_that_repeats, "of a copied story nothing is left"),
        (lambda pages: with_a_set(pages)[::-1], "keep that of the crawl"),
        (lambda pages: {p.text for p in pages}, "expected a list of pages"),
        (lambda pages: pages, "Nothing was dropped"),
        (
            lambda pages: [dataclasses.replace(p, text=p.text.lower()) for p in with_a_set(pages)],
            "expected the pages as they are",
        ),
        (lambda pages: print(with_a_set(pages)), "end the function"),
    ],
)
def test_a_wrong_way_to_drop_copies_is_named(answer, words, capsys):
    assert words in said(lesson.drop_copies, answer, capsys)


# ---- 7.5 ----


def site_by_site(pages):
    """Each site cleaned alone, and the pages put back in the order of the crawl."""
    sites, left = collections.defaultdict(list), []
    for page in pages:
        sites[page.site].append(page)
    for own in sites.values():
        held = [set(page.text.split("\n")) for page in own]
        for page in own:
            lines = page.text.split("\n")
            seen = [sum(line in lines for lines in held) for line in lines]
            good = [s for s, n in zip(lines, seen, strict=True) if n < 3 or n / len(own) < 1 / 2]
            if any(good):
                left.append(dataclasses.replace(page, text="\n".join(good)))
    return sorted(left, key=lambda page: page.number)


def cut_with(most, once=set, empty=False):
    def cut(pages):
        sizes = collections.Counter(page.site for page in pages)
        counts = collections.Counter()
        for page in pages:
            counts.update((page.site, line) for line in once(page.text.split("\n")))
        kept = []
        for page in pages:
            lines = page.text.split("\n")
            least = most(sizes[page.site], len(pages))
            text = "\n".join(line for line in lines if counts[page.site, line] < least)
            kept += [dataclasses.replace(page, text=text)] * bool(text or empty)
        return kept

    return cut


def of_the_site(size, total):
    return max(3, size / 2)


@pytest.mark.parametrize(
    "answer", [cleaning.strip_boilerplate, site_by_site, cut_with(of_the_site)]
)
def test_every_right_filter_passes(answer, capsys):
    assert "passed" in said(lesson.cut, answer, capsys)


def edited(pages):
    return lesson.planted_cut(list(pages))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (edited, "the same as the function on the page"),
        (cut_with(lambda size, total: max(3, total / 2)), "half of the pages of the site"),
        (cut_with(lambda size, total: size / 2), "ask for three pages as well"),
        (cut_with(lambda size, total: 3), "few on a large site: ask for half of its pages"),
        (cut_with(lambda size, total: max(3, size / 100)), "few on a large site"),
        (cut_with(lambda size, total: max(3, size // 2 + 1)), "on exactly half of the pages"),
        (cut_with(of_the_site, once=list), "A line counts once a page"),
        (cut_with(of_the_site, empty=True), "nothing is left is to be dropped"),
        (lambda pages: site_by_site(pages)[::-1], "keep that of the crawl"),
        (lambda pages: [p.text for p in site_by_site(pages)], "expected a list of pages"),
        (
            lambda pages: [dataclasses.replace(p, number=0) for p in site_by_site(pages)],
            "as they were but for their text",
        ),
        (lambda pages: print(site_by_site(pages)), "end the function"),
    ],
)
def test_a_wrong_filter_is_named(answer, words, capsys):
    assert words in said(lesson.cut, answer, capsys)


def test_the_planted_filter_eats_the_stories_that_many_sites_copied():
    pages = cleaning.repair(crawl(300, torch.Generator().manual_seed(0)))
    right = {page.number: page for page in cleaning.strip_boilerplate(pages)}
    left = {page.number for page in lesson.planted_cut(pages)}
    posted, eaten = collections.Counter(), collections.Counter()
    for number, page in right.items():
        posted[page.story] += bool(page.story)
        eaten[page.story] += bool(page.story) and number not in left
    assert left < set(right)
    for story, count in posted.most_common(3):
        assert eaten[story] > count / 3


# ---- 7.6 ----


def counted(*names, verb="lives"):
    words = lab.sample(60_000, torch.Generator().manual_seed(0))
    return sum(words[i] in names and words[i + 1] == verb for i in range(len(words) - 1))


OFTEN, RARELY = counted("anna", "ben", "cleo", "dan") / 4, counted("eva", "finn") / 2


@pytest.mark.parametrize("answer", [OFTEN / RARELY, torch.tensor(OFTEN / RARELY)])
def test_the_measured_ratio_passes(answer, capsys):
    assert OFTEN / RARELY > 5
    assert "passed" in said(lesson.rare_facts, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (2 * OFTEN / RARELY, "per person"),
        (RARELY / OFTEN, "the second over the first"),
        (4 * OFTEN, "the number for the first group"),
        ([OFTEN, RARELY], "expected a number"),
    ],
)
def test_a_wrong_ratio_is_named(answer, words, capsys):
    assert words in said(lesson.rare_facts, answer, capsys)
