import re

import pytest
import torch
from small_models import seeded

from course_lm.classroom import assistant, foundation
from course_lm.finetuning.supervised import exact_match
from course_lm.finetuning.tasks import ASKED, END, examples, task_vocabulary
from course_lm.language import lab
from course_lm.language.windows import IGNORE
from course_lm.training.checkpoints import load
from course_lm.training.loop import Recipe, evaluate
from course_lm.training.states import state_path

STATE = foundation.FOLDER / "assistant.safetensors"
CARD = STATE.with_suffix(".md").read_text("utf-8")


@pytest.fixture(scope="module")
def saved():
    return load(STATE, task_vocabulary())


def test_the_card_says_what_the_file_says(saved):
    assert assistant.card(saved.model, saved.facts) == CARD


def test_a_learner_finds_it_by_its_name_and_it_takes_the_words_of_the_tasks_alone(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("COURSE_LM_STATES", str(tmp_path))
    assert state_path("assistant") == STATE
    with pytest.raises(ValueError, match="expected the vocabulary"):
        load(STATE, lab.vocabulary())


@pytest.mark.parametrize("part", ["test", "beyond"])
def test_the_shipped_weights_reach_the_scores_on_the_card(saved, part):
    """The first of the card's seeds, with room for a reply that another processor rounds away."""
    rng, stop = seeded(assistant.SEEDS[0]), task_vocabulary().ids[END]
    for task in ASKED:
        some = assistant.as_ids(examples(task, assistant.TESTED, rng, part))
        score = exact_match(saved.model, some, stop)
        assert score == pytest.approx(saved.facts[part][task][0], abs=0.02), task


def test_the_shipped_weights_reach_the_loss_on_the_card(saved):
    loss, base = (float(x) for x in re.search(r"(\d\.\d{4}) nats.* (\d\.\d{4}),", CARD).groups())
    batches = foundation.story_batches(foundation.new_stories())
    assert evaluate(saved.model, batches) == pytest.approx(loss, abs=2e-4)
    shipped = load(foundation.FOLDER / "foundation.safetensors").facts["loss"]
    assert base == pytest.approx(shipped, abs=2e-4)


def test_the_rows_ask_for_responses_and_hold_some_stories():
    count = dict.fromkeys(ASKED, 20)
    stream, asked = assistant.rows(count, 5_000, seeded(0))
    more = [assistant.AGAIN, *(share for *_, share in assistant.HARD)]
    assert asked == 5 * 20 + sum(round(20 * share) for share in more)
    shares = []
    for _, (inputs, labels) in zip(range(20), stream, strict=False):
        assert inputs.shape == (assistant.BATCH, assistant.ROW)
        shares += ((labels != IGNORE).float().mean(1)).tolist()
    stories = sum(share > 0.6 for share in shares) / len(shares)
    assert 0.02 < stories < 0.3
    assert sum(0 < share < 0.6 for share in shares) / len(shares) > 0.6


def test_drills_are_answered_by_a_reader_of_their_text_and_hold_no_pair_of_the_tests():
    kinds = set()
    for drill in assistant.drills(200, seeded(0)):
        at = drill.prompt.index("answer")
        told, asked = " ".join(drill.prompt[1:at]), drill.prompt[at + 1 : -1]
        place, holder = read(told)
        assert drill.part == "train"
        reply = " ".join(drill.response).removesuffix(f" . {END}")
        kinds.add(asked[0] + asked[2] * (asked[2] == "the"))
        match asked:
            case ("who", "has", "the", thing, "?"):
                right = next(who for what, who in holder.items() if what.endswith(thing))
            case ("what", "does", person, "have", "?"):
                held = [f"the {what}" for what, who in holder.items() if who == person]
                right = " and ".join(held) or "nothing"
            case ("where", "is", "the", thing, "?"):
                who = next(who for what, who in holder.items() if what.endswith(thing))
                right = f"in the {place[who]}"
            case ("where", "is", person, "?"):
                right = f"in the {place[person]}"
        assert reply == right, " ".join(drill.prompt)
    assert kinds == {"whothe", "what", "where", "wherethe"}


def read(told):
    """person -> place, and "colour thing" -> person, sentence by sentence."""
    place, holder = {}, {}
    for sentence in told.split(" . "):
        match sentence.removesuffix(" .").split():
            case (one, "and", two, "are", "in", "the", where):
                place |= {one: where, two: where}
            case (one, "is", "in", "the", where):
                place[one] = where
            case (one, "takes", "the", *what):
                holder[" ".join(what)] = one
            case (one, "gives", "the", *what, "to", two):
                assert holder[" ".join(what)] == one
                holder[" ".join(what)] = two
    return place, holder


def test_hard_requests_are_training_examples_that_hold_the_word():
    some = assistant.hard("answer", "what", 40, seeded(0))
    assert len({example.prompt for example in some}) == 40
    assert all("what" in example.prompt and example.part == "train" for example in some)
    together = assistant.hard("summarise", "are", 20, seeded(0))
    assert all("are" in example.response for example in together)


@pytest.mark.usefixtures("one_thread")
def test_the_command_makes_a_model_with_its_card_and_makes_it_again(tmp_path, monkeypatch):
    monkeypatch.setattr(foundation, "NEW_WORDS", 2_000)
    monkeypatch.setattr(assistant, "SEEDS", (1,))
    monkeypatch.setattr(assistant, "TESTED", 2)
    monkeypatch.setattr(assistant, "DRILLS", 50)
    count, two = dict.fromkeys(ASKED, 20), Recipe(steps=2)
    paths = [
        assistant.main(tmp_path / name, two, count, story_words=5_000, drill_recipe=two)
        for name in ("one", "two")
    ]
    first, second = (load(path, task_vocabulary()) for path in paths)
    assert paths[0].with_suffix(".md").read_text("utf-8").startswith("# The assistant")
    assert first.facts["examples"] == 5 * 20 + 4 + 4 + 2 + 18
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
