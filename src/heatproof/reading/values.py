"""Values by seed and sample, as arrays: what every reading is made of."""

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from heatproof.reading.intervals import Array, of_means
from heatproof.reading.rule import Estimate

Key = tuple[str, str, str, float, str]
KEYS = ("check", "method", "setting", "position", "metric")


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
        known = np.isfinite(self.array)
        times = known.sum(0)
        summed = np.where(known, self.array, 0.0).sum(0)
        found: Array = np.divide(summed, times, out=np.full(times.shape, np.nan), where=times > 0)
        return found

    @property
    def mean(self) -> float:
        """The mean over samples, each counted once."""
        known = self.by_sample[np.isfinite(self.by_sample)]
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


def tabulated(rows: pd.DataFrame) -> dict[Key, Values]:
    """The values of every group of rows, over all samples that any has; rows about no single sample are left out.

    Of several values of one seed and sample the mean counts.
    """
    rows = rows[rows["sample"] != ""]
    if rows.empty:
        return {}
    samples, names = pd.factorize(rows["sample"], sort=True)
    groups = cast("dict[Key, Any]", rows.groupby(list(KEYS), sort=True, observed=True).indices)
    values, seeds = rows["value"].to_numpy(np.float64), rows["seed"].to_numpy()
    found: dict[Key, Values] = {}
    for key, at in groups.items():
        ours, place = np.unique(seeds[at], return_inverse=True)
        flat = place * len(names) + samples[at]
        array = np.full(len(ours) * len(names), np.nan)
        if len(np.unique(flat)) == len(flat):
            array[flat] = values[at]
        else:
            array = pd.Series(values[at]).groupby(flat).mean().reindex(range(len(array))).to_numpy()
        known = array.reshape(len(ours), len(names))
        some = np.isfinite(known).any(1)
        kept = some if some.any() else np.arange(len(ours)) == 0
        check, method, setting, position, metric = key
        found[check, method, setting, float(position), metric] = Values(known[kept], tuple(ours[kept].tolist()))
    return found


def intervals(rows: pd.DataFrame, table: dict[Key, Values] | None = None) -> dict[Key, Interval]:
    """The mean and interval of every (check, method, setting, position, metric) among the rows."""
    table = tabulated(rows) if table is None else table
    gone = rows["value"].isna()
    degenerate = gone[gone].groupby([rows.loc[gone, key] for key in KEYS]).size().to_dict() if gone.any() else {}
    found: dict[Key, Interval] = {}
    alike: dict[int, list[Key]] = {}
    for key, values in table.items():
        alike.setdefault(len(values.seeds), []).append(key)
    for keys in alike.values():
        low, high = of_means(np.stack([table[key].array for key in keys], axis=2))
        for key, *ends in zip(keys, low.tolist(), high.tolist(), strict=True):
            found[key] = Interval(table[key].mean, ends[0], ends[1], table[key].n, int(degenerate.get(key, 0)))
    return {key: found[key] for key in table}
