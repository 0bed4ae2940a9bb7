"""What counts as one feature: everything that ranks, masks, sums or compares attributions works on features."""

from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from heatproof import draws
from heatproof.errors import InputError, unknown
from heatproof.frozen import Frozen
from heatproof.registry import Registry


class Features(Protocol):
    """A partition of a sample's scalars into features, laid out on a grid. A subclass says all but `replace`.

    >>> hp.features.Pixels().grid((3, 8, 8)), hp.features.Tiles(size=4).grid((3, 8, 8))
    ((8, 8), (2, 2))
    """

    @abstractmethod
    def grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The features' layout for samples of `shape` (without the batch dimension)."""

    @abstractmethod
    def pool(self, maps: Tensor, shape: Sequence[int]) -> Tensor:
        """Attributions (N, …) that broadcast to samples of `shape`, summed to one value a feature: (N, *grid).

        A dimension of size 1 that the method does not resolve is not multiplied: the sum keeps its unit.
        """

    @abstractmethod
    def spread(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        """One value a feature, (N, *grid), given to every scalar of it: broadcasts to (N, *shape). Any dtype."""

    def replace(self, inputs: Tensor, chosen: Tensor, baseline: Tensor) -> Tensor:
        """`inputs` (N, …) with the `chosen` features, (N, *grid) bool, taken from `baseline`, which broadcasts to them.

        Raises: InputError if `chosen` is not bool or of another shape.
        """
        if chosen.dtype != torch.bool:
            raise InputError(f"Expected chosen features as bool, but got {chosen.dtype}; compare ranks with a number.")
        return torch.where(self.spread(chosen, inputs.shape[1:]), baseline, inputs)


FEATURES: Registry[Features] = Registry("feature")
POOLINGS = ("sum", "mean", "l2", "max")


LAYOUTS = ("channels-first", "channels-last")


@FEATURES.register("pixels")
@dataclass(frozen=True, kw_only=True)
class Pixels(Features):
    """One feature a position: the channels of a pixel, or of a time step of a series, together.

    Samples are (C, positions …), or (positions …, C) with `layout="channels-last"`. `reduction` over channels: `sum`
    (default, keeps units and signs), `mean`, `l2` norm, or `max`. A map of size 1 along a direction, such as Grad-CAM's
    of a layer that has no places along it, is the same everywhere along it.

    >>> hp.features.Pixels().pool(torch.ones(1, 3, 2, 2), (3, 2, 2))
    tensor([[[3., 3.],
             [3., 3.]]])
    """

    reduction: str = "sum"
    layout: str = "channels-first"

    def __post_init__(self) -> None:
        if self.reduction not in POOLINGS:
            raise InputError(f"Expected reduction to be one of {', '.join(POOLINGS)}, but got {self.reduction!r}.")
        _check_layout(self.layout)

    def grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        if len(shape) < 2:
            raise InputError(f"Expected samples (C, positions …) for pixels, but got {tuple(shape)}; use Columns().")
        return tuple(shape[1:] if self.layout == "channels-first" else shape[:-1])

    def pool(self, maps: Tensor, shape: Sequence[int]) -> Tensor:
        maps = self._resolved(maps, shape)
        axis = 1 if self.layout == "channels-first" else maps.dim() - 1
        if self.reduction == "l2":
            # In float64: the squares of a dying network's gradients are 0 in float32.
            return maps.double().square().sum(axis).sqrt().to(maps.dtype)
        if self.reduction == "max":
            return maps.amax(axis)
        return maps.sum(axis) if self.reduction == "sum" else maps.mean(axis)

    def spread(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        return _fitting(values, self.grid(shape)).unsqueeze(1 if self.layout == "channels-first" else -1)

    def _resolved(self, maps: Tensor, shape: Sequence[int]) -> Tensor:
        """Maps of every position: one of size 1 along a direction is the same everywhere along it."""
        first, grid = self.layout == "channels-first", self.grid(shape)
        channels, found = (shape[0], maps.shape[1]) if first else (shape[-1], maps.shape[-1])
        at = maps.shape[2:] if first else maps.shape[1:-1]
        fits = len(at) == len(grid) and all(one in (1, side) for one, side in zip(at, grid, strict=True))
        if not fits or found not in (1, channels):
            wanted = f"{channels} or 1, {grid}" if first else f"{grid}, {channels} or 1"
            raise InputError(f"Expected maps (N, {wanted}), but got {tuple(maps.shape)}.")
        return maps.expand(len(maps), *((found, *grid) if first else (*grid, found)))


@FEATURES.register("tiles")
@dataclass(frozen=True, kw_only=True)
class Tiles(Features):
    """One feature a tile of `size` positions each way: squares of an image (C, H, W), stretches of a series (C, T),
    cubes of a volume. Tiles at the far edges may be smaller.

    Samples are (C, positions …), or (positions …, C) with `layout="channels-last"`.

    >>> hp.features.Tiles(size=4).pool(torch.ones(1, 1, 8, 8), (1, 8, 8))
    tensor([[[16., 16.],
             [16., 16.]]])
    """

    size: int = 8
    layout: str = "channels-first"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"Expected a tile's size to be at least 1, but got {self.size}.")
        _check_layout(self.layout)

    def grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        if len(shape) < 2:
            raise InputError(f"Expected images (C, H, W) or other positions for tiles, but got samples {tuple(shape)}.")
        return tuple(-(-side // self.size) for side in self._pixels.grid(shape))

    def pool(self, maps: Tensor, shape: Sequence[int]) -> Tensor:
        pixels, grid = self._pixels.pool(maps, shape), self.grid(shape)
        missing = [tiles * self.size - side for tiles, side in zip(grid, pixels.shape[1:], strict=True)]
        padded = F.pad(pixels, [n for missed in reversed(missing) for n in (0, missed)])
        tiled = padded.view(-1, *(n for tiles in grid for n in (tiles, self.size)))
        return tiled.sum(tuple(range(2, 2 * len(grid) + 1, 2)))

    def spread(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        pixels = _fitting(values, self.grid(shape))
        for axis, side in enumerate(self._pixels.grid(shape), start=1):
            pixels = pixels.repeat_interleave(self.size, axis).narrow(axis, 0, side)
        return self._pixels.spread(pixels, shape)

    @property
    def _pixels(self) -> Pixels:
        return Pixels(layout=self.layout)


@FEATURES.register("tokens")
@dataclass(frozen=True, kw_only=True)
class Tokens(Features):
    """One feature a token of a sequence (T, E): all components of its embedding together.

    >>> hp.features.Tokens().pool(torch.ones(1, 3, 2), (3, 2))
    tensor([[2., 2., 2.]])
    """

    def grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        if len(shape) != 2:
            raise InputError(f"Expected sequences (T, E) for tokens, but got samples {tuple(shape)}.")
        return (shape[0],)

    def pool(self, maps: Tensor, shape: Sequence[int]) -> Tensor:
        if maps.dim() != 3 or maps.shape[1] != shape[0] or maps.shape[2] not in (1, shape[1]):
            raise InputError(f"Expected maps (N, {shape[0]}, {shape[1]} or 1), but got {tuple(maps.shape)}.")
        return maps.sum(2)

    def spread(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        return _fitting(values, self.grid(shape))[:, :, None]


@FEATURES.register("columns")
@dataclass(frozen=True, kw_only=True)
class Columns(Features):
    """One feature a scalar of the sample: the columns (D,) of a table, or every scalar of anything else.

    >>> hp.features.Columns().pool(hp.methods.Gradient()(line, x, 1), (2,))
    tensor([[3., 4.]])
    """

    def grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(shape)

    def pool(self, maps: Tensor, shape: Sequence[int]) -> Tensor:
        if maps.shape[1:] != torch.Size(shape):
            raise InputError(f"Expected one attribution a scalar, (N, {tuple(shape)}), but got {tuple(maps.shape)}.")
        return maps

    def spread(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        return _fitting(values, self.grid(shape))


@FEATURES.register("segments")
@dataclass(frozen=True)
class Segments(Features):
    """One feature a segment: the scalars of a sample with one number in `mask`, wherever they lie.

    `mask` holds whole numbers and broadcasts to a sample (…): (H, W) of an image (C, H, W) takes all channels of a
    pixel together. Features stand in the order of their numbers, (K,), whichever numbers these are.

    >>> hp.features.Segments(torch.tensor([0, 1])).pool(torch.tensor([[3.0, 4.0]]), (2,))
    tensor([[3., 4.]])
    """

    mask: Frozen = field(default_factory=lambda: Frozen(0))

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", Frozen(self.mask))
        if self.mask.tensor.is_floating_point() or self.mask.tensor.is_complex():
            raise InputError(f"Expected whole numbers that name segments, but got {self.mask.tensor.dtype}.")

    @cached_property
    def _numbered(self) -> tuple[Tensor, int]:
        """Segments counted from 0, and how many there are."""
        numbers, at = torch.unique(self.mask.tensor, return_inverse=True)
        return at, len(numbers)

    def grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        self._at(shape)
        return (self._numbered[1],)

    def pool(self, maps: Tensor, shape: Sequence[int]) -> Tensor:
        at = self._at(shape).expand(tuple(shape))
        for axis, (ours, full) in enumerate(zip(maps.shape[1:], shape, strict=True)):
            if ours == full:
                continue
            first = at.narrow(axis, 0, 1)
            if ours != 1 or not torch.equal(first.expand_as(at), at):
                raise InputError(
                    f"Expected maps that resolve what segments tell apart in samples {tuple(shape)}, but got "
                    f"{tuple(maps.shape)}."
                )
            at = first
        index = at.flatten().to(maps.device)
        # A product, whose order of additions a GPU keeps.
        member = torch.nn.functional.one_hot(index, self._numbered[1]).to(maps.dtype)
        return maps.flatten(1) @ member

    def spread(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        return _fitting(values, self.grid(shape))[:, self._at(shape).to(values.device)]

    def _at(self, shape: Sequence[int]) -> Tensor:
        """The mask with as many dimensions as a sample."""
        at, _ = self._numbered
        at = at.view(*[1] * (len(shape) - at.dim()), *at.shape)
        if at.dim() != len(shape) or any(ours not in (1, full) for ours, full in zip(at.shape, shape, strict=True)):
            raise InputError(
                f"Expected a mask of segments that broadcasts to samples {tuple(shape)}, but got {self.mask.shape}."
            )
        return at


def default_features(shape: Sequence[int]) -> Features:
    """Columns for tables (D,), tokens for sequences (T, E), pixels for images and volumes (C, …).

    What a shape alone suggests, for estimates and where there is no network to ask: see
    `heatproof.layouts.inputs.features_of`.
    """
    if len(shape) == 1:
        return Columns()
    return Tokens() if len(shape) == 2 else Pixels()


def _check_layout(layout: str) -> None:
    if layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)


Keep = Callable[[Hashable, Callable[[], Tensor]], Tensor]


def _anew(_: Hashable, draw: Callable[[], Tensor]) -> Tensor:
    return draw()


def ranks(pooled: Tensor, *key: draws.Key, samples: Sequence[str], keep: Keep = _anew) -> Tensor:
    """The position of each feature of `pooled` (N, *grid), flattened, from most relevant, 0, to least: (N, F) int64.

    Features with equal values stand in a random order, drawn from `key` and the sample's name in `samples` (N names),
    so that a map of many zeros favors no corner. NaN counts as least relevant. `keep`, such as a block's `derived`,
    keeps the orders for other maps of the samples.
    """
    values = pooled.detach().flatten(1)
    if len(samples) != len(values):
        raise InputError(f"Expected one name a sample ({len(values)}), but got {len(samples)}.")
    count, device = values.shape[1], values.device

    def draw() -> Tensor:
        drawn = [torch.randperm(count, generator=draws.generator(*key, name)) for name in samples]
        return torch.stack(drawn).to(device, non_blocking=True)

    shuffled = keep(("orders of features", *key, count, tuple(samples), device), draw)
    order = shuffled.gather(1, _stable_order(-values.gather(1, shuffled)))
    places = torch.arange(count, device=device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def _stable_order(rows: Tensor) -> Tensor:
    """Indices that sort each row upwards, equal values in their order, NaN last."""
    if rows.device.type == "cpu":  # several times as fast as torch's there
        return torch.from_numpy(np.argsort(rows.numpy(), axis=1, kind="stable"))
    return rows.sort(dim=1, stable=True).indices


def _fitting(values: Tensor, grid: tuple[int, ...]) -> Tensor:
    if values.shape[1:] != torch.Size(grid):
        raise InputError(
            f"Expected one value a feature, (N, {', '.join(map(str, grid))}), but got {tuple(values.shape)}."
        )
    return values
