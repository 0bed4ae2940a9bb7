"""Figures of the results pages: maps side by side, and curves with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from heatproof.errors import MissingExtraError
from heatproof.papers.measure import NoRowsError, Pick, Results
from heatproof.reading.table import intervals
from heatproof.runs import read_maps

PANELS = 6  # across
STYLES = {"curve": ".-", "theory": "--", "points": "."}
Draw = Callable[..., None]


class Line(NamedTuple):
    """A curve, with an interval at each point where it has one; theory is dashed, and `points` are not joined."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    style: Literal["curve", "theory", "points"] = "curve"
    color: int = 0


def maps_over_states(
    *, methods: Sequence[str], group: str, sample: int = 0, columns: int = 9, absolute: bool = False
) -> Draw:
    """One sample's maps: methods down; the trained network, then the stages of a randomization across."""
    return partial(
        _maps_over_states, methods=tuple(methods), group=group, sample=sample, columns=columns, absolute=absolute
    )


def maps_over_labels(*, methods: Sequence[str], sample: int = 0) -> Draw:
    """One sample's maps: methods down; the trained network, then those trained anew on other labels across."""
    return partial(_maps_over_labels, methods=tuple(methods), sample=sample)


def maps_of_samples(*, methods: Sequence[str], samples: int = 4) -> Draw:
    """The trained network's maps: samples down, methods across, the input first."""
    return partial(_maps_of_samples, methods=tuple(methods), samples=samples)


def maps_in_grid(*, rows: Mapping[str, Sequence[str]], columns: Sequence[str], sample: int = 0, unit: str = "") -> Draw:
    """One sample's maps by the trained network: for each row its methods, under the names of the columns.

    With a unit the greatest value stands below each map.
    """
    return partial(_maps_in_grid, rows=dict(rows), columns=tuple(columns), sample=sample, unit=unit)


def maps_of_networks(*, methods: Sequence[str], names: Sequence[str], sample: int = 0) -> Draw:
    """One sample's maps by several trained networks, under these names: methods down, networks across."""
    return partial(_maps_of_networks, methods=tuple(methods), names=tuple(names), sample=sample)


def curves(*, pick: Pick, methods: Sequence[str], x: str, y: str, log: bool = False) -> Draw:
    """Means over samples with their 95 % intervals against position, a line a method."""
    return panels(of={"": by_method(pick, methods)}, x=x, y=y, log=log)


def panels(*, of: Mapping[str, Mapping[str, Pick]], x: str, y: str, log: bool = False) -> Draw:
    """The same for several picks: under each title a panel, in it a line for each label; a label keeps its color."""
    return partial(_panels, of=of, x=x, y=y, log=log)


def by_method(pick: Pick, methods: Sequence[str]) -> dict[str, Pick]:
    """A pick of each method under its name."""
    return {method: replace(pick, method=method) for method in methods}


def table_picture(table: pd.DataFrame, file: Path) -> None:
    """A table with columns method, check, figure, mean, low, high: a line a method, the mean and its interval a cell.

    Color is the rank of a mean in its column, darkest the greatest; it says nothing of good and bad.
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
        shades[:, c] = pd.Series(means).rank(pct=True)
        for r, (mean, least, most) in enumerate(column):
            spread = f"{_short(least)} to {_short(most)}" if np.isfinite(least) else "of one sample"
            told = f"{_short(mean)}\n{spread}" if np.isfinite(mean) else "–"
            axes.text(c, r, told, ha="center", va="center", fontsize=5)
    axes.imshow(np.ma.masked_invalid(shades), cmap="Blues", vmin=0, vmax=2, aspect="auto")
    axes.set_xticks(range(len(keys)), [f"{check}\n{name}" for check, name in keys], rotation=60, ha="right", fontsize=6)
    axes.set_yticks(range(len(methods)), methods, fontsize=7)
    figure.savefig(file, dpi=150, metadata={"Software": ""})
    plots.close(figure)


def chart(file: Path, panels: Mapping[str, Sequence[Line]], *, x: str, y: str, log: bool = False) -> None:
    """Lines with their intervals, a panel each under its title, with one key for all."""
    plots = _pyplot()
    across = min(len(panels), PANELS)
    down = -(-len(panels) // across)
    size = (7.0, 4.0) if len(panels) == 1 else (2.6 * across, 2.0 * down + 0.6)
    figure, grid = plots.subplots(down, across, figsize=size, squeeze=False, sharey=True, layout="constrained")
    keys = {}
    palette = plots.get_cmap(
        "tab20" if max(line.color for lines in panels.values() for line in lines) >= 10 else "tab10"
    )
    for axes, (title, lines) in zip(grid.flat, panels.items(), strict=False):
        for line in lines:
            color = palette(line.color)
            keys[line.label] = axes.plot(line.x, line.y, STYLES[line.style], color=color)[0]
            if len(line.low):
                axes.fill_between(line.x, line.low, line.high, alpha=0.15 if len(lines) < 5 else 0.07, color=color)
        axes.set_title(title, fontsize="small")
        axes.grid(alpha=0.3)
        if log:
            axes.set_xscale("log")
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel(x, fontsize="medium")
    figure.supylabel(y, fontsize="medium")
    if len(keys) > 1:
        figure.legend(keys.values(), keys.keys(), fontsize="small", loc="outside right upper")
    _save(figure, file)


def _short(value: float) -> str:
    return f"{value:z.2f}" if abs(value) < 1000 else f"{value:.1e}"


def map_grid(
    file: Path,
    tiles: Sequence[Sequence[Any]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    absolute: bool = False,
    unit: str = "",
) -> None:
    """Pictures: in each row an input as it is, then maps, None for none, each scaled by its own 99.5th percentile.

    Red is positive and blue negative; `absolute` ones are white on black. With a `unit` the greatest
    value stands below.
    """
    plots = _pyplot()
    height, width = len(tiles), len(tiles[0])
    names = 0.06 * max(len(row) for row in rows)  # inches that the longest name takes
    size = (1.25 * width + names, 1.3 * height + 0.3)
    figure, axes = plots.subplots(height, width, figsize=size, squeeze=False, layout="constrained")
    for r, line in enumerate(tiles):
        for c, tile in enumerate(line):
            axis = axes[r][c]
            axis.set(xticks=[], yticks=[], box_aspect=None if tile is not None else 1)
            if r == 0:
                axis.set_title(columns[c], fontsize=7)
            if c == 0:
                axis.set_ylabel(rows[r], fontsize=7, rotation=0, ha="right", va="center")
            if tile is None:
                axis.text(0.5, 0.5, "none", ha="center", va="center", fontsize=7, transform=axis.transAxes)
            elif c == 0:
                axis.imshow(tile, cmap="gray")
            else:
                clean = np.nan_to_num(tile)
                sizes = np.abs(clean)
                scale = float(np.percentile(sizes, 99.5)) or float(sizes.max()) or 1.0
                if unit:
                    axis.set_xlabel(f"≤ {clean.max():.2g} {unit}", fontsize=6)
                if absolute:
                    axis.imshow(sizes, cmap="gray", vmin=0, vmax=scale)
                else:
                    axis.imshow(clean, cmap="RdBu_r", vmin=-scale, vmax=scale)
    _save(figure, file)


def rows_of(tile: Tensor) -> pd.DataFrame:
    """A square picture as rows: `row`, `column` and `value` of each of its pixels that is not 0, and its `side`.

    Of a blank one the first pixel, so that it is not lost.
    """
    found = tile.nonzero()
    row, column = (found if len(found) else found.new_zeros(1, 2)).T
    where = {"row": row.tolist(), "column": column.tolist(), "value": tile[row, column].tolist()}
    return pd.DataFrame({**where, "side": len(tile)})


def tile_of(rows: pd.DataFrame) -> NDArray[np.float64]:
    """The picture that `rows_of` gave the rows of."""
    tile = np.zeros((int(rows["side"].iloc[0]),) * 2)
    tile[rows["row"], rows["column"]] = rows["value"]
    return tile


def _maps_over_states(
    results: Results,
    file: Path,
    *,
    methods: tuple[str, ...],
    group: str,
    sample: int,
    columns: int,
    absolute: bool,
) -> None:
    manifest = results.manifest
    maps, inputs = read_maps(results.folder)
    name = manifest["shown"][sample]
    alias = manifest.get("aliases", {})
    states = manifest["states"]
    random = [s for s in states if s["kind"] == "randomized" and group in (s["group"], s["group"].split()[0])]
    trained = [s for s in states if s["kind"] == "trained"]
    stages = trained + [s for s in random if s["seed"] == random[0]["seed"]]
    places = np.linspace(0, len(stages) - 1, min(columns, len(stages))).round().astype(int)
    chosen = [stages[i] for i in dict.fromkeys(places.tolist())]
    tiles = [
        [_input(name, inputs), *(maps.get((alias.get(s["name"], s["name"]), m, name)) for s in chosen)] for m in methods
    ]
    names = ["input", *(s["label"] for s in chosen)]
    map_grid(file, tiles, rows=methods, columns=names, absolute=absolute)


def _maps_over_labels(results: Results, file: Path, *, methods: tuple[str, ...], sample: int) -> None:
    manifest = results.manifest
    maps, inputs = read_maps(results.folder)
    name = manifest["shown"][sample]
    chosen = [s for s in manifest["states"] if s["kind"] in ("trained", "retrained")]
    tiles = [[_input(name, inputs), *(maps.get((s["name"], m, name)) for s in chosen)] for m in methods]
    map_grid(file, tiles, rows=methods, columns=["input", *(s["label"].removeprefix("trained on ") for s in chosen)])


def _maps_of_samples(results: Results, file: Path, *, methods: tuple[str, ...], samples: int) -> None:
    manifest = results.manifest
    maps, inputs = read_maps(results.folder)
    names = manifest["shown"][:samples]
    trained = next(s["name"] for s in manifest["states"] if s["kind"] == "trained")
    tiles = [[_input(name, inputs), *(maps.get((trained, m, name)) for m in methods)] for name in names]
    map_grid(file, tiles, rows=[""] * len(names), columns=["input", *methods])


def _maps_in_grid(
    results: Results, file: Path, *, rows: Mapping[str, Sequence[str]], columns: tuple[str, ...], sample: int, unit: str
) -> None:
    maps, inputs = read_maps(results.folder)
    name = results.manifest["shown"][sample]
    trained = next(s["name"] for s in results.manifest["states"] if s["kind"] == "trained")
    tiles = [[_input(name, inputs), *(maps.get((trained, m, name)) for m in methods)] for methods in rows.values()]
    map_grid(file, tiles, rows=list(rows), columns=["input", *columns], unit=unit)


def _maps_of_networks(
    *results: Results, file: Path, methods: tuple[str, ...], names: tuple[str, ...], sample: int
) -> None:
    columns = []
    for one in results:
        maps, inputs = read_maps(one.folder)
        name = one.manifest["shown"][sample]
        trained = next(s["name"] for s in one.manifest["states"] if s["kind"] == "trained")
        shown = _input(name, inputs)
        columns.append([maps.get((trained, method, name)) for method in methods])
    tiles = [[shown, *line] for line in zip(*columns, strict=True)]
    map_grid(file, tiles, rows=methods, columns=["input", *names])


def _panels(results: Results, file: Path, *, of: Mapping[str, Mapping[str, Pick]], x: str, y: str, log: bool) -> None:
    colors = {label: c for c, label in enumerate(dict.fromkeys(label for picks in of.values() for label in picks))}
    drawn = {
        title: [_line(results, label, pick, colors[label]) for label, pick in picks.items()]
        for title, picks in of.items()
    }
    chart(file, drawn, x=x, y=y, log=log)


def _line(results: Results, label: str, pick: Pick, color: int) -> Line:
    means = intervals(results.picked(pick))
    if not means:
        raise NoRowsError(pick, results.checks)
    points = sorted((key[3], value) for key, value in means.items())
    at, values = [place for place, _ in points], [value for _, value in points]
    mean, low, high = ([v[k] for v in values] for k in range(3))
    return Line(label, at, mean, low, high, color=color)


def _input(name: str, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    shown = inputs.get(f"display:{name}")
    if shown is not None:
        return shown
    fed = inputs[name]
    return np.moveaxis(fed, 0, -1) if fed.shape[0] == 3 else fed.mean(0)


def _save(figure: Any, file: Path) -> None:
    """In 256 colors, which a third of the bytes hold."""
    whole = BytesIO()
    figure.savefig(whole, dpi=96)
    _pyplot().close(figure)
    Image.open(whole).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def _pyplot() -> Any:
    try:
        matplotlib = import_module("matplotlib")
    except ImportError:
        raise MissingExtraError("matplotlib", "papers", "The pictures of the papers' results") from None
    matplotlib.use("agg")
    return import_module("matplotlib.pyplot")
