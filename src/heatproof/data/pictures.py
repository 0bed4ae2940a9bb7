"""Pictures of a source, decoded and cut to one size, with the boxes of what they show."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from heatproof.data.base import Box, Source
from heatproof.data.decoding import Shown, shown
from heatproof.data.defaults import BILINEAR, CROP, NEAREST, NONE, RESIZE, RGB
from heatproof.errors import HeatproofWarning, InputError, unknown
from heatproof.fields import ADDED

# Pillow reports broken files through all of these; the last where warnings are errors.
UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, MemoryError,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
ENDINGS = (
    ".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif", ".avif", ".jp2",
)  # fmt: skip
# Pictures that are not read: they are named, and not passed over.
UNREAD = (
    ".heic", ".heif", ".jxl", ".psd", ".svg", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".exr", ".hdr", ".dcm",
)  # fmt: skip
MOST_PIXELS = 2**26  # of a resized picture: a strip of 1 x 20000 pixels would become one of 4 GB
ENLARGED, LONG = 4.0, 4.0  # beyond this, what the network sees is hardly the picture any more, and it is said

INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos", "box", "hamming")
ROUNDINGS = ("nearest", "down")

T = TypeVar("T")
Size = int | tuple[int, int] | None


class Decoded(NamedTuple):
    """A picture uint8 (H, W, 3) or (H, W), and how it was cut out of what its file shows."""

    picture: "np.ndarray"
    scale: tuple[float, float]  # (x, y), from the file's pixels to resized ones
    corner: tuple[int, int]  # (x, y) of the cut-out in resized pixels
    shown: Shown

    @property
    def resized_to(self) -> tuple[int, int]:
        """Width and height of all that the file shows, in resized pixels."""
        (across, down), (width, height) = self.scale, self.shown.image.size
        return round(width * across), round(height * down)

    def resized(self, box: Box, annotated: tuple[int, int] | None = None) -> Box:
        """A box of the file in pixels of the cut-out, which it may overhang; `annotated` as in `Shown.upright`."""
        xmin, ymin, xmax, ymax = self.shown.upright(box, annotated)
        (across, down), (left, top) = self.scale, self.corner
        return (xmin * across - left, ymin * down - top, xmax * across - left, ymax * down - top)

    def cut(self, box: Box, annotated: tuple[int, int] | None = None) -> Box | None:
        """The part of a box of the file that lies in the cut-out; None if none does."""
        height, width = self.picture.shape[:2]
        xmin, ymin, xmax, ymax = self.resized(box, annotated)
        left, right = (min(max(x, 0.0), float(width)) for x in (xmin, xmax))
        top, bottom = (min(max(y, 0.0), float(height)) for y in (ymin, ymax))
        return (left, top, right, bottom) if left < right and top < bottom else None


@dataclass(frozen=True, kw_only=True)
class PictureSource(Source):
    """Picture files as a viewer shows them, in [0, 1], resized and cropped as torchvision's `Resize` and `CenterCrop`.

    Upright as EXIF says, 16-bit grey over its whole range, color profiles brought to sRGB, transparency on
    `background`; what has no agreed look (32-bit or floating-point grey, several pages) is left out with the reason.
    Deviation from torchvision's loader, which does neither.

    What nobody sets here is read from the network in an audit, where it tells (`heatproof.data.preprocessing`).

    Attributes:
        resize: length of the short side; or (height, width), which may change its shape; None keeps the size.
        crop: side of the square that is cut out of the middle, or (height, width); None keeps all, and then every
            picture has one size.
        interpolation: of a resized picture: bilinear, bicubic, nearest, lanczos, box, hamming, as Pillow has them.
        rounding: of the corner of a crop that cannot lie in the very middle: nearest, as torchvision and timm do, or
            down, as Hugging Face does.
        channels: 3 for RGB, 1 for grey.
        background: the color, RGB from 0 to 255, that transparent pixels show; white, as on a page.
    """

    mean: tuple[float, ...] = NONE
    std: tuple[float, ...] = NONE
    resize: Size = RESIZE
    crop: Size = CROP
    channels: int = RGB
    background: tuple[int, int, int] = (255, 255, 255)
    interpolation: str = field(default=BILINEAR, metadata=ADDED)
    rounding: str = field(default=NEAREST, metadata=ADDED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounding not in ROUNDINGS:
            raise unknown("rounding", self.rounding, ROUNDINGS)
        if self.interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", self.interpolation, INTERPOLATIONS)
        for name in ("resize", "crop"):
            object.__setattr__(self, name, _size(name, getattr(self, name)))
        object.__setattr__(self, "background", tuple(self.background))
        if self.channels not in (1, 3):
            raise InputError(f"Expected channels to be 3 for RGB or 1 for grey, but got {self.channels}.")
        if len(self.background) != 3 or not all(isinstance(c, int) and 0 <= c <= 255 for c in self.background):
            raise InputError(f"Expected background to be three numbers from 0 to 255, but got {self.background}.")
        if self.resize is not None and self.crop is not None:
            have, want = (_pair(size) for size in (self.resize, self.crop))
            if want[0] > have[0] or want[1] > have[1]:
                raise InputError(
                    f"Expected a crop within the resized image, but got crop {self.crop} of {self.resize}; raise "
                    "`resize`."
                )

    def decode(self, path: Path | IO[bytes]) -> Decoded:
        """The picture of a file, or of an open one, resized and cut.

        Raises: one of UNREADABLE, with the reason.
        """
        if isinstance(path, Path) and path.name.lower().endswith(UNREAD):
            raise ValueError(f"pictures of the kind {path.suffix.lower()} are not read; save it as PNG or JPEG")
        seen = shown(path, self.channels, self.background)
        image = seen.image
        width, height = image.size
        if self.resize is not None:
            across, down = _resized(image.size, self.resize)
        else:
            across, down = width, height
        left, top, wide, tall = 0, 0, across, down
        if self.crop is not None:
            tall, wide = _pair(self.crop)
            if down < tall or across < wide:
                raise ValueError(f"{across} x {down} pixels are less than the crop of {_told(self.crop)}")
            rounded = round if self.rounding == "nearest" else int
            left, top = rounded((across - wide) / 2), rounded((down - tall) / 2)
        scale, way = (across / width, down / height), Image.Resampling[self.interpolation.upper()]
        if across * down > MOST_PIXELS:  # of a strip the middle alone is resized: it would become too large
            if wide * tall > MOST_PIXELS:
                raise ValueError(f"{width} x {height} pixels would be resized to {across} x {down}; crop it first")
            box = (left / scale[0], top / scale[1], (left + wide) / scale[0], (top + tall) / scale[1])
            image = image.resize((wide, tall), way, box=box)
        else:
            if self.resize is not None:
                image = image.resize((across, down), way)
            image = image.crop((left, top, left + wide, top + tall)) if self.crop is not None else image
        return Decoded(np.array(image), scale, (left, top), seen)


def read_each(names: Sequence[str], read: Callable[[str], T]) -> tuple[list[tuple[str, T]], list[tuple[str, str]]]:
    """What `read` makes of each file, by name, and the files that it cannot read, each with the reason."""
    kept: list[tuple[str, T]] = []
    skipped: list[tuple[str, str]] = []
    for name in names:
        try:
            kept.append((name, read(name)))
        except UNREADABLE as error:
            skipped.append((name, f"{type(error).__name__}: {error}"))
    return kept, skipped


def stacked(pictures: Sequence[tuple[str, Decoded]], where: str, said: set[str] | None = None) -> Tensor:
    """Pictures of one size as one tensor uint8 (N, H, W, 3) or (N, H, W).

    Warns: HeatproofWarning where the network sees little of a picture, or little but interpolation. What is `said`
        already is not said again.
    """
    said = set() if said is None else said
    sizes = {decoded.picture.shape[:2] for _, decoded in pictures}
    if len(sizes) > 1:
        raise InputError(f"Expected images of one size, but got {len(sizes)} sizes under {where!r}; set `crop`.")
    small = [name for name, decoded in pictures if max(decoded.scale) > ENLARGED]
    long = [name for name, decoded in pictures if max(decoded.shown.image.size) > LONG * min(decoded.shown.image.size)]
    for names, what in (
        (small, f"enlarged more than {ENLARGED:g} times: their maps show interpolation"),
        (long, f"more than {LONG:g} times as long as wide: a crop or another shape shows little of them"),
    ):
        if names and what not in said:
            said.add(what)
            warnings.warn(
                f"{len(names)} of {len(pictures)} pictures under {where!r} are {what} ({', '.join(names[:3])}).",
                HeatproofWarning,
                stacklevel=3,
            )
    return torch.from_numpy(np.stack([decoded.picture for _, decoded in pictures]))


def _resized(size: tuple[int, int], resize: int | tuple[int, int]) -> tuple[int, int]:
    """Width and height, as torchvision's `Resize` rounds them."""
    if isinstance(resize, tuple):
        return resize[1], resize[0]
    short = min(size)
    return int(resize * size[0] / short), int(resize * size[1] / short)


def _size(name: str, value: object) -> Size:
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    if value is None:
        return None
    if len(numbers) > 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers):
        raise InputError(f"Expected {name} to be a number of pixels or (height, width), but got {value!r}.")
    return numbers[0] if isinstance(value, int) else _pair(numbers)


def _pair(size: "int | tuple[int, ...]") -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


def _told(size: int | tuple[int, int]) -> str:
    return str(size) if isinstance(size, int) else f"{size[1]} x {size[0]}"
