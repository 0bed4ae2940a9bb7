"""Values by seed and sample as pandas tables, for figures that are combined freely."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from heatproof.reading.resampling import Array

DRAWN = ["seed", "sample"]


def aligned(columns: "Mapping[str, pd.Series[float]]") -> pd.DataFrame:
    """Columns side by side, by (seed, sample), where all have a value.

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
