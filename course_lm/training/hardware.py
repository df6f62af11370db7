"""What this machine is good at, measured and never assumed."""

import time
from collections.abc import Callable
from functools import cache

import torch

MATRIX = 192  # rows of the matrices that are timed
WORTH = 1.3  # half precision has to be this much faster


def best_device() -> torch.device:
    """CUDA or MPS where there is one, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@cache
def half_precision_pays(device: torch.device) -> bool:
    """Whether products of matrices are clearly faster in bfloat16; measured once, in about 0.05 s.

    Some processors have units for it (4 to 10 times as fast), others imitate it (40 times slower).
    """
    full = torch.ones(MATRIX, MATRIX, device=device)
    half = full.bfloat16()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine two threads wait for each other
    try:
        return matmul_seconds(full) > WORTH * matmul_seconds(half)
    finally:
        torch.set_num_threads(threads)


def matmul_seconds(matrix: torch.Tensor, repeats: int = 5) -> float:
    """Seconds of matrix @ matrix, the best of `repeats`."""
    seconds = []
    for _ in range(repeats + 1):  # the first one warms up
        began = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # waits for an accelerator
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def use_fastest_threads(work: Callable[[], object]) -> int:
    """Set torch to one thread or to all, whichever does `work` faster; returns how many.

    On a busy machine two threads wait for each other. The last digits of a result depend on it.
    """
    counts = {1, torch.get_num_threads()}
    seconds = {}
    for count in sorted(counts):
        torch.set_num_threads(count)
        work()
        began = time.perf_counter()
        work()
        seconds[count] = time.perf_counter() - began
    best = min(seconds, key=seconds.get)
    torch.set_num_threads(best)
    return best
