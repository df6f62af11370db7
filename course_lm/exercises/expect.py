"""What a check expects of a result; each function returns in silence or raises one `Problem`.

`mistakes` maps a sentence to the wrong value that a typical error gives, so that the error is
recognised by what it computes:

    expect_number(got, 2 / 3, mistakes={"You divided by all words, not those after `the`.": 1 / 3})

Two values agree when they differ by at most `tolerance`, absolute or relative.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, NoReturn

import torch
from torch import Tensor

from course_lm.exercises.sentences import Problem, brief

LARGEST = 10_000_000  # probabilities in one answer


def fail(sentence: str) -> NoReturn:
    """Tell the student this sentence."""
    raise Problem(sentence)


def _differ(
    what: str, got: Any, want: Any, mistakes: Mapping[str, Any] | None, same: Callable
) -> NoReturn:
    named = next((text for text, wrong in (mistakes or {}).items() if same(got, wrong)), None)
    end = f". {named}" if named else ""
    raise Problem(
        f"expected {what}, got {brief(got)}{end}",
        revealed=f"expected {brief(want)}, got {brief(got)}{end}",
    )


def expect_equal(got: object, want: object, mistakes: Mapping[str, object] | None = None) -> None:
    """`got` is `want`: a text, a whole number, a list of words or ids (a tuple will do)."""

    def same(one, other):
        if isinstance(one, bool) is not isinstance(other, bool):
            return False
        if isinstance(one, list | tuple) and isinstance(other, list | tuple):
            return len(one) == len(other) and all(map(same, one, other))
        try:
            return bool(one == other)
        except Exception:  # a tensor of several numbers among the words
            return False

    if isinstance(got, Tensor) or not isinstance(got, _kind(want)):
        fail(f"expected a {_called(want)}, got {brief(got)}")
    if not same(got, want):
        _differ(f"another {_called(want)}", got, want, mistakes, same)


def _called(want: object) -> str:
    return {str: "text", int: "whole number"}.get(type(want), type(want).__name__)


def _kind(want: object) -> type | tuple[type, ...]:
    return (list, tuple) if isinstance(want, list | tuple) else type(want)


def expect_number(
    got: object,
    want: float,
    tolerance: float = 1e-5,
    mistakes: Mapping[str, float] | None = None,
) -> None:
    """`got` is the number `want`: an int, a float, or a tensor without axes."""
    number = got.item() if getattr(got, "ndim", None) == 0 else got
    if isinstance(number, bool) or not isinstance(number, Real):
        fail(f"expected a number, got {brief(got)}")
    try:
        number = float(number)
    except OverflowError:
        fail("expected a number, got one above 1e308")

    def same(one, other):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)

    if math.isnan(number):
        fail(
            "expected a number, got nan; look for 0 / 0, inf − inf or the log of a negative number"
        )
    if not same(number, want):
        _differ("another number", number, want, mistakes, same)


def _tensor(got: object) -> Tensor:
    if isinstance(got, Mapping):
        got = list(got.values())
    try:
        tensor = got.detach().cpu() if isinstance(got, Tensor) else torch.as_tensor(got)
    except Exception:
        fail(f"expected a tensor of numbers, got {brief(got)}")
    if tensor.is_complex():
        fail(f"expected a tensor of real numbers, got {tensor.dtype}")
    return tensor


def expect_shape(got: object, shape: Sequence[int]) -> Tensor:
    """`got`, as a tensor, has this shape; returns the tensor."""
    tensor = _tensor(got)
    if tuple(tensor.shape) != tuple(shape):
        fail(f"expected shape {tuple(shape)}, got shape {tuple(tensor.shape)}")
    return tensor


def _sort(tensor: Tensor) -> str:
    if tensor.dtype is torch.bool:
        return "true or false"
    return "floating-point numbers" if tensor.is_floating_point() else "whole numbers"


def expect_tensor(
    got: object,
    want: Tensor | Sequence,
    tolerance: float = 1e-5,
    mistakes: Mapping[str, Tensor | Sequence] | None = None,
) -> None:
    """`got` has the shape, the sort (floating, whole, bool) and the values of `want`.

    Where `want` is a tensor a list will not do; where it is a list a tensor will.
    """
    if isinstance(want, Tensor) and not isinstance(got, Tensor):
        fail(f"expected a tensor, got {brief(got)}")
    values, right = _tensor(got), torch.as_tensor(want).detach().cpu()
    if _agree(values, right, tolerance):
        if isinstance(got, Tensor) and isinstance(want, Tensor) and _sort(got) != _sort(want):
            fail(f"expected {_sort(want)}, got {_sort(got)} ({got.dtype})")
        return
    for sentence, wrong in (mistakes or {}).items():
        if _agree(values, torch.as_tensor(wrong).detach().cpu(), tolerance):
            fail(f"expected other numbers, got {brief(values)}. {sentence}")
    expect_shape(values, right.shape)
    _first_difference(values, right, tolerance)


def _close(values: Tensor, right: Tensor, tolerance: float) -> Tensor:
    return torch.isclose(values.double(), right.double(), rtol=tolerance, atol=tolerance)


def _agree(values: Tensor, right: Tensor, tolerance: float) -> bool:
    return values.shape == right.shape and bool(_close(values, right, tolerance).all())


def _first_difference(values: Tensor, right: Tensor, tolerance: float) -> NoReturn:
    wrong = (~_close(values, right, tolerance)).nonzero()
    at = tuple(wrong[0].tolist())
    got, want = brief(values[at].item()), brief(right[at].item())
    place = f" at position {at if len(at) > 1 else at[0]}" if at else ""
    others = f" ({len(wrong)} of {values.numel()} differ)" if values.numel() > 1 else ""
    raise Problem(
        f"expected another number{place}, got {got}{others}",
        revealed=f"expected {want}{place}, got {got}{others}",
    )


def expect_distribution(got: object, tolerance: float = 1e-5) -> Tensor:
    """`got` (tensor, list or dict) holds probabilities that sum to 1 along the last axis."""
    values = _tensor(got)
    if values.numel() == 0 or values.ndim == 0:
        fail(f"expected a list of probabilities, got {brief(got)}")
    if values.numel() > LARGEST:
        fail(f"expected at most {LARGEST:,} probabilities, got {brief(values)}")
    values = values.double()
    if values.isnan().any():
        fail("expected probabilities, got nan; look for 0 / 0 or inf − inf")
    if values.min() < 0:
        low = brief(values.min().item())
        fail(f"expected probabilities of 0 or more, got {low}; are they still logs or logits?")
    sums = values.sum(-1).flatten()
    worst = sums[(sums - 1).abs().argmax()].item()
    if not abs(worst - 1) <= tolerance:
        fail(f"expected a sum of 1, got {brief(worst)}; divide by the sum")
    return values


def one_number(got: object) -> object:
    """A tensor that holds one number, without its axes; anything else as it is."""
    return got.reshape(()) if isinstance(got, Tensor) and got.numel() == 1 else got


def others(slips: Mapping[str, object], right: object) -> dict[str, float]:
    """The slips that give another number than the right one, as numbers."""
    numbers = {said: float(slip) for said, slip in slips.items()}
    right = float(right)
    return {
        said: slip
        for said, slip in numbers.items()
        if not math.isclose(slip, right, rel_tol=1e-4, abs_tol=1e-4)
    }


def expect_mean(got: object, right: Tensor, slips: Mapping[str, object], over: str) -> None:
    """`got` is one number, the mean `right` over `over`: a float, or a tensor of one number."""
    got = one_number(got)
    if isinstance(got, Tensor) and got.numel() > 1:
        fail(f"expected one number, got {brief(got)}; take the mean over the {over}")
    expect_number(got, float(right), mistakes=others(slips, right))


def gradients(result: object) -> list[Tensor]:
    """The gradients of `result` to all leaves behind it, lowest sum first."""
    if not isinstance(result, Tensor) or result.grad_fn is None:
        fail(
            f"expected a tensor that gradients can flow through, got {brief(result)}; leave out "
            "`.item()`, `float(...)`, `.detach()` and `torch.no_grad()`"
        )
    leaves, seen, todo = [], set(), [result.grad_fn]
    while todo:
        step = todo.pop()
        if step is not None and step not in seen:
            seen.add(step)
            leaves += [step.variable] if hasattr(step, "variable") else []
            todo += [before for before, _ in step.next_functions]
    try:
        found = torch.autograd.grad(one_number(result), leaves)
    except RuntimeError as error:
        fail(f"expected a result whose gradient can be taken, got {brief(str(error))}")
    return sorted(found, key=lambda gradient: gradient.sum().item())
