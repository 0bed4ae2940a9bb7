"""Images in one NumPy archive."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from heatproof.data.base import DATA, Dataset, Source, picture_channels
from heatproof.errors import InputError, unknown


@DATA.register("npz")
@dataclass(frozen=True, kw_only=True)
class NpzImages(Source):
    """Images and labels from two arrays of an .npz file. Arrays of Python objects (pickles) are never loaded.

    Attributes:
        path: the file.
        images: the name of the images' array: uint8, scaled to [0, 1], or floating point, taken as it is.
            (N, H, W), or (N, C, H, W) as `layout` says.
        labels: the name of the array of N integer labels.
        classes: the name of an array with the name of each label; left out if the file has none.
        layout: "channels-first" or "channels-last".
    """

    path: str = ""
    images: str = "x"
    labels: str = "y"
    classes: str = "classes"
    layout: str = "channels-first"

    def load(self) -> Dataset:
        if self.layout not in ("channels-first", "channels-last"):
            raise unknown("layout", self.layout, ("channels-first", "channels-last"))
        arrays = self._arrays()
        images, labels = arrays[self.images], arrays[self.labels]
        if images.ndim not in (3, 4) or not (images.dtype == np.uint8 or np.issubdtype(images.dtype, np.floating)):
            raise InputError(
                f"Expected array {self.images!r} of {self.path} to be images (N, H, W) or (N, C, H, W) in uint8 or "
                f"floating point, but got {images.dtype} {images.shape}."
            )
        if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(
                f"Expected array {self.labels!r} of {self.path} to hold {len(images)} integer labels, but got "
                f"{labels.dtype} {labels.shape}."
            )
        chosen = self.choose(len(images))
        if images.ndim == 4 and self.layout == "channels-first":
            images = images.transpose(0, 2, 3, 1)
        picked = torch.from_numpy(np.ascontiguousarray(images[chosen]))
        names = arrays.get(self.classes)
        return Dataset(
            name=Path(self.path).stem,
            inputs=self.normalize(_inputs(picked)),
            targets=torch.from_numpy(labels[chosen].astype(np.int64)),
            ids=tuple(str(i) for i in chosen),
            classes=None if names is None else tuple(str(name) for name in names),
            display=_display(picked),
        )

    def _arrays(self) -> dict[str, np.ndarray]:
        if not Path(self.path).is_file():
            raise InputError(f"Expected `path` to name an .npz file, but got {self.path!r}, which is no file.")
        try:
            # Opened here, because np.load leaves a file open that turns out not to be an archive.
            with Path(self.path).open("rb") as file:
                archive = np.load(file, allow_pickle=False)
                if not isinstance(archive, np.lib.npyio.NpzFile):
                    raise ValueError("it holds a single array")
                for name in (self.images, self.labels):
                    if name not in archive.files:
                        raise unknown(f"array in {self.path}", name, archive.files)
                wanted = {self.images, self.labels, self.classes} & set(archive.files)
                return {name: archive[name] for name in wanted}
        except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"Expected {self.path} to be an .npz file of plain arrays, but reading it failed ({error}); "
                "write it with numpy.savez and without object arrays."
            ) from error


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
