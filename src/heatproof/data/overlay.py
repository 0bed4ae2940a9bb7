"""Blocks of a `Dataset` in memory, and blocks whose labels, ids, boxes or masks are given anew."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from heatproof.artifacts import digest
from heatproof.data.base import Box, Dataset, select
from heatproof.data.ids import unique
from heatproof.data.picking import picked
from heatproof.data.reading import Reading
from heatproof.errors import InputError, shown
from heatproof.refusals import check_targets, plain

if TYPE_CHECKING:
    from heatproof.data.blocks import Blocks


class DatasetBlocks:
    """The samples of a `Dataset`, which is in memory. What it names as skipped goes along with its first block."""

    def __init__(self, data: Dataset) -> None:
        if not len(data):
            raise InputError(f"Expected at least one sample in {data.name}, but there is none.")
        self.data, self.targets = data, data.targets
        self.reading = Reading(workers=0)

    @property
    def name(self) -> str:
        """What the data is called in reports."""
        return self.data.name

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The name of each label, or None."""
        return self.data.classes

    @property
    def identity(self) -> str:
        """The data's fingerprint."""
        return self.data.fingerprint

    def __len__(self) -> int:
        return len(self.data)

    def read(self, start: int, stop: int) -> Dataset:
        """Samples `start` to `stop`."""
        data = select(self.data, range(len(self))[start:stop])
        return data if start == 0 else replace(data, skipped=())

    def take(self, places: Sequence[int]) -> Dataset:
        """The samples at some places."""
        return replace(select(self.data, places), skipped=())


class Overlaid:
    """Blocks with labels, side inputs, ids, boxes or masks in place of their own, one for each position.

    Args:
        blocks: the samples.
        targets: (N,) whole numbers, or None for their own; so are the others.
        given: tensors with one row a position, beside those that the blocks have.
        ids: unique names.
        boxes: of each position's object.
        masks: (N, H, W) bool, of each position's object, in place of boxes.
        name: what the data is called in reports.
        classes: the name of each label.
    """

    def __init__(
        self,
        blocks: "Blocks",
        targets: "Tensor | np.ndarray | None" = None,
        given: Mapping[str, Tensor] | None = None,
        ids: Sequence[str] | None = None,
        boxes: Sequence[Sequence[Box]] | None = None,
        masks: Tensor | None = None,
        name: str | None = None,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        self.blocks, self._name, self._classes = blocks, name, classes
        count = len(blocks)
        self.each: dict[str, Any] = {}
        if targets is not None:
            labels = torch.as_tensor(targets)
            labels = labels.long() if isinstance(targets, np.ndarray) else labels
            check_targets(torch.empty(count, 1, device="meta"), labels)
            self.each["targets"] = plain(labels).cpu()
        if ids is not None:
            self.each["ids"] = unique(ids)
        if boxes is not None:
            self.each["boxes"] = tuple(tuple(one) for one in boxes)
        if masks is not None:
            if boxes is not None:
                raise InputError("Expected boxes or masks of the objects, but got both; leave one out.")
            if not isinstance(masks, Tensor) or masks.dim() != 3:
                raise InputError(f"Expected masks to be a bool tensor (N, H, W), True inside, but got {shown(masks)}.")
            self.each["masks"] = plain(masks).cpu()
        self.given = {argument: plain(rows) for argument, rows in (given or {}).items()}
        for what, values in {**self.each, **{f"given[{key!r}]": rows for key, rows in self.given.items()}}.items():
            if len(values) != count:
                raise InputError(f"Expected {what} for each of the {count} samples, but got {len(values)}.")

    @property
    def name(self) -> str:
        """What the data is called in reports."""
        return self._name or self.blocks.name

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The name of each label, or None."""
        return self._classes or self.blocks.classes

    @property
    def reading(self) -> Reading:
        """As the blocks are read ahead."""
        return getattr(self.blocks, "reading", Reading())

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the blocks' identity and of all that is given anew."""
        tensors = {**self.given, **{key: one for key, one in self.each.items() if isinstance(one, Tensor)}}
        told = {key: one for key, one in self.each.items() if not isinstance(one, Tensor)}
        return digest(tensors, [self.blocks.identity, told])

    def __len__(self) -> int:
        return len(self.blocks)

    def read(self, start: int, stop: int) -> Dataset:
        """Samples `start` to `stop`, without those that cannot be used."""
        return self._anew(self.blocks.read(start, stop), range(len(self))[start:stop])

    def take(self, places: Sequence[int]) -> Dataset:
        """The samples at some places, without those that cannot be used."""
        return self._anew(picked(self.blocks, places), places)

    def _anew(self, data: Dataset, places: Sequence[int]) -> Dataset:
        if len(data) < len(places):  # which ones are left is told by reading each alone
            places = [place for place in places if len(self.blocks.read(place, place + 1))]
        rows = torch.tensor(list(places), dtype=torch.int64)
        if "targets" in self.each:
            data = replace(data, numbers=None)
        anew: dict[str, Any] = {
            key: values[rows] if isinstance(values, Tensor) else tuple(values[place] for place in places)
            for key, values in self.each.items()
        }
        if "boxes" in anew:
            anew |= {"box_labels": None, "masks": None}  # those of the boxes before
        elif "masks" in anew:
            anew |= {"boxes": None, "box_labels": None}
        anew["given"] = {**data.given, **{key: values[rows] for key, values in self.given.items()}}
        return replace(data, name=self.name, classes=self.classes, **anew)
