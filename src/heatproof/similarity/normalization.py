"""Normalizations of maps by name, each sample by its own numbers, in float64."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from heatproof.errors import unknown


def normalized(maps: Tensor, name: str) -> Tensor:
    """Maps (n, *grid) as (n, *grid) float64, each normalized by itself under `name`:

    - `none`: as they are;
    - `max-abs`: h / max|h|, in [−1, 1], 0 stays 0 (Adebayo et al., A: "normalized to [−1, +1]");
    - `second-moment`: h / √(mean h²) (Binder et al., eq. 11), the one to compare distances with;
    - `min-max`: (h − min) / (max − min), in [0, 1] (Adebayo et al.'s code);
    - `percentile`: clamped at the 1st and 99th percentile (interpolated linearly), then rescaled to [0, 1] (Schulz et
      al., G.1).

    Float64, because gradients of 1e-22 have squares that are 0 in float32. A constant or non-finite map becomes NaN
    under every name, and so does one with equal percentiles under `percentile`.
    Raises: UnknownNameError.
    """
    normalize = NORMALIZATIONS.get(name)
    if normalize is None:
        raise unknown("normalization", name, NORMALIZATIONS)
    rows = maps.flatten(1)
    if rows.numel() == 0:
        return maps.double()
    # Two passes: `torch.aminmax` over a dimension is ten times as slow as both.
    low, high = rows.amin(1, keepdim=True).double(), rows.amax(1, keepdim=True).double()
    usable = (high > low) & high.isfinite() & low.isfinite()
    values, scale = normalize(rows.double(), low, high)
    return (values / torch.where(usable, scale, torch.nan)).reshape(maps.shape)


def _none(flat: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    return flat, torch.ones_like(low)


def _max_abs(flat: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    return flat, torch.maximum(-low, high)


def _second_moment(flat: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    return flat, flat.square().mean(1, keepdim=True).sqrt_()


def _min_max(flat: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    return flat - low, high - low


def _percentile(flat: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    bottom, top = percentiles(flat, (1, 99)).unsqueeze(2).unbind(1)
    return flat.clamp(bottom, top).sub_(bottom), top - bottom


# By name: the numerator (n, F) and the scale (n, 1) of maps (n, F) float64, given their minima and maxima (n, 1).
NORMALIZATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "none": _none,
    "max-abs": _max_abs,
    "second-moment": _second_moment,
    "min-max": _min_max,
    "percentile": _percentile,
}

# The length of the interval that a normalization maps into: SSIM's data range.
RANGES = {"max-abs": 2.0, "min-max": 1.0, "percentile": 1.0}


def percentiles(rows: Tensor, percents: tuple[float, ...]) -> Tensor:
    """Percentiles of each row (n, F), interpolated linearly: (n, len(percents)).

    Not `torch.quantile`, which refuses more than 16 million elements and sorts on a CPU.
    """
    positions = [percent / 100 * (rows.shape[1] - 1) for percent in percents]
    below = [int(position) for position in positions]
    above = [min(index + 1, rows.shape[1] - 1) for index in below]
    on_cpu = rows.device.type == "cpu"
    ordered = _partitioned(rows, {*below, *above}) if on_cpu else rows.sort(dim=1).values
    shares = rows.new_tensor([position - index for position, index in zip(positions, below, strict=True)])
    return torch.lerp(ordered[:, below], ordered[:, above], shares)


def _partitioned(rows: Tensor, indices: set[int]) -> Tensor:
    """Rows (n, F) whose entries at `indices` are those of the sorted rows."""
    return torch.from_numpy(np.partition(rows.numpy(), sorted(indices), axis=1))
