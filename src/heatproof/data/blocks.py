"""Samples that are read block by block: what an audit takes, whatever form the data come in."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from heatproof.data.arrays import ArrayBlocks
from heatproof.data.base import Box, Dataset, Source
from heatproof.data.hugging_face import blocks_of_table
from heatproof.data.items import Columns, Key
from heatproof.data.loaders import blocks_of
from heatproof.data.map_style import ItemBlocks
from heatproof.data.overlay import DatasetBlocks, Overlaid
from heatproof.errors import InputError, shown


@runtime_checkable
class Blocks(Protocol):
    """Samples in an order that never changes, any range of which can be read without reading the others.

    Positions count what is listed, the broken samples too: a range that holds some gives fewer rows, and names them
    with the reason in `skipped`. So a position means the same sample in every process and after every start.

    Pickles by standard pickle (where what the user gave does), and is cheap to make: no sample is read before `read`.

    Attributes:
        name: what the data is called in reports.
        classes: the name of each label, or None.
        identity: SHA-256 of what the data is, as far as that is known without reading all samples. What the samples
            hold is told by `Dataset.digests`, block by block.

    >>> blocks = hp.data.as_blocks(images, labels)
    >>> isinstance(blocks, hp.data.Blocks), len(blocks), blocks.read(1, 3).targets
    (True, 4, tensor([1, 2]))
    """

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...] | None: ...

    @property
    def identity(self) -> str: ...

    def __len__(self) -> int:
        """How many positions there are: at least as many as samples that can be used."""

    def read(self, start: int, stop: int) -> Dataset:
        """The samples at positions `start` to `stop` (excluded), without those that cannot be used.

        Raises: InputError for what no other sample mends: another shape or dtype than the samples before, labels that
            some have and some have not, an id that comes twice.
        """


def as_blocks(
    data: Any,
    targets: "Tensor | np.ndarray | None" = None,
    *,
    given: Mapping[str, Tensor | Key] | Sequence[str] | None = None,
    columns: Mapping[str, Key] | None = None,
    transform: Callable[[Any], Any] | None = None,
    classes: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    boxes: Sequence[Sequence[Box]] | None = None,
    masks: Tensor | None = None,
    name: str = "",
) -> Blocks:
    """Any data as blocks.

    Args:
        data: a tensor or NumPy array (N, …), also one that NumPy maps from a file; a `Dataset`; a source of `hp.data`;
            a map-style data set of torch, Hugging Face (from disk) or anybody, whose items are tensors, pictures,
            tuples (input, label) or dicts; a DataLoader of one, in order; the folder of a `snapshot`; or `Blocks`.
        targets: the label of each sample (N,), int64, in place of the data's own.
        given: side inputs by the name of the network's argument: tensors with one row a sample, or the keys of items'
            parts; or the parts' names, where they are alike.
        columns: which part of an item is what: keys (or places) of `image`, `label`, `id`, `boxes`. By default an item
            is (input, label), or a dict with usual names for them.
        transform: makes a float tensor of an item's input; pictures are scaled to [0, 1] by default.
        classes: the name of each label, where items' labels are names or the data say none.
        ids: a unique name a sample; its position by default, or the data's own.
        boxes: for each sample the boxes (xmin, ymin, xmax, ymax) of its object.
        masks: (N, H, W) bool, the pixels of each sample's object, in place of boxes.
        name: what the data is called in reports.

    Raises: InputError for data of another kind, that cannot be read by position, or what is not one a sample.
    """
    rows, keys = _sides(given)
    names = None if classes is None else tuple(classes)
    asked = Columns(of=columns or {}, given=keys, transform=transform, classes=names)
    found = _found(data, asked, name)
    anew: dict[str, Any] = {"targets": targets, "given": rows or None, "ids": ids, "boxes": boxes, "masks": masks}
    anew |= {"name": name or None, "classes": None if names == found.classes else names}
    return found if all(one is None for one in anew.values()) else Overlaid(found, **anew)


def _sides(given: Mapping[str, Tensor | Key] | Sequence[str] | None) -> tuple[dict[str, Tensor], dict[str, Key]]:
    """Side inputs that are tensors, and those that are parts of items, both by name."""
    named: Mapping[str, Any] = given if isinstance(given, Mapping) else {key: key for key in given or ()}
    rows = {key: value for key, value in named.items() if isinstance(value, Tensor)}
    return rows, {key: value for key, value in named.items() if key not in rows}


def _found(data: Any, asked: Columns, name: str) -> Blocks:
    """The blocks that `data` are, or that are made of them."""
    if isinstance(data, Tensor | np.ndarray | Dataset | Source | Blocks):
        if asked.of or asked.transform is not None:
            raise InputError(
                f"Expected `columns` and `transform` with a data set of items, but got them with {shown(data)}, which "
                "says itself what its samples are."
            )
        if isinstance(data, Tensor | np.ndarray):
            return ArrayBlocks(data, name=name)
        if isinstance(data, Source):
            return data.blocks()
        return DatasetBlocks(data) if isinstance(data, Dataset) else data
    if _of_hugging_face(data):
        return blocks_of_table(data, asked, name)
    if isinstance(data, DataLoader):
        return blocks_of(data, _with_classes(data, asked), name)
    if isinstance(data, str | Path):
        raise _place(data)
    if type(data).__module__.partition(".")[0] in ("pandas", "polars", "pyarrow"):
        raise InputError(
            f"Expected samples as a tensor, an array or a source, but got {shown(data)}, whose columns are no samples; "
            "say which are what: heatproof.data.table(frame, label=…)."
        )
    streams = isinstance(data, IterableDataset) or not hasattr(data, "__getitem__")
    if not streams and not isinstance(data, Mapping | bytes):
        return ItemBlocks(_sized(data), _with_classes(data, asked), name=name)
    if streams and hasattr(data, "__iter__") and not isinstance(data, Mapping | set | frozenset):
        raise InputError(
            f"Expected data whose samples have numbers, but got a {type(data).__name__}, which can only be gone "
            "through; keep its samples once, heatproof.data.snapshot(data, folder), and give that."
        )
    raise InputError(
        f"Expected samples as a tensor or array (N, …), a Dataset or a source of heatproof.data, a map-style data set "
        f"or a DataLoader of one, but got {shown(data)}."
    )


def _of_hugging_face(data: Any) -> bool:
    """Whether a class is of the package `datasets`; many a project has a module of that name."""
    return type(data).__module__.startswith("datasets.") and hasattr(sys.modules.get("datasets"), "load_from_disk")


def _sized(data: Any) -> Any:
    try:
        len(data)
    except TypeError:
        raise InputError(
            f"Expected a map-style data set with a length, but {type(data).__name__} has no __len__; give it one, or "
            "keep its samples once with heatproof.data.snapshot."
        ) from None
    return data


def _with_classes(data: Any, asked: Columns) -> Columns:
    """The names of labels as torchvision's data sets have them, also behind a Subset, where nobody gave others."""
    while hasattr(data, "dataset"):
        data = data.dataset
    classes = getattr(data, "classes", None)
    usual = isinstance(classes, list | tuple) and bool(classes) and all(isinstance(name, str) for name in classes)
    return replace(asked, classes=tuple(classes)) if usual and asked.classes is None else asked  # type: ignore[arg-type]  # by `usual`


def _place(data: "str | Path") -> InputError:
    return InputError(
        f"Expected samples, but got a place, {str(data)!r}: say how they are read, as with heatproof.data.ImageFolder("
        "root=…, mean=…, std=…), WebDataset, HuggingFace or Snapshot."
    )
