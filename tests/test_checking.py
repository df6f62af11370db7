import contextvars
import io
import os
import signal
import sys
import threading
import time
import types
from contextlib import redirect_stdout

import pytest
import torch

from course_lm.exercises import checking, expect, sentences
from course_lm.exercises.checking import exercise, progress
from course_lm.exercises.protect import Student

COUNTS = {"the": {"cat": 2, "dog": 1}, "a": {"cat": 3}}
HINTS = ["Which words follow?", "Divide by their number.", "counts[a][b] / sum(...)"]


def lesson(limit=5.0):
    """A small lesson: a function, a number, a tensor, and a check with a bug."""
    module = types.ModuleType("lesson")

    @exercise("1.1", "By hand", minutes=2, hints=["Count first."])
    def by_hand(student):
        """Write the share of `cat` after `the`."""
        expect.expect_number(student.value, 2 / 3, 1e-3, {"You divided by all words.": 1 / 3})
        return "Two of three."

    @exercise("1.2", "Probability of a bigram", minutes=5, hints=HINTS, limit=limit)
    def bigram(student):
        """Return the share of the words after `previous` that are `word`."""
        got = student(COUNTS, "the", "cat")
        expect.expect_number(got, 2 / 3, mistakes={"You divided by all words.": 1 / 3})
        return "The shares after `the` sum to 1."

    @exercise("1.3", "Softmax", minutes=5, limit=limit)
    def softmax(student):
        """Return the softmax of `logits`."""
        logits = torch.tensor([0.0, 1.0, 2.0])
        got = student(logits)
        expect.expect_tensor(got, logits.softmax(0), mistakes={"Divide by the sum.": logits.exp()})
        return "The largest logit wins."

    @exercise("1.4", "Broken", minutes=1)
    def broken(student):
        return COUNTS[student.value]

    module.__dict__.update(by_hand=by_hand, bigram=bigram, softmax=softmax, broken=broken)
    return module


def said(check, answer, capsys):
    check(answer)
    return capsys.readouterr().out


def right(counts, previous, word):
    return counts[previous][word] / sum(counts[previous].values())


def only_threads(count):
    """Whether no more than `count` threads are left, the last on its way out given a moment."""
    end = time.monotonic() + 5
    while threading.active_count() > count and time.monotonic() < end:
        time.sleep(0.01)
    return threading.active_count() <= count


def problem(function, *args, limit=5.0):
    with pytest.raises(sentences.Problem) as caught:
        Student(function, limit)(*args)
    return str(caught.value)


# ---- three voices ----


def stub(counts, previous, word):
    """Stay as the page gives it."""
    ...


def stub_pass(counts, previous, word):
    pass


def stub_name(counts, previous, word):
    probability = ...  # noqa: F841


def stub_return(counts, previous, word):
    total = sum(counts[previous].values())
    return [..., total]


def stub_raise(counts, previous, word):
    raise NotImplementedError


STUBS = [stub, stub_pass, stub_name, stub_return, stub_raise, lambda c, p, w: ..., None, ..., [...]]


@pytest.mark.parametrize("answer", STUBS)
def test_a_stub_is_not_attempted_yet_and_does_not_count(answer, capsys):
    check = lesson().bigram
    assert said(check, answer, capsys) == (
        "Exercise 1.2 (5 min), Probability of a bigram: not attempted yet.\n"
        "Return the share of the words after `previous` that are `word`.\n"
    )
    assert (check.attempts, check.passed) == (0, False)


@pytest.mark.parametrize("answer", [None, ..., [..., 1], {"cat": ...}])
def test_a_value_left_as_dots_is_not_attempted_yet(answer, capsys):
    assert "not attempted yet" in said(lesson().by_hand, answer, capsys)


def test_a_named_mistake_is_recognised_by_its_value(capsys):
    out = said(lesson().bigram, lambda counts, previous, word: 2 / 6, capsys)
    assert out == (
        "Exercise 1.2 (5 min), Probability of a bigram: not yet (attempt 1).\n"
        "`<lambda>({'a': {'cat': 3}, 'the': {'cat': 2, 'dog': 1}}, 'the', 'cat')`: "
        "expected 0.666667, got 0.333333. You divided by all words.\n"
        "Hint 1 of 3: Which words follow?\n"
    )


def test_a_right_function_passes_with_one_thing_to_notice(capsys):
    out = said(lesson().bigram, right, capsys)
    assert out.endswith("bigram: passed.\nThe shares after `the` sum to 1.\n")


def test_hints_go_from_gentle_to_plain_and_stay_there(capsys):
    check = lesson().bigram
    outs = [said(check, lambda c, p, w: 0.5, capsys) for _ in range(4)]
    for out, hint, attempt in zip(outs, [1, 2, 3, 3], [1, 2, 3, 4], strict=True):
        assert f"(attempt {attempt})" in out
        assert out.endswith(f"Hint {hint} of 3: {HINTS[hint - 1]}\n")


def test_attempts_are_counted_for_each_exercise_and_the_last_verdict_holds():
    page = lesson()
    check, seen = page.bigram, []
    for answer in (lambda c, p, w: 0.5, right, right, stub, lambda c, p, w: 0.5, stub, right):
        check(answer)
        seen.append((check.attempts, check.state))
    a, p = "attempted", "passed"
    assert seen == [(1, a), (2, p), (2, p), (2, p), (3, a), (3, a), (4, p)]
    assert page.by_hand.attempts == 0


def planted(counts, previous, word):
    """What the page shows."""
    return sum([counts[previous][word] / 6 for _ in range(1)])


def test_the_function_to_mend_is_no_attempt_until_its_code_differs(capsys):
    check = exercise("1.2", "Mend", minutes=5, planted=planted)(lesson().bigram.check)

    def as_on_the_page(counts: dict, previous: str, word: str) -> float:
        return sum([counts[previous][word] / 6 for _ in range(1)])

    for answer in (planted, as_on_the_page):
        assert "not attempted yet" in said(check, answer, capsys)
    for answer in (
        lambda counts, previous, word: sum([counts[previous][word] / 6 for _ in range(2)]) / 2,
        lambda counts, previous, word: sum([counts[previous][word] / 6.0 for _ in range(1)]),
    ):
        assert "You divided by all words." in said(check, answer, capsys)
    assert check.attempts == 2
    assert "passed" in said(check, right, capsys)


def test_a_wrong_value_is_not_told_the_right_one(capsys):
    out = said(lesson().by_hand, 0.5, capsys)
    assert "Your answer: expected another number, got 0.5" in out
    assert "0.66" not in out
    assert "You divided by all words." in said(lesson().by_hand, 1 / 3, capsys)
    assert "passed" in said(lesson().by_hand, 0.667, capsys)


def test_a_bug_in_the_check_is_not_blamed_on_the_student(capsys):
    check = lesson().broken
    out = said(check, "zebra", capsys)
    assert "not checked" in out
    assert "The check itself failed, which is no fault of yours: KeyError in line" in out
    assert (check.attempts, check.passed) == (0, False)


# ---- whatever a student writes ----


def test_an_exception_is_named_with_the_line_of_the_students_code():
    def divide(numbers):
        total = 0
        return numbers[0] / total

    line = divide.__code__.co_firstlineno + 2
    assert problem(divide, [1.0]).startswith(
        f"expected a result, got ZeroDivisionError in line {line}, `return numbers[0] / total`: "
    )


def test_the_line_is_the_students_even_when_a_library_raises():
    def mismatch(ids):
        return torch.ones(2) @ torch.ones(3)

    line = mismatch.__code__.co_firstlineno + 1
    assert f"RuntimeError in line {line}, `return torch.ones(2)" in problem(mismatch, 1)


def test_the_line_is_the_innermost_of_the_students_own():
    def total(numbers):
        return sum(numbers)

    def mean(numbers):
        return total(numbers) / len(numbers)

    assert "`return sum(numbers)`" in problem(mean, ["a"])


def test_an_exception_that_cannot_be_printed_gets_a_sentence():
    class Rude(Exception):
        def __str__(self):
            raise ValueError

    def rude():
        raise Rude

    assert "got Rude in line" in problem(rude)


def test_endless_recursion_gets_a_sentence():
    def down(n):
        return down(n + 1)

    assert "calls itself without end" in problem(down, 0)


def test_exit_does_not_end_the_kernel():
    assert "use `return` to leave a function" in problem(lambda: sys.exit())


def test_a_keyboard_interrupt_raised_by_the_answer_gets_a_sentence():
    def interrupt():
        raise KeyboardInterrupt

    assert "got KeyboardInterrupt in line" in problem(interrupt)


def test_the_stop_button_stops_the_answers_thread_and_goes_on_as_an_interrupt():
    started = threading.Event()

    def endless():
        started.set()
        while True:
            pass

    def press():
        started.wait()
        os.kill(os.getpid(), signal.SIGINT)

    before = threading.active_count()
    thread = threading.Thread(target=press)
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # nohup ignores it
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            Student(endless, 60)()
        thread.join()
    finally:
        signal.signal(signal.SIGINT, usual)
    assert only_threads(before)


def endless_pass():
    while True:
        pass


def endless_except():
    while True:
        try:
            sum(range(10))
        except Exception:
            continue


def endless_bare_except():
    while True:
        try:
            sum(range(10))
        except:  # noqa: E722
            continue


def endless_sleep():
    while True:
        time.sleep(0.01)


def endless_print():
    while True:
        print("again")


@pytest.mark.parametrize(
    "loop", [endless_pass, endless_except, endless_bare_except, endless_sleep, endless_print]
)
def test_an_endless_loop_is_stopped_and_leaves_no_thread(loop):
    before = threading.active_count()
    with redirect_stdout(io.StringIO()):
        sentence = problem(loop, limit=0.05)
    assert sentence == (
        "expected an answer within 0.05 seconds, got none; look for a loop that never ends"
    )
    assert only_threads(before)


def test_a_thread_that_cannot_be_stopped_is_reported():
    before = threading.active_count()
    sentence = problem(lambda: time.sleep(1.6), limit=0.05)
    assert sentence.endswith("it could not be stopped: save the page and use Kernel > Restart")
    assert only_threads(before)


def test_stopping_gives_back_the_switch_interval():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.004)
    try:
        problem(endless_pass, limit=0.05)
        assert sys.getswitchinterval() == pytest.approx(0.004)
    finally:
        sys.setswitchinterval(interval)


def test_a_slow_answer_within_the_limit_is_accepted():
    assert Student(lambda: time.sleep(0.1) or 7, 5)() == 7


def test_a_changed_input_is_named_and_the_checks_own_data_stay():
    def pop(counts, ids):
        ids.append(3)
        return 1

    ids = [1, 2]
    assert "expected `ids` to stay as it was, but your function changed its input" in problem(
        pop, {}, ids
    )
    assert ids == [1, 2]


class Thing:
    def __init__(self):
        self.table, self.me = {"a": [1]}, self


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        (torch.zeros(2), lambda t: t.add_(1)),
        (torch.zeros(2), lambda t: t.resize_(0)),
        ({"a": {"b": 1}}, lambda d: d["a"].update(b=2)),
        ({"a": 1, "b": 2}, lambda d: d.update(a=d.pop("a"))),
        ([[1], [2]], lambda rows: rows[1].clear()),
        (([1],), lambda pair: pair[0].append(2)),
        ({1, 2}, lambda s: s.add(3)),
        (Thing(), lambda t: t.table["a"].append(2)),
        (torch.nn.Linear(2, 2), lambda m: m.weight.data.zero_()),
    ],
)
def test_every_kind_of_changed_input_is_noticed(argument, change):
    assert "changed its input" in problem(lambda x: (change(x), 1)[1], argument)


@pytest.mark.parametrize(
    "argument",
    [
        torch.tensor([float("nan"), 1.0]),
        torch.tensor([True]),
        float("nan"),
        [float("nan")],
        Thing(),
        torch.nn.Linear(2, 2),
        len,
        object(),
        torch.Generator(),
    ],
)
def test_an_unchanged_input_of_any_kind_is_no_mistake(argument):
    assert Student(lambda x: 1)(argument) == 1


def test_drawing_from_a_generator_is_no_changed_input():
    rng = torch.Generator().manual_seed(0)
    first = Student(lambda rng: torch.rand(3, generator=rng))(rng)
    assert first.equal(torch.rand(3, generator=rng))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda a: a, "expected a function of 2 arguments, got one of (a)"),
        (lambda: 1, "expected a function of 2 arguments, got one of ()"),
        (lambda a, b: print(end=""), "got None; end the function with `return ...`"),
        (lambda a, b: (yield a), "instead of `yield`"),
        (lambda a, b: map(str, [a]), "put `list(...)` around `map`"),
        (0.5, "expected a function, got 0.5; pass it by its name alone"),
        ("text", "expected a function, got 'text'"),
    ],
)
def test_a_function_of_the_wrong_kind_gets_a_sentence(answer, sentence):
    assert sentence in problem(answer, 1, 2)


def test_an_async_function_gets_a_sentence_and_no_warning():
    async def later():
        return 1

    assert "expected a finished result, got <coroutine object" in problem(later)


def test_a_function_given_for_a_value_gets_a_sentence(capsys):
    out = said(lesson().by_hand, right, capsys)
    assert "expected a value, got the function right; pass what it returns" in out


def test_callables_without_a_signature_or_code_are_called():
    assert Student(torch.nn.Linear(2, 1))(torch.ones(2)).shape == (1,)
    assert Student(max)(1, 2) == 2


def test_what_an_answer_prints_is_passed_on_up_to_a_bound(capsys):
    def chatty(counts, previous, word):
        for _ in range(10_000):
            print("hello")
        return right(counts, previous, word)

    out = said(lesson().bigram, chatty, capsys)
    assert out.startswith("hello\nhello\n")
    assert len(out) < checking.PRINTED + 300
    assert "(the rest of what your code prints is left out)" in out
    assert "passed" in out


def test_two_threads_can_check_at_once_and_standard_output_is_given_back(capsys):
    page, stdout = lesson(), sys.stdout
    wrong = [threading.Thread(target=page.bigram, args=(lambda c, p, w: 0.5,)) for _ in range(4)]
    for thread in wrong:
        thread.start()
    for thread in wrong:
        thread.join()
    assert page.bigram.attempts == 4
    assert sys.stdout is stdout


def test_the_worker_sees_the_callers_context():
    cell = contextvars.ContextVar("cell", default="none")
    cell.set("this one")
    assert Student(cell.get)() == "this one"


HOSTILE = [
    "text",
    float("nan"),
    float("inf"),
    10**400,
    1j,
    True,
    [],
    {},
    object(),
    type,
    b"bytes",
    "x" * 10**6,
    [[1], [1, 2]],
    torch.tensor([]),
    torch.zeros(1).expand(10**9),
    torch.tensor([1, 0, 0]),
    torch.tensor([1 + 1j] * 3),
    torch.zeros(3, requires_grad=True) * 1,
    torch.zeros(3, device="meta"),
    torch.full((3,), float("nan")),
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", ["bigram", "softmax"])
def test_whatever_is_returned_gets_one_sentence(name, value, capsys):
    check = lesson()
    check = getattr(check, name)
    answer = (lambda c, p, w: value) if name == "bigram" else (lambda logits: value)
    out = said(check, answer, capsys)
    assert "not yet (attempt 1)" in out
    assert len(out) < 500


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: type(value).__name__)
def test_whatever_value_is_given_gets_one_sentence(value, capsys):
    assert "not yet (attempt 1)" in said(lesson().by_hand, value, capsys)


# ---- expectations ----


def wrong(expectation, *args, **kwargs):
    with pytest.raises(sentences.Problem) as caught:
        expectation(*args, **kwargs)
    return caught.value.revealed


def test_a_number_within_the_tolerance_is_right_and_outside_is_not():
    expect.expect_number(1.00001, 1)
    expect.expect_number(torch.tensor(2.0), 2)
    expect.expect_number(float("inf"), float("inf"))
    assert wrong(expect.expect_number, 1.0001, 1) == "expected 1, got 1.0001"
    assert "got 1" in wrong(expect.expect_number, 1.0, float("inf"))
    assert "0 / 0" in wrong(expect.expect_number, float("nan"), 1)
    assert "expected a number, got tensor([1])" in wrong(expect.expect_number, torch.ones(1), 1)


def test_a_tensor_is_compared_in_shape_sort_and_every_value():
    want = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    expect.expect_tensor(want.clone(), want)
    expect.expect_tensor(want.double(), want)
    expect.expect_tensor([1, 2], [1.0, 2.0])
    near = want.clone()
    near[1, 0] = 2.1
    assert wrong(expect.expect_tensor, near, want) == (
        "expected 2 at position (1, 0), got 2.1 (1 of 4 differ)"
    )
    assert "expected shape (2, 2), got shape (4,)" in wrong(
        expect.expect_tensor, want.flatten(), want
    )
    assert "expected floating-point numbers, got whole numbers (torch.int64)" in wrong(
        expect.expect_tensor, want.long(), want
    )
    assert "expected true or false" in wrong(
        expect.expect_tensor, torch.ones(2), torch.tensor([True, True])
    )
    assert "expected a tensor, got [0, 1]" in wrong(expect.expect_tensor, [0, 1], want)


def test_a_tensor_with_infinities_is_compared_and_nan_never_agrees():
    want = torch.tensor([float("-inf"), 0.0])
    expect.expect_tensor(want.clone(), want)
    assert "position 0, got 0" in wrong(expect.expect_tensor, torch.zeros(2), want)
    assert "got nan" in wrong(expect.expect_tensor, torch.tensor([float("nan"), 0]), want)
    assert "got 0 (" in wrong(expect.expect_tensor, torch.tensor([-0.0, 5.0]), want)  # not -0


def test_a_named_mistake_may_have_another_shape():
    want = torch.ones(3)
    sentence = wrong(
        expect.expect_tensor, torch.tensor(3.0), want, mistakes={"You summed.": torch.tensor(3.0)}
    )
    assert sentence == "expected other numbers, got tensor(3). You summed."


def test_a_named_mistake_that_equals_the_right_answer_does_no_harm():
    expect.expect_number(1.0, 1.0, mistakes={"no": 1.0})
    expect.expect_tensor(torch.ones(2), torch.ones(2), mistakes={"no": torch.ones(2)})
    expect.expect_equal("a", "a", mistakes={"no": "a"})


def test_texts_words_and_ids_are_compared_with_their_type():
    expect.expect_equal(("the", "cat"), ["the", "cat"])
    expect.expect_equal(3, 3)
    expect.expect_equal({"a": 1}, {"a": 1})
    assert wrong(expect.expect_equal, "cat", "dog") == "expected 'dog', got 'cat'"
    assert wrong(expect.expect_equal, True, 1) == "expected 1, got True"
    assert "expected a list, got tensor([1, 2])" in wrong(
        expect.expect_equal, torch.tensor([1, 2]), [1, 2]
    )
    assert "got [tensor([1, 1])]" in wrong(expect.expect_equal, [torch.ones(2)], [1])
    assert "Reversed." in wrong(
        expect.expect_equal, ["b", "a"], ["a", "b"], mistakes={"Reversed.": ["b", "a"]}
    )


def test_a_distribution_is_not_negative_and_sums_to_one():
    expect.expect_distribution({"cat": 0.25, "dog": 0.75})
    expect.expect_distribution(torch.full((2, 5), 0.2))
    assert "got 1.5; divide by the sum" in wrong(expect.expect_distribution, [1.0, 0.5])
    rows = torch.tensor([[0.5, 0.5], [0.5, 0.4]])
    assert "expected a sum of 1, got 0.9" in wrong(expect.expect_distribution, rows)
    assert "still logs" in wrong(expect.expect_distribution, torch.tensor([-0.5, 1.5]))
    assert "got nan; look for 0 / 0" in wrong(expect.expect_distribution, [float("nan"), 1.0])
    assert "got inf" in wrong(expect.expect_distribution, [float("inf"), 1.0])
    assert "expected a list of probabilities" in wrong(expect.expect_distribution, [])
    assert "at most" in wrong(expect.expect_distribution, torch.zeros(1).expand(10**9))


def test_a_shape_is_checked_and_the_tensor_returned():
    assert expect.expect_shape([[1, 2]], (1, 2)).tolist() == [[1, 2]]
    assert wrong(expect.expect_shape, [1], (2,)) == "expected shape (2,), got shape (1,)"


# ---- the page ----


def test_progress_shows_every_exercise_of_the_lesson_with_its_state(capsys):
    page = lesson()
    page.by_hand(0.5)
    page.bigram(right)
    capsys.readouterr()
    progress(page)
    assert capsys.readouterr().out == (
        "exercise  title                    state      attempts\n"
        "1.1       By hand                  attempted  1\n"
        "1.2       Probability of a bigram  passed     1\n"
        "1.3       Softmax                  not yet    0\n"
        "1.4       Broken                   not yet    0\n"
        "1 of 4 passed.\n"
    )


def test_a_check_returns_nothing_that_a_cell_would_echo():
    assert lesson().bigram(right) is None


def test_text_from_a_student_is_escaped_before_it_is_html():
    page = sentences.box("a", ["`<b>` <script>"], "--jp-warn-color1")["text/html"]
    assert "<code>&lt;b&gt;</code> &lt;script&gt;" in page
    assert 'role="status"' in page


def test_a_value_in_brief_has_no_address_and_a_bounded_length():
    class Rude:
        def __repr__(self):
            raise ValueError

    assert sentences.brief(object()) == "<object object>"
    assert sentences.brief([0.1 + 0.2]) == "[0.3]"
    assert sentences.brief(list(range(8))) == "[0, 1, 2, 3, 4, 5, ...]"
    assert sentences.brief(list("abcdefghi")) == repr(list("abcdefghi"))
    assert len(sentences.brief(["x" * 100] * 100)) <= 80
    assert "Rude" in sentences.brief(Rude())
    assert sentences.brief(torch.zeros(3, 4)) == "a tensor of shape (3, 4)"


def test_a_notebook_gets_html_with_a_plain_twin(monkeypatch):
    shown = []
    display = types.SimpleNamespace(display=lambda page, raw: shown.append(page))
    shell = types.SimpleNamespace(kernel=1)
    fake = types.SimpleNamespace(get_ipython=lambda: shell, display=display)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    lesson().bigram(right)
    assert shown[0]["text/plain"].endswith("sum to 1.")
    assert "<strong>Exercise 1.2" in shown[0]["text/html"]
