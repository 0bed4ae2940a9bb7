"""Sampling a picture at places that depend on the input."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from heatproof.propagation.unsupported import UnsupportedCallError

MODES, PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str | int = "bilinear",
    padding_mode: str | int = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Linear interpolation as Σ_jk x_jk h(u − j) h(v − k), h(t) = max(1 − |t|, 0): no place is chosen, none is lost.

    Every output looks at the whole picture: time and memory grow with outputs · height. Shapes: input (N, C, …), grid
    (N, …, dims) → (N, C, …).
    """
    mode = MODES[mode] if isinstance(mode, int) else mode
    padding_mode = PADDINGS[padding_mode] if isinstance(padding_mode, int) else padding_mode
    if mode != "bilinear" or padding_mode == "reflection":
        raise UnsupportedCallError(
            f"its grid depends on the input, and mode={mode!r} with padding_mode={padding_mode!r} has no rule for that"
        )
    places, dims = grid.flatten(1, -2), grid.shape[-1]
    out = input
    for axis in range(dims):  # the grid's first number goes with the last dimension
        size = input.shape[-1 - axis]
        at = places[..., axis]
        at = (at + 1) * ((size - 1) / 2) if align_corners else (at + 1) * (size / 2) - 0.5
        at = at.clamp(0, size - 1) if padding_mode == "border" else at
        steps = torch.arange(size, dtype=grid.dtype, device=grid.device)
        weights = (1 - (at[..., None] - steps).abs()).clamp(min=0).transpose(1, 2)  # (N, size, places)
        if axis == 0:
            out = out @ weights.view(len(weights), *[1] * (dims - 1), *weights.shape[1:])
        else:
            out = (out * weights.view(len(weights), *[1] * (dims - axis), *weights.shape[1:])).sum(-2)
    return out.view(*out.shape[:-1], *grid.shape[1:-1])


OF_SEVERAL: dict[str, Callable[..., Any]] = dict.fromkeys(
    ("grid_sample", "grid_sampler", "grid_sampler_2d", "grid_sampler_3d"), grid_sample
)
