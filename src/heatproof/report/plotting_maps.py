"""A sample's maps by matplotlib: pictures as pictures, series as lines, tables as bars, texts as colored words."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heatproof.drawing import colored, flat, scale_of
from heatproof.drawing.scale import levels
from heatproof.report.along import largest
from heatproof.report.colors import TONES
from heatproof.report.maps import Maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawn

Floats = NDArray[np.floating]
FOR, AGAINST, SOFT = "#c0392f", "#2f6fc0", "#8b95a1"
LETTERS, WORDS = 110, 200  # of a line of a text, and of a text


def draw_maps(figure: Maps, kind: Any) -> "Drawn":
    """The figure; `kind` is matplotlib's class of figures."""
    return _pictures(figure, kind) if figure.kind == "picture" else _lines(figure, kind)


def _pictures(figure: Maps, kind: Any) -> "Drawn":
    first = figure.fed is not None
    across, down = len(figure.columns) + first, len(figure.rows)
    height, width = next(v.shape for row in figure.rows.values() for v in row if v is not None)
    wide = min(4.0, max(0.9, 0.9 * width / height))
    drawn: Drawn = kind(
        figsize=(wide * across + 1.2, (wide * height / width + 0.22) * down + 0.5), layout="constrained"
    )
    grid = drawn.subplots(down, across, squeeze=False)
    for row, (method, values) in enumerate(figure.rows.items()):
        for axes in grid[row]:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        grid[row][0].set_ylabel(method, rotation=0, ha="right", va="center", fontsize=6)
        if first and row == 0:
            grid[0][0].imshow(figure.fed, cmap="gray", interpolation="nearest")
            grid[0][0].set_title("input", fontsize=6)
        for k, map_ in enumerate(values):
            axes = grid[row][k + first]
            if row == 0:
                axes.set_title(figure.columns[k], fontsize=6)
            if map_ is not None:
                _picture(axes, map_, signed=figure.signed[method])
                axes.set_xlabel(_below(figure, method, k), fontsize=5, labelpad=1)
    drawn.suptitle(f"{figure.title} ({figure.x})", fontsize=7)
    return drawn


def _picture(axes: "Axes", values: Floats, *, signed: bool) -> None:
    """In the page's colors, by its scale; a map without a pattern is hatched."""
    if flat(values):
        axes.set_facecolor("#ebebeb")
        axes.patch.set_hatch("////")
        axes.set_aspect(values.shape[0] / values.shape[1])
        return
    level = levels(values, scale_of(values), signed=signed)
    axes.imshow(colored(level, signed=signed), interpolation="nearest")


def _below(figure: Maps, method: str, k: int) -> str:
    """What is said of a map without a pattern, else its similarity to the trained one, else the strongest color."""
    values = figure.rows[method][k]
    assert values is not None
    if none := flat(values):
        return none.said
    score = figure.under.get(method, [None] * (k + 1))[k]
    scale = f"{scale_of(values):.2g} {figure.units.get(method, '')}".strip()
    return f"± {scale}" if score is None else f"{score:z.2f}"


def _lines(figure: Maps, kind: Any) -> "Drawn":
    """A panel a method: the trained network's map, and the last column's beside or below it."""
    high = {"series": 0.9, "table": 0.3 + 0.13 * len(largest(_any(figure))), "text": 1.0}[figure.kind]
    leads = figure.kind == "series" and figure.fed is not None and figure.fed.ndim == 2
    drawn: Drawn = kind(figsize=(5.2, high * (len(figure.rows) + leads) + 0.5), layout="constrained")
    panels = list(drawn.subplots(len(figure.rows) + leads, 1, squeeze=False)[:, 0])
    if leads:
        _leads(figure, panels.pop(0))
    for axes, (method, values) in zip(panels, figure.rows.items(), strict=True):
        known = [v for v in values if v is not None]
        note = "" if not (none := flat(known[0])) else f", {none.said}"
        axes.set_title(f"{method}{note}", fontsize=6, loc="left")
        axes.tick_params(labelsize=5)
        if note:
            axes.set_axis_off()
        elif figure.kind == "series":
            _series(figure, axes, known)
        elif figure.kind == "table":
            _bars(figure, axes, known)
        else:
            _words(figure, axes, known[0], signed=figure.signed[method])
    drawn.suptitle(f"{figure.title}; dashed or outlined: {figure.columns[-1]} ({figure.x})", fontsize=7)
    return drawn


def _any(figure: Maps) -> Floats:
    return next(v for row in figure.rows.values() for v in row if v is not None)


def _places(figure: Maps, count: int) -> Floats:
    return np.arange(count) / (figure.rate or 1.0)


def _leads(figure: Maps, axes: "Axes") -> None:
    assert figure.fed is not None
    for k, lead in enumerate(figure.fed):
        spread = float(np.ptp(lead)) or 1.0
        axes.plot(_places(figure, len(lead)), 0.8 * (lead - lead.min()) / spread - k, color=SOFT, linewidth=0.6)
    axes.set_yticks(
        [0.4 - k for k in range(len(figure.fed))], list(figure.names) or [str(k) for k in range(len(figure.fed))]
    )
    axes.tick_params(labelsize=5)
    axes.set_title("input", fontsize=6, loc="left")


def _series(figure: Maps, axes: "Axes", maps: list[Floats]) -> None:
    for values, color, dash in reversed(list(zip((maps[0], maps[-1]), (TONES["bad"], SOFT), ("-", "--"), strict=True))):
        axes.plot(_places(figure, len(values)), values / scale_of(values), dash, color=color, linewidth=0.8)
    axes.set_ylim(-1.1, 1.1)
    axes.axhline(0, color=SOFT, linewidth=0.4)
    axes.set_xlabel("s" if figure.rate else "position", fontsize=5)


def _bars(figure: Maps, axes: "Axes", maps: list[Floats]) -> None:
    chosen, ours, last = largest(maps[0]), maps[0] / scale_of(maps[0]), maps[-1] / scale_of(maps[-1])
    at = np.arange(len(chosen))
    axes.barh(at, ours[chosen], 0.55, color=[FOR if ours[k] > 0 else AGAINST for k in chosen])
    axes.barh(at + 0.38, last[chosen], 0.18, facecolor="none", edgecolor=SOFT, linewidth=0.6)
    axes.set_yticks(at, [figure.names[k] for k in chosen])
    axes.invert_yaxis()


def _words(figure: Maps, axes: "Axes", values: Floats, *, signed: bool) -> None:
    """Words on the colors of the page, the first of a long text."""
    axes.set_axis_off()
    level = levels(values, scale_of(values), signed=signed)
    colors = colored(level.reshape(1, -1), signed=signed)[0] / 255
    x, y = 0, 0
    for word, color in zip(figure.names[:WORDS], colors, strict=False):
        if x and x + len(word) > LETTERS:
            x, y = 0, y + 1
        dark = float(color @ (0.3, 0.59, 0.11)) < 0.5
        box = {"facecolor": tuple(color), "edgecolor": "none", "pad": 1.2}
        axes.text(x, -y, word, fontsize=5, family="monospace", color="white" if dark else "black", bbox=box, va="top")
        x += len(word) + 1
    axes.set_xlim(0, LETTERS + 4)
    axes.set_ylim(-max(y, 3) - 1, 0.2)
