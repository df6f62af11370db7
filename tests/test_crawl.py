"""Everything that was done to a page of the crawl is written on the page."""

import re
from collections import Counter
from dataclasses import replace

import pytest
from small_models import seeded

from course_lm.language import crawl, lab


@pytest.fixture(scope="module")
def pages():
    return crawl.crawl(300, seeded(0))


def marked(pages, mark):
    return [page for page in pages if mark in page.marks]


def test_the_same_seed_gives_the_same_crawl_and_another_seed_another(pages):
    assert crawl.crawl(300, seeded(0)) == pages
    assert crawl.crawl(300, seeded(1)) != pages
    assert [page.number for page in pages] == list(range(len(pages)))


def test_every_mark_is_common_enough_to_be_measured(pages):
    counts = Counter(mark for page in pages for mark in page.marks)
    assert set(counts) == {
        *("boilerplate", "copy", "near copy", "spam", "mojibake", "lost", "personal")
    }
    assert min(counts.values()) >= 10


def test_a_page_without_marks_is_its_story(pages):
    clean = [page for page in pages if not page.marks - {"boilerplate"} and page.story]
    assert len(clean) > 60
    changed = [page for page in clean if page.story not in page.text.split("\n")]
    assert len(changed) < 0.2 * len(clean)  # an altered copy that came before its original
    for page in clean[:20]:
        lab.log_probs(["<s>", *page.story.split()])  # raises if a word is not the lab's


def test_the_stories_are_those_of_the_lab_and_no_two_are_the_same():
    texts = crawl.story_texts(200, seeded(3))
    assert len(texts) == len(set(texts)) == 200
    assert min(lab.log_probs(["<s>", *texts[0].split()])) > -float("inf")


def test_menus_and_small_print_repeat_within_a_site_and_no_story_does(pages):
    sizes = Counter(page.site for page in pages)
    lines = Counter((page.site, line) for page in pages for line in set(page.text.split("\n")))
    repeated = {line for (site, line), count in lines.items() if count > sizes[site] / 2}
    assert len(sizes) == crawl.SITES
    assert len(repeated) == 2 * crawl.SITES + 1  # a menu and a copyright a site, one cookie notice
    assert not repeated & {page.story for page in pages}


def test_copies_follow_the_law_of_zipf(pages):
    posted = sorted(Counter(page.story for page in pages if page.story).values(), reverse=True)
    assert posted[:4] == [1 + int(crawl.COPIES * 300 / rank) for rank in (1, 2, 3, 4)]


def test_a_copy_is_a_later_page_with_the_same_words_and_a_near_copy_with_a_few_others(pages):
    plain = [page for page in pages if page.story and not page.marks & {"mojibake", "lost"}]
    plain = [page for page in plain if "personal" not in page.marks]
    first, met = {}, 0
    for page in plain:
        text = max(page.text.split("\n"), key=len)
        seen = first.setdefault(page.story, [])
        if "near copy" in page.marks and seen:
            differ = [
                sum(a != b for a, b in zip(text.split(), other.split(), strict=True))
                for other in seen
            ]
            assert 1 <= min(differ) <= 2 * crawl.CHANGED
            met += 1
        seen.append(text)
    assert met > 0


def test_mojibake_is_utf8_that_was_read_as_cp1252(pages):
    for page in marked(pages, "mojibake"):
        meant = page.text.encode("cp1252").decode("utf-8")
        assert meant != page.text
        assert crawl.NO_BREAK in meant or "\uff0e" in meant


def test_lost_letters_stand_in_stories_that_nobody_copied(pages):
    for page in marked(pages, "lost"):
        assert page.text.count("\N{REPLACEMENT CHARACTER}") == 5
        assert not page.marks & {"copy", "near copy", "mojibake"}


def test_addresses_belong_to_nobody(pages):
    found = 0
    for page in pages:
        if "mojibake" in page.marks:
            continue
        text = page.text.replace(page.site, "")
        emails, phones = re.findall(r"\S+@\S+", text), re.findall(r"\d{3}-\d{4}", text)
        assert all(email.endswith(".example.org") for email in emails)
        assert all("555-0100" <= phone <= "555-0199" for phone in phones)
        assert bool(emails or phones) == ("personal" in page.marks)
        found += len(emails) + len(phones)
    assert found > 20


def test_each_person_of_a_large_world_has_a_reserved_telephone_number():
    one = lab.WORLD.people[0]
    people = tuple(replace(one, name=f"{one.name}{n}") for n in range(40))
    world, rng = replace(lab.WORLD, people=people), seeded(0)
    texts = [crawl._with_address("a . b . c .", world, rng) for _ in range(600)]
    numbers = {number for text in texts for number in re.findall(r"\d+-(\d+)", text)}
    assert len(numbers) > 9
    assert all(len(number) == 4 and "0100" <= number <= "0199" for number in numbers)


def test_spam_holds_the_words_of_a_story_or_one_thing_again_and_again(pages):
    spam = [max(page.text.split("\n"), key=len).split() for page in marked(pages, "spam")]
    repeated = [words for words in spam if max(Counter(words).values()) > 0.4 * len(words)]
    assert 0.4 < len(repeated) / len(spam) < 0.6


def test_a_page_cannot_be_changed_but_copied_with_other_text():
    page = crawl.Page(text="one")
    with pytest.raises(AttributeError):
        page.text = "two"
    assert replace(page, text="two").text == "two"


def test_too_few_stories_get_one_sentence():
    with pytest.raises(ValueError, match="expected at least 20 stories, got 3; ask for more"):
        crawl.crawl(3, seeded(0))
