"""Secants of norms that are a maximum or of matrices; `secants.norm` has those of vectors with a finite order."""

import math
from typing import Any

import torch
from torch import Tensor

from heatproof.propagation import secants
from heatproof.propagation.calls import Call
from heatproof.propagation.choices import ranked
from heatproof.propagation.secants import NoSecantError, divided

OF_MATRICES = "of a matrix only the Frobenius norm and the largest sums of rows and columns have a rule"


def norm(call: Call, bars: list[Tensor]) -> Tensor:
    """The norm's surrogate, of whichever name and order."""
    given = call.bind()
    (x,), (bar,) = call.inputs, bars
    order = given.get("p", "fro")
    dim = given.get("dim", (-2, -1) if call.name == "matrix_norm" else None)
    dims = tuple(range(x.dim())) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    of_matrices = call.name == "matrix_norm" or (call.name == "linalg_norm" and order is not None and len(dims) == 2)
    if of_matrices:
        s = _of_matrix(x, bar, order, dims)
    elif order in (math.inf, -math.inf):
        rows, now, then = (_last(t, dims).flatten(-len(dims)) for t in _absolute(x, bar))
        s = _extreme(rows, now, then, order)
    else:
        return secants.norm(call, bars)
    kept = [1 if d in {other % x.dim() for other in dims} else size for d, size in enumerate(x.shape)]
    return s.view(kept) if given.get("keepdim", False) else s


def _last(t: Tensor, dims: tuple[int, ...]) -> Tensor:
    return t.movedim(dims, tuple(range(-len(dims), 0)))


def _absolute(x: Tensor, bar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """|x| as a surrogate, and its values at x and at the baseline."""
    held = x.detach()
    return x * divided(held.abs() - bar.abs(), held - bar, held.sign()), held.abs(), bar.abs()


def _extreme(s: Tensor, now: Tensor, then: Tensor, order: float) -> Tensor:
    """The largest (∞, 1) or smallest (−∞, −1) along the last dimension of what `s` is the surrogate of."""
    return ranked(s - s.detach() + now, then, 1, math.copysign(1.0, order))[..., 0]


def _of_matrix(x: Tensor, bar: Tensor, order: Any, dims: tuple[int, ...]) -> Tensor:
    """Frobenius: as a vector's. Order 1, −1: of the sums of columns the extreme; ∞, −∞: of those of rows."""
    if order in (None, "fro"):
        rows, bar_rows = (_last(t, dims).flatten(-2) for t in (x, bar))
        both = rows.detach().square().sum(-1).sqrt() + bar_rows.square().sum(-1).sqrt()
        return (rows * (rows.detach() + bar_rows)).sum(-1) / both.clamp(min=torch.finfo(x.dtype).tiny)
    if order not in (1, -1, math.inf, -math.inf):
        raise NoSecantError(OF_MATRICES)
    summed = -2 if abs(order) == 1 else -1
    s, now, then = (_last(t, dims).sum(summed) for t in _absolute(x, bar))
    return _extreme(s, now, then, order)
