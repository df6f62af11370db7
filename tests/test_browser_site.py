"""The site in a real chromium that reaches nothing else: formulas, figures, search, a telephone."""

import functools
import http.server
import threading

import browser
import pytest

pytest.importorskip("myst_nb", reason="no myst-nb found; `uv run --extra lecturer` brings it")

from course_lm.classroom import site
from course_lm.viewing.strips import contrast

PAGES = [path.stem for path in sorted((site.ROOT / "notebooks").glob("*.ipynb"))]
DRAWN = """() => [...document.querySelectorAll('.math.notranslate')].every(
    formula => formula.querySelector('.MathJax math'))"""
WIDTH = "() => document.documentElement.scrollWidth"
INK = """() => ['color', 'backgroundColor'].map(
    name => getComputedStyle(document.body)[name].match(/\\d+/g).slice(0, 3).map(Number))"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    browser.chromium_path()
    to = tmp_path_factory.mktemp("site") / "made"
    site.build(to)
    return to


@pytest.fixture(scope="module")
def address(folder):
    """The site on a loopback address, from what `python -m http.server` runs."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def window():
    with browser.chromium() as page:

        def failed(request) -> None:
            if request.failure != "net::ERR_ABORTED":  # the page was left before it came
                page.problems.append(f"{request.failure}: {request.url[:200]}")

        page.on("requestfailed", failed)
        page.on("response", lambda r: r.ok or page.problems.append(f"{r.status}: {r.url}"))
        yield page


@pytest.fixture
def page(window):
    """A window that has to end without a failed request and without an error."""
    window.problems.clear()
    window.set_viewport_size({"width": 1280, "height": 900})
    yield window
    assert window.problems == []


def search(page, word):
    page.get_by_role("searchbox", name="Search the course").fill(word)
    page.get_by_role("button", name="find", exact=True).click()
    page.get_by_role("heading", name="Search Results").wait_for()
    page.get_by_text("Search finished").wait_for()
    return page.locator("ul.search li")


@pytest.mark.parametrize("name", PAGES)
def test_every_formula_and_figure_is_drawn_and_the_page_fits_a_telephone(page, address, name):
    page.goto(f"{address}/{name}.html")
    page.wait_for_function(DRAWN)
    page.wait_for_load_state("networkidle")
    assert page.locator(".math .merror, [data-mjx-error]").count() == 0
    images = page.locator("img")
    images.evaluate_all("all => Promise.all(all.map(image => image.decode()))")
    assert all(images.evaluate_all("all => all.map(i => i.alt.trim() && i.naturalWidth > 1)"))
    assert page.evaluate(WIDTH) == 1280
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(WIDTH) == 390
    assert all(images.evaluate_all("all => all.map(i => i.getBoundingClientRect().right <= 390)"))


def test_a_word_is_found_with_the_lines_around_it(page, address):
    page.goto(f"{address}/index.html")
    found = search(page, "perplexity")
    found.locator(".context").first.wait_for()
    assert "perplexity" in found.locator(".context").first.inner_text().lower()
    found.get_by_role("link", name="How wrong is a prediction?").first.click()
    page.get_by_role("heading", name="How wrong is a prediction?", level=1).wait_for()


def test_the_files_are_enough_without_a_server(page, folder):
    page.route("file://**", lambda route: route.continue_())
    page.goto(f"{folder.as_uri()}/{PAGES[1]}.html")
    page.wait_for_function(DRAWN)
    found = search(page, "Kneser")
    found.get_by_role("link").first.click()
    page.get_by_role("heading", level=1).wait_for()


def test_the_lessons_follow_one_another_and_the_map_leads_to_them(page, address):
    page.goto(f"{address}/index.html")
    for name in PAGES:
        page.locator("a[rel=next]").last.click()
        page.wait_for_url(f"**/{name}.html")
    page.goto(f"{address}/{PAGES[0]}.html")
    page.get_by_role("main").get_by_role("link", name="01").click()
    page.wait_for_url(f"**/{PAGES[1]}.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_text_can_be_read_in_light_and_dark(page, address, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{address}/{PAGES[0]}.html")
    ink, paper = ("#" + bytes(colour).hex() for colour in page.evaluate(INK))
    assert contrast(ink, paper) >= 12
    assert (contrast(paper, "#000000") < 2) == (scheme == "dark")
    page.emulate_media(color_scheme="light")


def test_a_keyboard_reaches_search_first_and_each_control_has_a_name(page, address):
    page.goto(f"{address}/{PAGES[1]}.html")
    named = "() => document.activeElement.ariaLabel ?? document.activeElement.innerText"
    reached = []
    for _ in range(3):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(named))
    assert reached == ["How language models learn", "Search the course", "find"]
    assert all(
        page.locator(":is(a, summary):visible").evaluate_all("all => all.map(e => e.innerText)")
    )
