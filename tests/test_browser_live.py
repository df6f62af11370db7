"""A training run in a real JupyterLab: it is drawn while it runs, and the stop button keeps it."""

import re

import browser
import nbformat
import pytest

CELLS = [
    "import torch\n"
    "from course_lm.language.windows import random_windows\n"
    "from course_lm.models.transformer import Transformer, TransformerConfig\n"
    "from course_lm.training.loop import Recipe, train\n"
    "from course_lm.viewing.live import watch_training",
    "rng = torch.Generator().manual_seed(0)\n"
    "config = TransformerConfig(vocab_size=4, context=8, width=16, layers=1, heads=2,\n"
    "                           kv_heads=2, hidden=32)\n"
    "model = Transformer(config, rng)\n"
    "before = [w.detach().clone() for w in model.parameters()]\n"
    "batches = random_windows([0, 1, 2, 3] * 50, 8, 4, rng)\n"
    "recipe = Recipe(seconds=200)",
    "steps = train(model, batches, recipe, held_out=lambda: 0.5, every=10)\n"
    "history = list(watch_training(steps, recipe, floor=0.0, baselines={'dice': 1.386},\n"
    "                              sample=lambda: '<b>anna</b>'))",
    "kept = [step.step for step in history] == list(range(1, len(history) + 1))\n"
    "learned = any((w != b).any() for w, b in zip(model.parameters(), before))\n"
    "print('history', len(history), kept, learned)",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    browser.chromium_path()
    folder = tmp_path_factory.mktemp("pages")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [*map(nbformat.v4.new_code_cell, CELLS)]
    page = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(page, folder / "page.ipynb")
    with browser.jupyter(folder) as server, browser.chromium() as page:
        browser.open_notebook(page, server, "page.ipynb")
        yield page
        assert page.problems == []


def said(page) -> str:
    return page.locator("progress").get_attribute("aria-label")


def test_the_stop_button_keeps_the_model_and_its_history(page):
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    curve = page.locator("svg[role=img][aria-label*='held-out 0.500'][aria-label*='dice 1.39']")
    curve.wait_for(timeout=120_000)
    assert re.fullmatch(r"\d+ of 200 s, step [\d,]+, [\d.]+ (s|min) left, .* tokens/s", said(page))
    page.get_by_text("<b>anna</b>").first.wait_for()

    page.locator("[data-command='notebook:interrupt-kernel']").first.click()
    page.wait_for_function(browser.DONE, timeout=60_000)

    assert page.evaluate(browser.ERRORS) == []
    assert said(page).endswith("; stopped, the model and its history are kept")
    steps = int(re.search(r"step ([\d,]+)", said(page))[1].replace(",", ""))
    assert steps > 1
    page.get_by_text(f"history {steps} True True").wait_for()
    assert page.locator("progress").count() == 1
