"""The chat: what the lab knows to be right, what a turn says, and a box that loses nothing."""

import pytest
import torch
from html_tags import Tags
from small_models import seeded, small_transformer
from test_figures import HOSTILE

from course_lm.finetuning.tasks import (
    ASKED,
    END,
    PARTS,
    REPLY,
    Example,
    examples,
    task_vocabulary,
)
from course_lm.viewing.chat import GOES_ON, SHOWN, Turn, ask, chat_box, request, transcript
from course_lm.viewing.gold import right_replies

STORY = "anna is in the attic . ben is in the garden . anna takes the red key ."
SUMS = (
    "anna finds two coins . ben finds five coins . anna finds three coins . anna loses one coin ."
)
VOCABULARY = task_vocabulary()


class Parrot:
    """A model that says one reply to every prompt, whatever it is asked."""

    context = 64

    def __init__(self, reply, ends=True):
        self.ids = VOCABULARY.ids_of([*reply.split(), *[END] * ends])

    def __call__(self, ids):
        said = ids.shape[1] - 1 - ids[0].tolist().index(VOCABULARY.ids[REPLY])
        logits = torch.zeros(*ids.shape, len(VOCABULARY))
        logits[:, -1, self.ids[said % len(self.ids)]] = 99.0
        return logits


MODELS = {"base": Parrot("in the garden ."), "tuned": Parrot("in the attic .")}


def replies(task, text):
    return right_replies(task, tuple(text.split()))


def a_turn(**changes):
    values = {
        "task": "answer",
        "text": STORY,
        "question": "where is anna ?",
        "replies": {"base": "in the garden .", "tuned": "in the attic ."},
        "right": "in the attic .",
    }
    return Turn(**values | changes)


# -- what the lab knows


@pytest.mark.parametrize("task", ASKED)
@pytest.mark.parametrize("part", PARTS)
def test_what_is_right_of_a_text_is_what_its_example_says(task, part):
    for example in examples(task, 25, seeded(3), part):
        _, text, question = request(example)
        assert replies(task, text)[question] == " ".join(example.response[:-1])


def test_a_story_that_nobody_drew_has_its_summary_and_every_question():
    assert replies("summarise", STORY) == {
        "": "anna is in the attic . ben is in the garden . anna has the red key ."
    }
    assert replies("answer", STORY) == {
        "who has the key ?": "anna .",
        "what does anna have ?": "the red key .",
        "what does ben have ?": "nothing .",
        "where is anna ?": "in the attic .",
        "where is ben ?": "in the garden .",
        "where is the key ?": "in the attic .",
    }


def test_a_changed_story_changes_what_is_right():
    moved = f"{STORY} anna goes to the garden . anna gives the red key to ben ."
    assert replies("answer", moved)["who has the key ?"] == "ben ."
    assert replies("answer", moved)["where is the key ?"] == "in the garden ."
    counted = f"{STORY} ben finds two coins . ben loses one coin ."
    assert replies("answer", counted)["how many coins does ben have ?"] == "one ."


def test_sums_are_written_out_for_everybody_in_the_text_or_not_at_all():
    assert replies("reason", SUMS) == {
        "how many coins does anna have ?": "finds two so two . finds three so five . "
        "loses one so four . four .",
        "how many coins does ben have ?": "finds five so five . five .",
    }
    assert replies("solve", SUMS)["how many coins does anna have ?"] == "four ."


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("summarise", ""),
        ("summarise", "anna is in the attic . ben is in the garden ."),  # nobody took anything
        ("answer", STORY.removesuffix(" .")),
        ("answer", f"{STORY} ben gives the red key to anna ."),  # he does not have it
        ("answer", f"{STORY} carl goes to the attic ."),
        ("answer", f"{STORY} that is all . anna goes to the attic ."),  # behind the end
        ("answer", SUMS),
        ("translate", "who has the key ?"),
        ("translate", "anna takes the red key"),
        ("translate", "anna takes takes the key ."),
        ("translate", "anna takes the soon key ."),
        ("translate", ""),
        ("reason", STORY),
        ("reason", "anna finds two coin ."),
        ("reason", "anna loses two coins ."),
        ("reason", "anna finds two coins . anna finds one egg ."),
        ("reason", " ".join(["anna finds five coins ."] * 3)),  # no word for fifteen
        ("reason", "anna finds two coins . anna finds"),
    ],
)
def test_of_a_text_that_the_lab_cannot_tell_nothing_is_known(task, text):
    assert replies(task, text) == {}


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match=r"expected a task of summarise, answer, .*, got 'sing'"):
        right_replies("sing", ())
    with pytest.raises(ValueError, match=r"expected a task of summarise, answer, .*, got 'sing'"):
        ask(MODELS, "sing", STORY)


# -- one turn


def test_a_turn_holds_each_models_reply_and_what_is_right():
    turn = ask(MODELS, "answer", STORY, "where is anna ?")
    assert turn == a_turn()
    assert (turn.judged("base"), turn.judged("tuned")) == (False, True)


def test_capitals_and_signs_without_a_space_are_taken_as_they_are_meant():
    assert ask(MODELS, "answer", STORY.title().replace(" .", "."), "Where is Anna?") == a_turn()


def test_the_models_read_the_prompt_that_they_were_tuned_on():
    read = []

    class Listening(Parrot):
        def __call__(self, ids):
            read.append(ids[0].tolist())
            return super().__call__(ids)

    for task in ASKED:
        (example,) = examples(task, 1, seeded(1))
        read.clear()
        ask({"tuned": Listening("nothing .")}, *request(example))
        assert VOCABULARY.tokens_of(read[0]) == list(example.prompt)


def test_a_real_transformer_replies_and_a_reply_without_end_says_that_it_goes_on():
    model = small_transformer(vocab_size=len(VOCABULARY), context=40)
    turn = ask({"tuned": model}, "summarise", STORY)
    assert turn.replies["tuned"].endswith(GOES_ON)
    assert len(turn.replies["tuned"].split()) == SHOWN + 1  # and the sign that it goes on


@pytest.mark.parametrize(
    ("task", "text", "question", "sentence"),
    [
        ("summarise", " ", "", "expected a text, got none; type one or choose a story"),
        ("answer", STORY, " ", "expected a question to answer, got none; type one or pick one"),
        ("answer", STORY, "where is carl ?", "'carl' as token 3 of 4; did you mean"),
        ("summarise", "anna is in the atic .", "", "'atic' as token 5 of 6; did you mean 'attic'"),
        ("summarise", f"{STORY} answer", "", "got 'answer', which tells the model where a text"),
        ("answer", STORY, "<s> who has the key ?", "got '<s>', which tells the model"),
        ("summarise", f"{STORY} [reply]", "", r"got '\[' as token 19"),
        (
            "summarise",
            STORY * 4,
            "",
            "at most 63 tokens, .* got 75; take sentences out of the text",
        ),
    ],
)
def test_what_cannot_be_sent_gets_one_sentence(task, text, question, sentence):
    with pytest.raises(ValueError, match=sentence):
        ask(MODELS, task, text, question)


def test_a_prompt_fits_while_there_is_room_for_a_reply_of_two_tokens():
    model = Parrot("in the attic .")
    model.context = 22  # the prompt has 21 tokens
    assert ask({"tuned": model}, "summarise", STORY).replies == {"tuned": "in the …"}
    model.context = 21
    with pytest.raises(ValueError, match="expected at most 20 tokens"):
        ask({"tuned": model}, "summarise", STORY)


def test_a_task_without_a_question_leaves_a_typed_one_unread():
    assert ask(MODELS, "summarise", STORY, "whatever ?").question == ""


def test_a_reply_that_goes_on_is_not_right():
    turn = ask({"base": Parrot("in the attic .", ends=False)}, "answer", STORY, "where is anna ?")
    assert turn.replies["base"].startswith("in the attic . in the")
    assert turn.judged("base") is False


# -- the transcript


def test_the_transcript_shows_prompt_replies_marks_and_what_is_right():
    shown = transcript([a_turn(), a_turn(question="who has the key ?", right=None)])
    assert shown.text.splitlines() == [
        STORY,
        "answer where is anna ?",
        "base   ✗ wrong  in the garden .",
        "tuned  ✓ right  in the attic .",
        "right           in the attic .",
        "",
        "answer who has the key ?",
        "base   ? not judged  in the garden .",
        "tuned  ? not judged  in the attic .",
        "right                the lab does not know",
        "",
        "2 turns, 1 of them judged; right: base 0, tuned 1.",
    ]
    words = Tags(shown.html).words
    assert [w for w in words if w[0] in "✓✗?"] == ["✗ wrong", "✓ right", *["? not judged"] * 2]
    assert words.count(STORY) == 1
    assert words.count("the same text") == 1
    assert words[:4] == ["asked", "base", "tuned", "right"]


def test_the_label_of_the_transcript_is_its_score():
    ((_, attrs), *_) = Tags(transcript([a_turn()]).html).tags
    assert attrs["aria-label"] == "1 turn, 1 of them judged; right: base 0, tuned 1."


def test_a_transcript_without_turns_says_so():
    assert transcript([]).text == "Nothing has been asked yet."


def test_whatever_a_turn_holds_is_shown_as_text():
    turn = Turn(
        task=HOSTILE, text=HOSTILE, question=HOSTILE, replies={HOSTILE: HOSTILE}, right=HOSTILE
    )
    tags = Tags(transcript([turn]).html)
    assert "img" not in {tag for tag, _ in tags.tags}
    assert sum(word.count(HOSTILE) for word in tags.words) == 7


# -- the box


def box(models=MODELS):
    story = ["<s>", *STORY.split(), "answer", *"where is anna ?".split(), REPLY]
    sums = ["<s>", *SUMS.split(), "solve", *"how many coins does ben have ?".split(), REPLY]
    values = {"response": (), "size": 3, "held_out": True}
    ready = [
        Example(task="answer", prompt=tuple(story), **values),
        Example(task="solve", prompt=tuple(sums), **values),
    ]
    return chat_box(models, ready)


def offered(chat):
    assert chat.pick.value == ""  # nothing is picked yet
    return [question for _, question in chat.pick.options[1:]]


def test_the_box_begins_with_the_first_story_its_task_and_its_question():
    chat = box()
    assert (chat.text.value, chat.task.value) == (STORY, "answer")
    assert chat.question.value == "where is anna ?"
    assert offered(chat) == list(replies("answer", STORY))
    assert "Nothing has been asked yet." in chat.picture.value


def test_sending_shows_the_replies_as_the_static_transcript_does_and_keeps_what_was_said():
    chat = box()
    chat.send.click()
    assert chat.turns == [a_turn()]
    assert transcript([a_turn()]).html in chat.picture.value
    assert chat.question.value == "where is anna ?"
    chat.question.value = "who has the key ?"
    chat.send.click()
    assert [turn.question for turn in chat.turns] == ["where is anna ?", "who has the key ?"]
    assert transcript(chat.turns).html in chat.picture.value


def test_another_story_brings_its_task_and_its_questions_and_keeps_the_transcript():
    chat = box()
    chat.send.click()
    chat.story.value = 1
    assert (chat.text.value, chat.task.value) == (SUMS, "solve")
    assert chat.question.value == "how many coins does ben have ?"
    assert offered(chat) == list(replies("solve", SUMS))
    assert len(chat.turns) == 1


def test_a_text_that_is_changed_by_hand_changes_the_questions_on_offer():
    chat = box()
    chat.text.value = STORY.replace("key", "lamp")
    assert "who has the lamp ?" in offered(chat)
    chat.text.value = "anna"
    assert offered(chat) == []
    assert chat.pick.disabled


def test_a_picked_question_stands_in_its_field_until_another_one_is_typed_or_picked():
    chat = box()
    chat.pick.value = "who has the key ?"
    assert chat.question.value == "who has the key ?"
    chat.text.value = STORY.replace("key", "lamp")  # other questions are on offer
    assert chat.question.value == "who has the key ?"
    chat.pick.value = "who has the lamp ?"
    assert chat.question.value == "who has the lamp ?"


def test_tasks_without_a_question_close_its_field():
    chat = box()
    chat.task.value = "translate"
    assert chat.question.disabled
    chat.send.click()
    assert chat.turns[0].question == ""
    chat.task.value = "answer"
    assert not chat.question.disabled


def test_after_an_unknown_word_everything_stays_and_the_message_goes_with_the_next_reply():
    chat = box()
    chat.send.click()
    chat.question.value = f"where is {HOSTILE} ?"
    chat.send.click()
    assert "role='alert'" in chat.message.value
    assert "img" not in {tag for tag, _ in Tags(chat.message.value).tags}
    assert chat.question.value == f"where is {HOSTILE} ?"
    assert (chat.text.value, len(chat.turns)) == (STORY, 1)
    chat.question.value = "where is ben ?"
    chat.send.click()
    assert (chat.message.value, len(chat.turns)) == ("", 2)


def test_a_base_that_does_not_know_the_words_of_the_tasks_gets_a_sentence():
    chat = box({"base": small_transformer(vocab_size=131, context=64)})
    chat.send.click()
    assert "expected ids" in chat.message.value
    assert chat.turns == []


@pytest.mark.parametrize(("models", "ready"), [({}, [None]), (MODELS, [])])
def test_a_box_without_models_or_stories_is_refused(models, ready):
    with pytest.raises(ValueError, match="expected at least one model and one example, got"):
        chat_box(models, ready)
