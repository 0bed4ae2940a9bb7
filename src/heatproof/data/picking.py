"""Samples at any places of blocks, in any order: for training, and for a first look."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from heatproof.data.ahead import ahead
from heatproof.data.base import Dataset, joined
from heatproof.data.reading import Reading

if TYPE_CHECKING:
    from heatproof.data.blocks import Blocks

ROWS = 256  # samples that are read at a time where nothing but labels is asked of them


def picked(blocks: "Blocks", places: Sequence[int]) -> Dataset:
    """The samples at these places, in this order, without those that cannot be used.

    Blocks that can do so at once have a method `take`; of others each place is read alone.
    """
    take: Any = getattr(blocks, "take", None)
    found: Dataset = take(places) if take is not None else joined([blocks.read(place, place + 1) for place in places])
    return found


def first_of(blocks: "Blocks", count: int) -> Dataset:
    """The first `count` samples that can be used; fewer where there are no more."""
    found = blocks.read(0, count)
    place = count
    while len(found) < count and place < len(blocks):
        found = joined([found, blocks.read(place, place + 1)])
        place += 1
    return found


def batches_of(blocks: "Blocks", order: Tensor, size: int) -> Iterator[Dataset]:
    """The samples in an order of their positions, `size` positions at a time; the next are read meanwhile.

    A batch is smaller, or empty, where samples cannot be used.
    """
    picks = _Picks(blocks, torch.split(order, size))
    with closing(ahead(picks, [(i, i + 1) for i in range(len(picks.batches))], depth=1)) as parts:
        yield from parts


def labels_of(blocks: "Blocks") -> tuple[list[int], Tensor]:
    """The positions of the samples that can be used, and their labels.

    Cost: blocks that know them say so by `targets`; of others all samples are read, once.
    """
    known: Any = getattr(blocks, "targets", None)
    if isinstance(known, Tensor):
        return list(range(len(blocks))), known
    if blocks not in _labels:
        places, labels = list[int](), list[Tensor]()
        starts = range(0, len(blocks), ROWS)
        with closing(ahead(blocks, [(start, start + ROWS) for start in starts])) as parts:
            for start, part in zip(starts, parts, strict=True):
                here = list(range(start, min(start + ROWS, len(blocks))))
                if len(part) < len(here):
                    here = [place for place in here if len(blocks.read(place, place + 1))]
                places += here
                labels.append(part.targets)
        _labels[blocks] = places, torch.cat(labels)
    return _labels[blocks]


_labels: "WeakKeyDictionary[Any, tuple[list[int], Tensor]]" = WeakKeyDictionary()


@dataclass(frozen=True)
class _Picks:
    """Blocks of which the i-th is a batch: places anywhere in other blocks."""

    blocks: "Blocks"
    batches: Sequence[Tensor]

    @property
    def reading(self) -> Reading:
        return getattr(self.blocks, "reading", Reading())

    def read(self, start: int, stop: int) -> Dataset:
        return picked(self.blocks, self.batches[start].tolist())
