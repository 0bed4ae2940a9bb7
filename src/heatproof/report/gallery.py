"""What the gallery shows: which samples and stages, their pictures, and the similarity of each map from the rows."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from heatproof.drawing import flat, scale_of
from heatproof.reading.depends import CHECK as RANDOMIZATION
from heatproof.reading.evidence import Evidence
from heatproof.reading.labels import CHECK as LABELS
from heatproof.reading.table import Table
from heatproof.report import pictures
from heatproof.report.columns import columns_of
from heatproof.report.shown import Shown

SHEETS, FULL = 5_500_000, 2_500_000  # bytes of the page that all samples' maps and the first's in full may take


def gallery_of(kept: Shown, evidence: Evidence, order: Sequence[str]) -> dict[str, Any] | None:
    """Samples, stages and sheets of maps; None if the run kept no maps."""
    manifest = evidence.info.manifest
    maps, inputs, samples = kept
    shown = [s for s in manifest["shown"] if any(key[2] == s for key in maps)]
    methods = {label: is_signed(maps, label) for label in order if any(key[1] == label for key in maps)}
    if not shown or not methods:
        return None
    grid = manifest["data"]["grid"]
    shape = pictures.laid_out(grid)
    columns = columns_of(manifest, {key[0] for key in maps})
    states = [column["state"] for column in columns]
    classes = manifest["data"]["classes"]
    predicts = manifest["model"].get("meaning", {}).get("kind", "labels") not in ("score", "scalars")

    slices = math.prod(grid[:-2]) if len(grid) > 2 else 1
    # A volume's slices stand side by side, each as large as a picture, as far as the format allows.
    side, quality = _affordable(
        lambda side, quality: pictures.sheet(maps, states, methods, shown[0], grid, side, quality),
        min(pictures.LARGEST * slices, pictures.WIDEST // len(states)),
        SHEETS / len(shown),
    )

    def sample(name: str) -> dict[str, Any]:
        about = samples[name]
        return {
            "id": name,
            "target": class_name(about["target"], classes),
            "predicted": class_name(about["predicted"], classes) if predicts else None,
            "probability": number(about["probability"]),
            "right": about["target"] == about["predicted"],
            "picture": pictures.picture(name, inputs),
            "sheet": pictures.sheet(maps, states, methods, name, grid, side, quality),
            "absent": [[m, s] for m in methods for s in states if (s, m, name) not in maps],
            "scales": _scales(maps, states, methods, name),
            "scores": scores_of(evidence.by_id, evidence.info.similarities, columns, methods, name),
        }

    height, width = pictures.shrunk(shape, side)
    full, size = None, list(shape)
    if (height, width) != shape:
        # A sheet a method: one of all would be larger than the format allows, and take as much memory as the maps.
        first = dict(list(methods.items())[:1])
        most, coarse = _affordable(
            lambda side, quality: pictures.sheet(maps, states, first, shown[0], grid, side, quality),
            min(max(shape), pictures.WIDEST // len(states)),
            FULL / len(methods),
        )
        if most > side:
            full = [
                pictures.sheet(maps, states, {label: signed}, shown[0], grid, most, coarse)
                for label, signed in methods.items()
            ]
            size = list(pictures.shrunk(shape, most))
    return {
        "methods": [[label, signed] for label, signed in methods.items()],
        "units": {m["label"]: m.get("unit", "") for m in manifest["methods"]},
        "columns": columns,
        "samples": [sample(name) for name in shown],
        "tile": [height, width],
        "full": full,
        "grid": size,
        "slices": slices,
    }


def _affordable(drawn: Callable[[int, int], str], side: int, budget: float) -> tuple[int, int]:
    """The finest (side, quality) at which a sheet takes no more than its share of the page, the coarsest if none."""
    steps = [(side, pictures.FINE), (side, 60), (side * 3 // 4, 60), (side // 2, 60), (side // 2, 40)]
    return next((step for step in steps if len(drawn(*step)) <= budget), steps[-1])


def class_name(label: int, classes: Sequence[str] | None) -> str:
    """The name of a label, or its number where it has none."""
    return classes[label] if classes and 0 <= label < len(classes) else str(label)


def is_signed(maps: pictures.Maps, label: str) -> bool:
    """Whether any map of a method has negative values."""
    return any(bool((values < 0).any()) for key, values in maps.items() if key[1] == label)


def _scales(
    maps: pictures.Maps, states: Sequence[str], methods: Mapping[str, bool], sample: str
) -> dict[str, dict[str, float | str]]:
    """By method and state the value of the strongest color, or what is said of a map without a pattern."""
    found: dict[str, dict[str, float | str]] = {}
    for method in methods:
        for state in states:
            values = maps.get((state, method, sample))
            if values is not None:
                none = flat(values)
                found.setdefault(method, {})[state] = none.said if none else float(f"{scale_of(values):.3g}")
    return found


def scores_of(
    table: Table, names: Iterable[str], columns: Sequence[Mapping[str, Any]], methods: Collection[str], sample: str
) -> dict[str, dict[str, float | None]]:
    """Similarity to the trained map of this sample alone, by method and "group/index", mean over seeds.

    By the first measure of `names` that there is.
    """
    measured = {key[4] for key in table.values}
    metric = next((name for name in names if name in measured), "")
    # Where a column's similarities stand: a network trained anew has a setting of its own, at 0.
    wanted = {(c.get("setting", c["group"]), 0.0 if "setting" in c else float(c["index"])): c for c in columns}
    found: dict[str, dict[str, float | None]] = {}
    if sample not in table.samples:
        return found
    place = table.samples.index(sample)
    for (check, method, setting, position, name), values in table.values.items():
        column = wanted.get((setting, position))
        if check in (RANDOMIZATION, LABELS) and name == metric and method in methods and column:
            mean = number(values.by_sample[place])
            found.setdefault(method, {})[f"{column['group']}/{column['index']}"] = mean
    return found


def number(value: Any) -> float | int | None:
    """Five digits of a value, None for nothing and for what JSON cannot say."""
    value = math.nan if value is None else float(value)
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.5g}")
