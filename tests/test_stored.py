"""Runs kept at a rehearsal: on the stage the same steps and weights, and never in silence."""

import os
from types import SimpleNamespace

import fake_notebook
import pytest
import small_models
import torch

from course_lm.classroom import pages, stored
from course_lm.training.loop import Recipe, train
from course_lm.viewing.live import watch_training

RECIPE = Recipe(steps=6)
CELL = "history = list(watch_training(train(model, batches, recipe), recipe))"


@pytest.fixture
def shown(monkeypatch):
    return fake_notebook.shown(monkeypatch)


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """A kernel with one cell after another; its store is a folder of the test."""
    monkeypatch.setenv("COURSE_LM_STATES", str(tmp_path))
    monkeypatch.setenv(stored.MODE, stored.KEEP)
    monkeypatch.setattr(stored, "runs_of_cell", {})
    one = SimpleNamespace(execution_count=1, user_ns={"In": ["", CELL]})
    monkeypatch.setattr(stored, "get_ipython", lambda: one)
    return one


def run(look=None, recipe=RECIPE, seed=0):
    """A model that trains; its steps, its weights, and what `look` saw after every second step."""
    rng = torch.Generator().manual_seed(seed)
    model = small_models.small_transformer(seed)
    ids = torch.randint(model.config.vocab_size, (4, 9), generator=rng)
    steps, seen = [], []
    for step in watch_training(train(model, iter([(ids[:, :-1], ids[:, 1:])] * 9), recipe), recipe):
        steps.append(step)
        if look and step.step % 2 == 0:
            seen.append(look(model, ids))
    return steps, model.state_dict(), seen


def on_stage(kernel):
    """The page is opened again, in another kernel, and asks for what was stored."""
    kernel.execution_count += 1
    os.environ[stored.MODE] = stored.STORED


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one | two)


def test_a_stored_run_gives_the_steps_and_the_weights_of_the_rehearsal(kernel, shown):
    steps, weights, _ = run()
    on_stage(kernel)
    again, others, _ = run(seed=1)  # another model: all it ends with comes from the store
    assert again == steps
    assert same(weights, others)


def test_what_a_cell_measures_between_the_steps_is_measured_with_the_weights_of_then(kernel, shown):
    def look(model, ids):
        with torch.no_grad():
            return model(ids).sum().item()

    *_, seen = run(look)
    on_stage(kernel)
    assert len(set(seen)) == 3
    assert run(look, seed=0)[2] == seen


def test_a_stored_run_says_that_it_is_one(kernel, shown):
    run()
    assert "stored" not in shown[-1].text
    on_stage(kernel)
    run()
    assert "a stored run of 20" in shown[-1].text
    assert "not made now" in shown[-1].text


@pytest.mark.parametrize("change", ["cell", "recipe"])
def test_another_cell_or_recipe_is_run_live_and_says_so(kernel, shown, change):
    run()
    on_stage(kernel)
    kernel.user_ns["In"] = ["", CELL + (" " if change == "cell" else "")]
    steps, *_ = run(recipe=Recipe(steps=6 if change == "cell" else 5))
    assert "live: no stored run of this cell" in shown[-1].text
    assert len(steps) == (6 if change == "cell" else 5)


def test_two_runs_of_one_cell_are_told_apart(kernel, shown):
    first, second = run(seed=0)[0], run(seed=1)[0]
    on_stage(kernel)
    assert [run()[0], run()[0]] == [first, second]
    assert first != second


def test_a_run_that_was_left_early_is_not_kept(kernel, shown, tmp_path):
    model = small_models.small_transformer()
    ids = torch.zeros(1, 4, dtype=torch.long)
    for _ in watch_training(train(model, iter([(ids, ids)] * 9), RECIPE), RECIPE):
        break
    assert not list(tmp_path.rglob("*.safetensors"))


def test_an_altered_file_is_told_and_the_run_is_made_live(kernel, shown, tmp_path):
    steps, *_ = run()
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    on_stage(kernel)
    assert [step.loss for step in run()[0]] == [step.loss for step in steps]
    assert "live: checkpoint: expected a whole file" in shown[-1].text


def test_a_run_that_fails_on_stage_names_the_stored_one(kernel, shown, monkeypatch):
    run()
    kernel.execution_count += 1
    monkeypatch.setenv(stored.MODE, "")
    model = small_models.small_transformer()
    with pytest.raises(ValueError, match="expected"):
        list(watch_training(train(model, iter([]), RECIPE), RECIPE))
    assert "a stored run is there: call use_stored()" in shown[-1].text


def test_without_a_mode_nothing_is_written(kernel, shown, monkeypatch, tmp_path):
    monkeypatch.setenv(stored.MODE, "")
    run()
    assert not list(tmp_path.iterdir())


def test_use_stored_turns_the_store_on_and_off(kernel):
    stored.use_stored()
    assert os.environ[stored.MODE] == stored.STORED
    stored.use_stored(False)
    assert os.environ[stored.MODE] == ""


def test_a_rehearsal_keeps_the_runs_of_a_page_and_leaves_the_page(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_LM_STATES", str(tmp_path / "states"))
    setup = (
        "import torch\n"
        "from course_lm.models.transformer import Transformer, TransformerConfig\n"
        "from course_lm.training.loop import Recipe, train\n"
        "from course_lm.viewing.live import watch_training\n"
        "shape = dict(vocab_size=9, context=8, width=8, layers=1, heads=1, kv_heads=1, hidden=8)\n"
        "model = Transformer(TransformerConfig(**shape), torch.Generator().manual_seed(0))\n"
        "ids, recipe = torch.zeros(1, 4, dtype=torch.long), Recipe(steps=3)\n"
        "batches = iter([(ids, ids)] * 3)"
    )
    cells = [pages.nbformat.v4.new_code_cell(code) for code in (setup, CELL)]
    page = tmp_path / "01_page.ipynb"
    page.write_text(pages.nbformat.writes(pages.nbformat.v4.new_notebook(cells=cells)))
    before = page.read_text()
    assert pages.main(["--rehearse", "01"], tmp_path) == 0
    assert page.read_text() == before
    assert len(list((tmp_path / "states" / "runs").glob("*.safetensors"))) == 1
