"""What the machine is good at is measured, on a clock that the tests hold."""

from types import SimpleNamespace

import pytest
import torch

from course_lm.training import hardware
from course_lm.training.hardware import (
    best_device,
    half_precision_pays,
    matmul_seconds,
    use_fastest_threads,
)


@pytest.mark.parametrize(("half", "pays"), [(0.1, True), (0.7, True), (0.8, False), (40.0, False)])
def test_half_precision_pays_where_it_is_clearly_faster(half, pays, monkeypatch):
    def seconds(matrix):
        return half if matrix.dtype == torch.bfloat16 else 1.0

    monkeypatch.setattr(hardware, "matmul_seconds", seconds)
    assert half_precision_pays.__wrapped__(torch.device("cpu")) is pays


def test_half_precision_is_measured_once(monkeypatch):
    measured = []
    monkeypatch.setattr(hardware, "matmul_seconds", lambda matrix: measured.append(matrix) or 1.0)
    half_precision_pays.cache_clear()
    assert [half_precision_pays(torch.device("cpu")) for _ in range(3)] == [False] * 3
    assert len(measured) == 2
    assert measured[0].shape == measured[1].shape
    half_precision_pays.cache_clear()


def test_half_precision_is_measured_on_one_thread_and_the_threads_are_put_back(monkeypatch):
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr(
        hardware, "matmul_seconds", lambda matrix: seen.append(torch.get_num_threads()) or 1.0
    )
    try:
        torch.set_num_threads(2)
        half_precision_pays.__wrapped__(torch.device("cpu"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1]


def readings(monkeypatch, *times):
    clock = iter(times)
    monkeypatch.setattr(hardware, "time", SimpleNamespace(perf_counter=lambda: next(clock)))


def test_a_product_is_timed_after_a_first_one_that_warms_up(monkeypatch):
    readings(monkeypatch, 0.0, 9.0, 10.0, 13.0, 20.0, 21.0, 30.0, 32.0)
    assert matmul_seconds(torch.eye(2), repeats=3) == 1.0


def test_what_is_timed_is_a_number_above_0():
    assert matmul_seconds(torch.eye(8)) > 0


@pytest.mark.parametrize(("one", "two", "best"), [(1.0, 3.0, 1), (3.0, 1.0, 2), (2.0, 2.0, 1)])
def test_the_faster_number_of_threads_is_set(one, two, best, monkeypatch):
    readings(monkeypatch, 0.0, one, 10.0, 10.0 + two)
    before, seen = torch.get_num_threads(), []
    try:
        torch.set_num_threads(2)
        assert use_fastest_threads(lambda: seen.append(torch.get_num_threads())) == best
        assert torch.get_num_threads() == best
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1, 2, 2]


def test_with_one_thread_there_is_nothing_to_choose(monkeypatch):
    readings(monkeypatch, 0.0, 1.0)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert use_fastest_threads(lambda: None) == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cuda", "mps", "best"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_an_accelerator_is_used_where_there_is_one(cuda, mps, best, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert best_device() == torch.device(best)
