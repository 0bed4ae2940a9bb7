"""A folder of image files, labelled by an index or by subfolders."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from heatproof.data.base import DATA, Box, Dataset, Source, data_root, picture_channels
from heatproof.errors import InputError

# Pillow reports broken files through all of these.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")


class Decoded(NamedTuple):
    """A picture uint8 (H, W, 3), the scale (x, y) from stored to resized pixels, and the corner of the crop."""

    picture: "np.ndarray"
    scale: tuple[float, float]
    corner: tuple[int, int]


@DATA.register("image-folder")
@dataclass(frozen=True, kw_only=True)
class ImageFolder(Source):
    """Image files as RGB in [0, 1], resized and cropped as torchvision's `Resize` and `CenterCrop` do.

    A file that cannot be decoded is named in `skipped` and left out; that no file can be is an error.

    Attributes:
        root: the folder; empty for the one in HEATPROOF_DATA.
        index: a CSV file (relative to `root`) with a line a file: columns `file` (relative to `root`) and `index`, the
            label; `class_name` is used where it is there. None: each subfolder is a class, in sorted order.
        boxes: a CSV file (relative to `root`) with a line a box: `file`, `xmin`, `ymin`, `xmax`, `ymax` in pixels of
            the stored image. They are moved with the image and cut at its border.
        resize: length of the short side, bilinear; None keeps the size.
        crop: side of the square that is cut out of the middle; None keeps all, and then every image has one size.
    """

    root: str = ""
    index: str | None = None
    boxes: str | None = None
    resize: int | None = 256
    crop: int | None = 224

    def load(self) -> Dataset:
        if self.resize is not None and self.crop is not None and self.crop > self.resize:
            raise InputError(
                f"Expected a crop within the resized image, but got crop {self.crop} of {self.resize}; raise `resize`."
            )
        root = data_root(self.root)
        files, classes = _subfolders(root) if self.index is None else _index(root / self.index)
        known_boxes = None if self.boxes is None else _boxes(root / self.boxes)
        chosen = [files[i] for i in self.choose(len(files))]
        pictures: list[np.ndarray] = []
        kept: list[tuple[str, int]] = []
        boxes: list[tuple[Box, ...]] = []
        skipped: list[tuple[str, str]] = []
        for file, label in chosen:
            try:
                picture, scale, corner = decode(root / file, self.resize, self.crop)
            except UNREADABLE as error:
                skipped.append((file, f"{type(error).__name__}: {error}"))
                continue
            pictures.append(picture)
            kept.append((file, label))
            if known_boxes is not None:
                boxes.append(_moved(known_boxes.get(file, ()), scale, corner, picture.shape))
        if not pictures:
            raise InputError(
                f"Expected images under {str(root)!r}, but none of {len(chosen)} files could be read; the first, "
                f"{skipped[0][0]}: {skipped[0][1]}."
            )
        sizes = {picture.shape[:2] for picture in pictures}
        if len(sizes) > 1:
            raise InputError(
                f"Expected images of one size, but got {len(sizes)} sizes under {str(root)!r}; set `crop`."
            )
        display = torch.from_numpy(np.stack(pictures))
        return Dataset(
            name=root.name,
            inputs=self.normalize(picture_channels(display)),
            targets=torch.tensor([label for _, label in kept]),
            ids=tuple(file for file, _ in kept),
            classes=classes,
            display=display,
            boxes=None if known_boxes is None else tuple(boxes),
            skipped=tuple(skipped),
        )


@DATA.register("image-file")
@dataclass(frozen=True, kw_only=True)
class ImageFile(Source):
    """One image file as RGB in [0, 1], resized and cropped like those of a folder; its label is 0.

    Attributes:
        path: the file.
        resize: length of the short side, bilinear; None keeps the size.
        crop: side of the square that is cut out of the middle; None keeps all.
    """

    path: str = ""
    resize: int | None = 256
    crop: int | None = 224

    def load(self) -> Dataset:
        try:
            picture = decode(Path(self.path), self.resize, self.crop).picture
        except UNREADABLE as error:
            raise InputError(f"Expected an image in {self.path!r}, but it cannot be read: {error}.") from None
        display = torch.from_numpy(picture)[None]
        return Dataset(
            name=Path(self.path).name,
            inputs=self.normalize(picture_channels(display)),
            targets=torch.zeros(1, dtype=torch.int64),
            ids=(Path(self.path).name,),
            display=display,
        )


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


def _subfolders(root: Path) -> tuple[list[tuple[str, int]], tuple[str, ...]]:
    classes = sorted(path.name for path in root.iterdir() if path.is_dir())
    files = [
        (path.relative_to(root).as_posix(), label)
        for label, name in enumerate(classes)
        for path in sorted((root / name).rglob("*"))
        if path.suffix.lower() in ENDINGS
    ]
    if not files:
        raise InputError(
            f"Expected a subfolder of images for each class in {str(root)!r}, but found no image; "
            "name a CSV file with `index` for a flat folder."
        )
    return files, tuple(classes)


def _index(path: Path) -> tuple[list[tuple[str, int]], tuple[str, ...] | None]:
    labels: dict[str, int] = {}
    names: dict[int, str] = {}
    for row in _read_csv(path, ("file", "index")):
        try:
            label = int(row["index"])
        except ValueError:
            raise InputError(
                f"Expected whole numbers in column 'index' of {path}, but got {row['index']!r} for {row['file']!r}."
            ) from None
        if labels.setdefault(row["file"], label) != label:
            raise InputError(
                f"Expected one label a file in {path}, but {row['file']!r} has {labels[row['file']]} and {label}."
            )
        if row.get("class_name"):
            names[label] = row["class_name"]
    classes = tuple(names.get(i, str(i)) for i in range(max(labels.values()) + 1)) if names else None
    return list(labels.items()), classes


def _boxes(path: Path) -> dict[str, tuple[Box, ...]]:
    boxes: dict[str, tuple[Box, ...]] = {}
    for row in _read_csv(path, ("file", "xmin", "ymin", "xmax", "ymax")):
        try:
            box = (float(row["xmin"]), float(row["ymin"]), float(row["xmax"]), float(row["ymax"]))
        except ValueError:
            raise InputError(f"Expected numbers for the boxes of {row['file']!r} in {path}, but got {row}.") from None
        boxes[row["file"]] = (*boxes.get(row["file"], ()), box)
    return boxes


def _read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Expected a CSV file at {str(path)!r}, but reading it failed ({error}).") from error
    missing = [name for name in columns if not rows or name not in rows[0]]
    if missing:
        found = ", ".join(rows[0]) if rows else "no line"
        raise InputError(f"Expected columns {', '.join(columns)} in {path}, but got {found}; add {', '.join(missing)}.")
    return rows


def _moved(
    boxes: Sequence[Box], scale: tuple[float, float], corner: tuple[int, int], shape: tuple[int, ...]
) -> tuple[Box, ...]:
    """Boxes of the stored image in pixels of the cut-out; those wholly outside are left out."""
    moved = []
    for xmin, ymin, xmax, ymax in boxes:
        left, right = (min(max(x * scale[0] - corner[0], 0.0), float(shape[1])) for x in (xmin, xmax))
        top, bottom = (min(max(y * scale[1] - corner[1], 0.0), float(shape[0])) for y in (ymin, ymax))
        if left < right and top < bottom:
            moved.append((left, top, right, bottom))
    return tuple(moved)
