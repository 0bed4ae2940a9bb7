"""Means over samples and seeds with percentile bootstrap intervals, of every group of rows at once.

Every sample meets every seed, so both are resampled, independently of each other (the crossed, or pigeonhole
bootstrap): an interval says how far another set of samples and other seeds would move the mean. Of S seeds S − 1 are
drawn, because S would give a variance of (S − 1)/S of the right one, half of it for two. With one seed only samples are
resampled, and the interval says nothing of other seeds. 95 %, 4000 resamples, fixed draws. Every quantity is resampled
with the same draws, so differences and ratios of means are paired. NaN (a constant map has no rank) leave the mean and
are counted beside it. With few samples a percentile interval is too narrow; with two or three seeds it is coarse.

Source: Owen 2007, "The pigeonhole bootstrap"; S − 1 draws: McCarthy & Snowden 1985.
"""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 4000
BLOCK = 512
WEIGHTS = 2**20  # counts of samples that are held as float64 at once: 8 MiB
Key = tuple[str, str, str, float, str]
KEYS = ["check", "method", "setting", "position", "metric"]
DRAWN = ["seed", "sample"]


class Interval(NamedTuple):
    """Mean over `n` samples with its 95 % interval (NaN for fewer than two); `nan` values were degenerate."""

    mean: float
    low: float
    high: float
    n: int
    nan: int


def per_sample(rows: pd.DataFrame) -> pd.DataFrame:
    """Values, (seed, sample) × (check, method, setting, position, metric), sorted both ways; NaN where there is none.

    Rows about no single sample (sample "") are no draws and left out.
    """
    rows = rows[rows["sample"] != ""]
    if rows.empty:
        index = pd.MultiIndex.from_tuples([], names=DRAWN)
        return pd.DataFrame(index=index, columns=pd.MultiIndex.from_tuples([], names=KEYS), dtype=np.float64)
    means = rows.groupby([*KEYS, *DRAWN])["value"].mean()
    return means.unstack(DRAWN).T.sort_index().sort_index(axis=1)


def column(table: pd.DataFrame, key: tuple[Any, ...]) -> "pd.Series[float] | None":
    """The values by (seed, sample) under a key of `per_sample`, of its own seeds; None where nothing was measured."""
    if key not in table.columns:
        return None
    values: pd.Series[float] = table[key]
    known = values.index.get_level_values("seed").isin(values.dropna().index.get_level_values("seed"))
    return values[known]


def aligned(columns: "Mapping[str, pd.Series[float]]") -> pd.DataFrame:
    """Columns of `column` side by side, by (seed, sample), where all have a value.

    A column of one seed, such as a quantity of the trained network, stands beside every seed of the others.
    """
    seeds = {name: values.index.get_level_values("seed").unique() for name, values in columns.items()}
    several = {name for name, found in seeds.items() if len(found) > 1}
    alone = pd.DataFrame({name: values.droplevel("seed") for name, values in columns.items() if name not in several})
    drawn = sorted(set().union(*(seeds[name] for name in several))) or [0]
    beside = pd.concat(dict.fromkeys(drawn, alone), names=DRAWN)
    parts = {name: columns[name] if name in several else beside[name] for name in columns}
    return pd.DataFrame(parts).dropna().sort_index()


def cube(frame: pd.DataFrame) -> Array:
    """A frame by (seed, sample) as (seeds, samples, columns), NaN where it has no row."""
    seeds, samples = (frame.index.get_level_values(level).unique().sort_values() for level in DRAWN)
    full = frame.reindex(pd.MultiIndex.from_product([seeds, samples], names=DRAWN))
    values: Array = full.to_numpy(np.float64).reshape(len(seeds), len(samples), frame.shape[1])
    return values


def count(frame: "pd.DataFrame | pd.Series[float]") -> int:
    """How many samples a frame by (seed, sample) has."""
    return int(frame.index.get_level_values("sample").nunique())


def resampled_means(values: Array) -> Array:
    """Bootstrap means (RESAMPLES, K) of `values` (n, K) or (S, n, K), the same draws for every column; NaN left out."""
    stack = values[None] if values.ndim == 2 else values
    seeds, n, width = stack.shape
    counts, drawn = _counts(n), _seed_counts(seeds)
    step = max(1, WEIGHTS // max(1, n))
    sums = np.zeros((RESAMPLES, 2 * width))
    for s in range(seeds):
        known = np.isfinite(stack[s])
        both = np.concatenate([known, np.where(known, stack[s], 0.0)], axis=1)
        parts = [counts[k : k + step].astype(np.float64) @ both for k in range(0, RESAMPLES, step)]
        sums += drawn[:, s, None] * np.concatenate(parts)
    weight, total = sums[:, :width], sums[:, width:]
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


def _seed_counts(seeds: int) -> Array:
    """How often each seed is drawn in each resample (RESAMPLES, seeds); a function of their number alone."""
    if seeds == 1:
        return np.ones((RESAMPLES, 1))
    key = int.from_bytes(sha256(f"scorecard bootstrap of {seeds} seeds".encode()).digest()[:8], "big")
    drawn = np.random.default_rng(key).multinomial(seeds - 1, np.full(seeds, 1 / seeds), size=RESAMPLES)
    return drawn.astype(np.float64)


def bounds(draws: Array) -> tuple[Array, Array]:
    """2.5 and 97.5 percent points of draws (RESAMPLES, …); NaN where no draw has a value."""
    known = np.isfinite(draws).any(axis=0)
    filled = np.where(known, draws, 0.0)
    low, high = np.nanpercentile(filled, [2.5, 97.5], axis=0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def intervals(rows: pd.DataFrame) -> dict[Key, Interval]:
    """The interval of every (check, method, setting, position, metric) among the rows."""
    table = per_sample(rows)
    degenerate = rows["value"].isna().groupby([rows[key] for key in KEYS]).sum().to_dict()
    known = table.notna().groupby(level="seed").any()
    found: dict[Key, Interval] = {}
    alike: dict[tuple[int, ...], list[Key]] = {}  # keys by their seeds; one without any value has whatever there is
    for key in cast("list[Key]", table.columns.tolist()):
        alike.setdefault(tuple(known.index[known[key]]) or tuple(known.index[:1]), []).append(key)
    for seeds, keys in alike.items():
        values = cube(table.loc[list(seeds), keys])
        # By blocks of columns: thousands of groups times 4000 draws would not fit into memory at once.
        for start in range(0, len(keys), BLOCK):
            block = values[:, :, start : start + BLOCK]
            low, high = bounds(resampled_means(block))
            for k, key in enumerate(keys[start : start + BLOCK]):
                finite = np.isfinite(block[:, :, k])
                n = int(finite.any(axis=0).sum())
                mean = float(block[:, :, k][finite].mean()) if n else np.nan
                ends = (np.nan, np.nan) if n < 2 else (float(low[k]), float(high[k]))
                found[key] = Interval(mean, *ends, n, int(degenerate[key]))
    return {key: found[key] for key in cast("list[Key]", table.columns.tolist())}
