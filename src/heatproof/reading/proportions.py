"""95 % intervals of proportions, and exact tests of counts.

Source: Clopper & Pearson 1934.
"""

import numpy as np
from scipy.special import betaincinv

from heatproof.reading.intervals import TAIL
from heatproof.reading.resampling import Array


def of_share_exactly(hits: int, n: int) -> tuple[float, float]:
    """Clopper and Pearson's interval of a proportion, which covers at least 95 % whatever the proportion is."""
    if n == 0:
        return np.nan, np.nan
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, TAIL))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - TAIL))
    return low, high


def more_hits_than(hits: int, chances: Array) -> tuple[float, float]:
    """How likely as many `hits` or more, and as many or fewer, are among samples that hit with `chances` (n,).

    The exact tails of the Poisson-binomial distribution.
    """
    weights = np.ones(1)
    for chance in chances:
        weights = np.convolve(weights, [1 - chance, chance])
    return float(weights[hits:].sum()), float(weights[: hits + 1].sum())


def more_wins_than(wins: int, losses: int) -> tuple[float, float]:
    """How likely as many `wins` or more, and as many or fewer, are where win and loss are even (exact paired test)."""
    return more_hits_than(wins, np.full(wins + losses, 0.5))
