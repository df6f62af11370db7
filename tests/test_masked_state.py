"""The shipped model for hidden words is what its card says, and its command makes one again."""

import math
import re
from dataclasses import replace

import pytest
import torch
from small_models import seeded

from course_lm.classroom import foundation, masked
from course_lm.finetuning.supervised import Apart
from course_lm.language import lab
from course_lm.language.windows import IGNORE
from course_lm.training.checkpoints import load
from course_lm.training.loop import Recipe
from course_lm.training.states import state_path

STATE = foundation.FOLDER / "masked.safetensors"
CARD = STATE.with_suffix(".md").read_text("utf-8")


@pytest.fixture(scope="module")
def saved():
    return load(STATE, masked.VOCABULARY)


def test_the_card_says_what_the_file_says(saved):
    assert masked.card(saved.model, saved.facts) == CARD
    assert saved.model.config == masked.SHAPE


def test_a_learner_finds_it_by_its_name(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_LM_STATES", str(tmp_path))
    assert state_path("masked") == STATE


def test_the_shipped_weights_come_as_near_the_exact_chances_as_the_card_says(saved):
    gap, floor = (float(number) for number in re.findall(r"\| (\d\.\d{4}) nats", CARD))
    stories, places, truth = masked.new_stories(seeded(1))
    assert len(stories) == masked.STORIES
    read = Apart(saved.model, masked.START)
    assert masked.distance(read, stories, places, truth) == pytest.approx(gap, abs=1e-3)
    assert torch.special.entr(truth).sum(-1).mean().item() == pytest.approx(floor, abs=1e-4)
    assert 0 < gap < 0.03


def test_the_exact_chances_are_those_of_every_word_put_into_the_gap():
    stories, places, truth = masked.new_stories(seeded(3), 3)
    assert (stories[:, 0] == masked.START).all()
    for story, place, chances in zip(stories.tolist(), places.tolist(), truth, strict=True):
        words = masked.VOCABULARY.tokens_of(story)
        filled = [[*words[:place], w, *words[place + 1 :]] for w in lab.vocabulary().tokens]
        scores = torch.tensor([math.exp(math.fsum(lab.log_probs(text))) for text in filled])
        torch.testing.assert_close(chances[: len(scores)], scores / scores.sum())


def test_the_distance_is_zero_for_the_truth_and_the_kl_by_hand_for_a_guess():
    stories, places, truth = masked.new_stories(seeded(4), 4)

    def knowing(chances):
        return lambda ids: chances.log()[:, None].expand(-1, ids.shape[1], -1)

    assert masked.distance(knowing(truth + 1e-9), stories, places, truth) == pytest.approx(
        0, abs=1e-5
    )
    even = torch.full_like(truth, 1 / truth.shape[1])
    by_hand = math.log(truth.shape[1]) - torch.special.entr(truth).sum(-1).mean().item()
    assert masked.distance(knowing(even), stories, places, truth) == pytest.approx(by_hand)


def test_half_way_labels_end_early_tell_no_hidden_word_and_fewer_words_are_hidden_late():
    ids = torch.tensor(masked.VOCABULARY.ids_of(lab.sample(2_000, seeded(2))))
    batches = masked.batches_of(ids, 10, seeded(0))
    pairs = [next(batches)[1] for _ in range(10)]
    told = [bool((half != IGNORE).any()) for _, half in pairs]
    assert told == [True] * 3 + [False] * 7
    for labels, half in pairs:
        assert not ((labels != IGNORE) & (half != IGNORE)).any()
    assert [int((labels[0] != IGNORE).sum()) for labels, _ in pairs] == [7] * 8 + [3] * 2


@pytest.mark.usefixtures("one_thread")
def test_the_command_makes_a_model_with_its_card_and_makes_it_again(tmp_path, monkeypatch, capsys):
    small = replace(masked.SHAPE, width=16, layers=1, heads=2, kv_heads=2)
    asked = masked.new_stories(seeded(1), 20)
    monkeypatch.setattr(masked, "SHAPE", small)
    monkeypatch.setattr(masked, "DEPTH", 1)
    monkeypatch.setattr(masked, "new_stories", lambda rng: asked)
    paths = [masked.main(tmp_path / k, Recipe(steps=500), 5_000) for k in ("one", "two")]
    first, second = map(load, paths)
    assert "step 500" in capsys.readouterr().out
    assert "| 500 steps of 32 windows" in paths[0].with_suffix(".md").read_text("utf-8")
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
