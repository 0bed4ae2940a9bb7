"""Complete secants of products and quotients.

A product changes by Δ(ab) = Δa·(θb + (1−θ)b̄) + Δb·((1−θ)a + θā) for every θ in [0, 1], with slopes between those at
x and x̄; θ = ½ is the average over the straight line from (ā, b̄) to (a, b). Where b = 1/d is a divisor, that line leads
past its pole, and slopes swell as 1/d̄ where d̄ is near 0. Two choices of θ are bounded, symmetric in x and x̄, and ½
where they meet:

- θ = d/(d + d̄): Δ(a/d) = (2 Δa − (y + ȳ) Δd)/(d + d̄) with y = a/d; both slopes are mediants of those at the ends.
- θ = s/(s + s̄) for a divisor of several values, with s the root of their mean square: a vector over its norm. It is the
  first one where the norm is the vector's own. At a baseline of zeros, where a constant such as √ε stands for the
  norm, the vector gets the whole change and its slope is 1/d: twice that and a part taken back, as the first choice
  has it, would double from norm to norm.

So x·rsqrt(v), x/√v and the normalizations of torch are one rule. Divisors of different signs have a pole between them;
there θ = ½ is all there is.
"""

import torch
from torch import Tensor

from heatproof.propagation.calls import Call
from heatproof.propagation.nodes import weigh
from heatproof.propagation.secants import NoSecantError

DIVISORS = frozenset(("rsqrt", "reciprocal"))
AS_ANOTHER = frozenset(("expand_as", "view_as", "reshape_as", "type_as", "to"))  # a second tensor says how
POWERS = frozenset(("pow", "float_power"))


def product(call: Call, bars: list[Tensor]) -> Tensor:
    """Δ(ab) = Δa·(b + b̄)/2 + Δb·(a + ā)/2 for everything bilinear; quotients as above."""
    if len(call.inputs) != 2:
        raise NoSecantError("more than two of its arguments depend on the input")
    (a, b), (a_bar, b_bar) = call.inputs, bars
    if call.name == "div":
        return quotient(a, b, a_bar, b_bar)
    if call.name == "rdiv":
        return quotient(b, a, b_bar, a_bar)
    first: Tensor = call.run(a, (b.detach() + b_bar) / 2)
    second: Tensor = call.run((a.detach() + a_bar) / 2, b)
    return first + second


def quotient(a: Tensor, d: Tensor, a_bar: Tensor, d_bar: Tensor) -> Tensor:
    """a/d."""
    q, q_bar = 1 / d.detach(), 1 / d_bar
    theta, rest = shares(a.detach(), a_bar, d.detach(), d_bar)
    to_d = (rest * a.detach() + theta * a_bar) * (q * q_bar)
    return weigh(a, theta * q + rest * q_bar) - weigh(d, to_d)


def divided_by(a: Tensor, b: Tensor, a_bar: Tensor, b_bar: Tensor) -> Tensor:
    """a·b, where b is one over a divisor."""
    held = b.detach()
    theta, rest = shares(a.detach(), a_bar, held, b_bar, inverse=True)
    return a * (theta * held + rest * b_bar) + b * (rest * a.detach() + theta * a_bar)


def shares(a: Tensor, a_bar: Tensor, d: Tensor, d_bar: Tensor, *, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """θ and 1 − θ for divisors d, or those that d is one over if `inverse`.

    Each by division: a difference from 1 would lose all its digits where one divisor is near 0.
    """
    dims = [-i for i in range(1, a.dim() + 1) if a.shape[-i] > 1 and _alike(d, -i) and _alike(d_bar, -i)]
    if dims:
        now, then = (t.square().mean(dims, keepdim=True).sqrt() for t in (a, a_bar))
    else:
        now, then = (d_bar.abs(), d.abs()) if inverse else (d.abs(), d_bar.abs())
    both = now + then
    known = (d.sign() * d_bar.sign() > 0) & (both > 0)
    theta, rest = (torch.where(known, t / both, 0.5) for t in (now, then))
    return theta, rest


def _alike(t: Tensor, dim: int) -> bool:
    """Whether a tensor has one value along a dimension, broadcast or expanded."""
    return t.dim() < -dim or t.shape[dim] == 1 or t.stride(dim) == 0


def reciprocal(call: Call, bar: Tensor) -> Tensor:
    """c/b with constant c: Δ(c/b) = −c·Δb/(b·b̄)."""
    b = call.inputs[0]
    q, q_bar = 1 / b.detach(), 1 / bar
    constant: Tensor = call.run(torch.ones_like(b))
    return weigh(b, constant.detach() * (-q * q_bar))


def makes_divisors(call: Call) -> bool:
    """Whether the call's result is one over something: 1/√v, v⁻¹, a negative power, a constant over a tensor."""
    if call.name in POWERS:
        exponent = call.bind().get("exponent")
        return isinstance(exponent, int | float) and exponent < 0
    x = call.inputs[0]
    over = call.name == "rdiv" or (call.name == "div" and call.position(x) == 1)
    return len(call.inputs) == 1 and (call.name in DIVISORS or over)


def keeps_divisors(call: Call) -> bool:
    """Whether what is one over something stays so: rearranged, or times a constant."""
    if len(call.inputs) > 1:
        return call.name in AS_ANOTHER and call.target is call.inputs[0]
    return call.kind == "structural" or call.name == "mul" or (call.name == "div" and call.target is call.inputs[0])
