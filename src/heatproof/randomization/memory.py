"""Where tensors lie in memory, which tells whether two of them share their values."""

from contextlib import AbstractContextManager
from typing import NamedTuple

from torch import Tensor

from heatproof.state import RandomState
from heatproof.undo import undone


class Region(NamedTuple):
    """The stretch of memory that a tensor occupies: its storage, and its first and last element there."""

    storage: int
    start: int
    stop: int

    def overlaps(self, other: "Region") -> bool:
        """Whether the two share an element."""
        return self.storage == other.storage and self.start < other.stop and other.start < self.stop


def region(tensor: Tensor) -> Region | None:
    """Where `tensor` lies; None for a tensor without elements or without memory of its own (fake, wrapped)."""
    if tensor.numel() == 0:
        return None
    try:
        storage = tensor.untyped_storage().data_ptr()
        start = int(tensor.storage_offset())
        steps = zip(tensor.shape, tensor.stride(), strict=True)
        return Region(storage, start, start + 1 + sum(int((size - 1) * stride) for size, stride in steps))
    except (RuntimeError, NotImplementedError):
        return None


def quiet(inputs: Tensor) -> AbstractContextManager[object]:
    """A context that puts the global generators back: a network may draw numbers even in eval mode."""
    drawn = RandomState(inputs.device)
    return undone(drawn.restore)
