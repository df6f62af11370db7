"""The voting box in a real JupyterLab and chromium: vote by mouse and by key, undo, go on."""

import re

import browser
import pytest

from course_lm.viewing.strips import contrast

CODE = """from course_lm.rlhf.preferences import Comparison, Prompt
from course_lm.rlhf.votes import VoteFile, recorded_votes
from course_lm.viewing.voting import ballot, voting_box
def words(text):
    return tuple(text.split())
prompts = [Prompt(words(f"<s> anna has {n} coins . how many ?"), ("one", ".")) for n in range(5)]
end = words("stay well , friend . <s>")
pairs = [Comparison(p, ("<b>one</b>", ".", *end), ("two", ".", *end)) for p in prompts]
ballot(pairs, [4])"""
BOX = "voting_box(VoteFile('votes.jsonl', pairs), 'anna')"
UNREAD = 900  # milliseconds after which a vote counts


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("pages"), "# Votes?", CODE, BOX) as page:
        yield page


def shows(page, starts):
    """What the box shows, once it can be voted on."""
    text = browser.read_group(page, starts)
    page.wait_for_timeout(UNREAD)
    return text


def click(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def numbers(colour):
    """The numbers in "rgba(255, 255, 255, 0.87)"."""
    return [float(part) for part in re.findall(r"[\d.]+", colour)]


def cells(page):
    return page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")


def test_the_ballot_and_the_box_show_both_responses_as_text_side_by_side(page):
    assert "<b>one</b> . stay well , friend ." in browser.read_group(page, "Comparison 5 of 5")
    text = shows(page, "Comparison 1 of 5, 0 voted")
    assert "anna has 0 coins .\nhow many ?" in text
    group = page.locator("[role=group][aria-label^='Comparison 1 of 5']")
    a, b = (group.get_by_text(said).bounding_box() for said in ("<b>one</b> .", "two ."))
    assert a["y"] == b["y"]
    assert a["x"] + a["width"] <= b["x"]


def test_a_click_votes_and_the_keys_go_on_without_touching_the_notebook(page):
    before = cells(page)
    click(page, "A")
    shows(page, "Comparison 2 of 5, 1 voted")
    page.wait_for_function("() => document.activeElement.placeholder === 'a b t s u'")
    for key, then in (("b", "Comparison 3 of 5"), ("a", "Comparison 4"), ("u", "Comparison 3")):
        page.keyboard.press(key)
        shows(page, then)
    assert cells(page) == before


def test_a_key_that_is_held_down_votes_once(page):
    for _ in range(5):
        page.keyboard.down("t")
    page.get_by_role("alert").filter(has_text="does not count").wait_for(timeout=20_000)
    shows(page, "Comparison 4 of 5, 3 voted")


def test_every_control_can_be_reached_and_used_with_the_keyboard(page):
    named = (
        "() => document.activeElement.labels?.[0]?.innerText ?? document.activeElement.innerText"
    )
    page.get_by_role("button", name="A", exact=True).focus()
    reached = [page.evaluate(named)]
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(named))
    assert reached == ["A", "B", "tie", "skip", "undo", "keys"]
    page.keyboard.press("u")  # no letter typed before has been selected
    shows(page, "Comparison 3 of 5, 2 voted")
    page.get_by_role("button", name="tie", exact=True).focus()
    page.keyboard.press("Enter")
    shows(page, "Comparison 4 of 5, 3 voted")
    page.keyboard.press("s")
    shows(page, "Comparison 5 of 5, 4 voted")


def test_the_end_is_told_and_can_be_taken_back(page):
    click(page, "tie")
    shows(page, "All 5 comparisons have a vote, kept in votes.jsonl")
    assert page.get_by_role("button", name="A", exact=True).is_disabled()
    page.keyboard.press("u")
    shows(page, "Comparison 5 of 5, 4 voted")


@pytest.mark.parametrize("theme", ["Dark", "Light"])
def test_the_cards_can_be_read_in_every_theme(page, theme):
    page.evaluate(
        "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
        f"JupyterLab {theme}",
    )
    dark = str(theme == "Dark").lower()
    page.wait_for_function(f"() => document.body.dataset.jpThemeLight !== '{dark}'")
    page.wait_for_timeout(UNREAD)
    for card in page.locator("[role=group][aria-label^='Comparison 5 of 5'] b").all():
        paper, ink = (numbers(colour) for colour in card.evaluate(browser.COLOURS))
        share = ink[3] if len(ink) > 3 else 1
        seen = [share * i + (1 - share) * p for i, p in zip(ink[:3], paper[:3], strict=True)]
        assert contrast(*("#" + bytes(map(round, c[:3])).hex() for c in (paper, seen))) >= 7
        assert (sum(paper[:3]) < 380) == (theme == "Dark")


def test_after_a_restart_of_the_kernel_the_box_goes_on_and_every_vote_is_there(page):
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    page.wait_for_function(browser.IDLE, arg="page.ipynb", timeout=60_000)
    browser.run_all(page)
    shows(page, "Comparison 5 of 5, 4 voted")
    page.evaluate(
        """() => window.jupyterapp.shell.currentWidget.content.widgets[2].model.sharedModel
            .setSource("recorded_votes('votes.jsonl', pairs, 'anna')")"""
    )
    browser.run_all(page)
    page.get_by_text("['first', 'second', 'tie', 'skip', None]").wait_for(timeout=20_000)
