"""Progress: every record comes through, and a stop keeps what was done."""

from course_lm.viewing import progress
from course_lm.viewing.progress import watch


class Handle:
    def __init__(self):
        self.shown = []

    def update(self, content, raw):
        assert raw
        self.shown.append(content["text/plain"])


def watched(monkeypatch, records, total):
    handle = Handle()
    monkeypatch.setattr(progress, "display", lambda *_, **__: handle)
    return list(watch(records, total)), handle.shown


def test_every_record_comes_through_in_order(monkeypatch):
    records, shown = watched(monkeypatch, iter("abc"), 3)
    assert records == ["a", "b", "c"]
    assert shown[-1].startswith("3 of 3 steps, ")


def test_the_stop_button_keeps_the_records_so_far_and_says_so(monkeypatch):
    def interrupted():
        yield from (1, 2)
        raise KeyboardInterrupt

    records, shown = watched(monkeypatch, interrupted(), 1_000)
    assert records == [1, 2]
    assert shown[-1].startswith("2 of 1,000 steps, ")
    assert shown[-1].endswith("stopped, what was done is kept")


def test_the_seconds_left_are_shown_while_it_runs(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN", 0)
    _, shown = watched(monkeypatch, iter("abcd"), 4)
    assert [text.split(",")[0] for text in shown] == [f"{n} of 4 steps" for n in (1, 2, 3, 4)]
    assert all("s left" in text for text in shown[:-1])


def test_the_unit_is_escaped(monkeypatch):
    shown = []
    monkeypatch.setattr(progress, "display", lambda content, **_: shown.append(content))
    list(watch("a", 1, "<b>'\""))
    assert "<b>" not in shown[0]["text/html"]
    assert shown[0]["text/plain"] == "0 of 1 <b>'\""


def test_it_works_outside_a_notebook(capsys):
    assert list(watch(range(2), 2, "orders")) == [0, 1]
    assert "0 of 2 orders" in capsys.readouterr().out
