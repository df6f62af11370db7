"""The slides in a real chromium, opened as files, with the network shut."""

import browser
import nbformat
import pytest

pytest.importorskip("sphinx_revealjs", reason="`uv run --extra lecturer` brings it")
pytest.importorskip("jupyter_server_mathjax", reason="`uv run --extra lecturer` brings it")

from course_lm.classroom import slides

NAMES = ("01", "10")  # figures and a fragment; a formula in letters of another font
READY = "() => window.Reveal && Reveal.isReady()"
WIDE, HIGH = 1280, 720
SHAPE = """() => {
    const slide = Reveal.getCurrentSlide(), box = slide.getBoundingClientRect();
    const inside = (e) => {
        const b = e.getBoundingClientRect();
        return b.width > 0 && b.top >= box.top && b.bottom <= box.bottom && b.right <= box.right;
    };
    return {
        whole: slide.scrollHeight <= slide.clientHeight && slide.scrollWidth <= slide.clientWidth,
        figures: [...slide.querySelectorAll('.jp-OutputArea img')].map(inside),
        heights: [...slide.querySelectorAll('.jp-OutputArea img')].map(
            (image) => image.getBoundingClientRect().height),
        formulas: [...slide.querySelectorAll('.MathJax')].map(inside),
    };
}"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The slides of two pages: each page's cells beside its file."""
    browser.chromium_path()
    pages = slides.find(NAMES)
    files = slides.build(pages, tmp_path_factory.mktemp("slides"))
    cells = [nbformat.read(page, as_version=4).cells for page in pages]
    return dict(zip(NAMES, zip(cells, files, strict=True), strict=True))


@pytest.fixture(scope="module")
def window():
    with browser.chromium(WIDE, HIGH) as page:
        page.context.route("file://**", lambda route: route.continue_())
        page.on("requestfailed", lambda r: page.problems.append(f"{r.failure}: {r.url[:200]}"))
        yield page


@pytest.fixture
def page(window):
    """A window that has to end without a blocked or failed request and without an error."""
    window.problems.clear()
    yield window
    assert window.problems == []


def show(page, file):
    page.goto("about:blank")  # the same file with another place in it would not be opened anew
    page.goto(file.as_uri())
    page.wait_for_function(READY)


def count(cells, kind):
    return sum(cell.metadata.get("slideshow", {}).get("slide_type") == kind for cell in cells)


@pytest.mark.parametrize("name", NAMES)
def test_each_slide_is_whole_on_the_screen_with_its_figures_and_formulas(page, made, name):
    cells, file = made[name]
    show(page, file)
    stacks = page.evaluate("Reveal.getHorizontalSlides().map(s => s.children.length)")
    assert len(stacks) == count(cells, "slide")
    assert sum(stacks) >= len(stacks) + count(cells, "subslide")
    seen = []
    for h, slides_of_it in enumerate(stacks):
        for v in range(slides_of_it):
            page.evaluate("([h, v]) => Reveal.slide(h, v, 99)", [h, v])
            seen.append(page.evaluate(SHAPE))
    assert all(slide["whole"] for slide in seen)
    assert all(inside for slide in seen for inside in slide["figures"] + slide["formulas"])
    assert min(height for slide in seen for height in slide["heights"]) > 0.3 * HIGH
    figures = sum("image/png" in o.get("data", {}) for c in cells for o in c.get("outputs", []))
    assert sum(len(slide["figures"]) for slide in seen) == figures
    spoken = sum(c.source.count("$$") // 2 for c in cells if c.cell_type == "markdown")
    assert page.locator(".MathJax_Display .MathJax").count() == spoken > 0
    assert page.locator(".merror, aside.notes:visible").count() == 0


def test_the_right_arrow_goes_through_all_slides_and_a_guess_comes_before_its_answer(page, made):
    show(page, made["01"][1])
    pages = page.locator(".slides section.page")
    assert pages.first.evaluate("slide => slide.classList.contains('present')")
    answer = page.locator(".page .fragment").first
    handle = answer.element_handle()
    for _ in range(200):
        page.keyboard.press("ArrowRight")
        if answer.evaluate("a => a.closest('section').classList.contains('present')"):
            break
    assert answer.is_hidden()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "answer => answer.checkVisibility({visibilityProperty: true})", arg=handle
    )
    for _ in range(200):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("Reveal.isLastSlide()")
    assert page.evaluate("Reveal.getCurrentSlide().innerText").startswith("Sources")


def test_the_speaker_view_has_the_notes_the_minutes_and_the_clock(page, made):
    show(page, made["01"][1])
    page.evaluate("Reveal.slide(1, 0)")
    with page.expect_popup() as opened:
        page.keyboard.press("s")
    speaker = opened.value
    notes = speaker.locator(".speaker-controls-notes")
    notes.get_by_text("For the lecturer, 3 minutes", exact=True).wait_for()
    assert "Run the three cells below" in notes.inner_text()
    assert speaker.locator(".pacing").is_visible()
    minutes = page.evaluate(
        "[...Reveal.getCurrentSlide().parentNode.children].map(s => Number(s.dataset.timing))"
    )
    assert sum(minutes) == pytest.approx(180, abs=len(minutes))
    page.evaluate("Reveal.slide(2, 1)")  # a later slide of the next section
    notes.get_by_text("For the lecturer, 6 minutes", exact=True).wait_for()
    speaker.close()


def test_the_numbers_stay_folded_and_an_opened_slide_scrolls(page, made):
    show(page, made["01"][1])
    details = page.locator(".page details")
    assert details.count() > 0
    assert page.locator(".page details[open]").count() == 0
    place = details.first.evaluate("d => Reveal.getIndices(d.closest('section'))")
    page.evaluate("({h, v}) => Reveal.slide(h, v, 99)", place)
    details.first.locator("summary").click()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("Reveal.getCurrentSlide().scrollTop > 0")
