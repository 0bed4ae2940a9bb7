"""Values by seed and sample as pandas tables, for figures that are combined freely."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from heatproof.reading.intervals import Array

Key = tuple[str, str, str, float, str]
KEYS = ["check", "method", "setting", "position", "metric"]
DRAWN = ["seed", "sample"]


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
