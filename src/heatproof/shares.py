"""The interval of a share."""

import math

Z = 1.959964  # of 95 %


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` independent samples; NaN of none.

    Source: Wilson 1927, without correction for continuity.
    """
    if count == 0:
        return math.nan, math.nan
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * math.sqrt(share * (1 - share) / count + (Z / (2 * count)) ** 2)
    return middle - half, middle + half
