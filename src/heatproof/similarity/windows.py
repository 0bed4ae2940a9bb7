"""Weighted means over every window of a map, without padding."""

import math
from functools import cache

from torch import Tensor


def box(maps: Tensor, size: int) -> Tensor:
    """Mean over every size × size window of (n, H, W): (n, H − size + 1, W − size + 1).

    Sums by doubling (1, 2, 4, … neighbors), which needs log₂(size) passes and, unlike cumulative sums, cancels nothing.
    """
    return _sums(_sums(maps, size, 1), size, 2).div_(size * size)


def gaussian(maps: Tensor, size: int, sigma: float) -> Tensor:
    """Mean over every window with Gaussian weights of width `sigma`, cut off at `size` and normalized to sum 1."""
    return _weighted(_weighted(maps, size, sigma, 1), size, sigma, 2)


def _sums(maps: Tensor, size: int, dim: int) -> Tensor:
    length = maps.shape[dim] - size + 1
    total, offset, power, width = None, 0, maps, 1
    while True:
        if size & width:
            part = power.narrow(dim, offset, length)
            total = part if total is None else total + part
            offset += width
        if 2 * width > size:
            assert total is not None
            return total if total._base is None else total.clone()
        kept = power.shape[dim] - width
        power = power.narrow(dim, 0, kept) + power.narrow(dim, width, kept)
        width *= 2


def _weighted(maps: Tensor, size: int, sigma: float, dim: int) -> Tensor:
    length, center = maps.shape[dim] - size + 1, size // 2
    weights = gaussian_weights(size, sigma)
    total = maps.narrow(dim, center, length) * weights[0]
    for distance in range(1, center + 1):
        pair = maps.narrow(dim, center - distance, length) + maps.narrow(dim, center + distance, length)
        total.add_(pair, alpha=weights[distance])
    return total


@cache
def gaussian_weights(size: int, sigma: float) -> tuple[float, ...]:
    """Weights of the distances 0 … size // 2 from the center; the whole window sums to 1."""
    raw = [math.exp(-0.5 * (distance / sigma) ** 2) for distance in range(size // 2 + 1)]
    total = raw[0] + 2 * sum(raw[1:])
    return tuple(weight / total for weight in raw)
