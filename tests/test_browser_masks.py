"""The mask explorer in a real JupyterLab and chromium: choose, slide, draw again, read it."""

import browser
import pytest

CODE = """from course_lm.language import lab
from course_lm.viewing.masks import mask_explorer
vocabulary = lab.vocabulary()
text = "<s> anna is in the attic . ben is in the garden . anna takes the red key ."
ends = vocabulary.ids_of([".", "?"])
mask_explorer(vocabulary, vocabulary.encode(text), ends, vocabulary.ids["<s>"])"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("pages"), "# Masks?", CODE) as page:
        yield page


def test_another_pretext_shows_other_labels(page):
    assert "is asked for" in browser.read_group(page, "19 tokens are read, 3 labels")
    page.get_by_label("pretext").select_option("sentence order")
    text = browser.read_group(page, "20 tokens are read, 1 label")
    assert "[order?]" in text
    assert "[in-order]" in text or "[swapped]" in text
    page.get_by_label("pretext").select_option("masked word")
    browser.read_group(page, "19 tokens are read, 3 labels")


def test_the_slider_hides_more_and_another_draw_hides_others(page):
    page.locator(".widget-slider .noUi-handle").focus()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    before = browser.read_group(page, "19 tokens are read, 10 labels")
    page.get_by_role("button", name="draw again", exact=True).click()
    moved = "document.querySelector(\"[role=group][aria-label^='19 tok']\").innerText !== before"
    page.wait_for_function(f"(before) => {moved}", arg=before)
    browser.read_group(page, "19 tokens are read, 10 labels")
