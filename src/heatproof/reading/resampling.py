"""Resamples of n samples: the same for every quantity and every run, a function of n alone."""

from functools import lru_cache
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 2000
WEIGHTS = 2**20  # counts of samples that are held as float64 at once: 8 MiB


def sums(*columns: Array) -> list[Array]:
    """The sums (RESAMPLES, K) of what every resample draws of the columns (n, K)."""
    counts, step = _counts(len(columns[0])), max(1, WEIGHTS // max(1, len(columns[0])))
    blocks = [counts[k : k + step].astype(np.float64) for k in range(0, RESAMPLES, step)]
    return [np.concatenate([block @ column for block in blocks]) for column in columns]


def resampled(values: Array) -> Array:
    """Means (RESAMPLES, K) of every resample of `values` (n, K)."""
    (drawn,) = sums(values)
    return drawn / len(values)


@lru_cache(maxsize=4)
def _counts(n: int) -> NDArray[np.uint8]:
    """How often each of n samples is drawn in each resample (RESAMPLES, n); a function of n alone.

    One byte each: fewer than 256 draws cannot exceed it, and of more one sample's count is about Poisson with mean 1.
    """
    seed = int.from_bytes(sha256(f"bootstrap of {n} samples".encode()).digest()[:8], "big")
    generator, share = np.random.default_rng(seed), np.full(n, 1 / n)
    step = max(1, WEIGHTS // n)
    sizes = [min(step, RESAMPLES - k) for k in range(0, RESAMPLES, step)]
    return np.concatenate([generator.multinomial(n, share, size=size).astype(np.uint8) for size in sizes])
