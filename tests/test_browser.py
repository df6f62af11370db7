"""The widgets in a real JupyterLab and chromium: type, click, slide, read the final value."""

import browser
import pytest

CELLS = [
    "# What does a browser see?",
    "from course_lm.language import lab\n"
    "from course_lm.viewing.widgets import cross_entropy_explorer, next_token_explorer\n"
    "from course_lm.viewing.curves import loss_curve\n"
    "from course_lm.viewing.figures import show\n"
    "from course_lm.viewing.strips import token_strip\n"
    "from course_lm.viewing.source import show_source",
    "next_token_explorer(lab.Truth(), lab.vocabulary(), 'finn is in', lab.Truth())",
    "cross_entropy_explorer()",
    "show(loss_curve({'train': ([0, 1], [2.0, 1.0])}, floor=0.5), 'It falls.')",
    "token_strip(['a', '<b>'], [1.0, 2.0])",
    "show_source(loss_curve, folded=True)",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("pages"), *CELLS) as page:
        yield page


def picture(page, starts: str):
    return page.locator(f"[role=img][aria-label^='{starts}']")


def wait_for(page, starts: str, part: str) -> None:
    page.locator(f"[role=img][aria-label^='{starts}'][aria-label*='{part}']").wait_for(
        timeout=20_000
    )


def slide(page, name: str, key: str, times: int) -> None:
    handle = page.locator(".widget-slider").filter(has_text=name).locator(".noUi-handle")
    handle.focus()
    for _ in range(times):
        page.keyboard.press(key)


def test_typing_clicking_sliding_and_going_back_move_the_bars(page):
    text = page.get_by_role("textbox", name="text", exact=True)
    wait_for(page, "Probability", "the: truth 1.00, model 1.00")
    page.get_by_role("button", name="the", exact=True).click()
    wait_for(page, "Probability", "kitchen: truth 0.167, model 0.167")
    assert text.input_value() == "finn is in the"
    slide(page, "top-k", "Home", 1)
    wait_for(page, "Probability", "model 1.00")
    slide(page, "top-k", "End", 1)
    wait_for(page, "Probability", "kitchen: truth 0.167, model 0.167")
    page.get_by_role("button", name="back", exact=True).click()
    wait_for(page, "Probability", "the: truth 1.00, model 1.00")
    assert text.input_value() == "finn is in"
    text.fill("finn and")
    text.press("Enter")
    wait_for(page, "Probability", "anna: truth")
    page.get_by_role("button", name="sample", exact=True).click()
    page.wait_for_function(
        "() => document.querySelector('.widget-text input').value.split(' ').length === 3"
    )


def test_a_typed_unknown_word_gets_a_sentence(page):
    text = page.get_by_role("textbox", name="text", exact=True)
    text.fill("finn is in the ktchen")
    text.press("Enter")
    page.get_by_role("alert").filter(has_text="kitchen").wait_for(timeout=20_000)
    text.fill("finn is in the kitchen")
    text.press("Enter")
    page.get_by_role("alert").wait_for(state="detached", timeout=20_000)
    wait_for(page, "Probability", ".: truth")


def test_dragging_the_true_words_probability_moves_loss_gradient_and_step(page):
    wait_for(page, "word", "loss  2.30")
    slide(page, "P(true word)", "ArrowRight", 10)
    wait_for(page, "word", "loss  1.61")
    assert "sat   0.200  −0.800" in picture(page, "word").get_attribute("aria-label")
    slide(page, "step size", "Home", 1)
    page.get_by_text("after the step P(sat) = 0.200").wait_for(timeout=20_000)


def test_a_figure_is_shown_at_its_size_with_its_caption_and_numbers(page):
    image = page.locator(".jp-OutputArea-output img")
    assert image.evaluate("(i) => [i.width, i.naturalWidth]") == [576, 1152]
    page.locator(".jp-OutputArea-output", has_text="It falls.").wait_for()
    page.locator("summary", has_text="the numbers").click()
    page.get_by_text("train  2.00  1.00").wait_for()


def test_a_folded_source_opens_on_a_click(page):
    page.locator("summary", has_text="loss_curve").click()
    page.locator("details[open] pre", has_text="def loss_curve(").wait_for()


def test_a_token_strip_shows_tokens_as_text(page):
    assert page.locator("span[title='2.00 bits']").inner_text() == "<b>"
