"""What a scorecard is made of: one answer to one question about one method."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from heatproof.auditing.bootstrap import Interval, Key, aligned, bounds, count, cube, resampled_means

Manifest = Mapping[str, Any]
Means = Mapping[Key, Interval]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One answer: mean over samples with its 95 % interval, and what it means.

    `n` samples have a value, `nan` values are degenerate. `verdict` is empty where a number is shown but not judged.
    `tone` is one of good, mid, bad, noise, unknown, plain.
    """

    method: str
    question: str
    check: str
    setting: str
    metric: str
    mean: float
    low: float = np.nan
    high: float = np.nan
    n: int = 0
    nan: int = 0
    verdict: str = ""
    tone: str = "plain"
    sentence: str = ""


def finding_of(
    means: Means, key: Key, question: str, *, verdict: str = "", tone: str = "plain", sentence: str = ""
) -> Finding:
    """A finding on what `means` has under `key`."""
    check, method, setting, _, metric = key
    return Finding(
        method=method,
        question=question,
        check=check,
        setting=setting,
        metric=metric,
        verdict=verdict,
        tone=tone,
        sentence=sentence,
        **means[key]._asdict(),
    )


def paired_difference(first: "pd.Series[float]", second: "pd.Series[float]") -> tuple[float, float]:
    """95 % interval of mean(first) − mean(second), by (seed, sample) where both are; NaN for fewer than two samples."""
    both = aligned({"a": first, "b": second})
    if count(both) < 2:
        return float("nan"), float("nan")
    draws = resampled_means(cube(both))
    low, high = bounds(draws[:, 0] - draws[:, 1])
    return float(low), float(high)


def withheld(manifest: Manifest) -> str:
    """Why no map of this run may be called good; empty where nothing speaks against it."""
    known = manifest.get("knowledge") or {}
    return f"Withheld: {known['sentence']}" if known.get("near_chance") else ""


def unmeasured(manifest: Manifest) -> str:
    """Why nothing is known of how right the network is; empty where it was measured."""
    known = manifest.get("knowledge") or {}
    return "" if known.get("measure") else str(known.get("sentence", ""))
