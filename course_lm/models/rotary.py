"""Positions as rotations, so that only distances count (Su 2021)."""

import torch
from torch import Tensor

LONGEST_WAVE = 10_000.0  # of the angles, in tokens / 2π


def rotation(length: int, size: int, longest: float = LONGEST_WAVE) -> tuple[Tensor, Tensor]:
    """cos and sin of position · longest^(−2i/d): (T, d/2) each."""
    speeds = longest ** (-torch.arange(0, size, 2) / size)
    angles = torch.arange(length)[:, None] * speeds
    return angles.cos(), angles.sin()


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + d/2) of a head by the angle of its place: (..., T, d).

    Two rotated vectors have a product that depends on their distance alone.
    """
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
