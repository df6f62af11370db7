"""The chat in a real JupyterLab and chromium: type, send, read the reply and its mark."""

import browser
import pytest

CODE = """import torch
from course_lm.finetuning.tasks import END, REPLY, examples, task_vocabulary
from course_lm.viewing.chat import chat_box
vocabulary = task_vocabulary()
def parrot(reply):
    said = vocabulary.ids_of([*reply.split(), END])
    def model(ids):
        place = ids.shape[1] - 1 - ids[0].tolist().index(vocabulary.ids[REPLY])
        logits = torch.zeros(*ids.shape, len(vocabulary))
        logits[:, -1, said[place]] = 99.0
        return logits
    return model
ready = examples("answer", 3, torch.Generator().manual_seed(0), "test")
chat_box({"base": parrot("now has ."), "tuned": parrot("in the attic .")}, ready)"""
STORY = "Anna is in the attic. Ben is in the garden. Anna takes the red key."


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("pages"), "# Chat?", CODE) as page:
        yield page


def send(page, question):
    page.get_by_label("question").fill(question)
    page.get_by_role("button", name="send", exact=True).click()


def test_a_typed_question_is_answered_beside_what_is_right(page):
    page.get_by_label("text", exact=True).fill(STORY)
    send(page, "Where is Anna?")
    text = browser.read_group(page, "1 turn, 1 of them judged; right: base 0, tuned 1.")
    assert "answer where is anna ?" in text
    assert "✗ wrong\nnow has ." in text
    assert "✓ right\nin the attic ." in text


def test_an_unknown_word_gets_a_sentence_as_text_and_nothing_is_lost(page):
    send(page, "where is <b>carl</b> ?")
    page.get_by_role("alert").filter(has_text="expected one of its").wait_for(timeout=20_000)
    assert page.get_by_label("question").input_value() == "where is <b>carl</b> ?"
    assert page.get_by_label("text", exact=True).input_value() == STORY
    browser.read_group(page, "1 turn,")


def test_the_keyboard_reaches_every_field_in_order_and_sends(page):
    page.get_by_label("story").focus()
    named = (
        "() => document.activeElement.labels?.[0]?.innerText ?? document.activeElement.innerText"
    )
    reached = [page.evaluate(named)]
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(named))
        if reached[-1] == "question":
            page.keyboard.press("Control+a")
            page.keyboard.type("who has the key ?")
    assert reached == ["story", "text", "task", "pick", "question", "send"]
    page.keyboard.press("Enter")
    text = browser.read_group(page, "2 turns, 2 of them judged; right: base 0, tuned 1.")
    assert "the same text" in text
    page.get_by_role("alert").wait_for(state="detached", timeout=20_000)


def test_a_picked_question_is_sent_and_the_last_turn_is_in_sight(page):
    page.get_by_label("pick").select_option("where is the key ?")
    filled = "() => document.querySelector('.widget-text input').value"
    page.wait_for_function(f"{filled} === 'where is the key ?'")
    page.get_by_role("button", name="send", exact=True).click()
    browser.read_group(page, "3 turns, 3 of them judged; right: base 0, tuned 2.")
    page.get_by_label("task").select_option("translate")
    page.wait_for_function("() => document.querySelector('.widget-text input').disabled")
    page.get_by_role("button", name="send", exact=True).click()
    browser.read_group(page, "4 turns, 4 of them judged; right: base 0, tuned 2.")
    log, last = (
        page.locator(where).last.bounding_box() for where in ("[role=log]", "[role=log] td")
    )
    assert last["y"] + last["height"] <= log["y"] + log["height"]
