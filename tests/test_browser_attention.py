"""The attention explorer in a real JupyterLab and chromium: three dials, read the final value."""

import browser
import pytest

CELLS = [
    "# Where does a word look?",
    "import torch\nfrom course_lm.viewing.attention import attention_explorer, attention_strip",
    "words = ['<s>', 'anna', 'is']\n"
    "weights = torch.tensor([[1.0, 0, 0], [0.25, 0.75, 0], [0.5, 0.375, 0.125]])\n"
    "attention_strip(words, weights[2], 2)",
    "attention_explorer(words, torch.stack([weights, weights])[:, None], (1, 0, 2))",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("pages"), *CELLS) as page:
        yield page


def test_the_dials_choose_a_word_and_a_layer(page):
    strips = page.locator("[role=img][aria-label*='looks at']")
    assert strips.count() == 2
    handle = page.locator(".widget-slider").filter(has_text="word").locator(".noUi-handle")
    handle.focus()
    page.keyboard.press("ArrowLeft")
    said = "Word 1, anna, looks at: <s> 0.250, anna 0.750, all others 0"
    page.locator(f".widget-html [aria-label='{said}']").wait_for(timeout=20_000)
    handle = page.locator(".widget-slider").filter(has_text="layer").locator(".noUi-handle")
    handle.focus()
    page.keyboard.press("Home")
    page.get_by_label("layer").locator("option:checked", has_text="1").wait_for(state="attached")
    page.locator(f".widget-html [aria-label='{said}']").wait_for(timeout=20_000)
    page.locator(".widget-html span[title='0.750']", has_text="anna").wait_for()
