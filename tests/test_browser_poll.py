"""The poll in a real JupyterLab, its page on a phone: votes of the phone arrive in the notebook."""

import contextlib
import re

import browser
import pytest

from course_lm.viewing.strips import contrast

CODE = """from course_lm.classroom.poll import poll
from course_lm.rlhf.preferences import Comparison, Prompt
from course_lm.viewing.polling import poll_box
def words(text):
    return tuple(text.split())
prompts = [Prompt(words(f"<s> anna has {n} coins . how many ?"), ("one", ".")) for n in range(3)]
end = words("stay well , friend . <s>")
evil = words("<script>document.title='caught'</script><img/src/onerror=document.title='caught'> .")
pairs = [Comparison(p, (*evil, *end), ("two", ".", *end)) for p in prompts]
hall = poll(pairs, "votes.jsonl")
poll_box(hall)"""
PHONE = {"width": 390, "height": 780}
UNREAD = 800  # milliseconds after which a vote counts


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("pages"), "# Votes?", CODE) as page:
        yield page


@pytest.fixture
def phone(lab):
    """A page that has never been in the room; it may load nothing but what is on this machine."""
    with entering(lab) as page:
        yield page


@contextlib.contextmanager
def entering(lab, **settings):
    context = lab.context.browser.new_context(viewport=PHONE, has_touch=True, **settings)
    page = context.new_page()
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    host = invitation(lab).partition("#")[0]
    page.goto(invitation(lab))
    yield page
    assert page.problems == []
    assert all(url.startswith((host, "data:")) for url in page.asked), page.asked
    context.close()


def invitation(lab):
    """What the picture in the notebook leads to."""
    alt = lab.get_by_alt_text("QR code that opens").get_attribute("alt")
    return alt.rpartition(" ")[2]


def counted(lab, text):
    lab.locator(f"[role=group][aria-label*='{text}']").wait_for(timeout=20_000)


def at_pair(page, number):
    page.get_by_role("heading", name=f"Pair {number} of 3").wait_for(timeout=20_000)
    page.wait_for_timeout(UNREAD)


def tap(page, name):
    page.get_by_role("button", name=name, exact=True).tap()


def says(page, text):
    page.get_by_role("status").filter(has_text=text).wait_for(timeout=20_000)


def test_votes_from_a_phone_arrive_in_the_notebook_and_text_stays_text(lab, phone):
    at_pair(phone, 1)
    assert "<script>document.title='caught'</script>" in phone.locator("#first").inner_text()
    assert phone.title() == "Which is better?"
    tap(phone, "A")
    says(phone, "Vote stored: A for pair 1.")
    counted(lab, "1 phone, 1 vote on 3 pairs")
    at_pair(phone, 2)
    tap(phone, "tie")
    counted(lab, "1 phone, 2 votes")
    phone.reload()  # the same phone goes on
    at_pair(phone, 3)
    tap(phone, "B")
    phone.get_by_role("heading", name="All 3 pairs have your vote. Thank you.").wait_for()
    counted(lab, "1 phone, 3 votes")


def test_the_keys_vote_go_back_and_change_a_vote_and_a_key_that_is_held_votes_once(lab, phone):
    at_pair(phone, 1)
    for key, then in (("a", 2), ("b", 3), ("u", 2), ("t", 3)):
        phone.keyboard.press(key)
        at_pair(phone, then)
    counted(lab, "2 phones, 5 votes")
    phone.keyboard.press("u")
    assert phone.locator("[aria-pressed=true]").inner_text() == "tie"
    phone.keyboard.press("a")  # too soon to have read it
    says(phone, "vote again")
    phone.wait_for_timeout(UNREAD)
    for _ in range(4):
        phone.keyboard.down("a")
    at_pair(phone, 3)
    phone.keyboard.press("Tab")
    assert phone.evaluate("document.activeElement.innerText") == "A"


def test_a_vote_outlives_a_lost_connection_and_counts_once(lab, phone):
    at_pair(phone, 1)
    answered = []

    def lose(route):  # the server stores the vote, and the phone never hears of it
        answered.append(route.fetch().status)
        route.abort()

    phone.route("**/vote", lose)
    tap(phone, "B")
    says(phone, "Not stored yet")
    counted(lab, "3 phones, 6 votes")
    assert phone.get_by_role("heading", name="Pair 1 of 3").is_visible()
    phone.unroute("**/vote")
    says(phone, "Vote stored: B for pair 1.")
    assert answered
    assert set(answered) == {200}
    phone.context.set_offline(True)
    at_pair(phone, 2)
    tap(phone, "A")
    says(phone, "Not stored yet")
    phone.context.set_offline(False)
    says(phone, "Vote stored: A for pair 2.")
    counted(lab, "3 phones, 7 votes")


def test_a_wrong_code_is_answered_with_a_sentence_and_the_right_one_opens(lab, phone):
    at_pair(phone, 1)
    phone.goto(invitation(lab).partition("#")[0] + "?")
    phone.get_by_label("Room code").fill("xxxxxx")
    tap(phone, "Enter")
    says(phone, "expected the code that the lecturer shows")
    phone.get_by_label("Room code").fill(invitation(lab).partition("#")[2].lower())
    phone.keyboard.press("Enter")
    at_pair(phone, 1)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_everything_can_be_read_and_tapped_in_every_theme(lab, scheme):
    with entering(lab, color_scheme=scheme) as page:
        at_pair(page, 1)
        tap(page, "skip")
        says(page, "Vote stored")
        for element in page.locator("h1, h2, p:visible, button:visible:enabled").all():
            paper, ink = (
                "#" + bytes(map(int, re.findall(r"\d+", colour)[:3])).hex()
                for colour in element.evaluate(browser.COLOURS)
            )
            assert contrast(paper, ink) >= 4.5, element.inner_text()
        paper = page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
        assert paper == {"dark": "rgb(22, 22, 22)", "light": "rgb(255, 255, 255)"}[scheme]
        for button in page.locator("button:visible").all():
            assert button.bounding_box()["height"] >= 44
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"]


def test_after_a_restart_of_the_kernel_the_phones_go_on_and_the_button_closes_the_poll(lab, phone):
    at_pair(phone, 1)
    tap(phone, "A")
    says(phone, "Vote stored: A for pair 1.")
    before = invitation(lab)
    lab.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    lab.wait_for_function(browser.IDLE, arg="page.ipynb", timeout=60_000)
    at_pair(phone, 2)
    tap(phone, "B")
    says(phone, "Not stored yet")
    browser.run_all(lab)
    says(phone, "Vote stored: B for pair 2.")
    assert invitation(lab) == before
    counted(lab, "6 phones, 11 votes")
    lab.get_by_role("button", name="close the poll").click()
    counted(lab, "The poll is closed: 6 phones, 11 votes")
    at_pair(phone, 3)
    tap(phone, "B")
    says(phone, "the poll has been closed")
