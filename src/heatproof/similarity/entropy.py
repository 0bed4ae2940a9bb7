"""How complex a map is: the entropy of the histogram of its values, in bins that two maps share."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from heatproof.errors import InputError, unknown
from heatproof.similarity.normalization import NORMALIZATIONS, normalized, percentiles

SPANS = ("shared", "own")
FEWEST, MOST = 10, 200  # bins that a rule may choose


def entropies(
    maps: Tensor, other: Tensor, *, bins: int | str = 100, span: str = "shared", normalization: str = "second-moment"
) -> tuple[Tensor, Tensor]:
    """Shannon entropies (N,) float64, in bits, of the histograms of two batches of maps (N, *grid).

    H = −Σ_b p_b log₂ p_b with p_b the share of a map's features in bin b; the last bin includes its upper end. Each map
    is normalized by itself first. The bins are equally wide, from the least to the greatest value of both maps (`span`
    "shared") or of each map by itself ("own", as published code has it), and their number is `bins`, or a rule for the
    first map's values: `square-root`, `sturges`, or `freedman-diaconis` (of equal width over the span), from 10 to 200.

    In [0, log₂ bins]. NaN if one of the two maps is constant or not finite.
    Raises: InputError for settings that mean nothing.
    """
    check_bins(bins, span, normalization)
    first, second = (normalized(each, normalization).flatten(1) for each in (maps, other))
    usable = ~(first.sum(1).isnan() | second.sum(1).isnan())
    first, second = first.nan_to_num(), second.nan_to_num()
    ends = [torch.stack(row.aminmax(dim=1), 1) for row in (first, second)]
    if span == "shared":
        ends = [torch.stack([torch.minimum(*ends)[:, 0], torch.maximum(*ends)[:, 1]], 1)] * 2
    found = []
    for rows, (low, high) in zip((first, second), (end.unbind(1) for end in ends), strict=True):
        count = torch.full_like(low, bins) if isinstance(bins, int) else RULES[bins](first, high - low)
        found.append(torch.where(usable, _entropy(rows, low, high, count.clamp(*_limits(bins))), torch.nan))
    return found[0], found[1]


def check_bins(bins: int | str, span: str, normalization: str) -> None:
    """Refuse settings of `entropies` that mean nothing."""
    if isinstance(bins, str) and bins not in RULES:
        raise unknown("rule for the number of bins", bins, RULES)
    if not isinstance(bins, str) and bins < 2:
        raise InputError(f"Expected at least 2 bins, but got {bins}.")
    if span not in SPANS:
        raise unknown("span of the bins", span, SPANS)
    if normalization not in NORMALIZATIONS:
        raise unknown("normalization", normalization, NORMALIZATIONS)


def _limits(bins: int | str) -> tuple[int, int]:
    return (bins, bins) if isinstance(bins, int) else (FEWEST, MOST)


def _entropy(rows: Tensor, low: Tensor, high: Tensor, count: Tensor) -> Tensor:
    """Bits (n,) of rows (n, F) in `count` (n,) bins from `low` to `high`."""
    place = (rows - low[:, None]) / torch.where(high > low, high - low, 1)[:, None] * count[:, None]
    index = torch.minimum(place.floor(), count[:, None] - 1).long()
    histogram = rows.new_zeros(len(rows), int(count.max()) if len(rows) else 0)
    histogram.scatter_add_(1, index, torch.ones_like(rows))
    shares = histogram / rows.shape[1]
    return -torch.xlogy(shares, shares).sum(1) / math.log(2)


def _square_root(rows: Tensor, width: Tensor) -> Tensor:
    return torch.full_like(width, math.ceil(math.sqrt(rows.shape[1])))


def _sturges(rows: Tensor, width: Tensor) -> Tensor:
    return torch.full_like(width, math.ceil(math.log2(rows.shape[1])) + 1)


def _freedman_diaconis(rows: Tensor, width: Tensor) -> Tensor:
    """Bins as wide as twice the distance of the quartiles over the cube root of the number of values."""
    lower, upper = percentiles(rows, (25, 75)).unbind(1)
    wide = 2 * (upper - lower) / math.cbrt(rows.shape[1])
    return (width / wide).ceil().nan_to_num(nan=MOST, posinf=MOST)


RULES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "square-root": _square_root,
    "sturges": _sturges,
    "freedman-diaconis": _freedman_diaconis,
}
