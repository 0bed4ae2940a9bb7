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
    same = difference == 0
    return torch.where(same, otherwise, change / torch.where(same, 1.0, difference))


def slope(call: Call, x: Tensor, bar: Tensor, y: Tensor, y_bar: Tensor) -> Tensor:
    """(f(x) − f(x̄))/(x − x̄) of an elementwise f, and f′ in the middle where the two meet (Ancona et al. 2018, Prop. 2).

    They meet where they agree to a small part of their size: a kink at 0 is never between them then, so that tiny
    activations of a deep network keep their exact secant.
    """
    difference = x - bar
    size = torch.maximum(x.abs() + bar.abs(), (y.abs() + y_bar.abs()).clamp(max=1.0))
    meet = difference.abs() <= NEAR[x.dtype] * size
    if not bool(meet.any()):
        return (y - y_bar) / difference
    middle = (x + bar) / 2
    with torch.enable_grad():
        middle.requires_grad_()
        (derivative,) = torch.autograd.grad(call.run(middle).sum(), middle)
    return torch.where(meet, derivative, (y - y_bar) / torch.where(meet, 1.0, difference))


def relu_slope(difference: Tensor, y: Tensor, y_bar: Tensor) -> Tensor:
    """`slope` of y = ReLU(x), with the difference x − x̄.

    It is exact in floating point, so that only equal values need their derivative.
    """
    slopes = (y - y_bar).div_(difference)
    if not bool(slopes.sum().isnan()):  # 0/0 where they are equal
        return slopes
    return torch.where(difference == 0, (y > 0).to(y.dtype), slopes)


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


def product(call: Call, bars: list[Tensor]) -> Tensor:
    """Δ(ab) = Δa·(b + b̄)/2 + Δb·(a + ā)/2 for everything bilinear; a quotient is a product with 1/b."""
    if len(call.inputs) != 2:
        raise NoSecantError("more than two of its arguments depend on the input")
    (a, b), (a_bar, b_bar) = call.inputs, bars
    if call.name in ("div", "rdiv"):
        if call.name == "rdiv":
            a, b, a_bar, b_bar = b, a, b_bar, a_bar
        q, q_bar = 1 / b.detach(), 1 / b_bar
        return a * ((q + q_bar) / 2) - b * ((a.detach() + a_bar) / 2 * q * q_bar)
    first: Tensor = call.run(a, (b.detach() + b_bar) / 2)
    second: Tensor = call.run((a.detach() + a_bar) / 2, b)
    return first + second


def reciprocal(call: Call, bar: Tensor) -> Tensor:
    """c/b with constant c: Δ(c/b) = −c·Δb/(b·b̄)."""
    b = call.inputs[0]
    q, q_bar = 1 / b.detach(), 1 / bar
    constant: Tensor = call.run(torch.ones_like(b))
    return constant.detach() * (b * (-q * q_bar))


def softmax(call: Call, bars: list[Tensor]) -> Tensor:
    """softmax as exp, a sum and a quotient, each with its secant; log-softmax as x − logsumexp x.

    In float64 and shifted by the larger of both maxima, so that nothing overflows; scores that differ from the
    reference's by more than about 700 lose their smaller part.
    """
    (x,), (bar,) = call.inputs, bars
    dim = call.bind("input dim").get("dim")
    if not isinstance(dim, int) or call.name == "softmin":
        raise NoSecantError("its dimension is not given")
    if call.name == "log_softmax":
        return x - _logsumexp(x, bar, (dim,), keep=True)
    rates, e, e_bar = _exponentials(x.detach(), bar, (dim,))
    total, total_bar = e.sum(dim, keepdim=True), e_bar.sum(dim, keepdim=True)
    change = x.double() * rates
    numerator = change * ((1 / total + 1 / total_bar) / 2)
    denominator = change.sum(dim, keepdim=True) * ((e + e_bar) / 2 / (total * total_bar))
    return (numerator - denominator).to(x.dtype)


def logsumexp(call: Call, bars: list[Tensor]) -> Tensor:
    """log Σ exp x along one or more dimensions."""
    given = call.bind("input dim keepdim")
    dim = given["dim"]
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    return _logsumexp(call.inputs[0], bars[0], dims, keep=bool(given.get("keepdim", False)))


def _exponentials(x: Tensor, bar: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    x, bar = x.double(), bar.double()
    shift = torch.maximum(x.amax(dims, keepdim=True), bar.amax(dims, keepdim=True))
    e, e_bar = (x - shift).exp(), (bar - shift).exp()
    # A masked score is −∞ in both: its exponential is 0 and stays so.
    difference = torch.where(torch.isneginf(x) & torch.isneginf(bar), 0.0, x - bar)
    # (eˣ − eˣ̄)/(x − x̄) from the larger of the two, so that neither cancellation nor overflow can spoil it.
    rates = torch.maximum(e, e_bar) * divided(-torch.expm1(-difference.abs()), difference.abs(), 1.0)
    return rates, e, e_bar


def _logsumexp(x: Tensor, bar: Tensor, dims: tuple[int, ...], *, keep: bool) -> Tensor:
    rates, e, e_bar = _exponentials(x.detach(), bar, dims)
    total, total_bar = e.sum(dims, keepdim=True), e_bar.sum(dims, keepdim=True)
    outer = divided(torch.log1p((total - total_bar) / total_bar), total - total_bar, 1 / total)
    return ((x.double() * rates).sum(dims, keepdim=keep) * (outer if keep else outer.sum(dims))).to(x.dtype)


def norm(call: Call, bars: list[Tensor]) -> Tensor:
    """The Euclidean norm: Δ‖x‖ = Σ Δx_i (x_i + x̄_i)/(‖x‖ + ‖x̄‖)."""
    given = call.bind("input p dim keepdim" if call.name == "norm" else "input ord dim keepdim")
    if given.get("p", given.get("ord", 2)) not in (2, 2.0, "fro", None):
        raise NoSecantError("only the Euclidean norm has a rule")
    (x,), (bar,) = call.inputs, bars
    dims = _dims(given.get("dim"), x)
    both = x.detach().square().sum(dims, keepdim=True).sqrt() + bar.square().sum(dims, keepdim=True).sqrt()
    s = (x * (x.detach() + bar)).sum(dims, keepdim=True) / both.clamp(min=torch.finfo(x.dtype).tiny)
    return s if given.get("keepdim", False) else s.squeeze(dims)


def variance(call: Call, bars: list[Tensor]) -> Tensor:
    """Variance and standard deviation: Δσ² = Σ (d + d̄)·Δd/(n − c) with d = x − μ, and Δσ = Δσ²/(σ + σ̄).

    The mean takes no part in it: Σ d = 0.
    """
    all_of_it = len(call.args) > 1 and isinstance(call.args[1], bool)
    given = call.bind("input unbiased" if all_of_it else "input dim unbiased keepdim")
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
