"""The maps of a run's shown samples as figures: for a paper, in its own colors and by the page's scale."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from heatproof.drawing import flat, scale_of
from heatproof.reading import Verdicts
from heatproof.report.along import cells_of, is_table, names_of
from heatproof.report.columns import columns_of, thinned
from heatproof.report.figures import Figure
from heatproof.report.gallery import class_name, scores_of
from heatproof.report.pictures import Maps as Kept
from heatproof.report.pictures import pixels_of, strongest_slice
from heatproof.report.shown import Shown

MOST = 6  # columns of a figure: the trained network, and stages evenly up to the last
Floats = NDArray[np.floating]
Kind = Literal["picture", "series", "table", "text"]


@dataclass(frozen=True, kw_only=True)
class Maps(Figure):
    """One sample's maps: methods down, the trained network and stages of a randomization across.

    `rows` holds a map a column, None where there is none: (height, width) of pictures, (positions,) of all else, whose
    words, or names of columns, are `names`. `fed` is the input as it is drawn, `under` a number below each map (its
    similarity to the trained one).
    """

    kind: Kind
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Floats | None]]
    signed: Mapping[str, bool]
    fed: NDArray[np.generic] | None = None
    names: Sequence[str] = ()
    under: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    rate: float | None = None

    def table(self) -> pd.DataFrame:
        found = [
            {
                "method": method,
                "network": column,
                "strongest color": float("nan") if flat(values) else scale_of(values),
                "unit": self.units.get(method, ""),
                "similarity": self.under[method][k] if method in self.under else None,
                "note": none.said if (none := flat(values)) else "",
            }
            for method, row in self.rows.items()
            for k, (column, values) in enumerate(zip(self.columns, row, strict=True))
            if values is not None
        ]
        return pd.DataFrame(found, columns=["method", "network", "strongest color", "unit", "similarity", "note"])


def maps_of(verdicts: Verdicts, shown: Shown, order: Sequence[str]) -> list[Maps]:
    """A figure a shown sample, of the first randomization that ends with all layers random, else of the first."""
    manifest = verdicts.evidence.info.manifest
    axes = manifest["data"].get("axes") or {}
    data, every = manifest["data"], columns_of(manifest, {state for state, _, _ in shown.maps})
    groups = [str(c["group"]) for c in every if c["random"]] or [str(c["group"]) for c in every if c["group"]]
    stages = [c for c in every if groups and c["group"] == groups[0]]
    columns = [c for c in every if not c["group"]] + thinned(stages, MOST - 1)
    found = []
    for sample in manifest["shown"]:
        methods = [m for m in order if any((c["state"], m, sample) in shown.maps for c in columns)]
        if not methods:
            continue
        tokens = (data.get("tokens") or {}).get(sample)
        kind: Kind = (
            "text" if tokens else "picture" if len(data["grid"]) > 1 else "table" if is_table(manifest) else "series"
        )

        at, slices = _slice(shown.maps, [c["state"] for c in columns][:1], methods, sample, data["grid"])

        def drawn(state: str, method: str, sample: str = sample, kind: str = kind, at: int = at) -> Floats | None:
            values = shown.maps.get((state, method, sample))
            if values is None:
                return None
            found: Floats = values.reshape(-1) if kind != "picture" else values.reshape(-1, *data["grid"][-2:])[at]
            return found

        rows = {m: [drawn(c["state"], m) for c in columns] for m in methods}
        scores = scores_of(verdicts.evidence.by_id, verdicts.evidence.info.similarities, columns, methods, sample)
        target = class_name(shown.samples[sample]["target"], data["classes"])
        fed = pixels_of(sample, shown.inputs) if kind == "picture" else shown.inputs.get(sample)
        if fed is not None and slices > 1:
            wide = fed.shape[1] // slices
            fed = fed[:, at * wide : (at + 1) * wide]
        found.append(
            Maps(
                name=f"maps-{re.sub('[^A-Za-z0-9]+', '-', sample).strip('-') or 'sample'}",
                title=f"{sample}, explained for {target}{f', slice {at + 1} of {slices}' if slices > 1 else ''}",
                x=f"{groups[0] if groups else 'no layer randomized'}",
                kind=kind,
                columns=[str(c["label"]) for c in columns],
                rows=rows,
                signed={m: any(v is not None and bool((v < 0).any()) for v in row) for m, row in rows.items()},
                fed=fed,
                names=tokens or (_columns(manifest, sample) if kind == "table" else axes.get("leads") or ()),
                under={m: [scores.get(m, {}).get(f"{c['group']}/{c['index']}") for c in columns] for m in methods},
                units={m["label"]: m.get("unit", "") for m in manifest["methods"]},
                rate=axes.get("rate"),
            )
        )
    return found


def _columns(manifest: Mapping[str, Any], sample: str) -> list[str]:
    """The columns of a table with what stands in this row."""
    cells = cells_of(manifest, sample)
    return [f"{name} {cells[k]}" if k < len(cells) and cells[k] else name for k, name in enumerate(names_of(manifest))]


def _slice(
    maps: Kept, states: Sequence[str], methods: Sequence[str], sample: str, grid: Sequence[int]
) -> tuple[int, int]:
    """Which slice of a volume is drawn, where the trained maps are strongest together, and how many there are."""
    if len(grid) < 3:
        return 0, 1
    found = [maps[state, m, sample] for state in states for m in methods if (state, m, sample) in maps]
    summed = sum((np.abs(values) / scale_of(values) for values in found), np.zeros(found[0].shape))
    return strongest_slice(summed, grid), math.prod(grid[:-2])
