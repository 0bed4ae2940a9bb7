"""Reductions over groups that an index or lengths name, as sums and maxima over all members."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from heatproof.propagation.unsupported import UnsupportedCallError


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The values of `src` at each index together, and the one that was there before if `include_self`."""
    src = src[tuple(slice(size) for size in index.shape)]
    touched = torch.zeros(input.shape, dtype=torch.bool, device=input.device).scatter(dim, index, True)
    if reduce in ("sum", "mean"):
        start = input if include_self else input.masked_fill(touched, 0.0)
        total = start.scatter_add(dim, index, src)
        if reduce == "sum":
            return total
        zeros = torch.zeros(input.shape, dtype=input.dtype, device=input.device)
        ones = torch.ones(index.shape, dtype=input.dtype, device=input.device)
        count = zeros.scatter_add(dim, index, ones) + (1.0 if include_self else (~touched).to(input.dtype))
        return total / count
    if reduce not in ("amax", "amin"):
        raise UnsupportedCallError(f"reduce={reduce!r} multiplies the values of a group, which have no rule")
    return _extreme(input, dim, index, src, touched, reduce, include_self)


def _extreme(
    input: Tensor, dim: int, index: Tensor, src: Tensor, touched: Tensor, reduce: str, include_self: bool
) -> Tensor:
    """For each place the extreme of all of `src`, other groups filled out: its memory is the product of both sizes."""
    least = -math.inf if reduce == "amax" else math.inf
    start = input if include_self else input.masked_fill(touched, least)
    size = input.shape[dim]
    # The index need not reach as far as the input in the other dimensions.
    reach = tuple(slice(None) if d == dim % input.dim() else slice(n) for d, n in enumerate(index.shape))
    members, places = src.movedim(dim, -1), index.movedim(dim, -1)
    own = places[..., None, :] == torch.arange(size, device=index.device)[:, None]
    spread = members[..., None, :].expand(own.shape).masked_fill(~own, least)
    joined = torch.cat([start[reach].movedim(dim, -1)[..., None], spread], -1)
    found = (joined.amax(-1) if reduce == "amax" else joined.amin(-1)).movedim(-1, dim)
    if found.shape == start.shape:
        return found
    out = start.clone()
    out[reach] = found
    return out


def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`scatter_reduce` with one index for whole slices."""
    along = index.view(-1, *[1] * (source.dim() - 1 - dim % source.dim())).expand(source.shape)
    return scatter_reduce(input, dim, along, source, reduce, include_self=include_self)


def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """Sum, mean or extreme of each of the segments along the first dimension."""
    known = lengths if lengths is not None else None if offsets is None else offsets.diff()
    if known is None or known.dim() != 1 or axis != 0 or initial is not None or reduce == "prod":
        raise UnsupportedCallError("only sums, means and extremes of segments along the first dimension have a rule")
    sizes: list[int] = known.tolist()
    if reduce != "sum" and 0 in sizes:
        raise UnsupportedCallError("a segment is empty")
    return torch.stack([_REDUCED[reduce](part) for part in torch.split(data, sizes)])


_REDUCED: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda t: t.sum(0),
    "mean": lambda t: t.mean(0),
    "max": lambda t: t.amax(0),
    "min": lambda t: t.amin(0),
}


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sum, mean or maximum of the embeddings of each bag, in a sum times a weight each."""
    if input.is_floating_point():  # torch.embedding_bag's order
        input, weight = weight, input
    if max_norm is not None or padding_idx is not None:
        raise UnsupportedCallError("with max_norm or padding_idx it has no rule")
    rows = F.embedding(input, weight)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[..., None]
    if input.dim() == 2:
        bags: Sequence[Tensor] = rows.unbind(0)
    else:
        starts: list[int] = [] if offsets is None else offsets.tolist()
        ends = starts[1:] if include_last_offset else [*starts[1:], len(input)]
        bags = [rows[i:j] for i, j in zip(starts, ends, strict=False)]
    if mode != "sum" and any(len(bag) == 0 for bag in bags):
        raise UnsupportedCallError("a bag is empty")
    return torch.stack([_REDUCED[mode](bag) for bag in bags])


BODIES: dict[str, Callable[..., Any]] = {
    "scatter_reduce": scatter_reduce,
    "index_reduce": index_reduce,
    "segment_reduce": segment_reduce,
    "embedding_bag": embedding_bag,
}
