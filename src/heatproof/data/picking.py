"""Samples at any places of blocks, in any order: for training, and for a first look."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from heatproof.data.base import Dataset, joined

if TYPE_CHECKING:
    from heatproof.data.blocks import Blocks


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
