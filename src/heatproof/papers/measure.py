"""Figures from rows: a mean, a difference or a ratio over samples, each with its 95 % interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from heatproof.errors import InputError
from heatproof.reading.evidence import Evidence
from heatproof.reading.intervals import Combine, of_combined, of_means
from heatproof.reading.rule import Estimate
from heatproof.reading.tables import DRAWN, aligned, count, cube
from heatproof.rows import chance_of

STAGES = "stages"
MANY = 1e6  # from here on only the order of magnitude is told


class NoRowsError(InputError):
    """What was asked for has no rows: it was not measured, or failed.

    Attributes:
        pick: what was asked for.
    """

    def __init__(self, pick: "Pick", checks: Sequence[str]) -> None:
        super().__init__(f"Expected rows for {pick}, but the run has none; its checks are {checks}.")
        self.pick = pick


class Measured(NamedTuple):
    """A figure over `n` samples with its 95 % interval; NaN where nothing was measured.

    `degenerate` samples more were measured, but have no value, such as the rank of a constant map.
    """

    value: float
    low: float
    high: float
    n: int
    degenerate: int = 0

    def above(self, bound: float) -> "Measured":
        """By how much the figure is above a bound, with its interval."""
        return self._replace(value=self.value - bound, low=self.low - bound, high=self.high - bound)

    def below(self, bound: float) -> "Measured":
        """By how much the figure is below a bound, with its interval."""
        return self._replace(value=bound - self.value, low=bound - self.high, high=bound - self.low)

    @property
    def estimate(self) -> Estimate:
        """The same, as verdicts are made of."""
        return Estimate(mean=self.value, low=self.low, high=self.high, n=self.n, missing=self.degenerate)

    def text(self, *, percent: bool = False, digits: int = 2) -> str:
        """The figure and its interval as a reader wants them."""
        if not np.isfinite(self.value):
            return "not measured"
        scale, places, unit = (100.0, max(0, digits - 2), " %") if percent else (1.0, digits, "")
        mean, low, high = (
            f"{scale * part:z.{places}f}" if abs(scale * part) < MANY else f"{scale * part:.1e}" for part in self[:3]
        )
        alone = self.low == self.high and self.n > 1  # no spread is known, and no interval can be had
        told = [f"all of {self.n} samples"] if alone else [f"{low} to {high}"] if np.isfinite(self.low) else []
        told += [f"{self.n} of {self.n + self.degenerate} samples"] if self.degenerate else []
        return f"{mean}{unit}" + (f" ({'; '.join(told)})" if told else "")


@dataclass(frozen=True, kw_only=True)
class Pick:
    """Which rows: those equal in every given field; the network's own have the method "".

    `setting` may also be "stages": those of a parameter randomization, without its floors and replicates. `position`
    may also be "first", "last" or "later" (all after the trained network, which stands at 0) of what is there.
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

    @cached_property
    def evidence(self) -> Evidence:
        """The rows as the scorecard reads them. Raises: StoreError for what is no audit of this version."""
        return Evidence.of(self.rows, self.manifest)

    def setting(self, pick: Pick) -> str:
        """The setting of a pick's rows. Raises: NoRowsError where a randomization is asked for that has none."""
        return self._stages(pick) if pick.setting == STAGES else pick.setting or ""

    def position(self, pick: Pick) -> float:
        """The one position of a pick. Raises: NoRowsError if no row is picked."""
        (found,) = self._of_samples(pick)["position"].unique().tolist()
        return float(found)

    def picked(self, pick: Pick) -> pd.DataFrame:
        """The rows of a pick, whatever their position."""
        rows = self.rows
        for name in ("check", "method", "metric", "setting"):
            wanted = self._stages(pick) if (name, pick.setting) == ("setting", STAGES) else getattr(pick, name)
            if wanted is not None:
                rows = rows[rows[name] == wanted]
        return rows

    def values(self, pick: Pick) -> "pd.Series[float]":
        """The picked value of every seed and sample, averaged over positions that the pick leaves open.

        Raises: NoRowsError if no row is picked: a figure of nothing must not look like one.
        """
        return self._of_samples(pick).groupby(DRAWN)["value"].mean().sort_index()

    def positions(self, pick: Pick) -> list[float]:
        """The positions that the picked rows have, in order.

        Raises: NoRowsError if no row is picked.
        """
        return sorted(self._of_samples(pick)["position"].unique().tolist())

    def combined(self, picks: Sequence[Pick], combine: Combine) -> Measured:
        """What `combine` makes of the means of several picks, over the samples that have all, resampled together.

        Where picks leave their positions open, a sample counts with those positions that have a value in all of them.
        """
        table, samples = self._aligned(picks)
        return measured(table, combine)._replace(degenerate=samples - count(table))

    def _weighted(self, picks: Sequence[Pick], weights: Sequence[float]) -> Measured:
        """The same of a weighted sum of the means, whose interval is that of a mean."""
        table, samples = self._aligned(picks)
        return _weighted(table, weights)._replace(degenerate=samples - count(table))

    def _aligned(self, picks: Sequence[Pick]) -> tuple[pd.DataFrame, int]:
        """The picks' values side by side, by (seed, sample) where all have one, and how many samples any has."""
        by = [self._of_samples(pick).groupby([*DRAWN, "position"])["value"].mean() for pick in picks]
        if all(values.index.sort_values().equals(by[0].index.sort_values()) for values in by):
            together = pd.DataFrame(dict(enumerate(by)))
            by = [together[i].where(together.notna().all(axis=1)) for i in together]
        table = aligned({str(i): values.groupby(DRAWN).mean().sort_index() for i, values in enumerate(by)})
        return table, len({sample for values in by for sample in values.index.unique("sample")})

    def mean(self, pick: Pick) -> Measured:
        """The mean over samples; degenerate ones (NaN) are left out."""
        return self._weighted([pick], [1.0])

    def difference(self, one: Pick, other: Pick) -> Measured:
        """mean(one) − mean(other), over the samples that have both, resampled together."""
        return self._weighted([one, other], [1.0, -1.0])

    def _of_samples(self, pick: Pick) -> pd.DataFrame:
        rows = self.picked(pick)
        if pick.position is not None and len(rows):
            rows = rows[_at(rows["position"], pick.position)]
        rows = rows[rows["sample"] != ""]
        if rows.empty:
            raise NoRowsError(pick, self.checks)
        for name in ("method", "metric", "setting"):
            if getattr(pick, name) is None and rows[name].nunique() > 1:
                raise InputError(f"Expected one {name} for {pick}, but there are {sorted(rows[name].unique())}.")
        return self._with_blanks(rows)

    def _with_blanks(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows with a similarity of 0 for maps that went blank where the trained one has a pattern.

        They lost everything, as on the scorecard. The trained one has a pattern where its similarity by chance has a
        value.
        """
        empty = rows["value"].isna() & rows["metric"].isin(self._similarities)
        if not empty.any():
            return rows
        names = ["check", "method", "metric", "sample"]
        known = self.rows[self.rows["value"].notna() & self.rows["setting"].str.endswith(chance_of(""))]
        lost = empty & pd.MultiIndex.from_frame(rows[names]).isin(pd.MultiIndex.from_frame(known[names]))
        return rows.assign(value=rows["value"].mask(lost, 0.0))

    @cached_property
    def _similarities(self) -> set[str]:
        """The measures under which a map and itself have 1; under a distance, a map that is blank is no longer told."""
        metrics = (metric for check in self.manifest.get("checks", ()) for metric in check["metrics"])
        return {metric["name"] for metric in metrics if metric.get("itself") == 1}

    def _stages(self, pick: Pick) -> str:
        groups = {state["group"] for state in self.manifest["states"] if state["kind"] == "randomized"}
        settings = set(self.rows.loc[self.rows["check"] == pick.check, "setting"]) & groups
        if not settings:
            raise NoRowsError(pick, self.checks)
        if len(settings) > 1:
            raise InputError(f"Expected {pick.check!r} to be one randomization, but has {sorted(settings)}.")
        return str(settings.pop())


def _at(positions: "pd.Series[float]", wanted: float | str) -> "pd.Series[bool]":
    if wanted == "later":
        return positions > 0
    ends = {"first": positions.min(), "last": positions.max()}
    return positions == ends.get(str(wanted), wanted)


def over_samples(rows: pd.DataFrame, column: str) -> Measured:
    """The mean over samples of a table's column, averaged within a sample over whatever else its rows differ in."""
    values = rows.groupby("sample")[[column]].mean()
    return _weighted(pd.concat({0: values}, names=DRAWN), [1.0])


def _weighted(values: pd.DataFrame, weights: Sequence[float]) -> Measured:
    """The sum of the means of the columns, each times its weight."""
    values = values.dropna()
    if values.empty:
        return Measured(np.nan, np.nan, np.nan, 0)
    summed = cube(values) @ np.array(weights)
    low, high = of_means(summed[:, :, None])
    return Measured(float(summed.mean()), float(low[0]), float(high[0]), count(values))


def measured(values: pd.DataFrame, combine: Combine) -> Measured:
    """What `combine` makes of the means (R, K) of the columns of `values`, by (seed, sample); it gives (R,)."""
    values = values.dropna()
    if values.empty:
        return Measured(np.nan, np.nan, np.nan, 0)
    estimate = float(combine(values.to_numpy(np.float64).mean(0, keepdims=True))[0])
    if count(values) < 2:
        return Measured(estimate, np.nan, np.nan, count(values))
    return Measured(estimate, *of_combined(cube(values), combine), count(values))
