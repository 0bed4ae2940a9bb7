"""What rules for linear operations are made of: sums of contributions by their sign, and shares of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from heatproof.propagation.linear import Linear


def share(amount: Tensor, total: Tensor, epsilon: float | Tensor) -> Tensor:
    """amount / (total + ε·sign total) with sign(0) = +1, and 0/0 = 0; as a tensor, ε is above 0."""
    stabilized = torch.where(total >= 0, total + epsilon, total - epsilon)
    if isinstance(epsilon, Tensor) or epsilon > 0:
        return torch.div(amount, stabilized, out=stabilized)
    return torch.where(stabilized == 0, 0.0, amount / stabilized)


def damping(total: Tensor, epsilon: float | Tensor) -> Tensor:
    """total / (total + ε·sign total), for ε above 0: of the magnitude alone, to the bit, as the signs cancel."""
    size = total.abs()
    return size.div_(size + epsilon)


def positive(t: Tensor) -> Tensor:
    """The positive part."""
    return t.clamp(min=0)


def negative(t: Tensor) -> Tensor:
    """The negative part (≤ 0)."""
    return t.clamp(max=0)


class Signs(torch.autograd.Function):
    """x as its positive and its negative part; what comes back goes to the part that x is in.

    One pass instead of the three that two clamps and the sum of their derivatives take.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x)
        return positive(x), negative(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        up, down = grads
        rises = torch.gt(x, 0, out=torch.empty_like(x))  # 1 or 0 in x's own type: `where` takes ten times as long
        return torch.lerp(down, up, rises, out=rises)  # `down` at 0 and `up` at 1, exactly


def parts(op: Linear, x: Tensor, *, gamma: float | None = None, both: bool = True) -> tuple[Tensor, Tensor | None]:
    """The sums of positive and, if `both` are asked for, of negative contributions.

    With `gamma`, both are sums of all contributions, where those of one sign count 1 + γ times.
    """
    weight = op.weight

    def favoring(clamped: Callable[[Tensor], Tensor]) -> Tensor:
        return clamped(weight) if gamma is None else clamped(weight).mul_(gamma).add_(weight)

    above = favoring(positive)
    if op.above and not both:  # after a ReLU half of the work vanishes
        return op.apply(x, above), None
    below = favoring(negative)
    if op.above:
        return op.apply(x, above), op.apply(x, below)
    risen, fallen = Signs.apply(x)  # type: ignore[no-untyped-call]
    up = op.apply(risen, above).add_(op.apply(fallen, below))
    return up, op.apply(risen, below).add_(op.apply(fallen, above)) if both else None
