"""The voting box: what it shows, what it writes, and what it does not take for a vote."""

import pytest
from html_tags import Tags
from test_figures import HOSTILE
from test_votes import PAIRS, pair

from course_lm.rlhf.preferences import FIRST, SECOND, SKIP, TIE, Comparison, Prompt
from course_lm.rlhf.votes import VoteFile
from course_lm.viewing import voting
from course_lm.viewing.voting import ballot, voting_box

FOUR = PAIRS[:4]
BUTTONS = {"A": FIRST, "B": SECOND, "tie": TIE, "skip": SKIP}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "votes.jsonl"


@pytest.fixture
def read_at_once(monkeypatch):
    monkeypatch.setattr(voting, "UNREAD", 0)


def box(path, by="", comparisons=FOUR):
    return voting_box(VoteFile(path, comparisons), by)


def on_disk(path, by=""):
    return VoteFile(path, FOUR).votes(by)


def press(box, name):
    (button,) = (button for button in box.buttons.values() if button.description == name)
    button.click()


def typed(box, *keys):
    for key in keys:
        box.field.value += key


def words_of(html):
    return " ".join("".join(Tags(html).words).split())


# -- the static twin


def test_a_ballot_shows_prompt_question_and_both_responses_in_their_order():
    shown = ballot(FOUR, [2])
    assert shown.text.splitlines() == [
        "Comparison 3 of 4",
        "anna has 2 coins .",
        "how many coins does anna have ?",
        "A  one . …",
        "B  two .",
    ]
    words = words_of(shown.html)
    parts = ["Comparison 3 of 4", "anna has 2 coins .", "how many", "Aone . …", "Btwo ."]
    assert sorted(parts, key=words.index) == parts
    assert "<s>" not in words


def test_a_ballot_shows_the_comparisons_at_these_places_and_refuses_others():
    shown = ballot(FOUR, [3, 0])
    assert shown.text.index("3 coins") < shown.text.index("0 coins")
    assert "1 coins" not in shown.text
    assert shown.html.count("role='group'") == 2
    for place in (4, -1):
        with pytest.raises(ValueError, match=f"ballot: expected places from 0 to 3, got {place}"):
            ballot(FOUR, [place])


def test_a_response_without_words_and_a_prompt_of_one_sentence_can_be_shown():
    prompt = Prompt(("<s>", "why", "?"), ("no", "."))
    shown = ballot([Comparison(prompt, (), ("<s>",))], [0])
    assert shown.text.splitlines()[1:] == ["why ?", "A  (no words) …", "B  (no words)"]


def test_what_comes_from_outside_is_escaped_in_both_twins(path):
    hostile = tuple(HOSTILE.split())
    comparison = Comparison(Prompt(hostile, hostile), hostile, hostile)
    for html in (ballot([comparison], [0]).html, box(path, "", [comparison]).picture.value):
        assert {tag for tag, _ in Tags(html).tags} <= {"div", "b", "br"}
        assert words_of(html).count(HOSTILE) == 3
    assert ballot([comparison], [0]).text.count(HOSTILE) == 3


def test_a_path_and_an_error_are_escaped(tmp_path, read_at_once):
    path = tmp_path / "<img src=x>.jsonl"
    one = box(path)
    path.mkdir()
    press(one, "A")
    assert "<img" not in one.message.value
    path.rmdir()
    for _ in FOUR:
        press(one, "A")
    assert "&lt;img src=x&gt;.jsonl" in one.picture.value
    assert "<img" not in one.picture.value


def test_the_box_shows_what_the_ballot_shows(path):
    twin = ballot(FOUR, [0]).html
    title = "Comparison 1 of 4"
    assert box(path).picture.value == twin.replace(title, f"{title}, 0 voted")


# -- votes


@pytest.mark.usefixtures("read_at_once")
def test_every_button_writes_its_vote_before_the_next_comparison_shows(path, monkeypatch):
    one = box(path)
    seen = []
    one.picture.observe(lambda _: seen.append(on_disk(path)), "value")
    for name in BUTTONS:
        press(one, name)
    votes = list(BUTTONS.values())
    assert seen == [[*votes[:done], *[None] * (4 - done)] for done in (1, 2, 3, 4)]


@pytest.mark.usefixtures("read_at_once")
def test_every_key_gives_the_vote_of_its_button(path):
    one = box(path)
    typed(one, "a", "B", "t", "u", " t", "s")
    assert on_disk(path) == [FIRST, SECOND, TIE, SKIP]
    assert len(path.read_bytes().splitlines()) == 6
    assert "All 4 comparisons have a vote, kept in" in one.picture.value


@pytest.mark.usefixtures("read_at_once")
def test_deleting_or_replacing_letters_gives_no_vote_and_a_new_one_counts_anywhere(path):
    one = box(path)
    for value in ("a", "", "\n", "\nt", "b\nt", "b\n", "bu", "x", ""):
        one.field.value = value
    assert on_disk(path) == [FIRST, TIE, SECOND, None]


@pytest.mark.usefixtures("read_at_once")
def test_an_unknown_key_is_told_and_the_next_one_counts(path):
    one = box(path)
    typed(one, "<")
    assert "Expected one of the keys a A, b B, t tie, s skip, u undo" in one.message.value
    assert "&lt;" in one.message.value
    typed(one, "a")
    assert one.message.value == ""
    assert on_disk(path)[0] == FIRST


def test_what_comes_before_anybody_can_have_read_is_no_vote_and_is_told(path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(voting.time, "monotonic", lambda: now[0])
    one = box(path)
    press(one, "A")
    assert voting.TOO_SOON in one.message.value
    now[0] += 1
    press(one, "A")
    press(one, "A")  # the second click of a double click
    assert on_disk(path) == [FIRST, None, None, None]


def test_a_vote_can_be_taken_back_at_once_but_not_two_by_a_double_click(path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(voting.time, "monotonic", lambda: now[0])
    one = box(path)
    for _ in range(2):
        now[0] += 1
        press(one, "A")
    press(one, "undo")
    press(one, "undo")
    assert on_disk(path) == [FIRST, None, None, None]
    now[0] += 1
    press(one, "undo")
    assert on_disk(path) == [None] * 4


@pytest.mark.parametrize("delay", [0.25, 0.5, 0.66])
def test_a_key_that_is_held_down_votes_once(path, monkeypatch, delay):
    now = [100.0]
    monkeypatch.setattr(voting.time, "monotonic", lambda: now[0])
    one = box(path)
    now[0] += 1
    for wait in (0, delay, *[0.033] * 100):
        now[0] += wait
        typed(one, "b")
    assert on_disk(path) == [SECOND, None, None, None]
    for _ in range(3):  # a kernel far away hears several letters at once
        now[0] += 2
        typed(one, "bbb")
    assert on_disk(path) == [SECOND, None, None, None]
    assert voting.TOO_SOON in one.message.value
    now[0] += 1
    typed(one, "t")
    assert on_disk(path) == [SECOND, TIE, None, None]


@pytest.mark.usefixtures("read_at_once")
def test_undo_shows_the_comparison_again_and_again_until_nothing_is_left(path):
    one = box(path)
    assert one.buttons["undo"].disabled
    press(one, "B")
    press(one, "tie")
    assert "Comparison 3 of 4, 2 voted" in one.picture.value
    press(one, "undo")
    assert "Comparison 2 of 4, 1 voted" in one.picture.value
    press(one, "undo")
    assert "Comparison 1 of 4, 0 voted" in one.picture.value
    assert one.buttons["undo"].disabled
    typed(one, "u")
    assert "Comparison 1 of 4, 0 voted" in one.picture.value
    press(one, "A")
    assert on_disk(path) == [FIRST, None, None, None]


@pytest.mark.usefixtures("read_at_once")
def test_at_the_end_only_undo_is_left(path):
    one = box(path)
    typed(one, *"abts")
    disabled = {vote for vote, button in one.buttons.items() if button.disabled}
    assert disabled == {FIRST, SECOND, TIE, SKIP}
    size = path.stat().st_size
    typed(one, "a")
    assert path.stat().st_size == size
    press(one, "undo")
    assert "Comparison 4 of 4, 3 voted" in one.picture.value
    assert not one.buttons[FIRST].disabled


@pytest.mark.usefixtures("read_at_once")
def test_a_new_box_goes_on_where_the_last_one_stopped_and_each_voter_on_their_own(path):
    press(box(path, "anna"), "A")
    assert "Comparison 2 of 4, 1 voted" in box(path, "anna").picture.value
    assert "Comparison 1 of 4, 0 voted" in box(path, "ben").picture.value


@pytest.mark.usefixtures("read_at_once")
def test_a_vote_is_on_what_is_shown_even_if_another_tab_has_voted_since(path):
    one, other = box(path), box(path)
    press(one, "A")
    press(one, "A")
    press(other, "B")
    assert on_disk(path) == [SECOND, FIRST, None, None]
    assert "Comparison 3 of 4" in other.picture.value


# -- what goes wrong


@pytest.mark.usefixtures("read_at_once")
def test_a_vote_that_cannot_be_written_is_told_and_its_comparison_stays(path):
    one = box(path)
    path.mkdir()
    press(one, "A")
    assert "role='alert'" in one.message.value
    assert "votes: expected" in one.message.value
    assert "Comparison 1 of 4, 0 voted" in one.picture.value
    path.rmdir()
    press(one, "A")
    assert one.message.value == ""
    assert on_disk(path)[0] == FIRST


@pytest.mark.usefixtures("read_at_once")
def test_a_damaged_line_is_told(path):
    press(box(path), "A")
    path.write_bytes(path.read_bytes()[:40])
    one = box(path)
    assert "Line 1 of votes.jsonl is damaged and does not count." in one.message.value
    assert "Comparison 1 of 4, 0 voted" in one.picture.value


def test_a_file_of_other_comparisons_is_refused(path):
    VoteFile(path, [pair(1, "ben")]).add(0, TIE)
    with pytest.raises(ValueError, match="votes: expected votes on these 4 comparisons"):
        box(path)
