"""Blocks of some samples of others, also with other labels: what is trained on, what is held out."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from heatproof.artifacts import digest
from heatproof.data.base import Dataset, joined, select
from heatproof.data.blocks import Blocks, as_blocks
from heatproof.data.overlay import DatasetBlocks
from heatproof.data.picking import ROWS, batches_of, first_of, labels_of, picked
from heatproof.data.reading import Reading
from heatproof.errors import InputError

MOST_BYTES = 2**31  # of samples that are held in memory to be trained on


def held(blocks: Blocks) -> Blocks:
    """The samples in memory, where they take at most 2 GiB there: what is trained on is read many times.

    Raises: InputError where none can be used.
    """
    if isinstance(blocks, DatasetBlocks):
        return blocks
    first = first_of(blocks, 1)
    if len(first) and first.inputs.nbytes * len(blocks) > MOST_BYTES:
        return blocks
    data = joined(list(batches_of(blocks, torch.arange(len(blocks)), ROWS)))
    if not len(data):
        reason = "; the first, {}: {}".format(*data.skipped[0]).rstrip(".") if data.skipped else ""
        raise InputError(f"Expected samples of {blocks.name}, but none of {len(blocks)} can be used{reason}.")
    return DatasetBlocks(data)


def some_of(blocks: Blocks, places: Sequence[int]) -> Blocks:
    """The samples at some places that can be used; in memory where they are."""
    if isinstance(blocks, DatasetBlocks):
        return as_blocks(select(blocks.data, places))
    usable, labels = labels_of(blocks)
    known = dict(zip(usable, labels.tolist(), strict=True))
    return Chosen(blocks, places, torch.tensor([known[place] for place in places], dtype=torch.int64))


def relabelled(blocks: Blocks, targets: Tensor, name: str) -> Blocks:
    """The samples, all of which can be used, with other labels (N,) under another name."""
    if isinstance(blocks, DatasetBlocks):
        return as_blocks(replace(blocks.data, targets=targets, name=name))
    return Chosen(blocks, range(len(blocks)), targets, name)


class Chosen:
    """Blocks of some samples of others, at places that can be used, with labels (N,) for their own."""

    def __init__(self, blocks: Blocks, places: Sequence[int], targets: Tensor, name: str = "") -> None:
        self.blocks, self.places, self.targets = blocks, list(places), targets
        self.name, self.classes = name or blocks.name, blocks.classes

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the blocks' identity, the places and the labels."""
        return digest({"targets": self.targets}, [self.blocks.identity, self.places])

    @property
    def reading(self) -> Reading:
        """As the blocks are read ahead."""
        return getattr(self.blocks, "reading", Reading())

    def __len__(self) -> int:
        return len(self.places)

    def read(self, start: int, stop: int) -> Dataset:
        """Samples `start` to `stop`."""
        return self.take(range(len(self))[start:stop])

    def take(self, places: Sequence[int]) -> Dataset:
        """The samples at some places."""
        found = picked(self.blocks, [self.places[place] for place in places])
        return replace(found, name=self.name, targets=self.targets[list(places)])
