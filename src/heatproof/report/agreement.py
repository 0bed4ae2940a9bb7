"""How much the methods of a run agree with one another: one table a similarity measure."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

AGREEMENT = "method-agreement"


def agreement(rows: pd.DataFrame, names: Mapping[str, str], order: Sequence[str]) -> list[dict[str, Any]]:
    """For each measure of `names`: title, and by method (in `order`) the mean over samples with each; None where none.

    `rows` have checks under their registered names; two checks of agreement are averaged where they share a measure.
    """
    pairs = rows[rows["check"] == AGREEMENT]
    found = []
    for metric, name in names.items():
        if not (pairs["metric"] == metric).any():
            continue
        some = pairs[pairs["metric"] == metric].groupby(["method", "setting"])["value"]
        means: dict[Any, dict[Any, float]] = some.agg(["mean", "count", "size"]).to_dict("index")
        known = {label for pair in means for label in pair}
        labels = [label for label in order if label in known]
        lines = [(label, [_cell(means, label, other) for other in labels]) for label in labels]
        found.append({"name": name, "lines": lines})
    return found


def blanks(rows: pd.DataFrame) -> str:
    """How many pairs of methods have samples that cannot be compared; empty if none."""
    pairs = rows[rows["check"] == AGREEMENT].groupby(["method", "setting"])["value"]
    gone = int((pairs.count() < pairs.size()).sum())
    if not gone:
        return ""
    return (
        f"{AGREEMENT}: {gone} of {len(pairs)} pairs of methods have samples with a constant map, left out of the means."
    )


def _cell(means: Mapping[Any, Mapping[Any, float]], one: str, two: str) -> dict[str, Any] | None:
    value = means.get((min(one, two), max(one, two)))
    if value is None or not value["count"]:
        return None
    gone = value["size"] - value["count"]
    title = f"{one}, {two}: {value['mean']:z.3f}, mean of {value['count']:.0f} samples"
    return {"mean": value["mean"], "title": title + (f", {gone:.0f} without a value" if gone else "")}
