"""How much of a map survives a change, on a scale whose ends are the map's own, by one measure or several.

Sample by sample: s = similarity of the map after the change to the one before, by magnitude where signs may turn, since
a map with its signs turned is the same picture; 0 for a map that is blank where the one before is not, since it lost
everything (two blank maps, or a blank one before, have no value). r = the method's own repeatability, c = chance: that
of the map with itself permuted among the features that are not zero in both. Survival u = (s − c)/(r − c): 0 is what is
left where nothing of its places is, 1 is what the method reaches with itself. A low similarity alone is no merit: zero
covariance minimizes these measures, and noise has it; and zeros that no network changes make any two maps alike.

Source: Binder et al. 2023, Theorems 1, 3, 4 (why low is no merit). The scale is ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from heatproof.reading.intervals import of_combined, of_ratio
from heatproof.reading.resampling import Array
from heatproof.reading.rule import FEWEST, Estimate
from heatproof.reading.shares import in_words, sentence
from heatproof.reading.values import Values, aligned

NINE_TENTHS, HALF, TENTH = 0.9, 0.5, 0.1
SIGNED = ("spearman",)
JUDGED = {"spearman": "what counts for and against", "spearman-absolute": "where the map is strong"}
EXACT = 1 - 1e-6


class Measured(NamedTuple):
    """What survival is made of, by one measure; None where it was not measured, and c where r was not."""

    metric: str
    s: Values | None
    r: Values | None
    c: Values | None


@dataclass(frozen=True, kw_only=True)
class Survival:
    """How much survives by one measure, over the samples that have s, r and c; `reason`: why nothing can be told."""

    share: Estimate
    similarity: float
    own: float
    chance: float
    noise: str = ""  # "is noise" where the method does not repeat: then there is no scale
    unchanged: bool = False  # s is 1 for every sample
    reason: str = ""

    @property
    def told(self) -> str:
        """The share that survives, with its interval, in words."""
        return in_words(self.share.mean, self.share.low, self.share.high)

    @property
    def untold(self) -> str:
        """Why there is no share: what is missing, or that the map is noise itself; empty where there is one."""
        return self.reason or ("two runs on the same network agree no better than by chance" if self.noise else "")


def survival(
    s: Values | None, r: Values | None, c: Values | None, *, metric: str, samples: int, missing: Mapping[str, str]
) -> Survival:
    """The survival by values; without `r` a method repeats exactly.

    `missing` says what it means that s or c was not measured. The check that gives s gives its yardsticks too, so one
    that is missing has failed.
    """
    if s is None or c is None:
        return _untold(missing["s" if s is None else "c"])
    signed, _ = _beside(s, r, c)
    unchanged = bool((signed[:, :, 0][np.isfinite(signed[:, :, 0])] >= EXACT).all())
    stacked = np.abs(signed) if metric in SIGNED else signed
    kept = np.isfinite(stacked[:, :, 0])
    n = int(kept.any(0).sum())
    if n < max(FEWEST, samples / 2):
        few = f"only {n} of {samples} samples have a similarity (a blank map has none)"
        return _untold(few if n < samples else f"{n} samples are fewer than {FEWEST}, the least", samples - n)
    chance, own = stacked[:, :, 1], stacked[:, :, 2]
    above = np.stack([stacked[:, :, 0], own, np.where(kept, 1.0, np.nan)], axis=2) - chance[:, :, None]
    low, high = of_ratio(above[:, :, [0, 1]])
    repeats_low, repeats_high = of_ratio(above[:, :, [1, 2]]) if r is not None else (1.0, 1.0)
    means = [Values(part, (0,) * len(part)).mean for part in (stacked[:, :, 0], own, chance)]
    noise, reason = "", ""
    if not repeats_low > TENTH:
        noise = "is noise" if repeats_high <= HALF else ""
        reason = "" if noise else "too few samples to tell its own noise from chance"
    elif means[2] > NINE_TENTHS and not (np.isfinite(low) and high - low <= HALF):
        reason = f"on these samples its features permuted are as alike as {means[2]:.2f}: this similarity tells little"
    # Where the ends of the scale are not surely apart the quotient is of a number near 0, and says nothing.
    share = (means[0] - means[2]) / (means[1] - means[2]) if means[1] != means[2] else np.nan
    share, low, high = (np.nan, np.nan, np.nan) if noise or reason else (share, low, high)
    return Survival(
        share=Estimate(mean=share, low=low, high=high, n=n, missing=samples - n),
        similarity=means[0],
        own=means[1],
        chance=means[2],
        noise=noise,
        unchanged=unchanged,
        reason=reason,
    )


def more_survives(one: Measured, other: Measured, *, samples: int) -> Estimate:
    """By how much more of the first's maps survives than of the second's, u − u′, over the samples that both have."""
    gone = float("nan")
    if None in (one.s, one.c, other.s, other.c):
        return Estimate(mean=gone, low=gone, high=gone, n=0, missing=samples)
    stacked, _ = aligned(*by_magnitude(one), *by_magnitude(other))
    complete = np.isfinite(stacked).all((0, 2))
    values = stacked[:, complete]

    def apart(means: Array) -> Array:
        (s, c, r), (s2, c2, r2) = means[:, :3].T, means[:, 3:].T
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Array = (s - c) / (r - c) - (s2 - c2) / (r2 - c2)
        return found

    n = int(complete.sum())
    mean = float(apart(values.mean((0, 1))[None])[0]) if n else gone
    low, high = of_combined(values, apart)
    return Estimate(mean=mean, low=low, high=high, n=n, missing=samples - n)


def least(grades: Mapping[str, Survival]) -> str:
    """The measure under which least survives: it counts where surviving is good."""
    return min(grades, key=lambda name: np.nan_to_num(grades[name].share.mean, nan=np.inf))


def worst(grades: Mapping[str, Survival]) -> str:
    """The measure under which most survives: it counts."""
    return max(grades, key=lambda name: np.nan_to_num(grades[name].share.mean, nan=-np.inf))


def graded(low: float, high: float) -> str:
    """The word for an interval of survival; both ends where it straddles a margin."""
    if low >= HALF:
        return "does not depend" if low >= NINE_TENTHS else "hardly depends"
    if high < TENTH:
        return "depends"
    if high < HALF:
        return "depends in part" if low >= TENTH else "depends, perhaps in part"
    return "cannot be told"


def untold_among(grades: Mapping[str, Survival]) -> str:
    """Why one of the measures tells nothing, in a sentence; empty where each tells something."""
    reason = next((one.untold for one in grades.values() if one.untold), "")
    return f"{sentence(reason)}." if reason else ""


def _beside(s: Values, r: Values | None, c: Values) -> tuple[Array, tuple[int, ...]]:
    """s, c and r side by side, (seeds, samples, 3), with the seeds; r is 1 for a method that repeats exactly.

    A blank map where the trained one has a pattern lost everything; c has no value where the trained one is blank.
    """
    stacked, seeds = aligned(s.filled(0.0), c, *(() if r is None else (r,)))
    if r is None:
        stacked = np.concatenate([stacked, np.where(np.isfinite(stacked[:, :, :1]), 1.0, np.nan)], axis=2)
    return stacked, seeds


def by_magnitude(of: Measured) -> list[Values]:
    """s, c and r of a method's maps, by magnitude where signs may turn."""
    assert of.s is not None
    assert of.c is not None
    stacked, seeds = _beside(of.s, of.r, of.c)
    stacked = np.abs(stacked) if of.metric in SIGNED else stacked
    return [Values(stacked[:, :, k], seeds) for k in range(3)]


def _untold(reason: str, missing: int = 0) -> Survival:
    gone = float("nan")
    nothing = Estimate(mean=gone, low=gone, high=gone, n=0, missing=missing)
    return Survival(share=nothing, similarity=gone, own=gone, chance=gone, reason=reason)
