"""The two rails in a real JupyterLab and chromium: step, slide, run again, read the final value."""

import browser
import pytest

CODE = """import torch
from course_lm.language import lab
from course_lm.viewing.rails import rail_stepper
vocabulary, rng = lab.vocabulary(), torch.Generator().manual_seed(0)
ids = vocabulary.ids_of("<s> anna is in the kitchen . finn is in the kitchen .".split())
rail_stepper(lambda ids: torch.zeros(*ids.shape, 131), lab.Truth(), vocabulary, ids, rng)"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("pages"), "# Rails?", CODE) as page:
        yield page


def test_one_word_more_moves_both_rails_and_the_bars(page):
    assert "true words" in browser.read_group(page, "1 word.")
    page.get_by_role("button", name="next word", exact=True).click()
    text = browser.read_group(page, "2 words.")
    assert "after the true words" in text
    assert "after its own words" in text
    assert "truth 1.00" not in text.split("after its own words")[1]  # lost: no truth is known


def test_the_slider_reaches_the_last_word_and_another_text_keeps_the_place(page):
    page.locator(".widget-slider .noUi-handle").focus()
    page.keyboard.press("End")
    before = browser.read_group(page, "12 words.")
    assert "✗" in before
    page.get_by_role("button", name="another text", exact=True).click()
    moved = "document.querySelector(\"[role=group][aria-label^='12 words']\").innerText !== before"
    page.wait_for_function(f"(before) => {moved}", arg=before)
    browser.read_group(page, "12 words.")
