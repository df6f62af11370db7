"""Each step of the cleaning finds what it was made for, and leaves good stories alone."""

import itertools
import math

import pytest
import torch
from small_models import seeded

from course_lm.language import cleaning, crawl
from course_lm.language.cleaning import (
    band_probability,
    common_pairs,
    drop_copies,
    drop_near_copies,
    faults,
    filter_quality,
    jaccard,
    mask_personal,
    repair,
    repaired,
    report,
    shingles,
    signatures,
    strip_boilerplate,
)
from course_lm.language.crawl import Page


def near(pages):
    return drop_near_copies(pages, seeded(1))


STEPS = (
    (repair, ("mojibake", "lost")),
    (strip_boilerplate, ("boilerplate",)),
    (filter_quality, ("spam",)),
    (drop_copies, ("copy",)),
    (near, ("near copy",)),
    (mask_personal, ("personal",)),
)


@pytest.fixture(scope="module")
def stages():
    """The pages before each step and after the last."""
    pages = [crawl.crawl(400, seeded(0))]
    for step, _ in STEPS:
        pages.append(step(pages[-1]))
    return pages


def pages_of(*texts, site="here"):
    return [Page(text=text, site=site, number=n) for n, text in enumerate(texts)]


def texts(pages):
    return [page.text for page in pages]


# -- the whole crawl


@pytest.mark.parametrize("place", range(len(STEPS)), ids=lambda n: STEPS[n][1][0])
def test_a_step_touches_the_pages_it_was_made_for_and_hardly_another(stages, place):
    step, marks = STEPS[place]
    found = report(stages[place], stages[place + 1], *marks)
    assert found.precision > 0.96
    assert found.recall > (0.9 if step is near else 0.97)


@pytest.mark.parametrize("place", range(len(STEPS)), ids=lambda n: STEPS[n][1][0])
def test_a_step_done_twice_changes_nothing_more(stages, place):
    step, _ = STEPS[place]
    assert step(stages[place + 1]) == stages[place + 1]


def test_what_is_left_are_the_stories(stages):
    left = stages[-1]
    unmarked = [page for page in left if "personal" not in page.marks]
    as_they_were = sum(page.text == page.story for page in unmarked)
    assert as_they_were > 0.85 * len(unmarked)  # the rest: altered copies met before the original
    assert len({page.story for page in left if page.story}) > 0.92 * 400
    assert not [page for page in left if "spam" in page.marks][3:]


def test_clean_stories_survive_every_step():
    stories = pages_of(*crawl.story_texts(300, seeded(7)))
    for step, _ in STEPS:
        assert step(stories) == stories


def test_a_report_counts_pages_and_words():
    before = [
        Page(text="one two three", number=0, marks=frozenset({"spam"})),
        Page(text="four five", number=1, marks=frozenset({"spam"})),
        Page(text="six", number=2),
        Page(text="seven eight", number=3),
    ]
    after = [Page(text="four", number=1), before[2]]
    found = report(before, after, "spam")
    assert (found.dropped, found.changed, found.words) == (2, 1, 6)
    assert (found.precision, found.recall) == (pytest.approx(2 / 3), 1.0)
    nothing = report(before, before, "copy")
    assert math.isnan(nothing.precision)
    assert math.isnan(nothing.recall)


# -- encoding


def test_text_that_was_read_in_the_wrong_encoding_is_read_again():
    meant = "the café – it’s open – costs 5 €"
    assert repaired(meant.encode("utf-8").decode("cp1252")) == meant
    quoted = "“the café”"  # the last byte of ” is none of cp1252's; browsers leave it as it is
    assert repaired("â€œthe cafÃ©â€\x9d") == quoted
    assert repaired(meant) == meant
    assert repaired("ﬁve\u00a0coins\uff0e") == "five coins."


def test_a_right_line_beside_a_wrong_one_stays():
    wrong = "the dog\u00a0sleeps".encode().decode("cp1252")
    assert texts(repair(pages_of(f"© 2020\n{wrong}"))) == ["© 2020\nthe dog sleeps"]


def test_a_page_with_lost_letters_goes():
    assert texts(repair(pages_of("good", "b\N{REPLACEMENT CHARACTER}d"))) == ["good"]


# -- boilerplate


def test_a_line_of_most_pages_of_a_site_is_cut_and_a_page_of_nothing_else_dropped():
    here = pages_of("menu\none story", "menu\nanother", "menu\na third\nfoot", "menu")
    elsewhere = pages_of("menu\nfoot", site="there")
    left = strip_boilerplate(here + elsewhere)
    assert texts(left) == ["one story", "another", "a third\nfoot", "menu\nfoot"]


def test_a_story_that_many_sites_copied_is_no_boilerplate():
    sites = [f"site {n}" for n in range(6)]
    pages = [page for s in sites for page in pages_of("menu\nhit", "menu\nown " + s, site=s)]
    pages += [page for s in sites for page in pages_of("menu\nmine", "menu\nmore", site=s)]
    assert texts(strip_boilerplate(pages)).count("hit") == 6


# -- copies


def test_capitals_and_spaces_make_no_difference_to_a_copy():
    assert texts(drop_copies(pages_of("The dog .", "the  dog .", "the dogs ."))) == [
        "The dog .",
        "the dogs .",
    ]


def test_jaccard_by_hand():
    assert jaccard({1, 2, 3}, {2, 3, 4}) == 0.5
    assert jaccard({1, 2}, {3}) == 0
    assert jaccard({1, 2}, [2, 1, 1]) == 1
    assert jaccard((), ()) == 0


def test_shingles_are_the_runs_of_three_words():
    assert len(shingles("a b c d")) == 2
    assert shingles("a b c d") == shingles("A b c") | shingles("b c d")
    assert len(shingles("a b")) == 1  # shorter than a run: the text itself


def test_the_share_of_equal_minima_estimates_jaccard_as_its_variance_says():
    size, errors = 256, []
    numbers = torch.randint(cleaning.PRIME, (60,), generator=seeded(1))
    draws = [
        set(numbers[torch.randint(60, (30,), generator=seeded(n))].tolist()) for n in range(40)
    ]
    minima = signatures(draws, size, seeded(0))
    for i, j in itertools.combinations(range(len(draws)), 2):
        exact = jaccard(draws[i], draws[j])
        estimate = (minima[i] == minima[j]).double().mean().item()
        errors.append((estimate - exact) / math.sqrt(exact * (1 - exact) / size))
    errors = torch.tensor(errors)
    assert len(errors) == 780
    assert abs(errors.mean().item()) < 0.35  # pairs share their functions: they err together
    assert 0.7 < errors.square().mean().sqrt().item() < 1.3


def test_two_sets_share_a_band_as_often_as_the_formula_says():
    bands, rows, draws = 8, 4, 400
    for overlap in (10, 16, 19):
        rng, met = seeded(overlap), 0
        numbers = torch.randint(cleaning.PRIME, (40,), generator=rng).tolist()
        first, second = set(numbers[:20]), set(numbers[20 - overlap : 40 - overlap])
        for _ in range(draws):
            a, b = signatures((first, second), bands * rows, rng).view(2, bands, rows)
            met += bool((a == b).all(1).any())
        right = band_probability(jaccard(first, second), bands, rows)
        assert abs(met / draws - right) < 4 * math.sqrt(right * (1 - right) / draws) + 1e-9


def test_the_band_probability_by_hand():
    assert band_probability(0.5, 1, 1) == 0.5
    assert band_probability(0.5, 2, 1) == 0.75
    assert band_probability(0.5, 1, 2) == 0.25
    assert band_probability(1.0, 16, 4) == 1


def test_near_copies_are_those_that_comparing_all_pairs_would_find():
    stories = crawl.story_texts(60, seeded(5))
    vocabulary = sorted({word for story in stories for word in story.split()})
    rng, pages = seeded(6), []
    for story in stories:
        pages.append(story)
        words = story.split()
        for place in torch.randperm(len(words), generator=rng)[:2].tolist():
            words[place] = vocabulary[int(torch.randint(len(vocabulary), (), generator=rng))]
        pages.append(" ".join(words))
    sets, kept = [shingles(text) for text in pages], []
    for n in range(len(pages)):
        if all(jaccard(sets[n], sets[m]) < 0.5 for m in kept):
            kept.append(n)
    found = [page.number for page in drop_near_copies(pages_of(*pages), seeded(2))]
    assert set(kept) <= set(found)
    assert len(found) - len(kept) <= 2


# -- quality


STORY = (
    "anna is in the kitchen . ben is in the attic . anna takes the red lamp . anna goes to the "
    "garden . who has the red lamp ? anna . that is all ."
)
COMMON = common_pairs(pages_of(STORY))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("anna is in the kitchen .", "fewer than 20 words"),
        ("buy a lamp " * 12, "one word again and again"),
        (STORY + " ! # * | ; ! # * | ;", "more signs than sentences need"),
        (" ".join(sorted(STORY.split(), key=len)), "words in an unheard-of order"),
    ],
)
def test_a_bad_text_breaks_its_rule(text, rule):
    assert rule in faults(text, COMMON)


def test_a_good_text_breaks_none():
    assert faults(STORY, COMMON) == []


# -- personal data


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to anna.k+1@mail.example.org .", "write to <email> ."),
        ("call 555-0142 .", "call <phone> ."),
        ("call (202) 555-0142, or +1 202-555-0142", "call <phone>, or <phone>"),
        ("in 2010-2020 the score was 3-0 at site-12.example.org", None),
        ("order 12345-6789 of 1555-01423", None),
    ],
)
def test_addresses_and_numbers_are_masked_and_little_else(text, masked):
    assert texts(mask_personal(pages_of(text))) == [masked or text]


def test_an_address_is_sought_only_where_a_word_begins():
    text = "anna@example.org"  # else each letter of a long word starts a search of its own
    assert cleaning.EMAIL.match(text)
    assert not any(cleaning.EMAIL.match(text, place) for place in range(1, len(text)))


# -- bad input


@pytest.mark.parametrize(
    ("step", "pages"),
    [
        (repair, pages_of("\N{REPLACEMENT CHARACTER}")),
        (strip_boilerplate, pages_of("menu", "menu", "menu")),
        (filter_quality, pages_of("too short")),
        (strip_boilerplate, []),
    ],
)
def test_a_corpus_with_nothing_left_gets_one_sentence(step, pages):
    with pytest.raises(ValueError, match=rf"^{step.__name__}: expected at least one page to stay"):
        step(pages)


def test_no_pages_have_no_near_copies_and_no_copies():
    assert drop_copies([]) == []
    assert drop_near_copies([], seeded(0)) == []


@pytest.mark.parametrize("dials", [{"bands": 0}, {"rows": 0}, {"similarity": 0}])
def test_a_dial_out_of_range_gets_one_sentence(dials):
    with pytest.raises(ValueError, match="drop_near_copies: expected"):
        drop_near_copies(pages_of("a b c"), seeded(0), **dials)


def test_pages_without_numbers_of_their_own_cannot_be_compared():
    pages = [Page(text="one"), Page(text="two")]
    with pytest.raises(ValueError, match="report: expected a number of its own for each page"):
        report(pages, pages[:1], "copy")


def test_no_step_looks_at_the_marks(stages):
    bare = [Page(text=page.text, site=page.site, number=page.number) for page in stages[0]]
    for step, _ in STEPS:
        bare = step(bare)
    assert texts(bare) == texts(stages[-1])
