"""Folders of tar archives in the layout of webdataset, read by position: an index says where every member lies."""

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from heatproof import artifacts
from heatproof.data.base import DATA, UNLABELLED, Dataset, none_of, picture_channels
from heatproof.data.items import Columns
from heatproof.data.listing import Listing, told
from heatproof.data.pictures import ENDINGS, Decoded, PictureSource, read_each, stacked
from heatproof.errors import DamagedError, InputError

VERSION = 1  # of the index; counted up whenever the same archives give another
PLACES_OF = ("shard", "image_at", "image_size", "label_at", "label_size")


@DATA.register("webdataset")
@dataclass(frozen=True, kw_only=True)
class WebDataset(PictureSource):
    """Pictures and labels in tar archives: files whose names are alike up to the first dot are one sample.

    Every member's place is looked up once and kept in the cache folder, so that any sample is read without those before
    it. Archives are not compressed (.tar). A sample without picture or label is named in `skipped` and left out.

    Attributes:
        root: a folder with archives, which are read in the order of their names; or one archive.
        image: the endings that pictures have, without the first dot: the first that a sample has counts.
        label: the ending of a member that is the label as text, a whole number from 0 on or a name; or "json:NAME", the
            value NAME (NAME.INNER of nested ones) of the sample's .json; "" for no labels.
        classes: the network's labels in their order, where labels are names.

    >>> import io, tarfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> Path("shards").mkdir()
    >>> picture = io.BytesIO()
    >>> Image.new("RGB", (8, 8)).save(picture, "PNG")
    >>> with tarfile.open("shards/0.tar", "w") as archive:
    ...     for name, content in (("1.png", picture.getvalue()), ("1.cls", b"4")):
    ...         entry = tarfile.TarInfo(name)
    ...         entry.size = len(content)
    ...         archive.addfile(entry, io.BytesIO(content))
    ...
    >>> hp.data.WebDataset(root="shards", resize=None, crop=8).load().targets
    tensor([4])
    """

    root: str = ""
    image: tuple[str, ...] = tuple(ending[1:] for ending in ENDINGS)
    label: str = "cls"
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "image", tuple(ending.lower().lstrip(".") for ending in self.image))

    def listing(self) -> Listing:
        return _Archives(self)


class _Archives(Listing):
    """The samples of a `WebDataset`, in the order of the archives and of their members."""

    one_shape = "set `crop`"

    def __init__(self, source: WebDataset) -> None:
        self.source, self.said = source, set[str]()
        self.shards = _shards(Path(source.root))
        self.name = Path(source.root).name
        self.classes = source.classes or None
        self.columns = Columns(classes=self.classes)
        parts = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in self.shards]
        said = artifacts.digest({}, [VERSION, parts, source.image, _ending(source.label)])
        table = artifacts.kept(f"tars-{said[:24]}.parquet", read=_read, make=self._index, write=pq.write_table)
        self.keys = table.column("key")
        self.places = {name: table.column(name).to_numpy() for name in PLACES_OF}

    @property
    def content(self) -> Any:
        names = [path.name for path in self.shards]
        return [names, told(self.keys.to_pylist(), *(self.places[name].tolist() for name in PLACES_OF))]

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, places: Sequence[int]) -> Dataset:
        rows = {self._id(place): place for place in places}
        seen, skipped = read_each(list(rows), lambda name: self._look(rows[name]))
        if not seen:
            return none_of(self.name, self.classes, skipped)
        display = stacked([(name, decoded) for name, (decoded, _) in seen], self.source.root, self.said)
        return Dataset(
            name=self.name,
            inputs=self.source.normalize(picture_channels(display)),
            targets=torch.tensor([self._label(name, told) for name, (_, told) in seen]),
            ids=tuple(name for name, _ in seen),
            classes=self.classes,
            display=display,
            skipped=tuple(skipped),
        )

    def _id(self, place: int) -> str:
        key = str(self.keys[place].as_py())
        return key if len(self.shards) == 1 else f"{self.shards[self.places['shard'][place]].name}/{key}"

    def _look(self, place: int) -> tuple[Decoded, Any]:
        """The picture of a sample, and its label as it is told."""
        told = self._told(self._member(place, "label", f".{_ending(self.source.label)}")) if self.source.label else None
        return self.source.decode(io.BytesIO(self._member(place, "image", " or ".join(self.source.image)))), told

    def _member(self, place: int, part: str, what: str) -> bytes:
        start, size = int(self.places[f"{part}_at"][place]), int(self.places[f"{part}_size"][place])
        if start < 0:
            raise ValueError(f"it has no file {what}")
        with self.shards[self.places["shard"][place]].open("rb") as file:
            file.seek(start)
            content: bytes = file.read(size)
        if len(content) < size:
            raise OSError(f"the archive ends {size - len(content)} bytes before its {part} does")
        return content

    def _told(self, content: bytes) -> Any:
        text = content.decode("utf-8").strip()
        if not self.source.label.startswith("json:"):
            return int(text) if text.isdecimal() and self.classes is None else text
        value = json.loads(text)
        for name in self.source.label.removeprefix("json:").split("."):
            if not isinstance(value, dict) or value.get(name) is None:
                raise ValueError(f"its .json has no {self.source.label.removeprefix('json:')!r}")
            value = value[name]
        return value

    def _label(self, name: str, told: Any) -> int:
        if not self.source.label:
            return UNLABELLED
        label = self.columns.label(told)
        if not isinstance(label, int):
            raise InputError(f"Expected labels from 0 on in {self.source.root!r}, but {name!r} has {told!r}.")
        return label

    def _index(self) -> pa.Table:
        """Where picture and label of each sample lie."""
        keys: list[str] = []
        found: dict[str, list[int]] = {name: [] for name in PLACES_OF}
        for number, path in enumerate(self.shards):
            for key, members in _members(path).items():
                image = next((members[ending] for ending in self.source.image if ending in members), _NOWHERE)
                label = members.get(_ending(self.source.label), _NOWHERE)
                keys.append(key)
                for name, value in zip(PLACES_OF, (number, *image, *label), strict=True):
                    found[name].append(value)
        if not keys:
            raise InputError(f"Expected samples in the archives of {self.source.root!r}, but they hold no files.")
        return pa.table({"key": keys, **{name: pa.array(values, pa.int64()) for name, values in found.items()}})


class _Place(NamedTuple):
    """Where the content of a member begins in its archive, and its size; −1 where there is none."""

    start: int
    size: int


_NOWHERE = _Place(-1, 0)


def _members(path: Path) -> dict[str, dict[str, _Place]]:
    """The files of an archive by sample and ending."""
    found: dict[str, dict[str, _Place]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                folder, _, file = member.name.rpartition("/")
                base, _, ending = file.partition(".")
                if not member.isfile() or not base or not ending or base.startswith("__"):
                    continue  # as webdataset has it
                sample = found.setdefault(f"{folder}/{base}" if folder else base, {})
                if sample.setdefault(ending.lower(), place := _Place(member.offset_data, member.size)) is not place:
                    raise InputError(f"Expected each file once in {path}, but {member.name!r} comes twice.")
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
    except (OSError, tarfile.TarError) as error:
        raise InputError(
            f"Expected a tar archive without compression at {str(path)!r}, but reading it failed ({error}); unpack it "
            "with gunzip or its like, or get it whole."
        ) from error
    return found


def _shards(root: Path) -> list[Path]:
    shards = [root] if root.is_file() else sorted(root.glob("*.tar"))
    if not shards:
        there = "there is no such folder" if not root.is_dir() else "it holds none"
        packed = next(iter(sorted(root.glob("*.tar.*"))), None) if root.is_dir() else None
        hint = f", but {packed.name!r}: unpack it" if packed else ""
        raise InputError(f"Expected a folder of .tar archives at {str(root)!r}, but {there}{hint}.")
    return shards


def _ending(label: str) -> str:
    return "json" if label.startswith("json:") else label.lower().lstrip(".")


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DamagedError(f"it cannot be read as a table ({error})") from error
