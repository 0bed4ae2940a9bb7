"""A layer's output read as positions: which of its axes are samples, channels and positions, and where each stands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from heatproof.layouts.facts import Fact
from heatproof.layouts.told import Meaning


@dataclass(frozen=True, eq=False)
class Reading:
    """How a tensor of `shape` (with any number of samples) reads as a map.

    `axes` are the input's axes that the map's directions run along, of `grid` places each. Among the elements along the
    tensor's axes `positions`, number `places` stand for the map's positions in rows; others (class tokens, registers)
    stand for none. All other axes but `samples` are `channels`.
    """

    shape: tuple[int, ...]
    samples: int
    channels: tuple[int, ...]
    positions: tuple[int, ...]
    axes: tuple[int, ...]
    grid: tuple[int, ...]
    places: Tensor

    def __call__(self, output: Tensor) -> Tensor:
        """The output (N, *grid, K) of such a tensor."""
        rows = output.shape[self.samples]
        ordered = output.permute(self.samples, *self.positions, *self.channels)
        flat = ordered.reshape(rows, prod(self.shape[i] for i in self.positions), -1)
        if len(self.places) != flat.shape[1] or not self._in_order:
            flat = flat.index_select(1, self.places.to(flat.device))
        return flat.reshape(rows, *self.grid, flat.shape[2])

    @cached_property
    def _in_order(self) -> bool:
        return torch.equal(self.places, torch.arange(len(self.places)))

    @property
    def size(self) -> int:
        """The number of positions."""
        return prod(self.grid)

    @property
    def width(self) -> int:
        """The number of channels."""
        return prod(self.shape[i] for i in self.channels)

    @property
    def leading(self) -> bool:
        """Whether the tensor is (N, K, *grid)."""
        dims = tuple(range(len(self.shape)))
        whole = self.samples == 0 and self.channels == (1,) and self.positions == dims[2:]
        return whole and self.grid == self.shape[2:] and bool((self.places == torch.arange(self.size)).all())

    def fits(self, output: Tensor) -> bool:
        """Whether a tensor has the shape that this was read from, but for the number of samples."""
        one, other = list(output.shape), list(self.shape)
        return (
            len(one) == len(other)
            and one[: self.samples] == other[: self.samples]
            and one[self.samples + 1 :] == (other[self.samples + 1 :])
        )


def read(shape: Sequence[int], fact: Fact, meaning: Callable[[int], Meaning | None], rows: int) -> Reading | None:
    """The reading of a tensor of which this is known, or None where that does not tell its positions.

    An axis of the input that holds features is one of channels, for as long as no operation has mixed them.
    """
    places = fact.places
    if fact.raw and any(p.axis and p.along and meaning(p.axis) is None for p in places):
        return None
    samples = [p.along for p in places if p.axis == 0]
    if len(samples) > 1 or (samples and len(samples[0]) != 1):
        return None
    (first,) = samples[0] if samples else (0,)
    own = [p for p in places if p.axis and p.along and meaning(p.axis) != "feature"]
    if len(shape) <= first or shape[first] != rows or len({p.axis for p in own}) < len(own):
        return None
    own.sort(key=lambda p: p.axis)
    positions = tuple(sorted({i for p in own for i in p.along}))
    channels = tuple(i for i in range(len(shape)) if i not in (first, *positions))
    features = [p.along for p in places if p.axis and meaning(p.axis) == "feature"]
    if not own or first in positions or any(along & set(positions) for along in features):
        return None
    index: list[int | slice] = [slice(None) if i in positions else 0 for i in range(len(shape))]
    flat = [p.at[tuple(index)].reshape(-1) for p in own]
    placed = torch.stack([at >= 0 for at in flat]).all(0).nonzero().flatten()
    ranked = [torch.unique(at[placed], return_inverse=True) for at in flat]
    grid = tuple(len(values) for values, _ in ranked)
    number = torch.zeros(len(placed), dtype=torch.int64)
    for size, (_, rank) in zip(grid, ranked, strict=True):
        number = number * size + rank
    if len(placed) != prod(grid) or len(torch.unique(number)) != len(number):
        return None
    return Reading(tuple(shape), first, channels, positions, tuple(p.axis for p in own), grid, placed[number.argsort()])


def assumed(shape: Sequence[int], layout: str, sizes: Sequence[int], axes: Sequence[int]) -> Reading | None:
    """The reading of (N, K, places …), `channels-first`, or (N, places …, K), `channels-last`, as somebody says it is.

    `sizes` are the input's along its `axes` of positions. Where one axis of places stands for several of the input's,
    they are tokens in rows, in the input's proportions and as many as there are; up to 8 that are left over stand first
    (class tokens and registers). None where this does not fit.
    """
    dims = tuple(range(1, len(shape)))
    positions, channels = (dims[1:], dims[:1]) if layout == "channels-first" else (dims[:-1], dims[-1:])
    given = tuple(shape[i] for i in positions)
    grid, start = given, 0
    if len(given) != len(sizes):
        if len(given) != 1:
            return None
        unit = torch.tensor(sizes) // torch.gcd(*torch.tensor(sizes)) if len(sizes) == 2 else torch.tensor(sizes)
        if len(sizes) > 2:
            shared = int(torch.tensor(sizes).gcd(torch.tensor(sizes[0])).min())
            unit = torch.tensor(sizes) // shared
        times = int((given[0] / int(unit.prod())) ** (1 / len(sizes)) + 1e-9)
        grid = tuple(int(one) * times for one in unit)
        start = given[0] - prod(grid)
        if times == 0 or not 0 <= start <= LEADING:
            return None
    return Reading(tuple(shape), 0, channels, positions, tuple(axes), grid, torch.arange(start, start + prod(grid)))


LEADING = 8  # class, distillation and register tokens that may stand before the patches
