"""Images in one NumPy archive."""

import math
import os
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heatproof.data.base import DATA, Dataset, Source, finite, picture_channels
from heatproof.data.listing import Listing
from heatproof.errors import InputError, unknown
from heatproof.fields import ADDED

LOCAL_NAME = 26  # where a zip file's local header says how long its name is


@DATA.register("npz")
@dataclass(frozen=True, kw_only=True)
class NpzImages(Source):
    """Images and labels from two arrays of an .npz file. Arrays of Python objects (pickles) are never loaded.

    Images of an archive that is not compressed (numpy.savez) are read by need, those of another are held in memory.

    Attributes:
        path: the file.
        images: the name of the images' array: uint8, scaled to [0, 1], or floating point, taken as it is.
            (N, H, W), or (N, C, H, W) as `layout` says.
        labels: the name of the array of N integer labels.
        classes: the name of an array with the name of each label; left out if the file has none.
        layout: "channels-first" or "channels-last".
        masks: the name of an array (N, H, W) of the pixels of each image's object, nonzero inside; none by default.

    >>> import numpy as np
    >>> np.savez("digits.npz", x=np.zeros((4, 1, 8, 8), np.float32), y=np.arange(4))
    >>> hp.data.NpzImages(path="digits.npz", limit=3).load().targets
    tensor([0, 1, 2])
    """

    path: str = ""
    images: str = "x"
    labels: str = "y"
    classes: str = "classes"
    layout: str = "channels-first"
    masks: str | None = field(default=None, metadata=ADDED)

    def listing(self) -> Listing:
        if self.layout not in ("channels-first", "channels-last"):
            raise unknown("layout", self.layout, ("channels-first", "channels-last"))
        return _Archive(self)


class _Archive(Listing):
    """The arrays of an `NpzImages`. An image array that is not compressed stays in its file until it is read."""

    def __init__(self, source: NpzImages) -> None:
        self.source, self.name = source, Path(source.path).stem
        arrays, self.content = _arrays(source)
        images, labels = arrays[source.images], arrays[source.labels]
        if images.ndim not in (3, 4) or not (images.dtype == np.uint8 or np.issubdtype(images.dtype, np.floating)):
            raise InputError(
                f"Expected array {source.images!r} of {source.path} to be images (N, H, W) or (N, C, H, W) in uint8 or "
                f"floating point, but got {images.dtype} {images.shape}."
            )
        if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(
                f"Expected array {source.labels!r} of {source.path} to hold {len(images)} integer labels, but got "
                f"{labels.dtype} {labels.shape}."
            )
        first = images.ndim == 4 and source.layout == "channels-first"
        self.images, self.labels = images.transpose(0, 2, 3, 1) if first else images, labels
        self.masks = None if source.masks is None else arrays[source.masks]
        if self.masks is not None and (
            self.masks.shape != self.images.shape[:3] or self.masks.dtype.kind not in "biuf"
        ):
            raise InputError(
                f"Expected array {source.masks!r} of {source.path} to be masks {self.images.shape[:3]}, nonzero "
                f"inside, but got {self.masks.dtype} {self.masks.shape}."
            )
        names = arrays.get(source.classes)
        self.classes = None if names is None else tuple(str(name) for name in names)

    def __len__(self) -> int:
        return len(self.images)

    def read(self, places: Sequence[int]) -> Dataset:
        chosen = list(places)
        picked = torch.from_numpy(np.ascontiguousarray(self.images[chosen]))
        return finite(
            name=self.name,
            inputs=self.source.normalize(_inputs(picked)),
            targets=torch.from_numpy(self.labels[chosen].astype(np.int64)),
            ids=tuple(str(i) for i in chosen),
            classes=self.classes,
            display=_display(picked),
            masks=None if self.masks is None else torch.from_numpy(np.asarray(self.masks[chosen]) != 0),
        )


def _arrays(source: NpzImages) -> tuple[dict[str, np.ndarray], Any]:
    """The wanted arrays by name, and the checksums that the archive has of them."""
    path = source.path
    if not Path(path).is_file():
        raise InputError(f"Expected `path` to name an .npz file, but got {path!r}, which is no file.")
    try:
        # Opened here, because np.load leaves a file open that turns out not to be an archive.
        with Path(path).open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile) or archive.zip is None:
                raise ValueError("it holds a single array")
            masks = [] if source.masks is None else [source.masks]
            for name in (source.images, source.labels, *masks):
                if name not in archive.files:
                    raise unknown(f"array in {path}", name, archive.files)
            asked = {source.images, source.labels, source.classes, *masks}
            wanted = sorted(asked & set(archive.files))
            entries = {name: entry_of(archive.zip, name) for name in wanted}
            arrays = {name: mapped(path, entries[name]) if name in (source.images, *masks) else None for name in wanted}
            found = {name: archive[name] if array is None else array for name, array in arrays.items()}
            return found, {name: [entry.CRC, entry.file_size] for name, entry in entries.items()}
    except (OSError, EOFError, ValueError, MemoryError, OverflowError, struct.error, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"Expected {path} to be an .npz file of plain arrays, but reading it failed ({error}); "
            "write it with numpy.savez and without object arrays."
        ) from error


def entry_of(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Where an archive has an array: under its name, or with the ending that numpy.savez gives it."""
    return archive.getinfo(name if name in archive.namelist() else f"{name}.npy")


def mapped(path: str, entry: zipfile.ZipInfo) -> np.ndarray | None:
    """An array of an archive, mapped into memory where it lies; None where it is compressed or of no plain numbers."""
    if entry.compress_type != zipfile.ZIP_STORED:
        return None
    with Path(path).open("rb") as file:
        file.seek(entry.header_offset + LOCAL_NAME)
        name, extra = struct.unpack("<HH", file.read(4))
        file.seek(name + extra, os.SEEK_CUR)
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            return None
        if dtype.hasobject or not math.prod(shape):
            return None
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")


def _inputs(picked: Tensor) -> Tensor:
    if picked.dtype == torch.uint8:
        return picture_channels(picked)
    images = picked[:, None] if picked.dim() == 3 else picked.permute(0, 3, 1, 2)
    return images.float().contiguous()


def _display(picked: Tensor) -> Tensor | None:
    """The pictures themselves where they are grey or RGB in uint8."""
    if picked.dtype != torch.uint8 or picked.shape[3:] not in ((), (1,), (3,)):
        return None
    return picked.squeeze(3) if picked.shape[3:] == (1,) else picked
