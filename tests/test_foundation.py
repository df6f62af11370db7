import re
from dataclasses import replace

import pytest
import torch

from course_lm.classroom import foundation
from course_lm.finetuning.supervised import with_more_words
from course_lm.language import lab
from course_lm.language.tokens import Vocabulary
from course_lm.training.checkpoints import load
from course_lm.training.loop import Recipe, evaluate
from course_lm.training.probes import chance, lab_probes, measure
from course_lm.training.states import state_path

STATE = foundation.FOLDER / "foundation.safetensors"
CARD = STATE.with_suffix(".md").read_text("utf-8")


@pytest.fixture(scope="module")
def saved():
    return load(STATE, lab.vocabulary())


def test_all_shipped_states_are_smaller_than_ten_megabytes_and_each_has_a_card():
    states = list(foundation.FOLDER.glob("*.safetensors"))
    assert sum(path.stat().st_size for path in states) < 10_000_000
    assert all(path.with_suffix(".md").is_file() for path in states)


def test_the_card_says_what_the_file_says(saved):
    assert foundation.card(saved.model, saved.facts) == CARD
    assert saved.model.config == foundation.SHAPE


def test_the_shipped_weights_reach_the_loss_and_the_floor_on_the_card(saved):
    loss, floor = (float(x) for x in re.findall(r"\| (\d\.\d{4}) nats per word", CARD))
    words = foundation.new_stories()
    assert evaluate(saved.model, foundation.story_batches(words)) == pytest.approx(loss, abs=2e-4)
    assert lab.floor(words) == pytest.approx(floor, abs=1e-4)
    assert floor < loss < floor + 0.1


def test_the_shipped_model_knows_its_grammar_and_its_facts(saved):
    asked = lab_probes(torch.Generator().manual_seed(3), count=16)
    shares = measure(saved.model, asked)
    for name in ("agreement", "agreement, far", "word order", "home, often", "home, rarely"):
        assert shares[name] >= 0.9, name
    assert shares["home, never"] < chance(asked["home, never"]) + 0.3


def test_a_learner_finds_it_by_its_name_and_it_takes_the_words_of_the_lab_alone(
    saved, monkeypatch, tmp_path
):
    monkeypatch.setenv("COURSE_LM_STATES", str(tmp_path))
    assert state_path("foundation") == STATE
    with pytest.raises(ValueError, match="expected the vocabulary"):
        load(STATE, Vocabulary([*lab.vocabulary().tokens, "summary"]))


def test_words_can_be_added_as_the_card_says_and_no_old_logit_moves(saved):
    recipe = re.search(r"```python\n(.*?)```", CARD, re.DOTALL)[1]
    names = {
        "Vocabulary": Vocabulary,
        "lab": lab,
        "load": load,
        "rng": torch.Generator().manual_seed(0),
        "state_path": state_path,
        "with_more_words": with_more_words,
    }
    exec(recipe, names)
    model, wider = names["model"], names["wider"]
    ids = torch.tensor([wider.encode("<s> anna is in the kitchen .")])
    with torch.no_grad():
        old = model(ids)[..., : len(lab.vocabulary())]
        torch.testing.assert_close(old, saved.model(ids), rtol=0, atol=1e-5)
        assert model(torch.tensor([wider.encode("summary translate")])).shape == (1, 2, len(wider))


@pytest.mark.usefixtures("one_thread")
def test_the_command_makes_a_model_with_its_card_and_makes_it_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        foundation, "SHAPE", replace(foundation.SHAPE, width=16, layers=1, heads=2, kv_heads=2)
    )
    monkeypatch.setattr(foundation, "NEW_WORDS", 2_000)
    paths = [foundation.main(tmp_path / k, Recipe(steps=4), words=5_000) for k in ("one", "two")]
    first, second = map(load, paths)
    assert "step 4" in capsys.readouterr().out
    card = paths[0].with_suffix(".md").read_text("utf-8")
    assert card.startswith("# The foundation model")
    assert "| 4 steps of 8 rows" in card
    assert "| 5,000 words of lab stories" in card
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
