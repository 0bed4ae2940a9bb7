"""One rule, three words: surely yes, surely no, cannot be told. From an interval and stated margins, never from less.

Many verdicts stand in one column of a page, one a method. The intervals that decide there are widened so that, of
those that were selected for being decided, no more than 5 % are expected to miss (false coverage rate): with m
candidates, R of them decided, each has the level 1 − 0.05·R/m, R the largest number for which this holds.

Source: Benjamini & Yekutieli 2005, "False discovery rate–adjusted multiple confidence intervals".
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtrit

Answer = Literal["yes", "no", "unknown", ""]
ALPHA = 0.05
FEWEST = 5  # samples, below which nothing is told
MANY = 10_000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over `n` samples with its 95 % interval; `missing` samples have no value."""

    mean: float
    low: float
    high: float
    n: int
    missing: int = 0

    def at(self, alpha: float) -> tuple[float, float]:
        """The interval at the level 1 − alpha, by the quantiles of t with n − 1 degrees of freedom."""
        if not math.isfinite(self.low) or self.n < 2:
            return math.nan, math.nan
        times = float(stdtrit(self.n - 1, alpha / 2) / stdtrit(self.n - 1, ALPHA / 2))
        return self.mean - times * (self.mean - self.low), self.mean + times * (self.high - self.mean)


NOTHING = Estimate(mean=math.nan, low=math.nan, high=math.nan, n=0)


@dataclass(frozen=True, kw_only=True)
class Margin:
    """Which values mean yes and which no: yes beyond `yes`, no on the other side of `no`, in the good direction.

    `good` is "above" or "below". What lies between the two counts as either that the interval does not contradict.
    """

    good: Literal["above", "below"]
    yes: float
    no: float

    def answer(self, low: float, high: float) -> Answer:
        """The answer that a whole interval gives."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return "unknown"
        if self.good == "below":
            return "yes" if high < self.yes else "no" if low >= self.no else "unknown"
        return "yes" if low > self.yes else "no" if high <= self.no else "unknown"

    def text(self) -> str:
        """The margin in words."""
        other = "more" if self.good == "below" else "less"
        return f"yes {self.good} {self.yes:g}, no at {self.no:g} or {other}"


def decide(estimate: Estimate, margin: Margin) -> Callable[[float], Answer]:
    """The answer at a level. Nothing is told by fewer than 5 samples, nor where all samples have one value.

    From equal values no spread is known, and no interval can be had.
    """

    def at(alpha: float) -> Answer:
        if estimate.n < FEWEST or estimate.low == estimate.high:
            return "unknown"
        return margin.answer(*estimate.at(alpha))

    return at


def selected(deciders: Sequence[Callable[[float], Answer]]) -> float:
    """The alpha at which the verdicts of a column are decided, so that the false coverage rate is at most 5 %."""
    m = len(deciders)
    for decided in range(m, 0, -1):
        alpha = ALPHA * decided / m
        if sum(decide_at(alpha) in ("yes", "no") for decide_at in deciders) >= decided:
            return alpha
    return ALPHA / max(m, 1)


def more_samples(estimate: Estimate, margin: Margin) -> int | None:
    """About how many samples would tell, from the spread seen; None where even 10,000 would not.

    The interval shrinks with the root of the number of samples until it leaves the nearer margin.
    """
    bound = min((margin.yes, margin.no), key=lambda at: abs(estimate.mean - at))
    apart, half = abs(estimate.mean - bound), max(estimate.high - estimate.mean, estimate.mean - estimate.low)
    if not math.isfinite(half) or apart == 0:
        return None
    wanted = math.ceil(max(estimate.n, FEWEST) * (half / apart) ** 2)
    return wanted if estimate.n < wanted <= MANY else None
