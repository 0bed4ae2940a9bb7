"""Figures by matplotlib, for papers and notebooks: an extra, imported when something is drawn."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heatproof.errors import MissingExtraError
from heatproof.report.colors import TONES
from heatproof.report.figures import Between, Cells, Curves, Dots, Figure, Point, Scatter
from heatproof.report.maps import Maps
from heatproof.report.plotting_maps import draw_maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawn

Strokes = Mapping[str, tuple[str, str]]
PLAIN, SOFT = "#1a1f27", "#8b95a1"
MARKERS = ("o", "D", "|", "s")
DASHES = {"": "-", "7 3": (0, (7, 3)), "2 3": (0, (2, 3)), "9 3 2 3": (0, (9, 3, 2, 3))}


def draw(figure: Figure, strokes: Strokes) -> "Drawn":
    """A figure by matplotlib, fonts embedded as text in PDF and SVG. Raises: MissingExtraError without matplotlib."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure as Drawn
    except ImportError:
        raise MissingExtraError("matplotlib", "plot", "Drawing figures") from None
    with mpl.rc_context(
        {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False}
    ):
        if isinstance(figure, Between):
            return _between(figure, Drawn)
        if isinstance(figure, Maps):
            return draw_maps(figure, Drawn)
        size = _size(figure)
        drawn = Drawn(figsize=size, layout="constrained")
        axes = drawn.add_subplot()
        if isinstance(figure, Dots):
            _dots(figure, axes)
        elif isinstance(figure, Curves):
            _curves(figure, axes, strokes)
        elif isinstance(figure, Scatter):
            _scatter(figure, axes)
        else:
            assert isinstance(figure, Cells)
            _cells(figure, axes, drawn)
        axes.set_title(figure.title, fontsize=8, wrap=True)
        return drawn


def _size(figure: Figure) -> tuple[float, float]:
    if isinstance(figure, Dots):
        return 5.2, 1.1 + 0.19 * len(figure.rows)
    if isinstance(figure, Cells):
        side = 1.8 + 0.26 * len(figure.labels)
        return side + 0.6, side
    return 5.2, 3.2


def _dots(figure: Dots, axes: "Axes") -> None:
    series = list(dict.fromkeys(name for row in figure.rows.values() for name in row))
    for name in series:
        for k, (method, row) in enumerate(figure.rows.items()):
            if name not in row:
                continue
            point = row[name]
            color = TONES.get(figure.tones.get(method, ""), PLAIN) if len(series) == 1 else f"C{series.index(name)}"
            if math.isfinite(point.low):
                axes.plot([point.low, point.high], [k, k], color=color, linewidth=1.4)
            marker = MARKERS[series.index(name) % len(MARKERS)]
            axes.plot([point.mean], [k], marker, color=color, markersize=4, label=name if k == 0 else None)
    for name, value in figure.marks.items():
        axes.axvline(value, color=SOFT, linewidth=0.8, linestyle="--")
        axes.annotate(
            name, (value, 1), (2, 2), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=6
        )
    axes.set_yticks(range(len(figure.rows)), list(figure.rows))
    axes.invert_yaxis()
    if figure.limits:
        axes.set_xlim(*figure.limits)
    axes.set_xlabel(figure.x)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=6)


def _curves(figure: Curves, axes: "Axes", strokes: Strokes) -> None:
    for method, line in figure.lines.items():
        color, dash = strokes.get(method, (PLAIN, ""))
        known = [point for point in line if math.isfinite(point.mean)]
        x, mean = [point.x for point in known], [point.mean for point in known]
        axes.plot(x, mean, color=color, linestyle=DASHES.get(dash, "-"), linewidth=1.2, label=method)
        if method not in figure.dim:
            low = [point.low if math.isfinite(point.low) else point.mean for point in known]
            high = [point.high if math.isfinite(point.high) else point.mean for point in known]
            axes.fill_between(x, low, high, color=color, alpha=0.08, linewidth=0)
    if figure.log:
        axes.set_xscale("log")
    axes.set_xlabel(figure.x)
    axes.set_ylabel(figure.y)
    if len(figure.lines) > 1:
        axes.legend(frameon=False, fontsize=5.5, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _scatter(figure: Scatter, axes: "Axes") -> None:
    for method, (x, y) in figure.points.items():
        axes.plot([x], [y], "o", color=TONES.get(figure.tones.get(method, ""), PLAIN), markersize=4)
        axes.annotate(method, (x, y), (4, 2), textcoords="offset points", fontsize=6)
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.06)
    axes.set_xlabel(figure.x)
    axes.set_ylabel(figure.y)


def _cells(figure: Cells, axes: "Axes", drawn: "Drawn") -> None:
    values = [[math.nan if value is None else value for value in row] for row in figure.values]
    image = axes.imshow(values, cmap=colormap(), vmin=-1, vmax=1)
    axes.set_xticks(range(len(figure.labels)), list(figure.labels), rotation=90)
    axes.set_yticks(range(len(figure.labels)), list(figure.labels))
    drawn.colorbar(image, ax=axes, shrink=0.7)


def _between(figure: Between, kind: Any) -> "Drawn":
    methods = [method for method in figure.upper if figure.lower.get(method)]
    columns = min(4, max(1, len(methods)))
    rows = max(1, math.ceil(len(methods) / columns))
    drawn: Drawn = kind(figsize=(1.5 * columns + 0.4, 1.25 * rows + 0.5), layout="constrained")
    grid = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for k, axes in enumerate(grid.flat):
        if k >= len(methods):
            axes.set_axis_off()
            continue
        upper, lower = (lines[methods[k]] for lines in (figure.upper, figure.lower))
        x, top, bottom = _line(upper), [p.mean for p in upper], [p.mean for p in lower]
        axes.fill_between(x, top, bottom, color=TONES["good"], alpha=0.18, linewidth=0)
        axes.plot(x, top, color=TONES["good"], linewidth=1.2)
        axes.plot(_line(lower), bottom, color=TONES["bad"], linewidth=1.2)
        for lines in (figure.upper, figure.lower):
            behind = lines.get(figure.control, ())
            if methods[k] != figure.control:
                axes.plot(_line(behind), [p.mean for p in behind], color=SOFT, linewidth=0.8, linestyle="--")
        axes.set_title(f"{methods[k]}\n{figure.said.get(methods[k], '')}", fontsize=6)
    drawn.supxlabel(figure.x, fontsize=7)
    drawn.supylabel(figure.y, fontsize=7)
    return drawn


def _line(points: Sequence[Point]) -> list[float]:
    return [point.x for point in points]


def colormap(*, signed: bool = True) -> Any:
    """The page's colors for matplotlib."""
    from matplotlib.colors import ListedColormap

    from heatproof.drawing import table

    colors = table(signed=signed) / 255
    return ListedColormap(colors[1:] if signed else colors, name="heatproof")
