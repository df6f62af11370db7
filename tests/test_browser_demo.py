"""The live demo in a real chromium, with the network blocked: look, type, ask, vote."""

import json

import browser
import pytest
from test_demo import hall

STORY = "Anna is in the attic. Ben is in the garden. Anna takes the red key."
UNREAD = 900  # milliseconds after which a vote counts


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    browser.chromium_path()
    with hall(tmp_path_factory.mktemp("hall")) as (address, _, folder):
        yield address, folder


def opened(page, address):
    page.goto(address)
    browser.read_group(page, "Comparison 1 of 60")
    return page


@pytest.fixture(scope="module")
def page(running):
    with browser.chromium(1280, 720) as page:
        yield opened(page, running[0])
        assert page.problems == []


def test_the_explorer_goes_on_with_a_click_and_with_what_is_typed(page):
    text = page.get_by_label("text", exact=True).first
    before = text.input_value()
    page.get_by_role("button", name="goes", exact=True).click()
    page.get_by_role("button", name="to", exact=True).wait_for(timeout=20_000)
    assert text.input_value() == f"{before} goes"
    text.fill("ben is in the")
    text.press("Enter")
    page.get_by_role("button", name="attic", exact=True).wait_for(timeout=20_000)
    shown = page.locator("[role=img][aria-label^='Probability of the next word']")
    assert "attic: truth" in shown.get_attribute("aria-label")


def test_the_chat_answers_the_same_request_after_each_phase(page):
    browser.read_group(page, "1 turn, 1 of them judged; right: counts 0, foundation 0, tuned 1,")
    page.get_by_label("text", exact=True).last.fill(STORY)
    page.get_by_label("task").select_option("answer")
    page.get_by_label("question").first.fill("where is anna ?")
    page.get_by_role("button", name="send", exact=True).click()
    said = browser.read_group(page, "2 turns, 2 of them judged; right: counts 0, foundation 0,")
    assert said.count("in the attic .") >= 3  # the tuned model, the last one and the truth


def test_a_story_that_is_chosen_shows_its_endings(page):
    stories = page.get_by_label("question").last
    stories.select_option(index=3)
    page.wait_for_timeout(500)
    asked = stories.evaluate("e => e.selectedOptions[0].innerText")
    page.locator("caption").filter(has_text=asked).wait_for(timeout=20_000)


def another(page, address, width):
    """One more visitor in the same browser; their problems count as those of the first."""
    visitor = page.context.new_page()
    visitor.set_viewport_size({"width": width, "height": 844})
    visitor.on("pageerror", lambda error: page.problems.append(f"page: {error}"))
    visitor.on(
        "console",
        lambda said: page.problems.append(said.text) if said.type == "error" else None,
    )
    return opened(visitor, address)


def test_a_vote_lands_in_the_file_and_every_visitor_is_a_voter(page, running):
    address, folder = running
    for visitor in (page, another(page, address, 390)):
        visitor.wait_for_timeout(UNREAD)
        visitor.get_by_role("button", name="A", exact=True).click()
        browser.read_group(visitor, "Comparison 2 of 60, 1 voted")
    votes = (folder / "votes.jsonl").read_text("utf-8").splitlines()
    assert len({json.loads(vote)["by"] for vote in votes}) == len(votes) == 2


@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (1280, "dark")])
def test_nothing_is_wider_than_the_screen(page, running, width, theme):
    visitor = another(page, f"{running[0]}?theme={theme}", width)
    light = visitor.evaluate("() => document.body.dataset.jpThemeLight")
    assert light == str(theme == "light").lower()
    cells = visitor.locator("#rendered_cells")
    assert cells.evaluate("e => [e.scrollLeft = 99, e.scrollLeft][1]") == 0
    visitor.close()
