"""Samples that are read block by block: what an audit takes, whatever form the data come in."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from heatproof.data.arrays import ArrayBlocks
from heatproof.data.base import Box, Dataset, Source
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
    given: Mapping[str, Tensor] | None = None,
    ids: Sequence[str] | None = None,
    boxes: Sequence[Sequence[Box]] | None = None,
    name: str = "",
) -> Blocks:
    """Any data as blocks.

    Args:
        data: a tensor or NumPy array (N, …), a `Dataset`, a source of `hp.data`, or `Blocks`.
        targets: the label of each sample (N,), int64, in place of the data's own.
        given: side inputs by the name of the network's argument, tensors with one row a sample.
        ids: a unique name a sample; its position by default, or the data's own.
        boxes: for each sample the boxes (xmin, ymin, xmax, ymax) of its object.
        name: what the data is called in reports.

    Raises: InputError for data of another kind, or what is not one a sample.
    """
    if isinstance(data, Tensor | np.ndarray):
        return ArrayBlocks(data, targets, given=given, ids=ids, boxes=boxes, name=name)
    found = _found(data)
    said = (targets, given, ids, boxes, name or None)
    return found if said == (None,) * len(said) else Overlaid(found, targets, given, ids, boxes, name)


def _found(data: Any) -> Blocks:
    if isinstance(data, Dataset):
        return DatasetBlocks(data)
    if isinstance(data, Source):
        return data.blocks()
    if isinstance(data, Blocks):
        return data
    raise InputError(
        f"Expected samples as a tensor or array (N, …), a Dataset or a source of heatproof.data, but got {shown(data)}."
    )
