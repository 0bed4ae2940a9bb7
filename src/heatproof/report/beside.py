"""Maps beside a panel's figures: of the method that answers a question best and of the one that answers it worst."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from heatproof.drawing import flat
from heatproof.report import pictures
from heatproof.report.along import has_one_direction, largest, one_map
from heatproof.report.columns import columns_of, trained_of
from heatproof.report.gallery import is_signed
from heatproof.report.panels import Panel
from heatproof.report.shown import Shown


class Rectangle(NamedTuple):
    """A box in the units of the picture that it is drawn on."""

    x: float
    y: float
    width: float
    height: float


class Beside(NamedTuple):
    """A map as an image of `width` × `height` units, boxes or a mask's outline on it, or a `figure`; and its words."""

    image: str
    width: int
    height: int
    boxes: Sequence[Rectangle]
    said: str
    alt: str
    figure: Markup = Markup()
    outline: str = ""  # a path of SVG


def beside(panel: Panel, kept: Shown, manifest: Mapping[str, Any], sample: str) -> list[Beside]:
    """The trained maps of both methods on a sample; empty where none was kept, or the run is about texts."""
    columns = columns_of(manifest, {key[0] for key in kept.maps})
    trained = trained_of(columns)
    grid = manifest["data"]["grid"]
    laid = pictures.laid_out(grid[-2:])  # of a volume one slice
    height, width = pictures.shrunk(laid, pictures.LARGEST) if len(grid) < 3 else laid
    boxes = boxes_of(kept, sample, manifest, (height, width)) if panel.question == "localizes" else []
    outline = outline_of(kept, sample, (height, width)) if panel.question == "localizes" else ""
    found = []
    for which, method in panel.maps:
        values = kept.maps.get((trained, method, sample))
        if values is None or manifest["data"].get("tokens"):
            continue
        none = flat(values)
        alt = f"{method} on sample {sample}, trained network" + (f" ({none.said})" if none else "")
        alt += f"; {len(boxes)} boxes of the object" if boxes else ""
        alt += "; the outline of the object's mask" if outline else ""
        said = f"{which}: {method}" + (f", {none.said}" if none else "")
        if has_one_direction(manifest):
            drawn = Markup() if none else one_map(values, None, None, manifest, (), largest(values.reshape(-1))[:8])
            found.append(Beside("", 0, 0, boxes, said, alt, drawn))
            continue
        image = pictures.tile(values, grid, signed=is_signed(kept.maps, method))
        if len(grid) > 2:
            said += f", slice {pictures.strongest_slice(values, grid) + 1}"
        found.append(Beside(image, width, height, boxes, said, alt, outline=outline))
    return found


def boxes_of(kept: Shown, sample: str, manifest: Mapping[str, Any], size: tuple[int, int]) -> list[Rectangle]:
    """The explained label's boxes (xmin, ymin, xmax, ymax) of a sample's pixels, on a picture of (height, width)."""
    given, shape = kept.inputs.get(f"boxes:{sample}"), manifest["data"]["shape"]
    if given is None or len(shape) != 3:
        return []
    labels = kept.inputs.get(f"box-labels:{sample}")
    if labels is not None:
        given = given[labels == kept.samples[sample]["target"]]
    down, across = size[0] / shape[1], size[1] / shape[2]
    return [
        Rectangle(x0 * across, y0 * down, (x1 - x0) * across, (y1 - y0) * down)
        for x0, y0, x1, y1 in given.reshape(-1, 4).tolist()
        if math.isfinite(x0) and x1 > x0 and y1 > y0
    ]


def outline_of(kept: Shown, sample: str, size: tuple[int, int]) -> str:
    """The outline of a sample's mask as a path of SVG, on a picture of (height, width); "" where it marks nothing.

    A mask that is finer than the picture is drawn at the picture's resolution.
    """
    mask = kept.inputs.get(f"mask:{sample}")
    if mask is None:
        return ""
    height, width = pictures.shrunk(mask.shape, pictures.LARGEST)
    rows, columns = (
        (2 * np.arange(few) + 1) * many // (2 * few) for few, many in zip((height, width), mask.shape, strict=True)
    )
    inside = mask[np.ix_(rows, columns)].astype(bool)
    down, across = size[0] / height, size[1] / width
    level = [f"M{x0 * across:g} {y * down:g}H{x1 * across:g}" for y, x0, x1 in _edges(inside)]
    upright = [f"M{x * across:g} {y0 * down:g}V{y1 * down:g}" for x, y0, y1 in _edges(inside.T)]
    return "".join(level + upright)


def _edges(inside: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Where rows of pixels begin or end: the line between two rows, and from where to where on it."""
    change = np.diff(np.pad(inside.astype(np.int8), ((1, 1), (0, 0))), axis=0) != 0
    runs = np.diff(np.pad(change.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    (lines, starts), (_, ends) = np.nonzero(runs == 1), np.nonzero(runs == -1)
    return list(zip(lines.tolist(), starts.tolist(), ends.tolist(), strict=True))
