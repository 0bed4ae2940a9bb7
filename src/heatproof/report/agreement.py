"""How much the methods of a run agree with one another: one table a similarity measure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from heatproof.reading.table import Table
from heatproof.reading.values import Key

AGREEMENT = "method-agreement"


def agreement(table: Table, names: Mapping[str, str], order: Sequence[str]) -> list[dict[str, Any]]:
    """For each measure of `names`: title, and by method (in `order`) the mean over samples with each; None where none.

    `table` has checks under their ids; two checks of agreement are averaged where they share a measure.
    """
    found = []
    for metric, name in names.items():
        pairs = {(key[1], key[2]): key for key in table.values if (key[0], key[4]) == (AGREEMENT, metric)}
        if not pairs:
            continue
        known = {label for pair in pairs for label in pair}
        labels = clustered(table, pairs, [label for label in order if label in known])
        lines = [(label, [_cell(table, pairs, label, other) for other in labels]) for label in labels]
        found.append({"name": name, "lines": lines})
    return found


def clustered(table: Table, pairs: Mapping[tuple[str, str], Key], labels: Sequence[str]) -> list[str]:
    """Methods that agree beside one another: leaves of average linkage on one less the similarity; unknown is far."""
    if len(labels) < 3:
        return list(labels)
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering

    apart = []
    for k, one in enumerate(labels):
        for two in labels[k + 1 :]:
            cell = _cell(table, pairs, one, two)
            apart.append(max(0.0, 1.0 - (0.0 if cell is None else cell["mean"])))
    distances = np.array(apart)
    tree = optimal_leaf_ordering(linkage(distances, "average"), distances)
    return [labels[leaf] for leaf in leaves_list(tree)]


def blanks(table: Table) -> str:
    """How many pairs of methods have samples that cannot be compared; empty if none."""
    pairs = {key[1:3] for key in table.values if key[0] == AGREEMENT}
    gone = {key[1:3] for key in table.gone if key[0] == AGREEMENT}
    if not gone:
        return ""
    return (
        f"{AGREEMENT}: {len(gone)} of {len(pairs)} pairs of methods have samples with a constant map, left out of the "
        "means."
    )


def _cell(table: Table, pairs: Mapping[tuple[str, str], Key], one: str, two: str) -> dict[str, Any] | None:
    key = pairs.get((min(one, two), max(one, two)))
    values = None if key is None else table.values[key]
    if key is None or values is None or not values.n:
        return None
    gone = table.gone.get(key, 0)
    title = f"{one}, {two}: {values.mean:z.3f}, mean of {values.n} samples"
    return {"mean": values.mean, "title": title + (f", {gone} without a value" if gone else "")}
