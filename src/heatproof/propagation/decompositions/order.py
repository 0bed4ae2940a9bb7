"""Operations that choose by order, in sorted values and maxima."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from heatproof.propagation.unsupported import UnsupportedCallError


def _running(largest: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    def running(input: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        x = input.movedim(dim, -1)
        n = x.shape[-1]
        behind = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)
        seen = x[..., None, :].masked_fill(behind, -math.inf if largest else math.inf)
        values = seen.amax(-1) if largest else seen.amin(-1)
        return values.movedim(-1, dim), torch.zeros_like(values, dtype=torch.int64)  # the plain call's indices stand

    return running


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log Σ_{j ≤ i} exp x_j."""
    x = input.movedim(dim, -1)
    n = x.shape[-1]
    behind = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)
    return x[..., None, :].masked_fill(behind, -math.inf).logsumexp(-1).movedim(-1, dim)


def _ranked(input: Tensor, rank: int, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    values = input.sort(dim).values.narrow(dim, rank, 1)
    values = values if keepdim else values.squeeze(dim)
    return values, torch.zeros_like(values, dtype=torch.int64)


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The k-th smallest."""
    return _ranked(input, k - 1, dim, keepdim)


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle value, the lower of two."""
    if dim is None:
        return _ranked(input.flatten(), (input.numel() - 1) // 2, 0, False)[0]
    return _ranked(input, (input.shape[dim] - 1) // 2, dim, keepdim)


def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median where every value is a number."""
    if bool(input.isnan().any()):
        raise UnsupportedCallError("some values are not numbers")
    return median(input, dim, keepdim)


def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """Between the two sorted values around q·(n − 1), for one or several q."""
    if isinstance(q, Tensor) and q.requires_grad:
        raise UnsupportedCallError("its ranks have a derivative")
    x = (input.flatten() if dim is None else input.movedim(dim, -1)).sort(-1).values
    ranks = torch.as_tensor(q, dtype=torch.float64).reshape(-1) * (x.shape[-1] - 1)
    parts = []
    for rank in ranks.tolist():
        low = math.floor(rank)
        high = min(low + 1, x.shape[-1] - 1)
        share = {"linear": rank - low, "lower": 0.0, "higher": float(rank > low), "midpoint": 0.5 * (rank > low)}
        upper = share.get(interpolation, float(round(rank) > low))
        if 0 < upper < 1:
            parts.append(x[..., low] * (1 - upper) + x[..., high] * upper)
        else:
            parts.append(x[..., high if upper else low])
    if keepdim:
        parts = [part.view([1] * input.dim()) if dim is None else part.unsqueeze(dim) for part in parts]
    return torch.stack(parts) if isinstance(q, Tensor) and q.dim() else parts[0]


def nanquantile(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The quantile where every value is a number."""
    if bool(input.isnan().any()):
        raise UnsupportedCallError("some values are not numbers")
    return quantile(input, *args, **kwargs)


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """Smallest and largest."""
    dims = tuple(range(input.dim())) if dim is None else dim
    return input.amin(dims, keepdim=keepdim), input.amax(dims, keepdim=keepdim)


BODIES: dict[str, Callable[..., Any]] = {
    "cummax": _running(True),
    "cummin": _running(False),
    "logcumsumexp": logcumsumexp,
    "kthvalue": kthvalue,
    "median": median,
    "nanmedian": nanmedian,
    "quantile": quantile,
    "nanquantile": nanquantile,
    "aminmax": aminmax,
    "msort": lambda input: input.sort(0).values,
}
