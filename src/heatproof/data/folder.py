"""A folder of image files, labelled by an index or by subfolders."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from heatproof.data.base import DATA, Box, Dataset, Source, data_root, picture_channels, pixels_inside, select
from heatproof.data.pictures import ENDINGS, UNREADABLE, check_sizes, decode, read_each, stacked
from heatproof.errors import InputError


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
        boxes_below: only images whose boxes, cut like that, cover some of the picture and less than this share of it
            (004, section 4.5: 0.33); None keeps all.
        resize: length of the short side, bilinear; None keeps the size.
        crop: side of the square that is cut out of the middle; None keeps all, and then every image has one size.
    """

    root: str = ""
    index: str | None = None
    boxes: str | None = None
    boxes_below: float | None = None
    resize: int | None = 256
    crop: int | None = 224

    def load(self) -> Dataset:
        check_sizes(self.resize, self.crop)
        if self.boxes_below is not None and (self.boxes is None or not 0 < self.boxes_below <= 1):
            raise InputError(
                f"Expected boxes_below, a share in (0, 1], beside a file of `boxes`, but got {self.boxes_below} and "
                f"boxes {self.boxes!r}."
            )
        root = data_root(self.root)
        files, classes = _subfolders(root) if self.index is None else _index(root / self.index)
        labels = dict(files)
        known_boxes = None if self.boxes is None else _boxes(root / self.boxes)
        chosen = [files[i][0] for i in self.choose(len(files))]
        read, skipped = read_each(chosen, lambda file: decode(root / file, self.resize, self.crop), str(root))
        display = stacked([decoded.picture for _, decoded in read], str(root))
        boxes = None
        if known_boxes is not None:
            cut = ([decoded.cut(box) for box in known_boxes.get(file, ())] for file, decoded in read)
            boxes = tuple(tuple(box for box in one if box is not None) for one in cut)
        data = Dataset(
            name=root.name,
            inputs=self.normalize(picture_channels(display)),
            targets=torch.tensor([labels[file] for file, _ in read]),
            ids=tuple(file for file, _ in read),
            classes=classes,
            display=display,
            boxes=boxes,
            skipped=tuple(skipped),
        )
        return data if self.boxes_below is None else select(data, self._with_small_boxes(data))

    def _with_small_boxes(self, data: Dataset) -> list[int]:
        assert data.boxes is not None  # by `load`
        assert self.boxes_below is not None
        height, width = data.inputs.shape[2:]
        shares = [float(pixels_inside(boxes, height, width).double().mean()) for boxes in data.boxes]
        small = [i for i, share in enumerate(shares) if 0 < share < self.boxes_below]
        if not small:
            raise InputError(
                f"Expected images whose boxes cover less than {self.boxes_below:g} of them, but none of {len(data)} in "
                f"{data.name} is one; raise `boxes_below` or `limit`."
            )
        return small


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
