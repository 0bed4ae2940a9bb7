"""The rows of a check as points of figures: over positions, and a dot a method."""

from collections.abc import Mapping, Sequence

from heatproof.reading import Verdicts
from heatproof.reading.entries import CheckInfo
from heatproof.reading.table import Table, intervals
from heatproof.reading.values import Key
from heatproof.report.figures import Point


def points(verdicts: Verdicts, keys: Sequence[Key]) -> list[Point]:
    """The mean and interval of each of these, at its position: those of one number of seeds are drawn together."""
    found = intervals(
        Table({key: verdicts.evidence.table[key] for key in keys}, {}, verdicts.evidence.gathered.samples)
    )
    return [Point(found[key].mean, found[key].low, found[key].high, key[3]) for key in keys]


def curves(
    verdicts: Verdicts, check: CheckInfo, order: Sequence[str], way: str, metrics: Sequence[str]
) -> dict[str, list[Point]]:
    """Each method's numbers of a setting over the positions."""
    keys = [
        key
        for key in verdicts.evidence.table
        if (key[0], key[2]) == (check.label, way) and key[4] in metrics and key[1] in order
    ]
    found = dict[str, list[Point]]()
    for key, point in zip(keys, points(verdicts, keys), strict=True):
        found.setdefault(key[1], []).append(point)
    return {label: sorted(found[label], key=lambda point: point.x) for label in order if label in found}


def dots(
    verdicts: Verdicts, check: CheckInfo, order: Sequence[str], series: Mapping[str, tuple[str, str]]
) -> dict[str, dict[str, Point]]:
    """By method and name of a series the mean of its (metric, setting), for those that have a value."""
    evidence, found = verdicts.evidence, dict[str, dict[str, Point]]()
    for label in order:
        for name, (metric, setting) in series.items():
            values = evidence.column(check.label, label, metric, setting=setting)
            if values is not None and values.n:
                one = values.estimate(evidence.samples)
                found.setdefault(label, {})[name] = Point(one.mean, one.low, one.high)
    return found
