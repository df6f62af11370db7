"""Progress: every record comes through, and a stop keeps what was done."""

import fake_notebook
import pytest

from course_lm.viewing import progress
from course_lm.viewing.progress import bar, duration, watch


@pytest.fixture
def shown(monkeypatch):
    return fake_notebook.shown(monkeypatch)


def test_every_record_comes_through_in_order(shown):
    assert list(watch(iter("abc"), 3)) == ["a", "b", "c"]
    assert shown[0].text == "0 of 3 steps"
    assert shown[-1].text == "3 of 3 steps, 0 s"


def test_the_stop_button_keeps_the_records_so_far_and_says_so(shown):
    def interrupted():
        yield from (1, 2)
        raise KeyboardInterrupt

    assert list(watch(interrupted(), 1_000)) == [1, 2]
    assert shown[-1].text == "2 of 1,000 steps, 0 s; stopped, what was done is kept"


def test_the_seconds_left_are_shown_while_it_runs(monkeypatch, shown):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN", 0)
    list(watch(iter("abcd"), 4))
    assert [c.text.split(",")[0] for c in shown[1:]] == [f"{n} of 4 steps" for n in (1, 2, 3, 4)]
    assert all("s left" in content.text for content in shown[1:-1])


def test_the_unit_is_escaped(shown):
    list(watch("a", 1, "<b>'\""))
    assert "<b>" not in shown[0].html
    assert shown[0].text == "0 of 1 <b>'\""


def test_the_bar_is_filled_as_far_as_the_work_is_done():
    assert '<progress value="2.5" max="30" aria-label="so far">' in bar(2.5, 30, "so far").html
    assert 'value="12345" max="1000000"' in bar(12_345, 1_000_000, "").html


def test_long_durations_are_minutes():
    assert [duration(s) for s in (0.4, 99.4, 150)] == ["0 s", "99 s", "2.5 min"]


def test_outside_a_notebook_one_line_is_printed_at_the_end(capsys):
    assert list(watch(range(2), 2, "orders")) == [0, 1]
    assert capsys.readouterr().out == "2 of 2 orders, 0 s\n"
