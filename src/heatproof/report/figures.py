"""A figure as data: what is drawn on the page, by matplotlib for a paper, and written as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd


class Point(NamedTuple):
    """A value with its 95 % interval; NaN ends where it has none. `x` is its place on a curve."""

    mean: float
    low: float = float("nan")
    high: float = float("nan")
    x: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What every figure has: a name for its file, a title, and what its axes measure.

    `tones` say what became of a method ("good", "bad", …) and color it where methods are not told apart by color.
    """

    name: str
    title: str
    x: str
    y: str = ""
    tones: Mapping[str, str] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """Its numbers."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Dots(Figure):
    """A line a method, with one dot or several by series. `marks` are vertical lines at a value, by name.

    What lies outside of `limits` is written at the edge.
    """

    rows: Mapping[str, Mapping[str, Point]]
    marks: Mapping[str, float] = field(default_factory=dict)
    limits: tuple[float, float] | None = None

    def table(self) -> pd.DataFrame:
        found = [
            {"method": method, "series": series, "mean": point.mean, "low": point.low, "high": point.high}
            for method, points in self.rows.items()
            for series, point in points.items()
        ]
        return pd.DataFrame(found, columns=["method", "series", "mean", "low", "high"])


@dataclass(frozen=True, kw_only=True)
class Curves(Figure):
    """A curve a method over `x`, with bands; `log` scales x.

    `dim` ones, such as controls, stand behind, without a band. `best`, the best of the controls, is drawn heavier and
    with its band. `said` is what the key adds to a method's name, such as the area below its curve.
    """

    lines: Mapping[str, Sequence[Point]]
    dim: Sequence[str] = ()
    log: bool = False
    best: str = ""
    said: Mapping[str, str] = field(default_factory=dict)

    def key(self, method: str) -> str:
        """What the key says of a method."""
        parts = [method, "the best control" if method == self.best else "", self.said.get(method, "")]
        return ", ".join(filter(None, parts))

    def table(self) -> pd.DataFrame:
        found = [
            {"method": method, "x": point.x, "mean": point.mean, "low": point.low, "high": point.high}
            for method, points in self.lines.items()
            for point in points
        ]
        return pd.DataFrame(found, columns=["method", "x", "mean", "low", "high"])


@dataclass(frozen=True, kw_only=True)
class Between(Figure):
    """A small picture a method: two curves with their bands and the area between, and the best control's two."""

    upper: Mapping[str, Sequence[Point]]
    lower: Mapping[str, Sequence[Point]]
    control: str = ""
    said: Mapping[str, str] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        found = [
            {"method": method, "curve": curve, "x": point.x, "mean": point.mean, "low": point.low, "high": point.high}
            for curve, lines in (("least relevant first", self.upper), ("most relevant first", self.lower))
            for method, points in lines.items()
            for point in points
        ]
        return pd.DataFrame(found, columns=["method", "curve", "x", "mean", "low", "high"])


@dataclass(frozen=True, kw_only=True)
class Scatter(Figure):
    """A point a method; x on a log scale."""

    points: Mapping[str, tuple[float, float]]

    def table(self) -> pd.DataFrame:
        found = [{"method": method, self.x: x, self.y: y} for method, (x, y) in self.points.items()]
        return pd.DataFrame(found, columns=["method", self.x, self.y])


@dataclass(frozen=True, kw_only=True)
class Cells(Figure):
    """A number for every two methods, in the order of `labels`; None where there is none."""

    labels: Sequence[str]
    values: Sequence[Sequence[float | None]]

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.values, index=pd.Index(self.labels, name="method"), columns=list(self.labels))
