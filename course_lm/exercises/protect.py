"""A student's answer, handled so that whatever it does ends in one sentence.

`Student` calls a student's function on copies of the arguments, in a worker thread with a time
limit, and turns everything that can go wrong there into a `Problem`: an exception, an endless
loop, a changed input, a missing `return`. A thread can be stopped only between two steps of
Python; one endless step written in C (`sum(range(10**15))`) holds the whole kernel and ends with
Kernel > Restart.
"""

import contextvars
import copy
import ctypes
import dis
import gc
import inspect
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import torch

from course_lm.exercises.sentences import NotAttempted, Problem, brief, describe


class _Stop(SystemExit):
    """Ends a worker; no `except Exception` holds it, and a thread ends with it in silence."""


def unchanged(before: object, after: object, seen: set[int] | None = None) -> bool:
    """Whether `after`, a copy that a student's code has held, still equals `before`.

    Drawing from a `torch.Generator` is no change; what cannot be compared counts as unchanged.
    """
    seen = set() if seen is None else seen
    if before is after or isinstance(before, torch.Generator) or id(before) in seen:
        return True
    if type(before) is not type(after):
        return False
    seen.add(id(before))
    if isinstance(before, torch.Tensor):
        if before.shape != after.shape or before.dtype != after.dtype:
            return False
        return torch.allclose(before, after, rtol=0, atol=0, equal_nan=True)
    if isinstance(before, dict):
        return list(before) == list(after) and all(
            unchanged(before[key], after[key], seen) for key in before
        )
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(
            unchanged(one, other, seen) for one, other in zip(before, after, strict=True)
        )
    if type(before).__eq__ is object.__eq__:
        return unchanged(getattr(before, "__dict__", 0), getattr(after, "__dict__", 0), seen)
    return bool(before == after)


def _stop(thread: threading.Thread, ended: list) -> bool:
    """Raise `_Stop` in `thread` until it has `ended`; False if it still runs after a second."""
    end, interval = time.monotonic() + 1, sys.getswitchinterval()
    collects = gc.isenabled()
    gc.disable()  # what it calls would be stopped, too, and with a complaint
    sys.setswitchinterval(1e-6)  # one after another, so that a bare `except:` meets two in a row
    try:
        while thread.is_alive() and not ended and time.monotonic() < end:
            ident, stop = ctypes.c_ulong(thread.ident), ctypes.py_object(_Stop)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, stop)
            time.sleep(0)
    finally:
        sys.setswitchinterval(interval)
        if collects:
            gc.enable()
    return bool(ended) or not thread.is_alive()


def run_limited(work: Callable[[], Any], limit: float) -> tuple[Any, BaseException | None]:
    """Run `work()` in a thread: (its value, None), or (None, what it raised).

    After `limit` seconds the thread is stopped and a `Problem` raised. An interrupt of the
    waiting caller stops the thread, too, and goes on as KeyboardInterrupt.
    """
    ended, done = [], threading.Event()

    def worker():
        try:
            try:
                ended.append((work(), None))
            except BaseException as error:
                ended.append((None, error))
            done.set()
        except _Stop:  # one more, on the way out
            done.set()

    run = contextvars.copy_context().run  # what it prints belongs to the same cell
    thread = threading.Thread(target=run, args=(worker,), daemon=True)
    end = time.monotonic() + limit
    try:
        thread.start()
        while not ended and time.monotonic() < end:
            done.wait(0.02)  # short, so that the stop button works on every system
        if ended:
            return ended[0]
    finally:
        stopped = _stop(thread, ended)
    rest = "" if stopped else "; it could not be stopped: save the page and use Kernel > Restart"
    raise Problem(
        f"expected an answer within {limit:g} seconds, got none; "
        f"look for a loop that never ends{rest}"
    )


def _bind(function: Callable, args: tuple, kwargs: dict) -> dict[str, object]:
    """The arguments by the names that `function` gives them."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C do not tell
        return {}
    try:
        return signature.bind(*args, **kwargs).arguments
    except TypeError:
        count = len(args) + len(kwargs)
        raise Problem(
            f"expected a function of {count} argument{'s' * (count != 1)}, "
            f"got one of {signature}; keep the first line as the page gives it"
        ) from None


def _untouched(answer: object) -> bool:
    """Whether `answer` is, or holds, the `...` of the page."""
    inner = answer.values() if isinstance(answer, dict) else answer
    return answer is ... or (
        isinstance(answer, list | tuple | dict) and any(item is ... for item in inner)
    )


_IDLE = {"RESUME", "NOP", "LOAD_CONST", "STORE_FAST", "RETURN_CONST", "RETURN_VALUE"}


def _is_stub(function: Callable) -> bool:
    """Whether the body does nothing: `...`, `pass`, or `name = ...` alone."""
    code = getattr(function, "__code__", None)
    return code is not None and {step.opname for step in dis.get_instructions(code)} <= _IDLE


class Student:
    """A student's answer as a check sees it: call it, or read its `value`."""

    def __init__(self, answer: object, limit: float = 5.0):
        self._answer, self._limit = answer, limit
        self.call: str | None = None  # the last call as text, which a problem names

    @property
    def value(self) -> Any:
        """The answer where it is no function: a number, a text, a list, a tensor."""
        if self._answer is None or _untouched(self._answer):
            raise NotAttempted
        if inspect.isroutine(self._answer) or isinstance(self._answer, Iterator | type):
            raise Problem(f"expected a value, got {brief(self._answer)}; pass what it returns")
        return self._answer

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """What the function returns for copies of these arguments, or a `Problem`."""
        function = self._answer
        if function is None or _untouched(function):
            raise NotAttempted
        if not callable(function):
            raise Problem(f"expected a function, got {brief(function)}; pass it by its name alone")
        shown = [brief(arg) for arg in args] + [f"{k}={brief(v)}" for k, v in kwargs.items()]
        name = getattr(function, "__name__", type(function).__name__)
        self.call = f"{name}({', '.join(shown)})"
        names = _bind(function, args, kwargs)
        held_args, held_kwargs = copy.deepcopy((args, kwargs))
        result, error = run_limited(lambda: function(*held_args, **held_kwargs), self._limit)
        stub = isinstance(error, NotImplementedError) and not error.args  # torch raises it, too
        if stub or _untouched(result):
            raise NotAttempted
        if error is not None:
            raise Problem(f"expected a result, got {describe(error, function)}")
        self._accept(result)
        for name, after in _bind(function, held_args, held_kwargs).items():
            if not unchanged(names[name], after):
                raise Problem(
                    f"expected `{name}` to stay as it was, but your function changed its input; "
                    "work on a copy"
                )
        return result

    def _accept(self, result: object) -> None:
        if result is None and _is_stub(self._answer):
            raise NotAttempted
        if result is None:
            raise Problem("expected a result, got None; end the function with `return ...`")
        if isinstance(result, Iterator | Coroutine):
            getattr(result, "close", lambda: None)()
            raise Problem(
                f"expected a finished result, got {brief(result)}; use `return` instead of "
                "`yield`, and put `list(...)` around `map`, `zip` or `filter`"
            )
