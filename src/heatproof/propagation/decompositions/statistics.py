"""Statistics along dimensions that come together, or around a mean."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from heatproof.propagation.decompositions.distances import vector_norm
from heatproof.propagation.unsupported import UnsupportedCallError


def _with_mean(spread: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    def both(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        dim = kwargs.get("dim", args[0] if args and not isinstance(args[0], bool) else None)
        keepdim = kwargs.get("keepdim", args[2] if len(args) > 2 else False)
        dims = tuple(range(input.dim())) if dim is None else dim
        return spread(input, *args, **kwargs), input.mean(dims, keepdim=keepdim)

    return both


def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean of what is a number."""
    dims = tuple(range(input.dim())) if dim is None else dim
    known = (~input.isnan()).sum(dims, keepdim=keepdim).to(input.dtype)
    return input.nansum(dims, keepdim=keepdim) / known


def cov(input: Tensor, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Tensor:
    """Σ (x − μ)(x − μ)ᵀ/(n − c) of variables in rows."""
    if fweights is not None or aweights is not None:
        raise UnsupportedCallError("its observations have weights")
    rows = input if input.dim() == 2 else input.view(1, -1)
    deviation = rows - rows.mean(1, keepdim=True)
    return (deviation @ deviation.mT / (rows.shape[1] - correction)).squeeze()


def corrcoef(input: Tensor) -> Tensor:
    """Covariances divided by both standard deviations."""
    rows = input if input.dim() == 2 else input.view(1, -1)
    deviation = rows - rows.mean(1, keepdim=True)
    unit = deviation / vector_norm(deviation, dim=1, keepdim=True)
    return (unit @ unit.mT).squeeze()


BODIES: dict[str, Callable[..., Any]] = {
    "std_mean": _with_mean(torch.std),
    "var_mean": _with_mean(torch.var),
    "nanmean": nanmean,
    "cov": cov,
    "corrcoef": corrcoef,
}
