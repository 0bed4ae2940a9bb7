"""Secants of what is linear in each of several tensors, of products of many values, and of norms other than Euclid's.

A function linear in each of n tensors changes, on the straight path from the baseline to the input, by
Σ_i ∫ f(…, Δx_i, …) dt with the other tensors at x̄ + t·Δx. The integrand is a polynomial of degree n − 1 in t, so that
Gauss–Legendre quadrature with ⌈n/2⌉ nodes is exact: the multipliers of Aumann and Shapley, complete and the same for
all orders of the tensors; for two tensors they are (b + b̄)/2 and (a + ā)/2.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from heatproof.propagation import quotients
from heatproof.propagation.calls import Call


def nodes(factors: int) -> list[tuple[float, float]]:
    """Places and weights on [0, 1] that are exact for a product of `factors` − 1 linear functions."""
    at, weights = np.polynomial.legendre.leggauss(max(1, (factors + 1) // 2))
    return [((float(t) + 1) / 2, float(w) / 2) for t, w in zip(at, weights, strict=True)]


def secant(run: Callable[..., Tensor], inputs: Sequence[Tensor], bars: Sequence[Tensor]) -> Tensor:
    """The surrogate of `run`, linear in each of `inputs`; itself linear in all of them together."""
    total: Tensor | None = None
    for t, weight in nodes(len(inputs)):
        held = [bar + t * (x.detach() - bar) for x, bar in zip(inputs, bars, strict=True)]
        for i, x in enumerate(inputs):
            part = run(*[x if j == i else other for j, other in enumerate(held)]) * weight
            total = part if total is None else total + part
    assert total is not None
    return total


def product(call: Call, bars: list[Tensor]) -> Tensor:
    """The surrogate of a product of two or more tensors that depend on the input."""
    if len(call.inputs) == 2:
        return quotients.product(call, bars)
    return secant(call.run, call.inputs, bars)


def factors(call: Call) -> tuple[int | None, int]:
    """Along which dimension (None: all) a call of `prod` or `cumprod` multiplies, and how many values at most."""
    given = call.bind()
    dim = given.get("dim")
    x = call.inputs[0]
    return dim, x.numel() if dim is None else x.shape[dim] if x.dim() else 1


def counts(call: Call, like: Tensor) -> Tensor | int:
    """How many values each result of `prod` or `cumprod` is the product of; broadcasts to `like`."""
    dim, most = factors(call)
    if call.name == "prod" or dim is None or not like.dim():
        return max(most, 1)
    return torch.arange(1, most + 1, dtype=like.dtype, device=like.device).view(
        -1, *[1] * (like.dim() - 1 - dim % like.dim())
    )


def many(call: Call, bars: list[Tensor]) -> Tensor:
    """The surrogate of `prod` and `cumprod`: each value's change times the others, averaged on the path.

    A cumulative product is one of as many products as it has results, the values behind each replaced by 1.
    """
    given = call.bind()
    (x,), (bar,) = call.inputs, bars
    dim, most = factors(call)
    flat, flat_bar = (t.reshape(-1) if dim is None else t.movedim(dim, -1) if t.dim() else t[None] for t in (x, bar))
    if call.name == "cumprod":
        behind = torch.ones(most, most, dtype=torch.bool, device=x.device).triu(1)
        flat, flat_bar = (t[..., None, :].masked_fill(behind, 1.0) for t in (flat, flat_bar))
    held = flat.detach()
    others = torch.zeros_like(held)
    for t, weight in nodes(most):
        others += weight * _others(flat_bar + t * (held - flat_bar))
    s = (flat * others).sum(-1)
    if call.name == "cumprod":
        return s.movedim(-1, dim) if dim is not None and x.dim() else s.view_as(x)
    return s.unsqueeze(dim) if dim is not None and given.get("keepdim", False) and x.dim() else s


def _others(values: Tensor) -> Tensor:
    """For each value along the last dimension the product of the others; no division, so that zeros are no matter."""
    ones = torch.ones_like(values[..., :1])
    before = torch.cat([ones, values[..., :-1]], -1).cumprod(-1)
    after = torch.cat([ones, values.flip(-1)[..., :-1]], -1).cumprod(-1).flip(-1)
    return before * after
