"""Means over samples with percentile bootstrap intervals, of every group of rows at once.

Values of several seeds are averaged within a sample first, so the samples are what is resampled: an interval says how
far another set of samples would move the mean, not how far another seed would. 95 %, 4000 resamples, fixed seed. Every
quantity is resampled with the same draws of samples, so differences and ratios of means are paired. NaN (a constant
map has no rank) leave the mean and are counted beside it. With few samples a percentile interval is too narrow.
"""

from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 4000
BLOCK = 512
Key = tuple[str, str, str, float, str]
KEYS = ["check", "method", "setting", "position", "metric"]


class Interval(NamedTuple):
    """Mean over `n` samples with its 95 % interval (NaN for fewer than two); `nan` values were degenerate."""

    mean: float
    low: float
    high: float
    n: int
    nan: int


def per_sample(rows: pd.DataFrame) -> pd.DataFrame:
    """Seed-averaged values, samples × (check, method, setting, position, metric), sorted both ways."""
    if rows.empty:
        return pd.DataFrame(columns=pd.MultiIndex.from_tuples([], names=KEYS), dtype=np.float64)
    means = rows.groupby([*KEYS, "sample"])["value"].mean()
    return means.unstack("sample").T.sort_index().sort_index(axis=1)


def column(table: pd.DataFrame, key: Key) -> "pd.Series[float] | None":
    """The samples' values under a key of `per_sample`; None where nothing was measured."""
    return table[key] if key in table.columns else None


def resampled_means(values: Array) -> Array:
    """Bootstrap means (RESAMPLES, K) of `values` (n, K): the same resampled samples for every column; NaN left out."""
    counts = _counts(len(values))
    known = np.isfinite(values)
    weight = counts @ known.astype(np.float64)
    total = counts @ np.where(known, values, 0.0)
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)


@lru_cache(maxsize=8)
def _counts(n: int) -> Array:
    """How often each of n samples is drawn in each resample (RESAMPLES, n); a function of n alone."""
    seed = int.from_bytes(sha256(f"scorecard bootstrap {n}".encode()).digest()[:8], "big")
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)


def bounds(draws: Array) -> tuple[Array, Array]:
    """2.5 and 97.5 percent points of draws (RESAMPLES, …); NaN where no draw has a value."""
    known = np.isfinite(draws).any(axis=0)
    filled = np.where(known, draws, 0.0)
    low, high = np.nanpercentile(filled, [2.5, 97.5], axis=0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def intervals(rows: pd.DataFrame) -> dict[Key, Interval]:
    """The interval of every (check, method, setting, position, metric) among the rows."""
    table = per_sample(rows)
    values = table.to_numpy(np.float64)
    # By blocks of columns: thousands of groups times 4000 draws would not fit into memory at once.
    blocks = [bounds(resampled_means(values[:, start : start + BLOCK])) for start in range(0, values.shape[1], BLOCK)]
    low, high = (np.concatenate([block[side] for block in blocks] or [np.empty(0)]) for side in (0, 1))
    degenerate = rows["value"].isna().groupby([rows[key] for key in KEYS]).sum().to_dict()
    found: dict[Key, Interval] = {}
    for k, key in enumerate(cast("list[Key]", table.columns.tolist())):
        known = values[np.isfinite(values[:, k]), k]
        n, one = len(known), len(known) < 2
        mean = float(known.mean()) if n else np.nan
        ends = (np.nan, np.nan) if one else (float(low[k]), float(high[k]))
        found[key] = Interval(mean, *ends, n, int(degenerate[key]))
    return found
