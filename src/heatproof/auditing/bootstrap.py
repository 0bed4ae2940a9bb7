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
WEIGHTS = 2**20  # counts of samples that are held as float64 at once: 8 MiB
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
    """Seed-averaged values, samples × (check, method, setting, position, metric), sorted both ways.

    Rows about no single sample (sample "") are no draws and left out.
    """
    rows = rows[rows["sample"] != ""]
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
    both = np.concatenate([known, np.where(known, values, 0.0)], axis=1)
    step = max(1, WEIGHTS // max(1, len(values)))
    sums = np.concatenate([counts[k : k + step].astype(np.float64) @ both for k in range(0, RESAMPLES, step)])
    weight, total = sums[:, : values.shape[1]], sums[:, values.shape[1] :]
    means: Array = np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)
    return means


@lru_cache(maxsize=4)
def _counts(n: int) -> NDArray[np.uint8]:
    """How often each of n samples is drawn in each resample (RESAMPLES, n); a function of n alone.

    One byte each: fewer than 256 draws cannot exceed it, and of more one sample's count is about Poisson with mean 1.
    """
    seed = int.from_bytes(sha256(f"scorecard bootstrap {n}".encode()).digest()[:8], "big")
    generator, share = np.random.default_rng(seed), np.full(n, 1 / n)
    step = max(1, WEIGHTS // n)
    sizes = [min(step, RESAMPLES - k) for k in range(0, RESAMPLES, step)]
    return np.concatenate([generator.multinomial(n, share, size=size).astype(np.uint8) for size in sizes])


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
