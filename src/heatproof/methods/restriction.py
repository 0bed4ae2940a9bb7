"""The mathematics of information bottlenecks: mask, noise, bits, and how a map of places becomes one of pixels."""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heatproof.devices import on_device
from heatproof.errors import InputError
from heatproof.layouts.inputs import feature_axes
from heatproof.methods.fitted import Fitted

Noise = Literal["paper", "published"]


def check_settings(recipe: Any, *, whole: tuple[str, ...]) -> None:
    """Refuse settings that no bottleneck can work with; `whole` names those that count something.

    Raises: InputError.
    """
    for name in whole:
        if getattr(recipe, name) < 1:
            raise InputError(f"Expected {name} to be at least 1, but got {getattr(recipe, name)}.")
    for name in ("beta", "smoothing", "active"):
        if not 0 <= getattr(recipe, name) < math.inf:
            raise InputError(f"Expected {name} to be finite and at least 0, but got {getattr(recipe, name)}.")
    for name in ("rate", "min_std"):
        if not 0 < getattr(recipe, name) < math.inf:
            raise InputError(f"Expected {name} to be finite and above 0, but got {getattr(recipe, name)}.")
    if recipe.noise not in ("paper", "published"):
        raise InputError(f"Expected noise to be 'paper' or 'published', but got {recipe.noise!r}.")


class Statistics(NamedTuple):
    """What is known of each feature (C, h, w): mean, standard deviation, and 1 where it carries anything, else 0."""

    mean: Tensor
    std: Tensor
    carries: Tensor


def statistics_of(fitted: Fitted, signal: Tensor, min_std: float, active: float) -> Statistics:
    """The statistics of the features of a signal (N, C, h, w), as they were fitted.

    A feature carries something where it was not 0 on more than the share `active` of the data; all do for 0.
    """
    if fitted["mean"].shape != signal.shape[1:]:
        raise InputError(
            f"Expected the layer's output to be {tuple(fitted['mean'].shape)}, as in fitting, but got "
            f"{tuple(signal.shape[1:])}; give inputs of the same size, or fit again."
        )
    shown = fitted.on("active", signal)
    return Statistics(
        mean=fitted.on("mean", signal),
        std=fitted.on("variance", signal).sqrt().clamp(min=min_std),
        carries=(shown > active if active > 0 else torch.ones_like(shown)).to(signal),
    )


class Masked(NamedTuple):
    """Z = center + spread · n with n ~ N(0, 1), and its KL from N(mean, std²) in nats, all (N, C, h, w)."""

    center: Tensor
    spread: Tensor
    nats: Tensor


@dataclass(frozen=True)
class Mask:
    """The bottleneck at a signal R (N, C, h, w), as a function of α."""

    signal: Tensor
    statistics: Statistics
    smoothing: float
    noise: Noise

    def __call__(self, alpha: Tensor) -> Masked:
        mean, std, carries = self.statistics
        # 1 − λ has its own sigmoid, because the difference would be 0 from α = 17 on in float32.
        passed, held = self._blurred(torch.sigmoid(alpha)), self._blurred(torch.sigmoid(-alpha))
        squared = passed.square() * ((self.signal - mean) / std).square()
        if self.noise == "paper":
            spread, nats = held * std, -held.log() + (held.square() + squared - 1) / 2
        else:
            spread, nats = held.sqrt() * std, (-held.log() + held + squared - 1) / 2
        center = passed * self.signal + held * mean
        return Masked(center * carries, spread * carries, nats * carries)

    def double(self) -> "Mask":
        statistics = Statistics(*(tensor.double() for tensor in self.statistics))
        return Mask(self.signal.double(), statistics, self.smoothing, self.noise)

    def _blurred(self, values: Tensor) -> Tensor:
        if self.smoothing == 0:
            return values
        down, across = (blurring(values, n, self.smoothing) for n in values.shape[-2:])
        return down @ values @ across.T


@on_device
def blurring(size: int, sigma: float) -> Tensor:
    """The matrix (size, size), float64, that convolves with a normalized Gaussian and reflects at both ends.

    2·round(2σ)+1 taps; entry i of the ends' reflection is the i-th value from the end, which itself is not repeated.
    """
    reach = round(2 * sigma)
    taps = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (taps.double() / sigma) ** 2)
    places = (torch.arange(size)[:, None] + taps) % max(1, 2 * (size - 1))
    places = torch.minimum(places, 2 * (size - 1) - places)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, places, (weights / weights.sum()).expand(size, -1))


def pixels_of(model: nn.Module, inputs: Tensor) -> tuple[tuple[int, ...], int]:
    """How many pixels images have each way, and the axis of their channels, as the network reads them."""
    channels = next(iter(feature_axes(model, inputs)), 1) if inputs.dim() == 4 else 1
    return tuple(count for axis, count in enumerate(inputs.shape) if axis not in (0, channels)), channels


def enlarged(bits: Tensor, size: tuple[int, ...], channels: int = 1) -> Tensor:
    """A map (N, 1, h, w) of bits a place as bits a pixel, with the same sum; `channels` is the axis of size 1."""
    pixels = F.interpolate(bits, size=size, mode="bilinear", align_corners=False)
    held, wanted = pixels.flatten(1).sum(1), bits.flatten(1).sum(1)
    # h·w/(H·W) where the sizes divide, and within a per mille of it elsewhere.
    scale = torch.where(held > 0, wanted / held.clamp(min=torch.finfo(held.dtype).tiny), 0)
    return (pixels * scale.view(-1, 1, 1, 1)).movedim(1, channels)


class Adam:
    """Adam (Kingma & Ba 2014, algorithm 1) of one tensor, with its usual β₁ = 0.9, β₂ = 0.999, ε = 1e-8."""

    def __init__(self, like: Tensor, rate: float) -> None:
        self.rate, self.count = rate, 0
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)

    def step(self, value: Tensor, gradient: Tensor) -> Tensor:
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient.square()
        mean, square = self.mean / (1 - 0.9**self.count), self.square / (1 - 0.999**self.count)
        return value - self.rate * mean / (square.sqrt() + 1e-8)
