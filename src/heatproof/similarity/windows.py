"""Weighted sums over every window of a map, without padding.

Maps are flat rows (n, H·W): a step down is W numbers on, and a step right is one, so that every pass is one long loop.
Entry i·W + j of a result is the window whose first row and column are i and j. Where j > W − size, a window would
wrap around the border: `inside` leaves those entries out.
"""

import math
from functools import cache

from torch import Tensor


def box(rows: Tensor, size: int, width: int) -> Tensor:
    """Sum over every size × size window of (n, H·width): (n, (H − size)·width + width − size + 1).

    By doubling (1, 2, 4, … neighbors), which takes log₂(size) passes and, unlike cumulative sums, cancels nothing.
    """
    return _sums(_sums(rows, size, width), size, 1)


def gaussian(rows: Tensor, size: int, width: int, sigma: float) -> Tensor:
    """Mean over every window with Gaussian weights of width `sigma`, cut off at `size` and normalized to sum 1."""
    return _weighted(_weighted(rows, size, width, sigma), size, 1, sigma)


def inside(values: Tensor, size: int, height: int, width: int) -> Tensor:
    """The windows that do not wrap: a view (n, height − size + 1, width − size + 1)."""
    shape = (len(values), height - size + 1, width - size + 1)
    return values.as_strided(shape, (values.stride(0), width, 1), values.storage_offset())


def _sums(rows: Tensor, size: int, step: int) -> Tensor:
    length = rows.shape[1] - (size - 1) * step
    total, offset, power, width, parts = None, 0, rows, 1, 0
    while width <= size:
        if size & width:
            part = power[:, offset * step : offset * step + length]
            # From the third part on in place: what was summed so far is nobody else's.
            total = part if total is None else total.add_(part) if parts > 1 else total + part
            offset += width
            parts += 1
        if 2 * width <= size:
            power = power[:, : -width * step] + power[:, width * step :]
        width *= 2
    assert total is not None
    return total


def _weighted(rows: Tensor, size: int, step: int, sigma: float) -> Tensor:
    length, center = rows.shape[1] - (size - 1) * step, size // 2
    weights = gaussian_weights(size, sigma)
    total = rows.narrow(1, center * step, length) * weights[0]
    for distance in range(1, center + 1):
        before = rows.narrow(1, (center - distance) * step, length)
        after = rows.narrow(1, (center + distance) * step, length)
        total.add_(before + after, alpha=weights[distance])
    return total


@cache
def gaussian_weights(size: int, sigma: float) -> tuple[float, ...]:
    """Weights of the distances 0 … size // 2 from the center; the whole window sums to 1."""
    raw = [math.exp(-0.5 * (distance / sigma) ** 2) for distance in range(size // 2 + 1)]
    total = raw[0] + 2 * sum(raw[1:])
    return tuple(weight / total for weight in raw)
