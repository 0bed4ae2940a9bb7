"""Complete secants of the softmax and its relatives, by the logarithmic mean of the two probabilities.

With p = softmax x, p̄ = softmax x̄ and Z = log Σ eˣ, log p_i = x_i − Z. Let L_i = (p_i − p̄_i)/(log p_i − log p̄_i), which
lies between p_i and p̄_i and is p_i where they are equal. Then Δp_i = L_i (Δx_i − ΔZ) exactly, and since Σ Δp_i = 0,
ΔZ = Σ w_j Δx_j with the weights w = L/ΣL. So

    softmax      Δp_i = L_i (Δx_i − Σ w_j Δx_j)
    logsumexp    ΔZ = Σ w_j Δx_j
    log-softmax  Δ log p_i = Δx_i − Σ w_j Δx_j

Slopes are at most the larger of the two probabilities, however far the scores lie apart; exchanging x and x̄ changes
nothing; where the two meet, they are the derivative.
"""

import torch
from torch import Tensor

from heatproof.propagation.calls import Call
from heatproof.propagation.secants import NoSecantError


def softmax(call: Call, bars: list[Tensor]) -> Tensor:
    """softmax, softmin and log-softmax along one dimension."""
    (x,), (bar,) = call.inputs, bars
    dim = call.bind().get("dim")
    if not isinstance(dim, int):
        raise NoSecantError("its dimension is not given")
    if call.name == "softmin":
        x, bar = -x, -bar
    moving, means, shares = _means(call, x, bar, (dim,))
    deviation = moving - (shares * moving).sum(dim, keepdim=True)
    if call.name == "log_softmax":
        return torch.where(torch.isneginf(x), 0.0, deviation).to(x.dtype)
    return (means * deviation).to(x.dtype)


def logsumexp(call: Call, bars: list[Tensor]) -> Tensor:
    """log Σ exp x along one or more dimensions."""
    given = call.bind()
    dim = given["dim"]
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    (x,) = call.inputs
    moving, _, shares = _means(call, x, bars[0], dims)
    return (shares * moving).sum(dims, keepdim=bool(given.get("keepdim", False))).to(x.dtype)


def logarithmic_mean(p: Tensor, log_p: Tensor, q: Tensor, log_q: Tensor) -> Tensor:
    """(p − q)/(log p − log q), p where they are equal, 0 where one is 0.

    As max(p, q)·(1 − e^(−u))/u with u = |log p − log q|: neither cancellation nor overflow can spoil it.
    """
    far = torch.where((p == 0) & (q == 0), 0.0, log_p - log_q).abs()
    return torch.maximum(p, q) * torch.where(far == 0, 1.0, -torch.expm1(-far) / far)


def _means(call: Call, x: Tensor, bar: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """x in float64 with its graph, 0 where it is masked; L; and its shares w."""
    masked = torch.isneginf(x)
    parted = int((masked != torch.isneginf(bar)).sum())
    if parted:
        raise NoSecantError(
            f"{parted} of its {x.numel()} scores are −∞ at either the input or the baseline alone, an infinite "
            "difference; mask by a large negative number, or choose a baseline with the same mask"
        )
    held, bar = x.detach().double(), bar.double()
    log_p, log_q = (t - t.logsumexp(dims, keepdim=True) for t in (held, bar))
    means = logarithmic_mean(log_p.exp(), log_p, log_q.exp(), log_q)
    return torch.where(masked, 0.0, x.double()), means, means / means.sum(dims, keepdim=True)
