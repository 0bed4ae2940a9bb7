"""What a picture file shows: upright, eight bits a channel, as a viewer would show it, or not at all."""

import io
import struct
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from heatproof.data.base import Box

MOST_STORED = 2**26  # pixels of a file: decoded and turned they take 12 bytes each, or more
PHOTOMETRIC, BITS = 262, 258  # tags of TIFF
WHITE_IS_ZERO = 0
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
# What Pillow's readers stumble over in a broken file, beside what they say on purpose.
STUMBLES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, struct.error, zlib.error)


class Shown(NamedTuple):
    """A picture as it is seen: the image, and the EXIF orientation that it was stored in (1: upright)."""

    image: Image.Image
    orientation: int

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height of the file's own rows and columns."""
        width, height = self.image.size
        return (height, width) if self.orientation in SIDEWAYS else (width, height)

    def upright(self, box: Box, annotated: tuple[int, int] | None) -> Box:
        """A box of the file as a box of the picture as it is seen.

        `annotated` is the width and height of the picture in which the box was drawn, where its annotation says so.

        Raises: ValueError where that is another picture's size, or where nothing tells whether a box of a picture that
            is stored turned was drawn before or after it was turned upright.
        """
        seen, stored = self.image.size, self.stored
        if annotated is not None and annotated not in (seen, stored):
            raise ValueError(f"its boxes were drawn in {_by(annotated)} pixels, but the picture has {_by(seen)}")
        if self.orientation == 1 or (annotated == seen != stored):
            return box
        if annotated is None or seen == stored:
            raise ValueError(
                f"it is stored turned (EXIF orientation {self.orientation}), and nothing tells whether its boxes were "
                "drawn before or after turning it upright: give their picture's width and height, or save it upright"
            )
        width, height = stored
        left, top, right, bottom = box
        if self.orientation in (6, 7):  # its rows are columns from the right
            top, bottom = height - bottom, height - top
        if self.orientation in (7, 8):  # its columns are rows from below
            left, right = width - right, width - left
        return (top, left, bottom, right)


def shown(path: Path | IO[bytes], channels: int = 3, background: tuple[int, int, int] = (255, 255, 255)) -> Shown:
    """A file's picture as RGB (`channels` 3) or grey (1, by ITU-R 601 as Pillow's and torchvision's).

    Turned upright as EXIF says; 16-bit grey scaled from black to white; an embedded color profile brought to sRGB;
    what is transparent shows `background`. Of an animation the first picture counts. The file may be an open one.

    Raises: ValueError for what has no agreed look: 32-bit and floating-point grey, a file of several pages; and, before
        anything is decoded, for more than 2²⁶ pixels and for what is no file at all, such as a pipe; what Pillow says
        of a broken file, and ValueError where it says nothing sensible.
    """
    try:
        return _shown(path, channels, background)
    except STUMBLES as error:
        raise ValueError(f"its file is broken ({type(error).__name__}: {error})") from error


def _shown(path: Path | IO[bytes], channels: int, background: tuple[int, int, int]) -> Shown:
    if isinstance(path, Path) and path.exists() and not path.is_file():
        raise ValueError("it is no file")  # to open a pipe waits for who writes into it
    with Image.open(path) as stored:
        clear = "A" in stored.mode.upper() or "transparency" in stored.info  # they are laid over one another
        if stored.width * stored.height > MOST_STORED // (1 + clear):
            raise ValueError(
                f"it has {stored.width} x {stored.height} pixels, more than {MOST_STORED}, and would take gigabytes of "
                "memory; make it smaller first"
            )
        if stored.format == "TIFF" and getattr(stored, "n_frames", 1) > 1:
            raise ValueError(f"it holds {stored.n_frames} pages; save the one that is meant")  # type: ignore[attr-defined]
        before = orientation_of(stored)
        if before in SIDEWAYS and stored.info.get("compression") == "raw":
            raise ValueError("it is a turned TIFF without compression, which Pillow garbles; save it upright")
        photometric, bits = (_tag(stored, tag) for tag in (PHOTOMETRIC, BITS))
        stored.load()  # a TIFF is turned here by Pillow, and a PNG's orientation may be known only now
        orientation = before if before != 1 else orientation_of(stored)
        flat = _flat(_eight_bits(stored, photometric, bits), background)
        left = orientation_of(stored)
        upright = flat if left == 1 else turned(flat, left)
    return Shown(_as("L" if channels == 1 else "RGB", upright), orientation)


def _as(mode: str, image: Image.Image) -> Image.Image:
    """The image in this mode; itself, and no copy of it, where it is in it already."""
    return image if image.mode == mode else image.convert(mode)


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation that a picture says, 1 (upright) where it says none or nonsense."""
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in range(1, 9) else 1


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """A picture that is stored in this EXIF orientation, upright."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image.info["exif"] = exif.tobytes()
    return ImageOps.exif_transpose(image)


def _tag(image: Image.Image, number: int) -> int | None:
    value = getattr(image, "tag_v2", {}).get(number)
    return int(value[0] if isinstance(value, tuple) else value) if value is not None else None


def _eight_bits(image: Image.Image, photometric: int | None, bits: int | None) -> Image.Image:
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    if not deep:
        if image.mode[0] in "IF":
            kind = "floating-point" if image.mode[0] == "F" else "32-bit"
            raise ValueError(f"it is {kind} grey, and nothing tells which value is white; save it with 8 or 16 bits")
        return image
    values = np.asarray(image)
    white = 2.0 ** (bits or 16) - 1
    grey = np.empty(values.shape, np.uint8)
    for row, value in zip(grey, values, strict=True):  # one by one: a large picture in float64 would not fit
        row[:] = np.clip(value.astype(np.float64) * (255 / white), 0, 255).round()
    eight = Image.fromarray(255 - grey if photometric == WHITE_IS_ZERO else grey)
    clear = image.info.get("transparency")
    if clear is not None:
        eight.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    if "icc_profile" in image.info:
        eight.info["icc_profile"] = image.info["icc_profile"]
    return eight


def _flat(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """RGB in sRGB, with nothing transparent."""
    profile = image.info.get("icc_profile")
    if image.mode.endswith("a"):  # alpha multiplied in already
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = _as("RGBA", image)
        alpha = layered.getchannel("A")
        color = _srgb(layered.convert("RGB"), profile)
        return Image.composite(color, Image.new("RGB", image.size, background), alpha)
    return _as("RGB", _srgb(image if image.mode in ("CMYK", "L") else _as("RGB", image), profile))


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile:
        return image
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(own).lower():
            return image
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, own, srgb, outputMode="RGB") or image
    except (ImageCms.PyCMSError, OSError):  # broken, or of another color space than the picture's: not for this one
        return image


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
