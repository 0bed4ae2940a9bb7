"""A dictionary by tensor, which is held weakly."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from torch import Tensor

T = TypeVar("T")


def writes(tensor: Tensor) -> int | None:
    """How often a tensor was written into; None where nobody counts."""
    return None if tensor.is_inference() else tensor._version


def stamp(tensor: Tensor) -> tuple[int, int]:
    """How often a tensor was written into, and where it lies."""
    return tensor._version, tensor.data_ptr()


class _Place(weakref.ref[Tensor]):
    """A tensor, held weakly, and the number that it is found by."""

    __slots__ = ("number",)
    number: int


class ByTensor(Generic[T]):
    """Values by tensor, these held weakly and by identity.

    torch's own dictionary of that kind makes two objects at each look and compares them in Python: ten times as long.
    A value must not hold the tensor that it belongs to.
    """

    def __init__(self) -> None:
        self._of: dict[int, tuple[_Place, T]] = {}
        self._gone: Callable[[_Place], None] | None = None

    def __setitem__(self, tensor: Tensor, value: T) -> None:
        if self._gone is None:
            self._gone = _forgetting(weakref.ref(self))
        place = _Place(tensor, self._gone)
        place.number = id(tensor)
        self._of[place.number] = (place, value)

    def __contains__(self, tensor: object) -> bool:
        # A dead tensor's number may be another's by now, before it is forgotten; it is no tensor any more.
        found = self._of.get(id(tensor))
        return found is not None and found[0]() is tensor

    def get(self, tensor: object) -> T | None:
        """The tensor's value; None for none."""
        found = self._of.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def items(self) -> Iterator[tuple[Tensor, T]]:
        """The tensors that are alive, with their values."""
        for place, value in list(self._of.values()):
            if (tensor := place()) is not None:
                yield tensor, value

    def __getitem__(self, tensor: Tensor) -> T:
        place, value = self._of[id(tensor)]
        if place() is not tensor:
            raise KeyError(tensor.shape)
        return value


def _forgetting(owner: "weakref.ref[ByTensor[Any]]") -> Callable[[_Place], None]:
    """What is called when a tensor dies; holding its owner would keep all values until the garbage is collected."""

    def gone(place: _Place) -> None:
        if (one := owner()) is not None and (found := one._of.get(place.number)) is not None and found[0] is place:
            del one._of[place.number]

    return gone
