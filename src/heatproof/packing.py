"""Several tensors of a sample laid side by side in one, (N, D), as methods explain it, and taken apart again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from heatproof.errors import InputError
from heatproof.features import Features, default_features

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Packing:
    """The tensors that are explained together, by name, with the shape of each sample's, in the order they lie in."""

    shapes: tuple[tuple[str, Shape], ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Packing":
        """Raises: InputError for tensors that are not floating, of one type, with as many rows."""
        kinds = {(len(one), one.dtype) for one in tensors.values()}
        if len(kinds) != 1 or not all(one.is_floating_point() for one in tensors.values()):
            said = ", ".join(f"{name} {tuple(one.shape)} of {one.dtype}" for name, one in tensors.items())
            raise InputError(
                f"Expected floating tensors of one type, one row a sample, to be explained together, but got {said}; "
                "integers are explained by what their embedding makes of them."
            )
        return cls(tuple((name, tuple(one.shape[1:])) for name, one in tensors.items()))

    @property
    def size(self) -> int:
        """How many scalars a sample has."""
        return sum(prod(shape) for _, shape in self.shapes)

    def pack(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """(N, D) of tensors (N, …) by name."""
        return torch.cat([tensors[name].reshape(len(tensors[name]), -1) for name, _ in self.shapes], 1)

    def unpack(self, packed: Tensor) -> dict[str, Tensor]:
        """Tensors (N, …) by name, of (N, D).

        Raises: InputError for another D.
        """
        if packed.dim() != 2 or packed.shape[1] != self.size:
            parts = ", ".join(f"{name} {shape}" for name, shape in self.shapes)
            raise InputError(
                f"Expected (N, {self.size}), {parts} side by side, but got {tuple(packed.shape)}; `bound.inputs()` "
                "gives them so."
            )
        pieces = torch.split(packed, [prod(shape) for _, shape in self.shapes], 1)
        found = zip(self.shapes, pieces, strict=True)
        return {name: piece.reshape(len(packed), *shape) for (name, shape), piece in found}


@dataclass(frozen=True, kw_only=True)
class Parts(Features):
    """The features of several tensors that are explained together, one after the other: tokens, pixels, columns.

    `Bound.features` makes it. `names` are the tensors', `shapes` those of a sample, `each` what a feature of each is.
    """

    names: tuple[str, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    each: tuple[Features, ...] = ()

    @classmethod
    def of(cls, packing: Packing, chosen: Mapping[str, Features]) -> "Parts":
        """By default what the shape of each suggests; `chosen` by name in its place."""
        names, shapes = zip(*packing.shapes, strict=True)
        each = tuple(chosen.get(name, default_features(shape)) for name, shape in packing.shapes)
        return cls(names=names, shapes=shapes, each=each)

    def grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        if tuple(shape) != (self._packing.size,):
            raise InputError(f"Expected samples ({self._packing.size},) for {self}, but got {tuple(shape)}.")
        return (sum(self._counts),)

    def pool(self, maps: Tensor, shape: Sequence[int]) -> Tensor:
        parts = self._packing.unpack(maps).values()
        return torch.cat(
            [one.pool(part, inner).flatten(1) for one, part, inner in zip(self.each, parts, self.shapes, strict=True)],
            1,
        )

    def spread(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        if values.shape[1:] != self.grid(shape):
            raise InputError(f"Expected one value a feature, (N, {sum(self._counts)}), but got {tuple(values.shape)}.")
        spread = []
        for one, inner, part in zip(self.each, self.shapes, torch.split(values, self._counts, 1), strict=True):
            found = one.spread(part.reshape(len(part), *one.grid(inner)), inner)
            spread.append(found.expand(len(part), *inner).flatten(1))
        return torch.cat(spread, 1)

    @property
    def _packing(self) -> Packing:
        return Packing(tuple(zip(self.names, self.shapes, strict=True)))

    @property
    def _counts(self) -> list[int]:
        return [prod(one.grid(inner)) for one, inner in zip(self.each, self.shapes, strict=True)]
