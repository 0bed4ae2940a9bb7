"""A picture from outside, by the bytes of its file, as a sample."""

import hashlib
import io

import torch
from PIL import Image, UnidentifiedImageError

from heatproof.data import Dataset
from heatproof.data.base import UNLABELLED, picture_channels
from heatproof.data.decoding import MOST_STORED
from heatproof.data.pictures import UNREADABLE, PictureSource
from heatproof.errors import HeatproofError

MOST_EXPLAINED = 2**22  # pixels of an input: one of 2048 x 2048


class PictureError(HeatproofError):
    """What was sent is no picture."""


class LargePictureError(PictureError):
    """A picture of more pixels than are decoded, or explained."""


def dropped(raw: bytes, source: PictureSource) -> Dataset:
    """The picture, read as `source` reads its own.

    Raises: PictureError for what cannot be decoded; LargePictureError, before anything is decoded.
    """
    try:
        with Image.open(io.BytesIO(raw)) as image:
            width, height = image.size
        if width * height > MOST_STORED:
            raise Image.DecompressionBombError(f"it has {width} x {height} pixels, more than {MOST_STORED}")
        if source.crop is None and not isinstance(source.resize, tuple) and width * height > MOST_EXPLAINED:
            raise Image.DecompressionBombError(f"{width} x {height} pixels would be explained, over {MOST_EXPLAINED}")
        decoded = source.decode(io.BytesIO(raw))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise LargePictureError(f"This picture is too large: {error}.") from None
    except UnidentifiedImageError:
        raise PictureError("This is no picture: its file is of no kind that is known.") from None
    except UNREADABLE as error:
        raise PictureError(f"This is no picture that can be read: {error}.") from None
    shown = torch.from_numpy(decoded.picture)[None]
    return Dataset(
        name="dropped",
        inputs=source.normalize(picture_channels(shown)),
        targets=torch.tensor([UNLABELLED]),
        ids=(hashlib.sha256(raw).hexdigest()[:16],),
        display=shown,
    )
