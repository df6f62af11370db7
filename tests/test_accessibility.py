"""For eyes that see little, for eyes that see fewer colours, and for hands without a mouse."""

import itertools
import re
from pathlib import Path

import browser
import committed
import nbformat
import numpy as np
import pytest
from ipywidgets import FloatSlider, IntSlider, SelectionSlider
from test_figures import BLIND

from course_lm.viewing import curves, strips
from course_lm.viewing.attention import shade
from course_lm.viewing.dials import Dial
from course_lm.viewing.source import TONES
from course_lm.viewing.strips import STRENGTH, contrast, text_on
from course_lm.viewing.style import COLOURS, PAPER, STYLE, UNNAMED, between

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
LAB = {"light": ("#ffffff", "#212121"), "dark": ("#111111", "#e0e0e0")}  # page and text, JupyterLab
ON_THE_PAGE = ("truth", "model", "rejected", "baseline", "train")  # drawn on the theme's own colour
TEXT, SHAPE = 4.5, 3.0  # the least contrasts of WCAG 2.2, 1.4.3 and 1.4.11
# Machado, Oliveira, Fernandes 2009, for linear RGB, full severity.
EYES = {
    "protanopia": BLIND["protan"],
    "deuteranopia": BLIND["deutan"],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)  # sRGB, D65
APART = 15  # Delta E of 1976; 2.3 can just be seen
MEANINGS = ("truth", "model", "train", "baseline", "chosen", "rejected")  # one of each colour
# Pairs that stay nearer than that: a figure tells them apart by names, dashes and markers.
CONFUSED = {
    "protanopia": {("chosen", "model"), ("baseline", "truth"), ("rejected", "train")},
    "deuteranopia": {("chosen", "model"), ("baseline", "truth"), ("rejected", "train")},
    "tritanopia": {("model", "truth")},
}


# -- contrast


@pytest.mark.parametrize("colour", sorted({*COLOURS.values(), *UNNAMED, STYLE["xtick.color"]}))
def test_what_a_figure_writes_can_be_read_on_its_paper(colour):
    assert contrast(colour, PAPER) >= TEXT


def test_the_axes_of_a_figure_can_be_seen():
    assert contrast(STYLE["axes.edgecolor"], PAPER) >= SHAPE


@pytest.mark.parametrize("theme", LAB)
@pytest.mark.parametrize("meaning", ON_THE_PAGE)
def test_a_bar_can_be_seen_in_both_themes(meaning, theme):
    assert contrast(COLOURS[meaning], LAB[theme][0]) >= SHAPE


@pytest.mark.parametrize("theme", LAB)
@pytest.mark.parametrize("meaning", ON_THE_PAGE)
def test_the_names_beside_a_live_curve_can_be_read_in_both_themes(meaning, theme):
    page, ink = LAB[theme]
    assert contrast(between(ink, COLOURS[meaning], STRENGTH / 100), page) >= TEXT


@pytest.mark.parametrize("theme", LAB)
@pytest.mark.parametrize("tone", sorted(set(TONES.values())))
def test_code_can_be_read_in_both_themes(tone, theme):
    page, ink = LAB[theme]
    assert contrast(between(ink, tone, STRENGTH / 100), page) >= TEXT


def test_faded_text_can_be_read_in_both_themes():
    code = "".join(p.read_text("utf-8") for p in (ROOT / "course_lm/viewing").glob("*.py"))
    shares = {float(share) for share in re.findall(r"opacity:(0?\.\d+)", code)}
    assert shares
    for page, ink in LAB.values():
        assert {
            share for share in shares if contrast(between(page, ink, share), page) < TEXT
        } == set()


@pytest.mark.parametrize("colour_at", [strips.surprise_colours, lambda s: (shade(s), None)])
def test_the_text_on_every_coloured_token_can_be_read(colour_at):
    papers = [colour_at(step / 100)[0] for step in range(101)]
    assert min(contrast(paper, text_on(paper)) for paper in papers) >= TEXT


def site_colours(scheme):
    """The variables of the site's style, name -> "#rrggbb"."""
    text = (ROOT / "course_lm/classroom/site_theme/static/course.css").read_text("utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    found = dict(re.findall(r"--([\w-]+): ([^;]+);", light))
    if scheme == "dark":
        found |= dict(re.findall(r"--([\w-]+): ([^;]+);", dark))
    names = {name: value.removeprefix("var(--").removesuffix(")") for name, value in found.items()}
    return {name: found.get(value, value) for name, value in names.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_site_can_be_read_and_its_bars_can_be_seen(scheme):
    colours = site_colours(scheme)
    written = [name for name in colours if name in ("ink", "quiet", "link") or "mirror" in name]
    for paper in (colours["paper"], colours["shade"]):
        assert {name for name in written if contrast(colours[name], paper) < TEXT} == set()
    assert contrast(colours["ink"], colours["mark"]) >= TEXT
    for meaning in ON_THE_PAGE:
        assert contrast(COLOURS[meaning], colours["paper"]) >= SHAPE


# -- colours


def linear(colour):
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab_colour(rgb):
    """L*a*b* of linear RGB."""
    share = TO_XYZ @ rgb / TO_XYZ.sum(1)
    x, y, z = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(one, other, eye):
    seen = [lab_colour(np.clip(eye @ linear(colour), 0, 1)) for colour in (one, other)]
    return float(np.linalg.norm(seen[0] - seen[1]))


def test_the_distance_of_white_and_black_is_100_and_every_eye_sees_grey_as_grey():
    for eye in EYES.values():
        assert distance("#ffffff", "#000000", np.array(eye)) == pytest.approx(100, abs=0.1)
        assert distance("#808080", "#808080", np.array(eye)) == 0
        assert np.array(eye) @ np.ones(3) == pytest.approx(np.ones(3), abs=1e-5)


@pytest.mark.parametrize("eye", EYES)
def test_only_the_known_pairs_of_meanings_come_close(eye):
    near = {
        pair
        for pair in itertools.combinations(sorted(MEANINGS), 2)
        if distance(*map(COLOURS.get, pair), np.array(EYES[eye])) < APART
    }
    assert near == CONFUSED[eye]


@pytest.mark.parametrize("pair", sorted(set().union(*CONFUSED.values())))
def test_curves_that_some_eyes_confuse_have_a_name_and_a_marker_each(pair):
    lines = {name: ([0, 1], [1.0, place + 2.0]) for place, name in enumerate(pair)}
    (axes,) = curves.line_figure(lines, xlabel="steps", ylabel="nats").axes
    drawn = [line for line in axes.lines if len(line.get_xdata()) == 2]
    assert len({line.get_marker() for line in drawn}) == 2
    ends = {text.get_text().split()[0]: text.get_position()[1] for text in axes.texts}
    assert ends[pair[0]] < ends[pair[1]]  # as their curves end


# -- texts


def outputs(path):
    page = nbformat.v4.reads_json(committed.text(path))
    return [(cell, output) for cell in page.cells for output in cell.get("outputs", [])]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_picture_of_html_has_a_name_and_every_picture_a_text(path):
    for _, output in outputs(path):
        data = output.get("data", {})
        for tag in re.findall(
            r"<\w+[^>]*\brole='(?:img|group|log)'[^>]*>", data.get("text/html", "")
        ):
            assert re.search(r"aria-label='[^']+'", tag), tag
        if "text/html" in data or "image/png" in data:
            assert data.get("text/plain", "").strip()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_figure_has_its_numbers_as_text(path):
    for _, output in outputs(path):
        if "image/png" in output.get("data", {}):
            alt = output.metadata["image/png"]["alt"]
            assert output.data["text/plain"].startswith(alt)
            assert len(output.data["text/plain"].splitlines()) > 1


# -- keys

WIDGETS = {
    "next_token_explorer": """import torch
from course_lm.language import lab
from course_lm.viewing.widgets import cross_entropy_explorer, next_token_explorer
vocabulary = lab.vocabulary()
next_token_explorer(lab.Truth(), vocabulary, "finn is in", lab.Truth(), top=2)""",
    "cross_entropy_explorer": "cross_entropy_explorer()",
    "unrolled_explorer": """from course_lm.models.rnn import RNN, RNNConfig
from course_lm.viewing.unrolled import unrolled_explorer
def network(cell):
    config = RNNConfig(vocab_size=len(vocabulary), width=16, cell=cell)
    return RNN(config, torch.Generator().manual_seed(0))
networks = {cell: network(cell) for cell in ("lstm", "plain")}
unrolled_explorer(networks, vocabulary, "finn is in the garden .")""",
    "rail_stepper": """from course_lm.viewing.rails import rail_stepper
ids = vocabulary.ids_of("<s> anna is in the kitchen . finn is in the kitchen .".split())
rail_stepper(lambda ids: torch.zeros(*ids.shape, 131), lab.Truth(), vocabulary, ids)""",
    "attention_explorer": """from course_lm.viewing.attention import attention_explorer
rows = torch.rand(2, 2, 3, 3, generator=torch.Generator().manual_seed(0)).tril()
attention_explorer(["<s>", "anna", "is"], rows / rows.sum(-1, keepdim=True), (1, 0, 2))""",
    "mask_explorer": """from course_lm.viewing.masks import mask_explorer
ends = vocabulary.ids_of([".", "?"])
text = "<s> anna is in the attic . ben is in the garden . anna takes the red key ."
mask_explorer(vocabulary, vocabulary.encode(text), ends, vocabulary.ids["<s>"])""",
    "skill_timeline": """from course_lm.viewing.skills import Checkpoint, skill_timeline
points = [Checkpoint(0, 4.9, {"rule": 0.5}, "red"), Checkpoint(1000, 0.9, {"rule": 0.7}, "dogs")]
skill_timeline(points, {"rule": 0.5})""",
    "scaling_calculator": """from course_lm.training.scaling import A100, H100
from course_lm.viewing.calculator import scaling_calculator
scaling_calculator([A100, H100], (2e11, 2e11))""",
    "replay_dial": """from course_lm.viewing.replay import Outcome, replay_dial
base = Outcome(name="base", new=4.0, old=0.8)
rows = (("0 %", 1.0, 2.4), ("10 %", 1.3, 1.2), ("50 %", 2.5, 0.8))
replay_dial(base, [Outcome(name=n, new=a, old=b, texts={"town": n}) for n, a, b in rows])""",
    "price_dial": """from course_lm.viewing.prices import price_dial
price_dial(["no .", "yes ."], torch.zeros(2), torch.tensor([0.0, 1.0]), [2.0, 1.0, 0.5])""",
    "chat_box": """from course_lm.finetuning.tasks import END, examples, task_vocabulary
from course_lm.viewing.chat import chat_box
def silent(ids):
    return torch.eye(len(task_vocabulary()))[task_vocabulary().ids[END]].expand(*ids.shape, -1)
chat_box({"model": silent}, examples("answer", 3, torch.Generator().manual_seed(0), "test"))""",
    "voting_box": """from course_lm.rlhf.preferences import Comparison, Prompt
from course_lm.rlhf.votes import VoteFile
from course_lm.viewing.voting import voting_box
prompts = [Prompt(("anna", "has", word, "."), ("one", ".")) for word in ("one", "two", "three")]
pairs = [Comparison(prompt, ("one", "."), ("two", ".")) for prompt in prompts]
voting_box(VoteFile("votes.jsonl", pairs), "anna")""",
    "quiz": """from course_lm.exercises.quiz import Question, quiz
quiz(Question("Which?", (("this", "No."), ("that", "Yes.")), 1))""",
}
# What the Tab key reaches, in order: role and name as chromium tells them to a screen reader.
PATHS = {
    "next_token_explorer": "textbox text, button back, button sample, spinbutton temperature, "
    "combobox top-k, spinbutton top-p, button the, button <s>",
    "cross_entropy_explorer": "spinbutton P(true word), spinbutton step size",
    "unrolled_explorer": "textbox text, combobox network, spinbutton word",
    "rail_stepper": "spinbutton word, button next word, button another text",
    "attention_explorer": "combobox word, combobox layer, combobox head",
    "mask_explorer": "combobox pretext, spinbutton rate, button draw again",
    "skill_timeline": "combobox words read",
    "scaling_calculator": "combobox weights, combobox tokens, combobox machine",
    "replay_dial": "combobox replay",
    "price_dial": "combobox price β",
    "chat_box": "log transcript, combobox story, textbox text, combobox task, combobox pick, "
    "textbox question, button send",
    "voting_box": "button A, button B, button tie, button skip, textbox keys",
    "quiz": "radio a) this, radio b) that",
}
KEYS = {
    "button": ("Enter", "Space"),
    "slider": ("ArrowRight", "ArrowLeft"),
    "spinbutton": ("ArrowUp", "ArrowDown"),
    "combobox": (
        "Enter ArrowDown Enter",
        "Enter ArrowUp Enter",
    ),  # alone, the notebook takes arrows
    "radio": ("Space",),
}
CONTROLS = "button:enabled, input:enabled, select:enabled, textarea:enabled"
STATE = """(output) => output.innerHTML.replace(/style="[^"]*"/g, '') + [
    ...output.querySelectorAll('input, select, textarea')].map((e) => e.value + e.checked)"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("pages"), "# Keys?", *WIDGETS.values()) as page:
        yield page


def path_of(page, name):
    """(role, name, element) of every stop of the Tab key in a widget."""
    outputs = page.locator(".jp-OutputArea-output:has(.jupyter-widgets)")
    output = outputs.nth([*WIDGETS].index(name))
    tree = page.context.new_cdp_session(page)
    output.locator(f":is({CONTROLS}, [tabindex='0'])").first.focus()
    stops = []
    while output.evaluate("(output) => output.contains(document.activeElement)"):
        found = tree.send("Runtime.evaluate", {"expression": "document.activeElement"})
        (node,) = tree.send(
            "Accessibility.getPartialAXTree",
            {"objectId": found["result"]["objectId"], "fetchRelatives": False},
        )["nodes"]
        element = page.evaluate_handle("document.activeElement").as_element()
        stops.append((node["role"]["value"], node["name"]["value"], element))
        page.keyboard.press("Tab")
    return output, stops


def changed(page, output, before):
    """Whether the widget shows or holds something else within two seconds."""
    for _ in range(40):
        if output.evaluate(STATE) != before:
            return True
        page.wait_for_timeout(50)
    return False


@pytest.mark.parametrize("name", WIDGETS)
def test_the_tab_key_reaches_every_control_and_each_has_a_name(page, name):
    output, stops = path_of(page, name)
    named = [f"{role} {said}" for role, said, _ in stops if role != "slider"]
    assert named == PATHS[name].split(", ")
    assert output.locator(CONTROLS).count() == len(named) - ("log" in PATHS[name])
    sliders = [place for place, (role, _, _) in enumerate(stops) if role == "slider"]
    assert len(sliders) == output.locator("[role=slider]").count()
    for place in sliders:  # a handle has no name: the next stop is its field, which has one
        assert stops[place + 1][0] in ("spinbutton", "combobox")


@pytest.mark.parametrize("name", WIDGETS)
def test_every_control_works_with_keys_alone(page, name):
    output, stops = path_of(page, name)
    for place, (role, said, element) in enumerate(stops):
        if role in ("log", "textbox"):
            continue
        before = output.evaluate(STATE)
        element.focus()
        for keys in KEYS[role][:: -1 if place % 2 else 1]:
            for key in keys.split():
                page.keyboard.press(key)
            if changed(page, output, before):
                break
        else:
            pytest.fail(f"{role} {said}: no key changes anything")


def test_a_field_and_its_slider_follow_each_other():
    number = Dial(
        FloatSlider(0.1, min=0, max=3, step=0.1, description="t", layout={"width": "275px"})
    )
    number.slider.value = 0.1 + 0.2
    assert number.field.value == 0.3
    number.field.value = 2.5
    assert (number.value, number.slider.value) == (2.5, 2.5)
    number.field.value = 7
    assert number.value == 3
    whole = Dial(IntSlider(4, min=1, max=4, description="word", layout={"width": "275px"}))
    whole.slider.max = 9
    whole.value = 8
    assert whole.field.value == 8
    choice = Dial(
        SelectionSlider(
            options=[("one", 1), ("two", 2)], value=2, description="k", layout={"width": "275px"}
        )
    )
    choice.field.value = 1
    assert choice.slider.value == choice.value == 1
    choice.slider.disabled = True
    assert choice.field.disabled
