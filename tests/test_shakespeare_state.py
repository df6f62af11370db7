"""The shipped Shakespeare model is what its card says, and its command makes one again."""

from dataclasses import replace

import pytest
import torch
from small_models import seeded

from course_lm.classroom import foundation, shakespeare
from course_lm.language import corpora
from course_lm.language.ratings import RUDE
from course_lm.language.tokens import UNKNOWN
from course_lm.language.windows import IGNORE, all_windows
from course_lm.models.counts import kneser_ney
from course_lm.models.sampling import generate_batch
from course_lm.training.checkpoints import load
from course_lm.training.loop import Recipe, evaluate
from course_lm.training.states import state_path

STATE = foundation.FOLDER / "shakespeare.safetensors"
CARD = STATE.with_suffix(".md").read_text("utf-8")


@pytest.fixture(scope="module")
def saved():
    return load(STATE)


def test_the_card_says_what_the_file_says(saved):
    assert shakespeare.card(saved.model, saved.facts) == CARD
    assert saved.model.config == shakespeare.SHAPE


def test_a_learner_finds_it_by_its_name_with_its_words(saved, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_LM_STATES", str(tmp_path))
    assert state_path("shakespeare") == STATE
    words = shakespeare.vocabulary(saved)
    assert load(STATE, words).model.config.vocab_size == len(words)
    assert words.tokens[0] == UNKNOWN
    assert words.decode(words.encode("My lord, I have")) == "my lord , i have"
    assert not [word for word in words.tokens if RUDE.search(word)]


def test_the_shipped_weights_reach_the_loss_on_the_card_and_beat_the_counts(saved):
    words = shakespeare.vocabulary(saved)
    unread = words.encode(shakespeare.speech(corpora.shakespeare().validation))
    batches = shakespeare.known(all_windows(unread[: shakespeare.JUDGED], 64, 32))
    facts = saved.facts
    assert evaluate(saved.model, batches) == pytest.approx(facts["loss"], abs=2e-3)
    assert facts["loss"] < facts["trigram"] - 0.2 < facts["unigram"] - 0.5


def test_it_never_says_that_it_does_not_know_the_word(saved):
    words = shakespeare.vocabulary(saved)
    said = generate_batch(saved.model, [words.encode("the king is")] * 32, 16, seeded(0))
    assert sum(ids.count(0) for ids in said) <= 2


def test_names_of_speakers_and_directions_are_no_speech():
    text = "ROMEO:\nI am here:\nso be it. [Exit]\n\nFirst Lord:\nGo: now.\n\n[They go]\n"
    assert shakespeare.speech(text).split() == "I am here: so be it. Go: now.".split()


def test_unknown_words_are_no_labels_and_swear_words_are_unknown():
    words = shakespeare.sayable("a a a b b bastard bastard bastard c", 3)
    assert words.tokens == (UNKNOWN, "a", "b")
    ((inputs, labels),) = shakespeare.known(all_windows(words.encode("a bastard b c"), 3, 1))
    assert inputs.tolist() == [[1, 0, 2]]
    assert labels.tolist() == [[IGNORE, 2, IGNORE]]


def test_counts_never_say_that_they_do_not_know_the_word():
    """The others share its chance, each in proportion to what it had."""
    ids, asked = torch.tensor([0, 1, 0, 2, 1, 2, 2, 0]), torch.tensor([[1, 0]])
    before = kneser_ney(ids, 2, 3)(asked).softmax(-1)
    chances = shakespeare.counted(ids, 2, 3)(asked).softmax(-1)
    assert (chances[..., 0] == 0).all()
    torch.testing.assert_close(chances[..., 1:], before[..., 1:] / (1 - before[..., :1]))


def test_the_command_makes_a_model_with_its_card_and_makes_it_again(tmp_path, monkeypatch, capsys):
    small = replace(shakespeare.SHAPE, width=16, layers=1, heads=2, kv_heads=2, vocab_size=7)
    plays = replace(corpora.shakespeare(), train="\n\nROMEO:\nBut soft , what light ?" * 300)
    plays = replace(plays, validation=plays.train)
    monkeypatch.setattr(shakespeare, "SHAPE", small)
    monkeypatch.setattr(corpora, "shakespeare", lambda: plays)
    monkeypatch.setattr(shakespeare, "PROMPTS", ("but soft",))
    threads = torch.get_num_threads()
    paths = [shakespeare.main(tmp_path / k, Recipe(steps=100), 500) for k in ("one", "two")]
    torch.set_num_threads(threads)
    first, second = map(load, paths)
    assert "step 100" in capsys.readouterr().out
    card = paths[0].with_suffix(".md").read_text("utf-8")
    assert card.startswith("# The Shakespeare model")
    assert "| 100 steps of 16 rows" in card
    assert "\n> but soft " in card
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
