"""Figures from rows: a mean, a difference or a ratio over samples, each with its 95 % bootstrap interval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from heatproof.auditing.bootstrap import DRAWN, Array, aligned, bounds, count, cube, resampled_means
from heatproof.errors import InputError

STAGES = "stages"
Combine = Callable[[Array], Array]


class NoRowsError(InputError):
    """What was asked for has no rows: it was not measured, or failed."""


class Measured(NamedTuple):
    """A figure over `n` samples with its 95 % interval; NaN where nothing was measured."""

    value: float
    low: float
    high: float
    n: int

    def text(self, *, percent: bool = False, digits: int = 2) -> str:
        """The figure and its interval as a reader wants them."""
        if not np.isfinite(self.value):
            return "not measured"
        scale, places, unit = (100.0, max(0, digits - 2), " %") if percent else (1.0, digits, "")
        mean, low, high = (f"{scale * part:z.{places}f}" for part in self[:3])
        return f"{mean}{unit} ({low} to {high})" if np.isfinite(self.low) else f"{mean}{unit}"


@dataclass(frozen=True, kw_only=True)
class Pick:
    """Which rows: those equal in every given field; the network's own have the method "".

    `setting` may also be "stages": those of a parameter randomization, without its floors and replicates. `position`
    may also be "first", "last" or "later" (all but the first) of what is there.
    """

    check: str
    method: str | None = None
    metric: str | None = None
    setting: str | None = None
    position: float | str | None = None


@dataclass(frozen=True, kw_only=True)
class Results:
    """The rows of one finished step; of an audit its manifest and run folder as well."""

    rows: pd.DataFrame
    manifest: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    @cached_property
    def checks(self) -> list[str]:
        """The labels of the checks that have rows."""
        return sorted(self.rows["check"].unique())

    def picked(self, pick: Pick) -> pd.DataFrame:
        """The rows of a pick, whatever their position."""
        rows = self.rows
        for name in ("check", "method", "metric", "setting"):
            wanted = self._stages(pick.check) if (name, pick.setting) == ("setting", STAGES) else getattr(pick, name)
            if wanted is not None:
                rows = rows[rows[name] == wanted]
        return rows

    def values(self, pick: Pick) -> "pd.Series[float]":
        """The picked value of every seed and sample, averaged over whatever else the pick leaves open.

        Raises: NoRowsError if no row is picked: a figure of nothing must not look like one.
        """
        return self._of_samples(pick).groupby(DRAWN)["value"].mean().sort_index()

    def positions(self, pick: Pick) -> list[float]:
        """The positions that the picked rows have, in order.

        Raises: NoRowsError if no row is picked.
        """
        return sorted(self._of_samples(pick)["position"].unique().tolist())

    def combined(self, picks: Sequence[Pick], combine: Combine) -> Measured:
        """What `combine` makes of the means of several picks, over the samples that have all, resampled together."""
        return measured(aligned({str(i): self.values(pick) for i, pick in enumerate(picks)}), combine)

    def mean(self, pick: Pick) -> Measured:
        """The mean over samples; degenerate ones (NaN) are left out."""
        return self.combined([pick], lambda means: means[:, 0])

    def difference(self, one: Pick, other: Pick) -> Measured:
        """mean(one) − mean(other), over the samples that have both, resampled together."""
        return self.combined([one, other], lambda means: means[:, 0] - means[:, 1])

    def _of_samples(self, pick: Pick) -> pd.DataFrame:
        rows = self.picked(pick)
        if pick.position is not None and len(rows):
            rows = rows[_at(rows["position"], pick.position)]
        rows = rows[rows["sample"] != ""]
        if rows.empty:
            raise NoRowsError(f"Expected rows for {pick}, but the run has none; its checks are {self.checks}.")
        return rows

    def _stages(self, check: str) -> str:
        groups = {state["group"] for state in self.manifest["states"] if state["kind"] == "randomized"}
        settings = set(self.rows.loc[self.rows["check"] == check, "setting"]) & groups
        if not settings:
            raise NoRowsError(f"Expected rows for the randomizations of {check!r}; the checks are {self.checks}.")
        if len(settings) > 1:
            raise InputError(f"Expected {check!r} to be one randomization, but its settings are {sorted(settings)}.")
        return str(settings.pop())


def _at(positions: "pd.Series[float]", wanted: float | str) -> "pd.Series[bool]":
    if wanted == "later":
        return positions > positions.min()
    ends = {"first": positions.min(), "last": positions.max()}
    return positions == ends.get(str(wanted), wanted)


def over_samples(rows: pd.DataFrame, column: str) -> Measured:
    """The mean over samples of a table's column, averaged within a sample over whatever else its rows differ in."""
    values = rows.groupby("sample")[[column]].mean()
    return measured(pd.concat({0: values}, names=DRAWN), lambda means: means[:, 0])


def measured(values: pd.DataFrame, combine: Combine) -> Measured:
    """What `combine` makes of the means (R, K) of the columns of `values`, by (seed, sample); it gives (R,)."""
    if values.empty:
        return Measured(np.nan, np.nan, np.nan, 0)
    estimate = float(combine(values.to_numpy(np.float64).mean(0, keepdims=True))[0])
    if count(values) < 2:
        return Measured(estimate, np.nan, np.nan, count(values))
    low, high = bounds(combine(resampled_means(cube(values)))[:, None])
    return Measured(estimate, float(low[0]), float(high[0]), count(values))
