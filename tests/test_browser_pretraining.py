"""The skill timeline and the scaling calculator in a real JupyterLab and chromium."""

import browser
import pytest

SKILLS = """from course_lm.viewing.skills import Checkpoint, skill_timeline
points = [
    Checkpoint(0, 4.9, {"agreement": 0.5}, "red red <b>red"),
    Checkpoint(1000, 0.9, {"agreement": 0.75}, "the dogs run ."),
]
skill_timeline(points, {"agreement": 0.5})"""
COST = """from course_lm.training.scaling import A100, H100
from course_lm.viewing.calculator import scaling_calculator
scaling_calculator([A100, H100], (2e11, 2e11))"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("pages"), "# What comes?", SKILLS, COST) as page:
        yield page


def wait_for(page, *said: str) -> str:
    picture = page.locator("[role=group]")
    for words in said:
        picture = picture.filter(has_text=words)
    picture.wait_for(timeout=20_000)
    return picture.inner_text()


def test_sliding_back_over_the_checkpoints_undoes_what_was_learned(page):
    assert "0.750" in wait_for(page, "1,000 words read", "the dogs run .")
    page.locator(".widget-slider").filter(has_text="words read").locator(".noUi-handle").focus()
    page.keyboard.press("Home")
    assert "0.500" in wait_for(page, "0 words read, held-out loss 4.90", "red red <b>red")


def test_size_and_machine_change_the_cost(page):
    before = wait_for(page, "200 billion weights", "NVIDIA A100")
    page.get_by_label("machine").select_option("NVIDIA H100")
    after = wait_for(page, "200 billion weights", "NVIDIA H100")
    assert after != before
    page.locator(".widget-slider").filter(has_text="weights").locator(".noUi-handle").focus()
    page.keyboard.press("ArrowLeft")
    wait_for(page, "100 billion weights", "NVIDIA H100")
