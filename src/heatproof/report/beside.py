"""Maps beside a panel's figures: of the method that answers a question best and of the one that answers it worst."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

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
    """A map as an image of `width` × `height` units with boxes on it, or as a `figure`; and what stands below."""

    image: str
    width: int
    height: int
    boxes: Sequence[Rectangle]
    said: str
    alt: str
    figure: Markup = Markup()


def beside(panel: Panel, kept: Shown, manifest: Mapping[str, Any], sample: str) -> list[Beside]:
    """The trained maps of both methods on a sample; empty where none was kept, or the run is about texts."""
    columns = columns_of(manifest, {key[0] for key in kept.maps})
    trained = trained_of(columns)
    grid = manifest["data"]["grid"]
    laid = pictures.laid_out(grid[-2:])  # of a volume one slice
    height, width = pictures.shrunk(laid, pictures.LARGEST) if len(grid) < 3 else laid
    boxes = boxes_of(kept, sample, manifest, (height, width)) if panel.question == "localizes" else []
    found = []
    for which, method in panel.maps:
        values = kept.maps.get((trained, method, sample))
        if values is None or manifest["data"].get("tokens"):
            continue
        none = flat(values)
        alt = f"{method} on sample {sample}, trained network" + (f" ({none.said})" if none else "")
        alt += f"; {len(boxes)} boxes of the object" if boxes else ""
        said = f"{which}: {method}" + (f", {none.said}" if none else "")
        if has_one_direction(manifest):
            drawn = Markup() if none else one_map(values, None, None, manifest, (), largest(values.reshape(-1))[:8])
            found.append(Beside("", 0, 0, boxes, said, alt, drawn))
            continue
        image = pictures.tile(values, grid, signed=is_signed(kept.maps, method))
        if len(grid) > 2:
            said += f", slice {pictures.strongest_slice(values, grid) + 1}"
        found.append(Beside(image, width, height, boxes, said, alt))
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
