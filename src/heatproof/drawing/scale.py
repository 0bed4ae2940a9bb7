"""How a map becomes levels of grey: one rule for the page, for `heatproof explain` and for notebooks."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
CLIP = 99.5  # percentile of the magnitudes that gets the strongest color: one pixel alone should not pale all others
ALIKE = 1e-3  # of its largest magnitude, what a map varies by at least to have a pattern


class Flat(NamedTuple):
    """A map without a pattern: `blank` where all of it is zero, else the value that all of it is near."""

    blank: bool
    value: float

    @property
    def said(self) -> str:
        """What stands in its place."""
        return "blank: all zero" if self.blank else f"constant: {self.value:.3g}"


def scale_of(values: Floats) -> float:
    """The magnitude that gets the strongest color: the 99.5th percentile of magnitudes, their maximum where that is 0.

    1 for a map that is all zero. NaN and infinite values count as zero.
    """
    size = np.abs(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0))
    return float(np.percentile(size, CLIP)) or float(size.max(initial=0.0)) or 1.0


def levels(values: Floats, scale: float, *, signed: bool) -> NDArray[np.uint8]:
    """8-bit grey: 1 … 255 with zero at 128 for signed values, 0 … 255 for others."""
    level = np.clip(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0) / scale, -1 if signed else 0, 1)
    found: NDArray[np.uint8] = np.rint(128 + 127 * level if signed else 255 * level).astype(np.uint8)
    return found


def flat(values: Floats) -> Flat | None:
    """What to say of a map that varies by less than a thousandth of its largest magnitude; None for one with a pattern.

    Such a map, drawn, would be one solid color, or rounding made visible.
    """
    known = values[np.isfinite(values)]
    largest = float(np.abs(known).max(initial=0.0))
    if largest == 0:
        return Flat(True, 0.0)
    return Flat(False, float(known.mean())) if float(np.ptp(known)) < ALIKE * largest else None
