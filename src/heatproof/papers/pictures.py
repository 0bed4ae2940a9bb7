"""Figures of the results pages: maps side by side, and curves with intervals."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from heatproof.auditing.bootstrap import intervals
from heatproof.auditing.store import read_manifest, read_rows
from heatproof.errors import MissingExtraError
from heatproof.papers.measure import Pick, Results
from heatproof.report.pictures import read_maps

Draw = Callable[[Path, Path], None]


def maps_over_states(*, methods: Sequence[str], group: str, sample: int = 0, columns: int = 9) -> Draw:
    """One sample's maps: methods down; the trained network, then the stages of a randomization across."""
    return partial(_maps_over_states, methods=tuple(methods), group=group, sample=sample, columns=columns)


def maps_over_labels(*, methods: Sequence[str], sample: int = 0) -> Draw:
    """One sample's maps: methods down; the trained network, then those trained anew on other labels across."""
    return partial(_maps_over_labels, methods=tuple(methods), sample=sample)


def maps_of_samples(*, methods: Sequence[str], samples: int = 4) -> Draw:
    """The trained network's maps: samples down, methods across, the input first."""
    return partial(_maps_of_samples, methods=tuple(methods), samples=samples)


def curves(*, pick: Pick, methods: Sequence[str], x: str, y: str, log: bool = False) -> Draw:
    """Means over samples with their 95 % intervals against position, a line a method."""
    return partial(_curves, pick=pick, methods=tuple(methods), x=x, y=y, log=log)


def table_picture(table: pd.DataFrame, file: Path) -> None:
    """A table with columns method, check, figure, mean, low, high: a line a method, the mean and its interval a cell.

    Color runs over the means of a column, from its least to its greatest; it says nothing of good and bad.
    """
    plots = _pyplot()
    keys = list(dict.fromkeys(zip(table["check"], table["figure"], strict=True)))
    methods = list(dict.fromkeys(table["method"]))
    cells = table.set_index(["method", "check", "figure"])[["mean", "low", "high"]]
    figure, axes = plots.subplots(figsize=(1.15 * len(keys) + 2.5, 0.3 * len(methods) + 2.2), layout="constrained")
    shades = np.full((len(methods), len(keys)), np.nan)
    for c, key in enumerate(keys):
        column = cells.loc[[(method, *key) for method in methods]].to_numpy(np.float64)
        means = column[:, 0]
        low, high = (np.nanmin(means), np.nanmax(means)) if np.isfinite(means).any() else (0.0, 1.0)
        shades[:, c] = (means - low) / ((high - low) or 1.0)
        for r, (mean, least, most) in enumerate(column):
            told = f"{mean:z.2f}\n{least:z.2f} to {most:z.2f}" if np.isfinite(mean) else "–"
            axes.text(c, r, told, ha="center", va="center", fontsize=5)
    axes.imshow(np.ma.masked_invalid(shades), cmap="Blues", vmin=0, vmax=2, aspect="auto")
    axes.set_xticks(range(len(keys)), [f"{check}\n{name}" for check, name in keys], rotation=60, ha="right", fontsize=6)
    axes.set_yticks(range(len(methods)), methods, fontsize=7)
    figure.savefig(file, dpi=150, metadata={"Software": ""})
    plots.close(figure)


def _maps_over_states(
    run: Path, file: Path, *, methods: tuple[str, ...], group: str, sample: int, columns: int
) -> None:
    manifest, maps, inputs = _read(run)
    name = manifest["shown"][sample]
    alias = manifest.get("aliases", {})
    stages = [
        s
        for s in manifest["states"]
        if s["kind"] == "trained" or (s["kind"] == "randomized" and s["group"].split()[0] == group)
    ]
    places = np.linspace(0, len(stages) - 1, min(columns, len(stages))).round().astype(int)
    chosen = [stages[i] for i in dict.fromkeys(places.tolist())]
    tiles = [
        [_input(name, inputs), *(maps.get((alias.get(s["name"], s["name"]), m, name)) for s in chosen)] for m in methods
    ]
    _grid(tiles, rows=methods, columns=["input", *(s["label"] for s in chosen)], file=file)


def _maps_over_labels(run: Path, file: Path, *, methods: tuple[str, ...], sample: int) -> None:
    manifest, maps, inputs = _read(run)
    name = manifest["shown"][sample]
    chosen = [s for s in manifest["states"] if s["kind"] in ("trained", "retrained")]
    tiles = [[_input(name, inputs), *(maps.get((s["name"], m, name)) for s in chosen)] for m in methods]
    _grid(tiles, rows=methods, columns=["input", *(s["label"].removeprefix("trained on ") for s in chosen)], file=file)


def _maps_of_samples(run: Path, file: Path, *, methods: tuple[str, ...], samples: int) -> None:
    manifest, maps, inputs = _read(run)
    names = manifest["shown"][:samples]
    trained = next(s["name"] for s in manifest["states"] if s["kind"] == "trained")
    tiles = [[_input(name, inputs), *(maps.get((trained, m, name)) for m in methods)] for name in names]
    _grid(tiles, rows=[""] * len(names), columns=["input", *methods], file=file)


def _curves(run: Path, file: Path, *, pick: Pick, methods: tuple[str, ...], x: str, y: str, log: bool) -> None:
    results = Results(rows=read_rows(run).drop(columns="cell"), manifest=read_manifest(run))
    means = intervals(results.picked(pick))
    plots = _pyplot()
    figure, axes = plots.subplots(figsize=(7, 4), layout="constrained")
    for method in methods:
        points = sorted((key[3], value) for key, value in means.items() if key[1] == method)
        if points:
            at, values = zip(*points, strict=True)
            line = axes.plot(at, [v.mean for v in values], marker=".", label=method)[0]
            axes.fill_between(at, [v.low for v in values], [v.high for v in values], alpha=0.15, color=line.get_color())
    axes.set(xlabel=x, ylabel=y)
    if log:
        axes.set_xscale("log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(file, dpi=110, metadata={"Software": ""})
    plots.close(figure)


def _read(run: Path) -> tuple[dict[str, Any], dict[tuple[str, str, str], Any], dict[str, NDArray[Any]]]:
    manifest = read_manifest(run)
    maps, inputs = read_maps(run, manifest["cells"])
    return manifest, maps, inputs


def _input(name: str, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    shown = inputs.get(f"display:{name}")
    if shown is not None:
        return shown
    fed = inputs[name]
    return np.moveaxis(fed, 0, -1) if fed.shape[0] == 3 else fed.mean(0)


def _grid(tiles: list[list[Any]], *, rows: Sequence[str], columns: Sequence[str], file: Path) -> None:
    """Inputs as they are, maps red for positive and blue for negative, each scaled by its own 99.5th percentile."""
    plots = _pyplot()
    height, width = len(tiles), len(tiles[0])
    figure, axes = plots.subplots(
        height, width, figsize=(1.25 * width, 1.3 * height + 0.3), squeeze=False, layout="constrained"
    )
    for r, line in enumerate(tiles):
        for c, tile in enumerate(line):
            axis = axes[r][c]
            axis.set(xticks=[], yticks=[])
            if r == 0:
                axis.set_title(columns[c], fontsize=7)
            if c == 0:
                axis.set_ylabel(rows[r], fontsize=7)
            if tile is None:
                axis.text(0.5, 0.5, "none", ha="center", va="center", fontsize=7, transform=axis.transAxes)
            elif c == 0:
                axis.imshow(tile, cmap="gray")
            else:
                size = np.abs(np.nan_to_num(tile))
                scale = float(np.percentile(size, 99.5)) or float(size.max()) or 1.0
                axis.imshow(np.nan_to_num(tile), cmap="RdBu_r", vmin=-scale, vmax=scale)
    figure.savefig(file, dpi=110, metadata={"Software": ""})
    plots.close(figure)


def _pyplot() -> Any:
    try:
        matplotlib = import_module("matplotlib")
    except ImportError:
        raise MissingExtraError("matplotlib", "papers", "The pictures of the papers' results") from None
    matplotlib.use("agg")
    return import_module("matplotlib.pyplot")
