"""What is known of a tensor, for as long as nobody has written into it."""

from typing import Generic, TypeVar

from torch import Tensor

from heatproof.by_tensor import ByTensor

T = TypeVar("T")


class Facts(Generic[T]):
    """Facts about tensors, each with the tensor's version: a write in place, seen or unseen, makes a fact untrue.

    Tensors are held weakly and by identity. A fact must not hold the tensor that it is about.
    """

    def __init__(self) -> None:
        self._facts: ByTensor[tuple[int, T]] = ByTensor()

    def __setitem__(self, tensor: Tensor, fact: T) -> None:
        self._facts[tensor] = tensor._version, fact

    def get(self, tensor: object) -> T | None:
        """The fact, if there is one and the tensor has not changed since."""
        # As `ByTensor.get` has it: asked several times a call, of which most have none.
        found = self._facts._of.get(id(tensor))
        if found is None or not isinstance(tensor, Tensor) or found[0]() is not tensor:
            return None
        version, fact = found[1]
        return fact if version == tensor._version else None

    def hand_over(self, known: Tensor, other: Tensor) -> None:
        """What is known of one tensor holds for another, which has got its value."""
        if (fact := self.get(known)) is not None:
            self[other] = fact
