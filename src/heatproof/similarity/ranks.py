"""Average ranks and correlations of rows, in float64."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def centered_ranks(rows: Tensor) -> Tensor:
    """Ranks of each row (n, F), ties averaged, minus their mean (F − 1)/2: (n, F) float64; a row with NaN gives NaN.

    Ranks are multiples of ½, so sums of their products are exact in float64 up to F ≈ 300,000, in any order.
    On a CPU, NumPy's radix sort of 16-bit digits is several times as fast as `torch.sort`.
    """
    # Halves are exact in float32. Adding 0 turns −0 into 0: they tie.
    values = (rows if rows.dtype == torch.float64 else rows.float()) + 0.0
    if rows.device.type == "cpu":
        ranks = torch.from_numpy(_ranks_by_radix(values.numpy()))
    else:
        ordered = values.sort(dim=1).values
        below = torch.searchsorted(ordered, values.contiguous())
        upto = torch.searchsorted(ordered, values.contiguous(), right=True)
        ranks = (below + upto).double().sub_(1).div_(2)
    ranks -= (rows.shape[1] - 1) / 2
    ranks[values.isnan().any(1)] = torch.nan
    return ranks


def correlation(first: Tensor, second: Tensor, first_square: Tensor, second_square: Tensor) -> Tensor:
    """Pearson's Σab / √(Σa² Σb²) of centered rows (n, F), given the sums of squares (n,); NaN where one is constant."""
    product = (first * second).sum(1)
    # The root of the product, so that a row is correlated with itself by exactly 1.
    return (product / (first_square * second_square).sqrt()).clamp(-1, 1)


def _ranks_by_radix(values: NDArray[np.floating]) -> NDArray[np.float64]:
    n, count = values.shape
    keys = _ordered_bits(values)
    order: NDArray[np.intp] | None = None
    for digit in range(keys.itemsize // 2):
        column = (keys >> (16 * digit)).astype(np.uint16)
        # NumPy's stable sort of 16-bit integers is a radix sort.
        if order is None:
            order = np.argsort(column, axis=1, kind="stable")
        else:
            moved = np.argsort(np.take_along_axis(column, order, 1), axis=1, kind="stable")
            order = np.take_along_axis(order, moved, 1)
    assert order is not None
    ordered = np.take_along_axis(keys, order, 1)
    starts = np.ones((n, count), dtype=bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=starts[:, 1:])
    first = np.flatnonzero(starts)
    lengths = np.diff(first, append=n * count)
    shared = np.repeat(first % max(count, 1) + (lengths - 1) / 2, lengths).reshape(n, count)
    ranks = np.empty((n, count))
    np.put_along_axis(ranks, order, shared, 1)
    return ranks


def _ordered_bits(values: NDArray[np.floating]) -> NDArray[np.unsignedinteger]:
    """Unsigned integers in the order of the floats: flip the sign bit of positive ones, every bit of negative ones."""
    unsigned, signed = (np.uint32, np.int32) if values.itemsize == 4 else (np.uint64, np.int64)
    width = 8 * values.itemsize
    negative = (values.view(signed) >> (width - 1)).view(unsigned)
    flipped: NDArray[np.unsignedinteger] = values.view(unsigned) ^ (negative | unsigned(1 << (width - 1)))
    return flipped
