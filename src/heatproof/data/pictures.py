"""Picture files, decoded and cut to one size, with the boxes of what they show."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from heatproof.data.base import Box
from heatproof.errors import InputError

# Pillow reports broken files through all of these.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
T = TypeVar("T")
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")


class Decoded(NamedTuple):
    """A picture uint8 (H, W, 3), the scale (x, y) from stored to resized pixels, and the corner of the crop."""

    picture: "np.ndarray"
    scale: tuple[float, float]
    corner: tuple[int, int]

    def resized(self, box: Box) -> Box:
        """A box of the stored image in pixels of the cut-out, which it may overhang."""
        xmin, ymin, xmax, ymax = box
        (across, down), (left, top) = self.scale, self.corner
        return (xmin * across - left, ymin * down - top, xmax * across - left, ymax * down - top)

    def cut(self, box: Box) -> Box | None:
        """The part of a box of the stored image that lies in the cut-out; None if none does."""
        height, width = self.picture.shape[:2]
        xmin, ymin, xmax, ymax = self.resized(box)
        left, right = (min(max(x, 0.0), float(width)) for x in (xmin, xmax))
        top, bottom = (min(max(y, 0.0), float(height)) for y in (ymin, ymax))
        return (left, top, right, bottom) if left < right and top < bottom else None


def check_sizes(resize: int | None, crop: int | None) -> None:
    """Refuse a crop that is larger than the resized image."""
    if resize is not None and crop is not None and crop > resize:
        raise InputError(f"Expected a crop within the resized image, but got crop {crop} of {resize}; raise `resize`.")


def decode(path: Path, resize: int | None, crop: int | None) -> Decoded:
    """An image file as RGB, short side brought to `resize`, middle square `crop` cut out, as torchvision does."""
    with Image.open(path) as stored:
        image = stored.convert("RGB")
    width, height = image.size
    if resize is not None:
        short = min(width, height)
        image = image.resize((int(resize * width / short), int(resize * height / short)), Image.Resampling.BILINEAR)
    scale = (image.width / width, image.height / height)
    left = top = 0
    if crop is not None:
        if min(image.size) < crop:
            raise ValueError(f"{image.width} x {image.height} pixels are less than the crop of {crop}")
        left, top = round((image.width - crop) / 2), round((image.height - crop) / 2)
        image = image.crop((left, top, left + crop, top + crop))
    return Decoded(np.array(image), scale, (left, top))


def read_each(
    names: Sequence[str], read: Callable[[str], T], where: str
) -> tuple[list[tuple[str, T]], list[tuple[str, str]]]:
    """What `read` makes of each file, by name, and the files that it cannot read, each with the reason.

    Raises: InputError if there is none that it can.
    """
    kept: list[tuple[str, T]] = []
    skipped: list[tuple[str, str]] = []
    for name in names:
        try:
            kept.append((name, read(name)))
        except UNREADABLE as error:
            skipped.append((name, f"{type(error).__name__}: {error}"))
    if not kept:
        raise InputError(
            f"Expected images under {where!r}, but none of {len(names)} files could be read; the first, "
            f"{skipped[0][0]}: {skipped[0][1]}."
        )
    return kept, skipped


def stacked(pictures: Sequence["np.ndarray"], where: str) -> Tensor:
    """Pictures of one size as one tensor uint8 (N, H, W, 3)."""
    sizes = {picture.shape[:2] for picture in pictures}
    if len(sizes) > 1:
        raise InputError(f"Expected images of one size, but got {len(sizes)} sizes under {where!r}; set `crop`.")
    return torch.from_numpy(np.stack(pictures))
