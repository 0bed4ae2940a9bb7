"""Tables of Hugging Face `datasets`, read from disk and never downloaded."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from heatproof.data.base import DATA, UNLABELLED, Dataset, none_of, picture_channels
from heatproof.data.ids import unique
from heatproof.data.items import LABELS, Columns
from heatproof.data.listing import Listing
from heatproof.data.map_style import ItemBlocks
from heatproof.data.pictures import Decoded, PictureSource, read_each, stacked
from heatproof.errors import InputError, MissingExtraError, unknown


@DATA.register("huggingface")
@dataclass(frozen=True, kw_only=True)
class HuggingFace(PictureSource):
    """Pictures and labels of a Hugging Face data set that `save_to_disk` wrote; needs the extra `huggingface`.

    Pictures are decoded, turned, resized and cut like those of a folder. Data of other kinds (texts, tensors) are given
    as they are, `datasets.load_from_disk(path)`, to `as_blocks` or an audit.

    Attributes:
        path: the folder.
        split: which part, where the folder holds several.
        image: the column of pictures.
        label: the column of labels: a ClassLabel, whole numbers from 0 on, or names; "" for none.
        id: the column of unique ids; "" for the row's number.
        classes: the network's labels in their order, where labels are names; by default all that there are, sorted.

    >>> import datasets
    >>> import numpy as np
    >>> rows = {"image": [np.zeros((8, 8, 3), np.uint8)] * 2, "label": [1, 0]}
    >>> features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    >>> datasets.Dataset.from_dict(rows, features=features).save_to_disk("pets")
    >>> data = hp.data.HuggingFace(path="pets", resize=None, crop=8).load()
    >>> data.targets, data.classes
    (tensor([1, 0]), ('cat', 'dog'))
    """

    path: str = ""
    split: str = ""
    image: str = "image"
    label: str = "label"
    id: str = ""
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "classes", tuple(self.classes))

    def listing(self) -> Listing:
        return _Table(self, _loaded(self.path, self.split))


class _Table(Listing):
    """The rows of a `HuggingFace`."""

    one_shape = "set `crop`"

    def __init__(self, source: HuggingFace, table: Any) -> None:
        from datasets import Image

        for name in (source.image, source.label, source.id):
            if name and name not in table.column_names:
                raise unknown(f"column of {source.path}", name, table.column_names)
        if not isinstance(table.features[source.image], Image):
            raise InputError(
                f"Expected column {source.image!r} of {source.path} to hold pictures (datasets.Image), but it holds "
                f"{table.features[source.image]}; give datasets.load_from_disk(path) itself for data of other kinds."
            )
        self.source, self.said = source, set[str]()
        self.name = " ".join(filter(None, [Path(source.path).name, source.split]))
        self.content = [_fingerprint(table), len(table)]
        self.ids = unique(table.select_columns([source.id])[source.id]) if source.id else None
        self.classes = source.classes or (_classes(table, source.label) if source.label else None)
        columns = [name for name in (source.image, source.label) if name]
        # Pictures as bytes, to be decoded like everybody's: by `datasets` one torn file would end all.
        self.table = table.with_format(None).select_columns(columns).cast_column(source.image, Image(decode=False))
        self.columns = Columns(classes=self.classes)

    def __len__(self) -> int:
        return len(self.table)

    def read(self, places: Sequence[int]) -> Dataset:
        rows = {str(place) if self.ids is None else self.ids[place]: self.table[place] for place in places}
        seen, skipped = read_each(list(rows), lambda name: self._picture(rows[name][self.source.image]))
        if not seen:
            return none_of(self.name, self.classes, skipped)
        display = stacked(seen, self.source.path, self.said)
        return Dataset(
            name=self.name,
            inputs=self.source.normalize(picture_channels(display)),
            targets=torch.tensor([self._label(rows[name]) for name, _ in seen]),
            ids=tuple(name for name, _ in seen),
            classes=self.classes,
            display=display,
            skipped=tuple(skipped),
        )

    def _picture(self, stored: Any) -> Decoded:
        if stored is None:
            raise ValueError("it has no picture")
        return self.source.decode(Path(stored["path"]) if stored["bytes"] is None else io.BytesIO(stored["bytes"]))

    def _label(self, row: dict[str, Any]) -> int:
        label = self.columns.label(row[self.source.label]) if self.source.label else None
        if isinstance(label, float):
            raise InputError(f"Expected labels from 0 on in column {self.source.label!r}, but got the number {label}.")
        return UNLABELLED if label is None else label


def blocks_of_table(table: Any, asked: Columns, name: str) -> ItemBlocks:
    """Blocks of a `datasets.Dataset`, its rows as dicts; pictures as they are, in [0, 1], without a `transform`.

    Raises: InputError for one that streams, or that holds several parts.
    """
    if isinstance(table, dict):
        raise InputError(
            f"Expected one part of a data set, but got {type(table).__name__} of {', '.join(map(repr, table))}; give "
            f"one of them, such as data[{next(iter(table), 'test')!r}]."
        )
    if not all(hasattr(type(table), name) for name in ("__getitem__", "select_columns", "unique")):
        raise InputError(
            f"Expected a data set whose rows have numbers, but got a {type(table).__name__}, which streams; load it "
            "from disk, datasets.load_from_disk(path), or keep it once with heatproof.data.snapshot(data, folder)."
        )
    keys = [asked.of["label"]] if "label" in asked.of else [key for key in table.column_names if key in LABELS]
    classes = _classes(table, str(keys[0]), names=False) if len(keys) == 1 and keys[0] in table.column_names else None
    if "id" in asked.of and asked.of["id"] in table.column_names:
        key = str(asked.of["id"])
        unique(table.select_columns([key])[key])
    told = [_fingerprint(table), len(table)]
    shown = name or str(getattr(table.info, "dataset_name", None) or "") or f"{len(table)} rows"
    return ItemBlocks(table, replace(asked, classes=asked.classes or classes), name=shown, told=told)


def _loaded(path: str, split: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("datasets", "huggingface", "A data set of Hugging Face") from error
    try:
        found = datasets.load_from_disk(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"Expected a folder that Dataset.save_to_disk wrote at {path!r}, but reading it failed ({error}); save it "
            "there first, heatproof downloads nothing."
        ) from error
    if not isinstance(found, dict):
        if split:
            raise InputError(f"Expected no `split` for {path!r}, which holds one data set, but got {split!r}.")
        return found
    if split not in found:
        raise unknown(f"split of {path}", split, map(str, found))
    return found[split]


def _classes(table: Any, label: str, *, names: bool = True) -> tuple[str, ...] | None:
    """The names of labels: a ClassLabel's, or, where labels are `names`, those that there are."""
    feature = table.features[label]
    if hasattr(feature, "names"):
        return tuple(map(str, feature.names))
    if names and getattr(feature, "dtype", "") == "string":
        return tuple(sorted(str(one) for one in table.unique(label) if one is not None))
    return None


def _fingerprint(table: Any) -> str:
    """What `datasets` itself tells tables apart by."""
    return str(getattr(table, "_fingerprint", ""))
