"""Maps and inputs as small pictures for the browser. Numbers never come from here.

A map is scaled to ±1 by the 99.5th percentile of its absolute values (its maximum where that is 0), one map at a time,
so maps are comparable in shape and not in size. Signed: grey 1 … 255 with zero at 128; unsigned: 0 … 255.
All maps of a sample travel as one WebP sheet, methods down and states across, lossless up to 64² a map.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heatproof.drawing import colored, scale_of, table
from heatproof.drawing.scale import levels

LARGEST = 112
LOSSLESS = 64
FINE = 80  # quality of what is not lossless
WIDEST = 16383  # pixels a side of a WebP picture
STRIPE = 8  # times as wide as high is one line of values

Floats = NDArray[np.float32]
Maps = Mapping[tuple[str, str, str], Floats]


def grey(values: Floats, *, signed: bool, side: int) -> NDArray[np.uint8]:
    """A map (H, W) as 8-bit grey, shrunk by area averaging until neither side exceeds `side`. NaN is drawn as zero."""
    clean = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    height, width = shrunk(clean.shape, side)
    if (height, width) != clean.shape:
        clean = np.asarray(Image.fromarray(clean).resize((width, height), Image.Resampling.BOX))
    return levels(clean, scale_of(clean), signed=signed)


def colors() -> dict[str, list[str]]:
    """Both color maps as 256 hexadecimal colors each, for the browser."""
    return {name: [bytes(color).hex() for color in table(signed=name == "signed")] for name in ("signed", "unsigned")}


def laid_out(grid: Sequence[int]) -> tuple[int, int]:
    """(height, width) of the picture that a map of `grid` features is drawn as.

    A map along one line is a stripe an eighth as high as it is wide; of a volume (D, H, W) the slices stand side by
    side.
    """
    if len(grid) == 2:
        return grid[0], grid[1]
    if len(grid) < 2:
        return max(1, math.prod(grid) // STRIPE), math.prod(grid)
    return grid[-2], math.prod(grid[:-2]) * grid[-1]


def drawable(values: Floats, grid: Sequence[int]) -> Floats:
    """A map of `grid` features as its picture's (height, width)."""
    map_ = values.reshape(grid)
    if len(grid) > 2:
        map_ = np.moveaxis(map_.reshape(-1, *grid[-2:]), 0, 1)  # (H, slices, W)
    height, width = laid_out(grid)
    return np.repeat(map_.reshape(1, width), height, 0) if len(grid) < 2 else map_.reshape(height, width)


def strongest_slice(values: NDArray[np.floating], grid: Sequence[int]) -> int:
    """Which slice of a volume (…, H, W) holds most of a map; 0 of a picture."""
    return int(np.abs(np.nan_to_num(values)).reshape(-1, *grid[-2:]).sum((1, 2)).argmax()) if len(grid) > 2 else 0


def tile(values: Floats, grid: Sequence[int], *, signed: bool, slice_: int | None = None) -> str:
    """Data URI of one map, in colors; of a volume one slice, scaled as all of it, by default its strongest."""
    if len(grid) > 2:
        scale = scale_of(values)
        at = strongest_slice(values, grid) if slice_ is None else slice_
        one = values.reshape(-1, *grid[-2:])[at].astype(np.float32)
        level = levels(one, scale, signed=signed)
        return in_colors(level, signed=signed)
    return in_colors(grey(drawable(values, grid), signed=signed, side=LARGEST), signed=signed)


def in_colors(level: NDArray[np.uint8], *, signed: bool) -> str:
    """Data URI of levels of grey (H, W) in the colors of maps."""
    return webp(Image.fromarray(colored(level, signed=signed)), lossless=True)


def shrunk(shape: Sequence[int], side: int) -> tuple[int, int]:
    """(height, width) with the same proportions and neither above `side`."""
    factor = min(1.0, side / max(shape))
    height, width = max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))
    return height, width


def sheet(
    maps: Maps,
    states: Sequence[str],
    methods: Mapping[str, bool],
    sample: str,
    grid: Sequence[int],
    side: int,
    quality: int = FINE,
) -> str:
    """Data URI of one sample's maps: a grid of tiles, `methods` (label to signed) down, `states` across.

    Lossless up to 64² a map at the finest quality.
    """
    height, width = shrunk(laid_out(grid), side)
    canvas = np.zeros((height * len(methods), width * len(states)), np.uint8)
    for row, (method, signed) in enumerate(methods.items()):
        for column, state in enumerate(states):
            values = maps.get((state, method, sample))
            if values is not None:
                tile = grey(drawable(values, grid), signed=signed, side=side)
                canvas[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    return webp(Image.fromarray(canvas), lossless=max(height, width) <= LOSSLESS and quality == FINE, quality=quality)


def picture(sample: str, inputs: Mapping[str, NDArray[Any]], slice_: int | None = None) -> str | None:
    """Data URI of a sample's picture, no larger than it is drawn; with `slice_` that slice of a volume alone."""
    shown = pixels_of(sample, inputs)
    if shown is None:
        return None
    if slice_ is not None and sample in inputs and inputs[sample].ndim == 4:
        wide = shown.shape[1] // inputs[sample].shape[1]
        return webp(Image.fromarray(shown[:, slice_ * wide : (slice_ + 1) * wide]), lossless=True)
    image = Image.fromarray(shown)
    slices = inputs[sample].shape[1] if sample in inputs and inputs[sample].ndim == 4 else 1
    image.thumbnail((min(224 * slices, WIDEST), 224))
    return webp(image, lossless=max(image.size) <= LOSSLESS)


def pixels_of(sample: str, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8] | None:
    """A sample's picture (H, W) or (H, W, 3): as the data set shows it, else the input as fed, stretched to its range.

    None for what has none, such as a row of a table.
    """
    shown = inputs.get(f"display:{sample}")
    if shown is None:
        fed = inputs.get(sample)
        if fed is not None and fed.ndim == 4:  # a volume (C, D, H, W): its slices side by side
            fed = np.moveaxis(fed, 1, 2).reshape(fed.shape[0], fed.shape[2], -1)
        if fed is not None and fed.ndim == 2:  # a series (C, T): a row for each lead
            fed = np.repeat(fed[None], max(1, fed.shape[1] // (STRIPE * fed.shape[0])), axis=1)
        if fed is None or fed.ndim != 3:
            return None
        pixels = np.moveaxis(fed, 0, -1) if fed.shape[0] == 3 else fed.mean(0)
        low, high = float(pixels.min()), float(pixels.max())
        shown = np.rint(255 * (pixels - low) / ((high - low) or 1)).astype(np.uint8)
    return shown


def webp(image: Image.Image, *, lossless: bool, quality: int = FINE) -> str:
    """A picture as a WebP data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=lossless, quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
