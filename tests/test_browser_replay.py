"""The replay dial in a real JupyterLab and chromium: slide to the end and back, read the text."""

import browser
import pytest

CODE = """from course_lm.viewing.replay import Outcome, replay_dial
base = Outcome(name="base", new=4.0, old=0.8)
rows = (("0 %", 1.0, 2.4), ("10 %", 1.3, 1.2), ("50 %", 2.5, 0.8))
runs = [Outcome(name=n, new=a, old=b, texts={"town": f"<b>text of {n}</b>"}) for n, a, b in rows]
replay_dial(base, runs, floors=(0.6, 0.5))"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("pages"), "# Replay?", CODE) as page:
        yield page


def test_the_slider_goes_through_the_runs_and_the_texts_are_shown_as_text(page):
    assert "<b>text of 0 %</b>" in browser.read_group(page, "Replay 0 %: 0 %")
    page.locator(".widget-slider .noUi-handle").focus()
    page.keyboard.press("End")
    assert "<b>text of 50 %</b>" in browser.read_group(page, "Replay 50 %: 100 % of the forgetting")
    page.keyboard.press("ArrowLeft")
    assert "75 % of the forgetting is spared" in browser.read_group(page, "Replay 10 %:")


def test_the_picture_of_the_runs_is_drawn(page):
    drawn = "() => document.querySelector('[role=group] img').naturalWidth"
    assert page.evaluate(drawn) > 1000
