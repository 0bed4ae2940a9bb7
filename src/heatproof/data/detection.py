"""Pictures with several labelled objects: Pascal VOC and MSCOCO, read from disk and never downloaded."""

import json
import xml.etree.ElementTree as ElementTree
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from heatproof.data.base import DATA, Box, Dataset, data_root, none_of, picture_channels
from heatproof.data.listing import Listing, told
from heatproof.data.pictures import Decoded, PictureSource, read_each, stacked
from heatproof.errors import InputError
from heatproof.paths import regular

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class Object(NamedTuple):
    """An object's label, and its box in pixels of the file's picture, pixel x inside where xmin <= x < xmax.

    `size` is that picture's width and height where the annotation says it.
    """

    label: int
    box: Box
    size: tuple[int, int] | None = None


class _Seen(NamedTuple):
    """A picture cut to size, and the objects that count, their boxes in its pixels."""

    decoded: Decoded
    objects: tuple[Object, ...]


@dataclass(frozen=True, kw_only=True)
class Detection(PictureSource):
    """Pictures with boxes of several labels. A subclass says where pictures and objects stand.

    A label counts where at least `inside` of the area of a box of it lies in the crop. `boxes` are those of the objects
    that count, cut at the crop's border, and `box_labels` say whose they are. `targets` is the label whose boxes take
    most of the crop. Which label an audit explains is its own rule: by default the one with the highest prediction, as
    Binder et al. have it for MSCOCO; then that label's boxes alone are its evidence.

    A picture that cannot be read, whose annotation cannot, or in which no label counts, is named in `skipped`.

    Attributes:
        root: the folder; empty for the one in HEATPROOF_DATA.
        inside: the share of a box's area that must lie in the crop.

    Source: Binder et al. 2023, supplement A.3: 224, 224 and 40 %.
    """

    root: str = ""
    resize: int | tuple[int, int] | None = 224
    inside: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.inside <= 1:
            raise InputError(f"Expected `inside` above 0 and at most 1, but got {self.inside}.")

    @abstractmethod
    def pictures(self, root: Path) -> "Pictures":
        """The files under `root`, and what is known of them."""

    def listing(self) -> Listing:
        return _Detected(self, self.pictures(data_root(self.root)))


class _Detected(Listing):
    """The pictures of a `Detection`, and the objects in each."""

    one_shape = "set `crop`"

    def __init__(self, source: Detection, known: "Pictures") -> None:
        self.source, self.known = source, known
        self.name, self.classes = known.name, known.classes
        self.said: set[str] = set()

    @property
    def content(self) -> Any:
        return [list(self.known.classes), told(self.known.files)]

    def __len__(self) -> int:
        return len(self.known.files)

    def read(self, places: Sequence[int]) -> Dataset:
        seen, skipped = read_each([self.known.files[place] for place in places], self._look)
        if not seen:
            return none_of(self.name, self.classes, skipped)
        display = stacked([(file, one.decoded) for file, one in seen], str(self.known.folder), self.said)
        return Dataset(
            name=self.name,
            inputs=self.source.normalize(picture_channels(display)),
            targets=torch.tensor([_largest(one.objects) for _, one in seen]),
            ids=tuple(file for file, _ in seen),
            classes=self.classes,
            display=display,
            boxes=tuple(tuple(thing.box for thing in one.objects) for _, one in seen),
            box_labels=tuple(tuple(thing.label for thing in one.objects) for _, one in seen),
            skipped=tuple(skipped),
        )

    def _look(self, file: str) -> _Seen:
        inside = self.source.inside
        decoded = self.source.decode(self.known.folder / file)
        objects = tuple(
            Object(thing.label, cut)
            for thing in self.known.objects(file)
            if (cut := decoded.cut(thing.box, thing.size)) is not None
            and _area(cut) >= inside * _area(decoded.resized(thing.box, thing.size))
        )
        if not objects:
            raise ValueError(f"no object has {inside:.0%} of its box in the crop")
        return _Seen(decoded, objects)


class Pictures(ABC):
    """Files of a folder, and the objects in each. `objects` raises ValueError or OSError for a broken annotation."""

    def __init__(self, name: str, folder: Path, files: Sequence[str], classes: tuple[str, ...]) -> None:
        self.name, self.folder, self.files, self.classes = name, folder, files, classes

    @abstractmethod
    def objects(self, file: str) -> Sequence[Object]:
        """The objects in a file."""


@DATA.register("voc")
@dataclass(frozen=True, kw_only=True)
class PascalVOC(Detection):
    """Pascal VOC's pictures with boxes of 20 classes, in its own layout: `VOCdevkit/VOC2012` under the folder.

    Objects marked as difficult do not count, as in VOC's own evaluation.

    Attributes:
        year: of the challenge.
        part: the list of pictures, `ImageSets/Main/<part>.txt`.

    >>> from pathlib import Path
    >>> from PIL import Image
    >>> folder = Path("voc/VOCdevkit/VOC2012")
    >>> for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
    ...     (folder / name).mkdir(parents=True)
    ...
    >>> Image.new("RGB", (8, 8)).save(folder / "JPEGImages/1.jpg")
    >>> _ = (folder / "ImageSets/Main/val.txt").write_text("1")
    >>> box = "<bndbox><xmin>3</xmin><ymin>3</ymin><xmax>6</xmax><ymax>6</ymax></bndbox>"
    >>> size = "<size><width>8</width><height>8</height></size>"
    >>> _ = (folder / "Annotations/1.xml").write_text(
    ...     f"<annotation>{size}<object><name>dog</name>{box}</object></annotation>"
    ... )
    >>> data = hp.data.PascalVOC(root="voc", resize=8, crop=8).load()
    >>> data.classes[data.targets[0]], data.boxes
    ('dog', (((2.0, 2.0, 6.0, 6.0),),))
    """

    year: str = "2012"
    part: str = "val"

    def pictures(self, root: Path) -> Pictures:
        folder = root / "VOCdevkit" / f"VOC{self.year}"
        listed = folder / "ImageSets" / "Main" / f"{self.part}.txt"
        try:
            names = listed.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"Expected VOC {self.year} under {str(root)!r}, but {listed} cannot be read ({error}); "
                "unpack it there first, heatproof downloads nothing."
            ) from None
        return _Voc(
            f"VOC {self.year} {self.part}", folder / "JPEGImages", [f"{name}.jpg" for name in names], VOC_CLASSES
        )


class _Voc(Pictures):
    def objects(self, file: str) -> Sequence[Object]:
        path = self.folder.parent / "Annotations" / f"{Path(file).stem}.xml"
        root = ElementTree.parse(path).getroot()
        size = _stated(root.findtext("size/width"), root.findtext("size/height"))
        return [self._object(found, path, size) for found in root.iter("object") if found.findtext("difficult") != "1"]

    def _object(self, found: ElementTree.Element, path: Path, size: tuple[int, int] | None) -> Object:
        name = (found.findtext("name") or "").strip()
        texts = [found.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")]
        if name not in self.classes or None in texts:
            raise ValueError(f"{path.name} has an object {name!r} without a box, or of no class of VOC's")
        xmin, ymin, xmax, ymax = (float(text or "") for text in texts)
        # VOC counts pixels from 1, both ends inside.
        return Object(self.classes.index(name), (xmin - 1, ymin - 1, xmax, ymax), size)


@DATA.register("coco")
@dataclass(frozen=True, kw_only=True)
class Coco(Detection):
    """MSCOCO's pictures with boxes of its classes, 80 of them numbered from 0 in the order of their ids.

    Crowds do not count: their box is no object's.

    Attributes:
        images: the folder of pictures, relative to `root`.
        annotations: the JSON file of instances, relative to `root`.

    >>> import json
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> Image.new("RGB", (8, 8)).save("1.png")
    >>> found = {
    ...     "images": [{"id": 1, "file_name": "1.png", "width": 8, "height": 8}],
    ...     "categories": [{"id": 18, "name": "dog"}],
    ...     "annotations": [{"id": 1, "image_id": 1, "category_id": 18, "bbox": [2, 2, 4, 4], "iscrowd": 0}],
    ... }
    >>> _ = Path("instances.json").write_text(json.dumps(found))
    >>> data = hp.data.Coco(root=".", images=".", annotations="instances.json", resize=8, crop=8).load()
    >>> data.targets, data.boxes
    (tensor([0]), (((2.0, 2.0, 6.0, 6.0),),))
    """

    images: str = "val2017"
    annotations: str = "annotations/instances_val2017.json"

    def pictures(self, root: Path) -> Pictures:
        path = root / self.annotations
        try:
            table = json.loads(regular(path, "annotations").read_text(encoding="utf-8"))
            return _Coco(self.images, root / self.images, table)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"Expected MSCOCO's instances in {str(path)!r}, but reading it failed ({type(error).__name__}: "
                f"{error}); unpack them there first, heatproof downloads nothing."
            ) from error


class _Coco(Pictures):
    def __init__(self, name: str, folder: Path, table: Mapping[str, Any]) -> None:
        categories = sorted(table["categories"], key=lambda one: int(one["id"]))
        self._labels = {one["id"]: label for label, one in enumerate(categories)}
        images = {one["id"]: str(one["file_name"]) for one in table["images"]}
        self._sizes = {str(one["file_name"]): _stated(one.get("width"), one.get("height")) for one in table["images"]}
        self._annotations: dict[str, list[Mapping[str, Any]]] = {file: [] for file in images.values()}
        for one in table["annotations"]:
            if one["image_id"] in images:
                self._annotations[images[one["image_id"]]].append(one)
        super().__init__(name, folder, sorted(self._annotations), tuple(str(one["name"]) for one in categories))

    def objects(self, file: str) -> Sequence[Object]:
        return [self._object(one, self._sizes[file]) for one in self._annotations[file] if not one.get("iscrowd")]

    def _object(self, one: Mapping[str, Any], size: tuple[int, int] | None) -> Object:
        try:
            x, y, width, height = (float(edge) for edge in one["bbox"])
            return Object(self._labels[one["category_id"]], (x, y, x + width, y + height), size)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"an annotation without box or known category ({error!r})") from None


def _stated(width: object, height: object) -> tuple[int, int] | None:
    """A picture's size as an annotation states it; tools that do not know it leave it out or write 0."""
    size = (int(float(str(width or 0))), int(float(str(height or 0))))
    return size if min(size) > 0 else None


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _largest(objects: Sequence[Object]) -> int:
    """The label whose boxes have the largest area in all; the lowest of equals."""
    areas: dict[int, float] = {}
    for label, box, _ in objects:
        areas[label] = areas.get(label, 0.0) + _area(box)
    return min(areas, key=lambda label: (-areas[label], label))
