"""What bottlenecks let through, and what the network knows behind them: one row a bottleneck."""

from collections.abc import Mapping, Sequence
from typing import Any

from heatproof.reading.values import Interval, Key

LEDGER = "bottleneck-ledger"
COLUMNS = {
    "information": "L_I / k, nats",
    "bits": "L_I, bits",
    "probability": "probability of the label",
    "top-1": "label is the likeliest",
    "top-5": "label is among five",
}


def ledger(means: Mapping[Key, Interval], order: Sequence[str]) -> dict[str, Any] | None:
    """Columns, and lines of (label, cells), the network without a bottleneck first; None without a bottleneck."""
    cells = {(key[1], key[4]): found for key, found in means.items() if key[0] == LEDGER}
    labels = [label for label in order if (label, "information") in cells]
    if not labels:
        return None
    columns = {metric: name for metric, name in COLUMNS.items() if any((label, metric) in cells for label in labels)}
    lines = [(label, [cells.get((label, metric)) for metric in columns]) for label in ["", *labels]]
    return {"columns": list(columns.values()), "lines": lines}
