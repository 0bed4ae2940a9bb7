"""A folder of image files, labelled by an index or by subfolders."""

import csv
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from heatproof.data.base import (
    DATA,
    MOST_LABELS,
    UNLABELLED,
    Box,
    Dataset,
    data_root,
    none_of,
    picture_channels,
    pixels_inside,
    select,
)
from heatproof.data.listing import Listing, files_below, told
from heatproof.data.masks import mask_of, masks_in
from heatproof.data.pictures import ENDINGS, UNREAD, UNREADABLE, Decoded, PictureSource, read_each, stacked
from heatproof.errors import InputError, shown, unknown
from heatproof.fields import ADDED
from heatproof.paths import given_path, regular


class Drawn(NamedTuple):
    """A box of a picture file, and the width and height of the picture that it was drawn in, where that is known."""

    box: Box
    size: tuple[int, int] | None


@DATA.register("image-folder")
@dataclass(frozen=True, kw_only=True)
class ImageFolder(PictureSource):
    """A folder of picture files: a subfolder a class, a CSV file of labels, or no labels at all.

    Hidden files and folders (`.name`) are no pictures and no classes. A flat folder without `index` has no labels
    (targets −1), which is enough where predicted labels are explained. A file that cannot be read is named in `skipped`
    and left out; that no file can be is an error.

    Attributes:
        root: the folder; empty for the one in HEATPROOF_DATA.
        index: a CSV file (relative to `root`) with a line a file: columns `file` (relative to `root`) and `index`, the
            label; `class_name` is used where it is there. None: each subfolder is a class, in sorted order.
        classes: the names of the network's classes in their order, where the subfolders are only some of them; empty
            where they are all.
        boxes: a CSV file (relative to `root`) with a line a box: `file`, `xmin`, `ymin`, `xmax`, `ymax` in pixels of
            the picture, and perhaps its `width` and `height`, which are then checked and tell how a box of a picture
            that is stored turned was drawn. They are moved with the image and cut at its border.
        masks: a folder (relative to `root`; in it, it is no class) of PNG files, in place of `boxes`: of the same path
            within it as a picture within `root`, or of the same name where no other picture has that; nonzero is
            inside. A mask goes through the picture's turning, resize and crop, by the nearest pixel. A picture without
            a mask has none.
        outside: whether pictures outside of `root` are read, where a link or the index leads to them. Of several names
            of one file the first counts.
        boxes_below: only images whose boxes or mask, cut like that, cover some of the picture and less than this share
            of it (004, section 4.5: 0.33); None keeps all.

    >>> from pathlib import Path
    >>> from PIL import Image
    >>> for name in ("cat", "dog"):
    ...     Path("pictures", name).mkdir(parents=True)
    ...     Image.new("RGB", (8, 8)).save(f"pictures/{name}/1.png")
    ...
    >>> data = hp.data.ImageFolder(root="pictures", resize=None, crop=8).load()
    >>> data.classes, data.targets
    (('cat', 'dog'), tensor([0, 1]))
    """

    root: str = ""
    index: str | None = None
    classes: tuple[str, ...] = ()
    boxes: str | None = None
    outside: bool = False
    boxes_below: float | None = None
    masks: str | None = field(default=None, metadata=ADDED)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "classes", tuple(self.classes))

    @property
    def labels_by_name(self) -> bool:
        return self.index is None

    def listing(self) -> Listing:
        if self.boxes is not None and self.masks is not None:
            raise InputError("Expected `boxes` or `masks` of the objects, but got both; leave one out.")
        none = self.boxes is None and self.masks is None
        if self.boxes_below is not None and (none or not 0 < self.boxes_below <= 1):
            raise InputError(
                f"Expected boxes_below, a share in (0, 1], beside a file of `boxes` or a folder of `masks`, but got "
                f"{self.boxes_below} and boxes {self.boxes!r}."
            )
        return _Folder(self, data_root(self.root))


class _Folder(Listing):
    """The pictures of an `ImageFolder`, with their labels and boxes."""

    one_shape = "set `crop`"

    def __init__(self, source: ImageFolder, root: Path) -> None:
        self.source, self.root, self.name = source, root, root.name
        apart = None if source.masks is None else root / source.masks
        self.files, classes = (
            _in_folders(root, source.classes, apart) if source.index is None else _index(root / source.index)
        )
        self.classes = source.classes or classes
        self.boxes = None if source.boxes is None else _boxes(root / source.boxes)
        self.masks = None if apart is None else masks_in(apart, [file for file, _ in self.files])
        self.said: set[str] = set()
        self.refused = _refused(root, [file for file, _ in self.files], outside=source.outside)
        if source.boxes_below is not None:
            self.hint = (
                f"files that can be read need boxes or masks that cover less than {source.boxes_below:g} of them: "
                "raise `boxes_below` or `limit`"
            )

    @property
    def content(self) -> Any:
        drawn: dict[str, Any] = self.boxes or {}
        if self.masks is not None:  # as of pictures, its name and not what is in it
            drawn = {file: path.name for file, path in self.masks.items()}
        return told(*zip(*self.files, strict=True), [drawn.get(file, ()) for file, _ in self.files])

    def __len__(self) -> int:
        return len(self.files)

    def read(self, places: Sequence[int]) -> Dataset:
        labels = dict(self.files[place] for place in places)
        seen, skipped = read_each(list(labels), self._look)
        if not seen:
            return none_of(self.name, self.classes, skipped)
        display = stacked([(file, decoded) for file, (decoded, _, _) in seen], str(self.root), self.said)
        masks = [mask for _, (_, _, mask) in seen if mask is not None]
        data = Dataset(
            name=self.name,
            inputs=self.source.normalize(picture_channels(display)),
            targets=torch.tensor([labels[file] for file, _ in seen]),
            ids=tuple(file for file, _ in seen),
            classes=self.classes,
            display=display,
            boxes=None if self.boxes is None else tuple(boxes for _, (_, boxes, _) in seen),
            masks=torch.from_numpy(np.stack(masks)) if masks else None,
            skipped=tuple(skipped),
        )
        return data if self.source.boxes_below is None else select(data, self._with_small_boxes(data))

    def _look(self, file: str) -> tuple[Decoded, tuple[Box, ...], np.ndarray | None]:
        """The picture, its boxes and its mask; None where the source has no masks."""
        if file in self.refused:
            raise ValueError(self.refused[file])
        decoded = self.source.decode(self.root / file)
        cut = (decoded.cut(*drawn) for drawn in (self.boxes or {}).get(file, ()))
        mask = None if self.masks is None else mask_of(self.masks.get(file), decoded)
        return decoded, tuple(box for box in cut if box is not None), mask

    def _with_small_boxes(self, data: Dataset) -> list[int]:
        assert self.source.boxes_below is not None
        if data.masks is not None:
            shares = data.masks.double().mean((1, 2)).tolist()
        else:
            assert data.boxes is not None  # by `listing`
            height, width = data.inputs.shape[2:]
            shares = [float(pixels_inside(boxes, height, width).double().mean()) for boxes in data.boxes]
        return [i for i, share in enumerate(shares) if 0 < share < self.source.boxes_below]


@DATA.register("image-file")
@dataclass(frozen=True, kw_only=True)
class ImageFile(PictureSource):
    """One picture file, read like those of a folder, without a label (target −1).

    Attributes:
        path: the file.

    >>> from PIL import Image
    >>> Image.new("RGB", (8, 8)).save("dog.png")
    >>> hp.data.ImageFile(path="dog.png", resize=None, crop=8).load().targets
    tensor([-1])
    """

    path: str = ""

    def listing(self) -> Listing:
        return _File(self)


class _File(Listing):
    """The one picture of an `ImageFile`."""

    def __init__(self, source: ImageFile) -> None:
        self.source, self.path, self.name = source, given_path(source.path), Path(source.path).name
        self.content = self.name

    def __len__(self) -> int:
        return 1

    def read(self, places: Sequence[int]) -> Dataset:
        try:
            decoded = self.source.decode(self.path)
        except UNREADABLE as error:
            raise InputError(f"Expected an image in {str(self.path)!r}, but it cannot be read: {error}.") from None
        display = stacked([(self.name, decoded)], str(self.path.parent))
        data = Dataset(
            name=self.name,
            inputs=self.source.normalize(picture_channels(display)),
            targets=torch.tensor([UNLABELLED]),
            ids=(self.name,),
            display=display,
        )
        return select(data, places)


def _in_folders(
    root: Path, known: tuple[str, ...], apart: Path | None
) -> tuple[list[tuple[str, int]], tuple[str, ...] | None]:
    """Each picture's path below `root` and its label by its subfolder; UNLABELLED for all where there is none.

    What holds `apart`, a folder of masks, is no class.
    """
    folders = sorted(
        path.name
        for path in root.iterdir()
        if _is_class(path, root) and not (apart is not None and apart.resolve().is_relative_to(path.resolve()))
    )
    found = {name: _pictures(f"{name}/{file}" for file in files_below(root / name)) for name in folders}
    flat = _pictures(path.name for path in root.iterdir() if not (path.name.startswith(".") or path.is_dir()))
    if not flat and not any(found.values()):
        raise InputError(
            f"Expected a subfolder of images for each class in {str(root)!r}, or images without labels, but found no "
            f"image ({', '.join(ENDINGS)})."
        )
    if flat and any(found.values()):
        raise InputError(
            f"Expected images either in subfolders of {str(root)!r}, a class each, or beside one another, but found "
            f"both, such as {flat[0]!r}; name a CSV file of labels with `index`, or move them."
        )
    if flat:
        return [(file, UNLABELLED) for file in flat], None
    empty = [name for name, files in found.items() if not files]
    if empty and not known:
        raise InputError(
            f"Expected images in every subfolder of {str(root)!r}, each a class, but found none in {empty[0]!r}, which "
            "would shift the labels of those after it; remove it, or give the network's classes in their order as "
            "`classes`."
        )
    for name in folders if known else ():
        if found[name] and name not in known:
            raise unknown(f"class, as a subfolder of {str(root)!r}", name, known)
    order = known or tuple(folders)
    return [(file, order.index(name)) for name in folders for file in found[name]], order


def _is_class(path: Path, root: Path) -> bool:
    """Whether it is a folder of its own: a link back to the whole is none."""
    return path.is_dir() and not path.name.startswith(".") and not root.resolve().is_relative_to(path.resolve())


def _refused(root: Path, files: Sequence[str], *, outside: bool) -> dict[str, str]:
    """Files that are not read, each with the reason: those outside of the folder, and other names of one file."""
    refused: dict[str, str] = {}
    first: dict[tuple[int, int], str] = {}
    whole, within = root.resolve(), dict[Path, bool]()
    for file in files:
        path = root / file
        try:
            about = path.lstat()
            linked = stat.S_ISLNK(about.st_mode)
            about = path.stat() if linked else about
        except (OSError, ValueError):  # reading it will say so
            continue
        parent = path.parent
        if parent not in within:  # asked once a folder
            within[parent] = parent.resolve().is_relative_to(whole)
        if not outside and not (path.resolve().is_relative_to(whole) if linked else within[parent]):
            refused[file] = "it lies outside of the folder; set `outside` to read it all the same"
            continue
        same = first.setdefault((about.st_dev, about.st_ino), file)
        if same != file:
            refused[file] = f"it is the same file as {same!r}"
    return refused


def _pictures(files: Iterable[str]) -> list[str]:
    """Those of some files that are pictures, unread kinds too, in the order of their paths' parts."""
    return sorted((file for file in files if file.lower().endswith(ENDINGS + UNREAD)), key=lambda file: file.split("/"))


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
        if not 0 <= label < MOST_LABELS:
            got = f"{shown(label)} for {row['file']!r}"
            raise InputError(f"Expected labels from 0 on, below {MOST_LABELS}, in {path}, but got {got}.")
        if labels.setdefault(row["file"], label) != label:
            raise InputError(
                f"Expected one label a file in {path}, but {row['file']!r} has {labels[row['file']]} and {label}."
            )
        if row.get("class_name"):
            names[label] = row["class_name"]
    classes = tuple(names.get(i, str(i)) for i in range(max(labels.values()) + 1)) if names else None
    return list(labels.items()), classes


def _boxes(path: Path) -> dict[str, tuple[Drawn, ...]]:
    boxes: dict[str, tuple[Drawn, ...]] = {}
    for row in _read_csv(path, ("file", "xmin", "ymin", "xmax", "ymax")):
        try:
            box = (float(row["xmin"]), float(row["ymin"]), float(row["xmax"]), float(row["ymax"]))
            size = (int(row["width"]), int(row["height"])) if row.get("width") and row.get("height") else None
        except ValueError:
            raise InputError(f"Expected numbers for the boxes of {row['file']!r} in {path}, but got {row}.") from None
        boxes[row["file"]] = (*boxes.get(row["file"], ()), Drawn(box, size))
    return boxes


def _read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    path = regular(path, "a CSV file")
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
