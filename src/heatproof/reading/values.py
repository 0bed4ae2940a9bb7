"""Values by seed and sample, as arrays: what every reading is made of."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from heatproof.reading.intervals import of_means
from heatproof.reading.resampling import Array
from heatproof.reading.rule import Estimate

Key = tuple[str, str, str, float, str]


class Interval(NamedTuple):
    """Mean over `n` samples with its 95 % interval (NaN for fewer than two); `nan` values were degenerate."""

    mean: float
    low: float
    high: float
    n: int
    nan: int


@dataclass(frozen=True, eq=False)
class Values:
    """One quantity's values (seeds, samples), NaN where it has none. All of a run stand over the same samples."""

    array: Array
    seeds: tuple[int, ...]

    @property
    def n(self) -> int:
        """How many samples have a value under any seed."""
        return int(np.isfinite(self.array).any(0).sum())

    @property
    def by_sample(self) -> Array:
        """The mean (samples,) over seeds, NaN where there is none."""
        return known_mean(self.array)

    @property
    def mean(self) -> float:
        """The mean over samples, each counted once."""
        by_sample = self.by_sample
        known = by_sample[np.isfinite(by_sample)]
        return float(known.mean()) if len(known) else float("nan")

    def __abs__(self) -> "Values":
        return Values(np.abs(self.array), self.seeds)

    def __mul__(self, factor: float) -> "Values":
        return Values(self.array * factor, self.seeds)

    def filled(self, value: float) -> "Values":
        """The same with `value` where there is none."""
        return Values(np.where(np.isfinite(self.array), self.array, value), self.seeds)

    def estimate(self, samples: int) -> Estimate:
        """The mean with its interval, of so many samples that there are."""
        low, high = of_means(self.array[:, :, None])
        return Estimate(mean=self.mean, low=float(low[0]), high=float(high[0]), n=self.n, missing=samples - self.n)


def known_mean(stacked: Array) -> Array:
    """The mean over the first dimension of what there is, NaN where there is nothing."""
    known = np.isfinite(stacked)
    times = known.sum(0)
    summed = np.where(known, stacked, 0.0).sum(0)
    found: Array = np.divide(summed, times, out=np.full(times.shape, np.nan), where=times > 0)
    return found


def aligned(*columns: Values) -> tuple[Array, tuple[int, ...]]:
    """Quantities side by side, (seeds, samples, columns), NaN where any has none.

    One of a single seed, such as a quantity of the trained network, stands beside every seed of the others.
    """
    several = [set(one.seeds) for one in columns if len(one.seeds) > 1]
    seeds = tuple(sorted(set.intersection(*several))) if several else columns[0].seeds
    parts = [
        one.array[[one.seeds.index(seed) for seed in seeds]]
        if len(one.seeds) > 1
        else np.repeat(one.array, len(seeds), axis=0)
        for one in columns
    ]
    stacked = np.stack(parts, axis=2)
    return np.where(np.isfinite(stacked).all(2, keepdims=True), stacked, np.nan), seeds


def difference(first: Values, second: Values) -> Values:
    """first − second, by seed and sample."""
    both, seeds = aligned(first, second)
    return Values(both[:, :, 0] - both[:, :, 1], seeds)
