"""Complete secants of products and quotients.

A product changes by Δ(ab) = Δa·(θb + (1−θ)b̄) + Δb·((1−θ)a + θā) for every θ; θ = ½ is the average over the straight
line from (ā, b̄) to (a, b). Where b is a divisor, that line leads past its pole: with d = 1/b and y = a/d, y + ȳ and
d + d̄ are the products' factors instead, since a = y·d. So

    Δ(a/d) = (2 Δa − (y + ȳ) Δd)/(d + d̄),

whose slopes 2/(d + d̄) and (y + ȳ)/(d + d̄) lie between those at x and x̄ (they are mediants), however near to 0 one of
the divisors is. In b it reads θ = b̄/(b + b̄), so that x·rsqrt(v) and x/√v are one rule. Divisors of different signs
have a pole between them; there θ = ½ is all there is.
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
    held, both = d.detach(), d.detach() + d_bar
    q, q_bar = 1 / held, 1 / d_bar
    mediant = held.sign() * d_bar.sign() > 0
    to_a = torch.where(mediant, 2 / both, (q + q_bar) / 2)
    results = a.detach() * q + a_bar * q_bar
    to_d = torch.where(mediant, results / both, (a.detach() + a_bar) / 2 * q * q_bar)
    return weigh(a, to_a) - weigh(d, to_d)


def divided_by(a: Tensor, b: Tensor, a_bar: Tensor, b_bar: Tensor) -> Tensor:
    """a·b, where b is one over a divisor."""
    held, both = b.detach(), b.detach() + b_bar
    mediant = held.sign() * b_bar.sign() > 0
    # Both shares by division: 1 − θ would lose all its digits where one divisor is near 0.
    share, rest = (torch.where(mediant, t / both, 0.5) for t in (b_bar, held))
    to_a = share * held + rest * b_bar
    return a * to_a + b * (rest * a.detach() + share * a_bar)


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
