"""Every lesson from its first cell to its last in a real JupyterLab and chromium, offline."""

from pathlib import Path

import browser
import pytest

PAGES = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_lesson_runs_in_the_browser_without_network_or_error(path):
    browser.chromium_path()
    with browser.jupyter(path.parent) as server, browser.chromium() as page:
        browser.open_notebook(page, server, path.name)
        browser.run_all(page)
        assert page.problems == []
