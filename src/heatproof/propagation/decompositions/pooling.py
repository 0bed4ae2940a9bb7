"""Pooling by p-norms, and by maxima over regions of changing places."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from heatproof.propagation.decompositions.distances import vector_norm


def _each(value: Any, dims: int) -> list[int]:
    return [int(value)] * dims if isinstance(value, int) else [int(v) for v in value] * (dims // len(value))


def lp_pool(
    dims: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ xᵖ)^{1/p} over windows, as the p-norm of each: its derivative is 0, not NaN, where a window is all zero.

    A window that reaches over the edge counts its values as if it were full, as torch's does.
    """
    sizes = _each(kernel_size, dims)
    steps = _each(stride, dims) if stride is not None else sizes
    x, inside = input, torch.ones(input.shape[-dims:], dtype=input.dtype, device=input.device)
    if ceil_mode:
        over: list[int] = []
        for size, step, length in zip(sizes, steps, input.shape[-dims:], strict=True):
            outs = -(-(length - size) // step) + 1
            outs -= int((outs - 1) * step >= length)
            over = [0, max(0, (outs - 1) * step + size - length), *over]
        x, inside = F.pad(x, over), F.pad(inside, over)
    for at, (size, step) in enumerate(zip(sizes, steps, strict=True)):
        x, inside = x.unfold(input.dim() - dims + at, size, step), inside.unfold(at, size, step)
    places = tuple(range(-dims, 0))
    full = float(torch.tensor(sizes).prod()) / inside.sum(places)
    return vector_norm(x, norm_type, places) * full ** (1 / norm_type)


def fractional_max_pool(
    dims: int,
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The largest value of each region, whose places the given samples (N, C, dims) decide."""
    if isinstance(output_ratio, Tensor):  # the operator's order
        output_ratio, return_indices, _random_samples = None, True, output_ratio
    assert _random_samples is not None  # or it was refused
    sizes, x = _each(kernel_size, dims), input
    lengths = input.shape[-dims:]
    if output_size is None:
        ratios = [output_ratio] * dims if isinstance(output_ratio, float) else output_ratio
        output_size = [int(n * ratio) for n, ratio in zip(lengths, ratios, strict=True)]
    outs = _each(output_size, dims)
    # Along the width first of all in 2-D, along the depth in 3-D.
    samples = _random_samples.flip(-1) if dims == 2 else _random_samples
    for at, (size, out, length) in enumerate(zip(sizes, outs, lengths, strict=True)):
        starts = _starts(samples[..., at], length, out, size)
        places = (starts[..., None] + torch.arange(size, device=x.device)).flatten(-2)
        dim = x.dim() - dims + at
        shape = [*x.shape]
        shape[dim] = out * size
        along = places.view(*places.shape[:-1], *[1] * at, -1, *[1] * (dims - at - 1)).expand(shape)
        x = x.gather(dim, along)
    regions = [n for size, out in zip(sizes, outs, strict=True) for n in (out, size)]
    x = x.reshape(*x.shape[:-dims], *regions)
    top = x.amax(tuple(range(-1, -2 * dims, -2)))
    return (top, torch.zeros_like(top, dtype=torch.int64)) if return_indices else top


def _starts(sample: Tensor, length: int, out: int, size: int) -> Tensor:
    alpha = torch.tensor(length - size, dtype=sample.dtype) / max(out - 1, 1)
    steps = torch.arange(out, dtype=sample.dtype, device=sample.device)
    starts = ((steps + sample[..., None]) * alpha).long() - (sample[..., None] * alpha).long()
    starts[..., -1] = length - size
    return starts


def _with_indices(dims: int) -> Callable[..., Any]:
    def pool(*args: Any, **kwargs: Any) -> Any:
        return fractional_max_pool(dims, *args, **{**kwargs, "return_indices": True})

    return pool


BODIES: dict[str, Callable[..., Any]] = {
    **{f"lp_pool{dims}d": partial(lp_pool, dims) for dims in (1, 2, 3)},
    **{f"fractional_max_pool{dims}d": partial(fractional_max_pool, dims) for dims in (2, 3)},
    **{f"fractional_max_pool{dims}d_with_indices": _with_indices(dims) for dims in (2, 3)},
}
