"""The unrolled network in a real JupyterLab and chromium: choose, slide, type, and read it."""

import browser
import pytest

CELLS = [
    "# What does a network hold?",
    "import torch\n"
    "from course_lm.language import lab\n"
    "from course_lm.models.rnn import RNN, RNNConfig\n"
    "from course_lm.viewing.unrolled import unrolled_explorer",
    "def network(cell):\n"
    "    config = RNNConfig(vocab_size=len(lab.vocabulary()), width=16, cell=cell)\n"
    "    return RNN(config, torch.Generator().manual_seed(0))",
    "networks = {cell: network(cell) for cell in ('lstm', 'plain')}\n"
    "unrolled_explorer(networks, lab.vocabulary(), 'finn is in the garden .')",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("pages"), *CELLS) as page:
        yield page


def wait_for(page, part: str) -> str:
    """Wait until the picture says `part`; all that it says then."""
    picture = page.locator(f"[role=img][aria-label^='Unrolled'][aria-label*=\"{part}\"]")
    picture.wait_for(timeout=20_000)
    return picture.get_attribute("aria-label")


def test_the_slider_chooses_the_word_that_is_predicted(page):
    wait_for(page, "predicts '.'")
    page.locator(".widget-slider").filter(has_text="word").locator(".noUi-handle").focus()
    page.keyboard.press("ArrowLeft")
    lstm = wait_for(page, "predicts 'garden'")
    page.get_by_label("network").select_option("plain")
    page.wait_for_function(
        "(before) => document.querySelector('[role=img]').ariaLabel !== before", arg=lstm
    )
    wait_for(page, "predicts 'garden'")


def test_typing_a_text_shows_it_and_an_unknown_word_gets_a_sentence(page):
    text = page.locator(".widget-text input").first
    text.fill("finn is in the gardn")
    text.press("Enter")
    page.get_by_role("alert").filter(has_text="garden").wait_for(timeout=20_000)
    text.fill("finn and anna are")
    text.press("Enter")
    page.get_by_role("alert").wait_for(state="detached", timeout=20_000)
    wait_for(page, "predicts 'are'")
