"""Surrogates whose change from x̄ to x is the operation's own: Δf = Σ_i m_i Δx_i with multipliers m held.

Each is linear in the operation's marked tensors. A bar is the value at the baseline. `meet` says where x and x̄ are too
close to divide by their difference; there the derivative in the middle stands in.
"""

import math

import torch
from torch import Tensor

from heatproof.propagation import normalization
from heatproof.propagation.calls import Call
from heatproof.propagation.linear import Linear
from heatproof.propagation.shared import row, shared
from heatproof.propagation.terms import Term

# Relative to the values: nearer than this, the secant's rounding error is larger than the curvature it would see.
NEAR = {torch.float32: 1e-4, torch.float64: 1e-9}


class NoSecantError(Exception):
    """There is no complete rule for this call."""


def divided(change: Tensor, difference: Tensor, otherwise: Tensor | float) -> Tensor:
    """change / difference, and `otherwise` where the difference is 0."""
    return torch.where(difference == 0, otherwise, change / difference)


def slope(call: Call, x: Tensor, bar: Tensor, y: Tensor, y_bar: Tensor) -> Tensor:
    """(f(x) − f(x̄))/(x − x̄) of an elementwise f, and f′ in the middle where the two meet (Ancona et al. 2018, Prop. 2).

    They meet where they agree to a small part of their size: a kink at 0 is never between them then, so that tiny
    activations of a deep network keep their exact secant.
    """
    difference = x - bar
    size = torch.maximum(x.abs() + bar.abs(), (y.abs() + y_bar.abs()).clamp(max=1.0))
    meet = difference.abs() <= NEAR[x.dtype] * size
    middle = (x + bar) / 2
    with torch.enable_grad():
        total = call.run(middle.requires_grad_()).sum()
        if not total.requires_grad and not bool(meet.any()):  # torch has no derivative of it, and none is asked for
            return (y - y_bar) / difference
        (derivative,) = torch.autograd.grad(total, middle)
    # √x at 0 has none: it is not needed where nothing changes.
    return torch.where(meet & derivative.isfinite(), derivative, divided(y - y_bar, difference, 0.0))


def relu_slope(difference: Tensor, y: Tensor, y_bar: Tensor) -> Tensor:
    """`slope` of y = ReLU(x), with the difference x − x̄.

    It is exact in floating point, so that only equal values need their derivative.
    """
    same = torch.eq(difference, 0, out=torch.empty_like(difference))  # 1 or 0 in its own type: `where` takes longer
    change = (y - y_bar).addcmul_(y.sign(), same)  # 0/0 would be where they are equal
    return change.div_(same.add_(difference))


def reveal_cancel(call: Call, linear: Linear, x: Tensor, x_bar: Tensor) -> list[Term]:
    """RevealCancel for f after a linear operation z = Σ w_i x_i + b.

    With Δz⁺ and Δz⁻ the sums of positive and negative contributions w_i Δx_i, each gets the mean of its effect before
    and after the other: Δf⁺ = ½[f(z̄+Δz⁺) − f(z̄)] + ½[f(z̄+Δz⁺+Δz⁻) − f(z̄+Δz⁻)], and contributions of a sign share
    their Δf (Shrikumar et al. 2017, eq. 11, 12).
    """
    rises = (x > x_bar).to(x.dtype).detach()
    falls = (x < x_bar).to(x.dtype).detach()
    weight = linear.weight
    above, below = weight.clamp(min=0), weight.clamp(max=0)

    def sums(t: Tensor) -> tuple[Tensor, Tensor]:
        up = linear.apply(t * rises, above) + linear.apply(t * falls, below)
        down = linear.apply(t * rises, below) + linear.apply(t * falls, above)
        return up, down

    with torch.no_grad():
        up, down = sums(x.detach() - x_bar)
        z_bar = linear.value(row(x_bar) if shared(x_bar) else x_bar)  # again: kept, it would double the memory
        at, with_up, with_down, with_both = (call.run(z_bar + d) for d in (0 * up, up, down, up + down))
        m_up = divided((with_up - at + with_both - with_down) / 2, up, 0.0)
        m_down = divided((with_down - at + with_both - with_up) / 2, down, 0.0)
    s_up, s_down = sums(x)
    return [Term(s_up, m_up), Term(s_down, m_down)]


def norm(call: Call, bars: list[Tensor]) -> Tensor:
    """Norms of order 1 ≤ p < ∞. The Euclidean one: Δ‖x‖ = Σ Δx_i (x_i + x̄_i)/(‖x‖ + ‖x̄‖); 0 for two zero vectors.

    In general Δ‖x‖ = Σ Δx_i a_i q(|x_i|, |x̄_i|)/q(‖x‖, ‖x̄‖), with q(u, v) = (uᵖ − vᵖ)/(u − v) and a_i the slope
    (x_i + x̄_i)/(|x_i| + |x̄_i|) of the absolute value. Slopes are at most p, since q(u, v) lies between the larger
    number's power p − 1 and p times that.
    """
    given = call.bind()
    order = given.get("p", 2)
    order = 2 if order in ("fro", None) else order
    if not isinstance(order, int | float) or not 1 <= order < math.inf:
        raise NoSecantError(f"only norms of order p ≥ 1 have a rule, not {order}")
    (x,), (bar,) = call.inputs, bars
    dims = _dims(given.get("dim"), x)
    size, size_bar = (torch.linalg.vector_norm(t, order, dims, keepdim=True) for t in (x.detach(), bar))
    largest = torch.maximum(size, size_bar)
    unit = torch.where(largest == 0, 1.0, largest)  # or powers of tiny numbers would vanish
    now, then = x.detach() / unit, bar / unit
    if order == 2:
        slopes = (now + then) / ((size + size_bar) / unit).clamp(min=1.0)
    else:
        sign = divided(now + then, now.abs() + then.abs(), 0.0)
        slopes = sign * _power_slope(now.abs(), then.abs(), order) / _power_slope(size / unit, size_bar / unit, order)
    s: Tensor = (x * slopes.nan_to_num(0.0)).sum(dims, keepdim=True)
    return s if given.get("keepdim", False) else s.squeeze(dims)


def _power_slope(u: Tensor, v: Tensor, order: float) -> Tensor:
    """(uᵖ − vᵖ)/(u − v) for u, v ≥ 0."""
    dtype = u.dtype
    u, v = u.double(), v.double()
    near = (u - v).abs() <= 1e-6 * torch.maximum(u, v)  # there the derivative in the middle is off by 1e-12
    slopes: Tensor = torch.where(near, order * ((u + v) / 2).pow(order - 1), (u.pow(order) - v.pow(order)) / (u - v))
    return slopes.to(dtype)


def variance(call: Call, bars: list[Tensor]) -> Tensor:
    """Variance and standard deviation: Δσ² = Σ (d + d̄)·Δd/(n − c) with d = x − μ, and Δσ = Δσ²/(σ + σ̄).

    The mean takes no part in it: Σ d = 0.
    """
    given = call.bind()
    (x,), (bar,) = call.inputs, bars
    dims = _dims(given.get("dim"), x)
    correction = given.get("correction", 1 if given.get("unbiased", True) else 0)
    count = math.prod(x.shape[dim] for dim in dims) - (1 if correction is None else correction)
    keep = bool(given.get("keepdim", False))
    d, d_bar = (t - t.mean(dims, keepdim=True) for t in (x, bar))
    s = ((d.detach() + d_bar) * d).sum(dims, keepdim=keep) / count
    if call.name == "var":
        return s
    both: Tensor = call.run(x.detach()) + call.run(bar)
    return s / both.clamp(min=torch.finfo(x.dtype).tiny)


def _dims(dim: int | tuple[int, ...] | None, x: Tensor) -> tuple[int, ...]:
    return tuple(range(x.dim())) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)


def normalized(call: Call, bars: list[Tensor]) -> Tensor:
    """Layer, group, instance and RMS normalization."""
    return normalization.of(call).secant(call.inputs[0], bars[0])
