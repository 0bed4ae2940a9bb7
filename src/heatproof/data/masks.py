"""Masks of pictures: which pixels are the object's, from a PNG file beside each picture, cut as the picture was."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from heatproof.data.decoding import MOST_STORED, STUMBLES, orientation_of, turned
from heatproof.data.pictures import Decoded
from heatproof.errors import InputError

ENDING = ".png"


def masks_in(folder: Path, files: Sequence[str]) -> dict[str, Path]:
    """The mask of each picture that has one: the PNG of its path, or of its name where no other picture has that.

    Raises: InputError for what is no folder, and where no picture has a mask.
    """
    if not folder.is_dir():
        raise InputError(f"Expected `masks` to name a folder of PNG files, but {str(folder)!r} is none.")
    there = {
        (Path(place) / name).relative_to(folder).as_posix()
        for place, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(ENDING) and not name.startswith(".")
    }
    by_stem = {name[: -len(ENDING)]: name for name in there}
    often = Counter(Path(file).stem for file in files)
    found = {}
    for file in files:
        path = Path(file)
        name = by_stem.get(path.with_suffix("").as_posix())
        if name is None and often[path.stem] == 1:
            name = by_stem.get(path.stem)
        if name is not None:
            found[file] = folder / name
    if not found:
        example = Path(files[0]).with_suffix(ENDING).as_posix() if files else "name.png"
        raise InputError(
            f"Expected a PNG in {str(folder)!r} for some picture, of the same name, such as {example!r}, but none of "
            f"the {len(there)} there fits any of {len(files)} pictures."
        )
    return found


def mask_of(path: Path | None, decoded: Decoded) -> np.ndarray:
    """Which pixels (H, W) bool of a picture's cut-out a mask's file marks, nonzero = inside; none without a file.

    Nearest neighbor, in the resize and crop of the picture: a pixel is inside where the mask is at its center. Of a
    palette its indexes count, of colors any but black, of transparency nothing.

    Raises: ValueError where the mask has another size than the picture, or where nothing tells whether it was drawn
        before or after a picture that is stored turned was turned upright; OSError for a broken file.
    """
    height, width = decoded.picture.shape[:2]
    if path is None:
        return np.zeros((height, width), bool)
    inside = _upright(path, decoded)
    (across, down), (left, top) = decoded.resized_to, decoded.corner
    cut: np.ndarray = inside[
        np.ix_(_nearest(height, top, inside.shape[0], down), _nearest(width, left, inside.shape[1], across))
    ]
    return cut


def _nearest(count: int, first: int, stored: int, resized: int) -> np.ndarray:
    """Which of `stored` pixels lies at the center of each resized one: floor((i + ½) · stored / resized)."""
    return ((2 * (np.arange(count) + first) + 1) * stored) // (2 * resized)


def _upright(path: Path, decoded: Decoded) -> np.ndarray:
    """The marked pixels of a mask as the picture is seen."""
    marked, own = _marked(path)
    seen, stored, orientation = decoded.shown.image.size, decoded.shown.stored, decoded.shown.orientation
    size = (marked.shape[1], marked.shape[0])
    if size not in ((seen,) if own else (seen, stored)):
        raise ValueError(f"its mask has {size[0]} x {size[1]} pixels, but the picture has {seen[0]} x {seen[1]}")
    if own or orientation == 1 or size == seen != stored:
        return marked
    if seen == stored:
        raise ValueError(
            f"it is stored turned (EXIF orientation {orientation}), and nothing tells whether its mask was drawn "
            "before or after turning it upright: save it upright, or give the mask the same orientation"
        )
    return np.asarray(turned(Image.fromarray(marked), orientation))


def _marked(path: Path) -> tuple[np.ndarray, bool]:
    """Where a file is not zero (H, W), turned upright as it says itself; and whether it says so."""
    try:
        with Image.open(path) as stored:
            if stored.width * stored.height > MOST_STORED:
                raise ValueError(f"its mask has {stored.width} x {stored.height} pixels, more than {MOST_STORED}")
            stored.load()
            orientation = orientation_of(stored)
            bands = stored.getbands()
            marked = np.asarray(stored) != 0
            if len(bands) > 1:
                marked = marked[..., [i for i, band in enumerate(bands) if band not in "Aa"]].any(axis=2)
    except STUMBLES as error:
        raise ValueError(f"its mask is broken ({type(error).__name__}: {error})") from error
    return (marked if orientation == 1 else np.asarray(turned(Image.fromarray(marked), orientation))), orientation != 1
