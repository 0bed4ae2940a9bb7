"""LRP's rules for the first linear operation: what black pixels get, too.

Their surrogates are functions of the mask m on the input, not of the input: relevance does not vanish where x = 0.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from heatproof import deferred
from heatproof.errors import InputError
from heatproof.propagation.linear import Linear
from heatproof.propagation.rules import stabilizer_of
from heatproof.propagation.stabilizers import check_stabilizer
from heatproof.propagation.sums import negative, positive
from heatproof.propagation.terms import Share
from heatproof.registry import Registry

FIRST_RULES: "Registry[FirstRule]" = Registry("rule for the first layer", "heatproof.propagation.first_rules")


@FIRST_RULES.register("flat")
@dataclass(frozen=True, kw_only=True)
class Flat:
    """R_i = R / (number of inputs): every input of the neuron gets the same, black pixels too.

    For the first linear operation, as a function of the mask m on the input. Source: Lapuschkin et al. 2019.
    """

    epsilon: float = 1e-6
    stabilizer: str = "relative"

    def __post_init__(self) -> None:
        check_stabilizer(self)

    def surrogate(self, op: Linear, y: Tensor, mask: Tensor) -> list[Share]:
        """Σ_i m_i over the neuron's inputs, times the held z / number of inputs."""
        shares = op.apply(mask, torch.ones_like(op.unscaled))
        return [Share(part=shares, amount=y, stabilizer=stabilizer_of(self, op))]


@FIRST_RULES.register("w-square")
@dataclass(frozen=True, kw_only=True)
class WSquare:
    """R_i = w_i² / Σ w² · R. For the first linear operation. Source: Montavon et al. 2017, eq. 10."""

    epsilon: float = 1e-6
    stabilizer: str = "relative"

    def __post_init__(self) -> None:
        check_stabilizer(self)

    def surrogate(self, op: Linear, y: Tensor, mask: Tensor) -> list[Share]:
        """Σ_i m_i w_i², times the held z / Σ w²."""
        shares = op.apply(mask, op.weight.square())
        return [Share(part=shares, amount=y, stabilizer=stabilizer_of(self, op))]


@FIRST_RULES.register("box")
@dataclass(frozen=True, kw_only=True)
class Box:
    """z^B: R_i = (w_i x_i − l_i w_i₊ − h_i w_i₋) / Σ(…) · R for inputs in the box l ≤ x ≤ h.

    Args:
        low, high: the box in units of the explained input: one number, or one a channel. None takes each sample's own
            smallest and largest value a channel, so that a sample's map depends on that sample alone; of all channels
            together where nothing tells which axis they are.

    For the first linear operation. Source: Montavon et al. 2017, eq. 14. Deviation: the default box.
    """

    low: float | tuple[float, ...] | None = None
    high: float | tuple[float, ...] | None = None
    epsilon: float = 1e-6
    stabilizer: str = "relative"

    def __post_init__(self) -> None:
        check_stabilizer(self)
        if (self.low is None) != (self.high is None):
            raise InputError("Expected both ends of the box or none, but got one of `low` and `high`.")

    def bounds(self, x: Tensor, channels: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The box (N, …) for inputs x (N, …), whose axis `channels` holds the channels, or none does.

        A number a scalar of tables (N, D), one a channel of others.
        """
        axis = next(iter(channels), 1)
        if self.low is None or self.high is None:
            positions = [other for other in range(1, x.dim()) if other not in channels]
            low, high = x.amin(positions, keepdim=True), x.amax(positions, keepdim=True)
            return low.expand_as(x), high.expand_as(x)
        low, high = (torch.as_tensor(end, dtype=x.dtype, device=x.device) for end in (self.low, self.high))
        if any(end.numel() != x.shape[axis] for end in (low, high) if end.dim()):
            raise InputError(
                f"Expected one number for the ends of the box, or {x.shape[axis]}, one a channel of inputs "
                f"{tuple(x.shape)}, but got {low.numel()} and {high.numel()}."
            )
        low, high = (end.view(-1, *[1] * (x.dim() - 1 - axis)) if end.dim() else end for end in (low, high))
        low, high = low.expand_as(x), high.expand_as(x)
        deferred.when((x < low).any() | (x > high).any(), partial(_refuse_outside, x.detach()))
        return low, high

    def surrogate(self, op: Linear, y: Tensor, mask: Tensor, low: Tensor, high: Tensor) -> list[Share]:
        """Σ_i m_i ((x_i − l_i) w_i₊ + (x_i − h_i) w_i₋), which is the same, times the held z / (the same at m = 1).

        In this form no term is below 0, and an input at the end of its box adds exactly 0.
        """
        x, weight = op.x.detach(), op.weight
        shares = op.apply(mask * (x - low), positive(weight)).add_(op.apply(mask * (x - high), negative(weight)))
        return [Share(part=shares, amount=y, stabilizer=stabilizer_of(self, op))]


def _refuse_outside(x: Tensor) -> None:
    raise InputError(
        f"Expected inputs inside the box of the z^B rule, but they reach from {float(x.min()):.4g} to "
        f"{float(x.max()):.4g}; give `low` and `high` in the units of the explained input."
    )


FirstRule = Flat | WSquare | Box
