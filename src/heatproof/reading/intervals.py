"""95 % intervals that cover what they say: of means over samples and seeds, and of what is made of means.

Every sample meets every seed. A mean's interval has two parts, joined by their squares on each side (MOVER):

- *samples*: a studentized bootstrap of the samples' means over seeds. Each resample's distance from the mean is divided
  by its own standard error, and the quantiles of that take the place of the normal's.
- *seeds*: t with S − 1 degrees of freedom times the standard error of the seeds' means, less what samples explain (the
  residual of the two-way table). Two seeds are wide where seeds matter (t = 12.7); three are a third of that. With one
  seed nothing is said of other seeds.

What is made of several means (a ratio, say) is resampled together and gets the percentile interval, expanded to t
quantiles and by √(n/(n − 1)), which a percentile interval of few samples lacks. Draws are fixed: a function of the
number of samples alone.

NaN leave the mean. An interval is NaN for fewer than two samples. Where all samples have one value it is that value: no
other set of samples is known to differ.

`docs/intervals.md` has the coverage that `docs/intervals.py` simulated.

Source: Efron & Tibshirani 1993, ch. 12 (studentized); Hesterberg 2015 (expanded percentiles); Zou & Donner 2008
(MOVER).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from heatproof.reading.resampling import Array, resampled, sums

Combine = Callable[[Array], Array]  # means (R, K) → (R,)

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
FEW = 3  # samples, up to which the interval is that of t
FURTHEST = 4.0  # times the quantile of t, at which a resample's distance is cut off
BLOCK = 512  # columns at a time: thousands of them times all resamples would not fit into memory


def of_means(values: Array) -> tuple[Array, Array]:
    """The interval (K,), (K,) of the mean of each column of `values` (S seeds, n samples, K), NaN left out."""
    width = values.shape[2]
    low, high = np.full(width, np.nan), np.full(width, np.nan)
    for start in range(0, width, BLOCK):
        part = slice(start, start + BLOCK)
        low[part], high[part] = _of_means(values[:, :, part])
    return low, high


def of_combined(values: Array, combine: Combine) -> tuple[float, float]:
    """The interval of `combine` of the means of the columns of `values` (S, n, K), without NaN.

    `combine` takes means (R, K) and gives (R,); the columns are resampled together.
    """
    seeds, n, _ = values.shape
    if n < 2:
        return np.nan, np.nan
    estimate = float(combine(values.mean((0, 1))[None])[0])
    drawn = combine(resampled(values.mean(0)))
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn) or not np.isfinite(estimate):
        return np.nan, np.nan
    tail = float(ndtr(stdtrit(n - 1, TAIL) * np.sqrt(n / (n - 1))))
    low, high = (float(bound) for bound in np.quantile(drawn, [tail, 1 - tail]))
    low, high = min(low, estimate), max(high, estimate)
    if seeds == 1:
        return low, high
    by_seed = combine(values.mean(1))
    spread = float(stdtrit(seeds - 1, 1 - TAIL)) * float(by_seed.std(ddof=1)) / np.sqrt(seeds)
    return estimate - float(np.hypot(estimate - low, spread)), estimate + float(np.hypot(high - estimate, spread))


def of_difference(values: Array) -> tuple[float, float]:
    """The interval of mean(first column) − mean(second) of `values` (S, n, 2), paired by seed and sample."""
    low, high = of_means(values[:, :, :1] - values[:, :, 1:])
    return float(low[0]), float(high[0])


def of_ratio(values: Array) -> tuple[float, float]:
    """The interval of mean(first column) / mean(second) of `values` (S, n, 2), NaN in both columns or in none.

    That of the mean of (a − ρ b)/mean(b), ρ the ratio itself: its deviation to first order.
    """
    known = np.isfinite(values).all((0, 2)) if len(values) == 1 else np.isfinite(values).any((0, 2))
    means = np.array([np.nanmean(values[:, known, k], axis=0).mean() if known.any() else np.nan for k in (0, 1)])
    if not np.isfinite(means).all() or means[1] == 0:
        return np.nan, np.nan
    ratio = means[0] / means[1]
    low, high = of_means((values[:, :, :1] - ratio * values[:, :, 1:]) / means[1])
    return float(ratio + low[0]), float(ratio + high[0])


def _of_means(values: Array) -> tuple[Array, Array]:
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    times = known.sum(0)  # (n, K): over how many seeds a sample is known
    there = times > 0
    n = there.sum(0)
    by_sample = np.divide(filled.sum(0), times, out=np.zeros(times.shape), where=there)
    mean = _ratio(by_sample.sum(0), n)
    low, high = _samples(by_sample, there, mean, n)
    if len(values) > 1:
        spread = _seeds(values, known)
        low, high = mean - np.hypot(mean - low, spread), mean + np.hypot(high - mean, spread)
    return low, high


def _samples(by_sample: Array, there: NDArray[np.bool_], mean: Array, n: NDArray[np.int64]) -> tuple[Array, Array]:
    """The studentized bootstrap over samples."""
    apart = np.where(there, by_sample - mean, 0.0)
    error = np.sqrt(_ratio((apart**2).sum(0), n * (n - 1)))
    weight, first, second = sums(there.astype(np.float64), apart, apart**2)
    moved = _ratio(first, weight)
    spread = np.sqrt(np.maximum(_ratio(_ratio(second, weight) - moved**2, weight - 1), 0.0))
    # Where all that was drawn is one value there is no error to divide by: as far out as anything is taken to be.
    furthest = np.where(n > 1, FURTHEST * stdtrit(np.maximum(n - 1, 1), 1 - TAIL), 0.0)
    some = spread > 1e-12 * np.where(error > 0, error, 1.0)
    distance = np.divide(moved, spread, out=np.sign(np.nan_to_num(moved)) * furthest, where=some)
    lower, upper = _quantiles(np.clip(distance, -furthest, furthest), TAIL * (1 - 1 / np.maximum(n, 2)))
    # Of three samples and fewer one resample in nine is of one sample alone: t says what can be said.
    student = np.where(n > 1, stdtrit(np.maximum(n - 1, 1), 1 - TAIL), np.nan)
    lower, upper = np.where(n > FEW, lower, -student), np.where(n > FEW, upper, student)
    enough = n > 1
    return np.where(enough, mean - upper * error, np.nan), np.where(enough, mean - lower * error, np.nan)


def _quantiles(drawn: Array, tails: Array) -> tuple[Array, Array]:
    """The quantiles (K,) of the columns of `drawn` (R, K) at a tail each, and at one less that tail."""
    drawn = np.sort(drawn, axis=0)
    return tuple(_at(drawn, share * (len(drawn) - 1)) for share in (tails, 1 - tails))  # type: ignore[return-value]  # two


def _at(drawn: Array, places: Array) -> Array:
    below, columns = np.floor(places).astype(int), np.arange(drawn.shape[1])
    part = places - below
    found: Array = drawn[below, columns] * (1 - part) + drawn[np.minimum(below + 1, len(drawn) - 1), columns] * part
    return found


def _seeds(values: Array, known: NDArray[np.bool_]) -> Array:
    """Half the width of the seeds' part: over the samples that every seed has a value of."""
    complete = known.all(0)
    n, seeds = complete.sum(0), len(values)
    filled = np.where(complete, values, 0.0)
    by_seed, by_sample = _ratio(filled.sum(1), n), filled.mean(0)
    grand = by_seed.mean(0)
    rest = np.where(complete, values - by_sample - by_seed[:, None] + grand, 0.0)
    between = n * by_seed.var(0, ddof=1)
    residual = _ratio((rest**2).sum((0, 1)), (n - 1) * (seeds - 1))
    excess = np.maximum(between - np.nan_to_num(residual), 0.0)
    half: Array = -stdtrit(seeds - 1, TAIL) * np.sqrt(_ratio(excess, n * seeds))
    return np.where(n > 0, half, 0.0)


def _ratio(above: Array, below: "Array | NDArray[np.int64]") -> Array:
    below = np.broadcast_to(np.asarray(below, dtype=np.float64), np.shape(above))
    found: Array = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
    return found
