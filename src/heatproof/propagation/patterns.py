"""PatternNet and PatternAttribution as strategies of the engine, and the estimator of their patterns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from heatproof.errors import InputError
from heatproof.propagation.calls import Call
from heatproof.propagation.facts import Facts
from heatproof.propagation.linear import Linear, linear_of
from heatproof.propagation.nodes import graft
from heatproof.propagation.strategy import Strategy
from heatproof.propagation.unsupported import UnsupportedCallError


class Walk(Strategy):
    """The linear operations of a network in their order; every other operation keeps its ordinary derivative.

    Those are ReLU, max-pooling, sums, rearrangements, and products with constants; any other has no rule.
    """

    label: ClassVar[str] = "pattern methods"
    holds_choices: ClassVar[bool] = True

    def __init__(self) -> None:
        self.count = 0
        self.rectified: set[int] = set()  # the linear operations whose result a ReLU reads
        self._index: Facts[int] = Facts()

    def handle(self, call: Call) -> Any:
        if call.kind in ("linear", "convolution"):
            linear = linear_of(call)
            if linear is None or "transpose" in call.name:
                raise UnsupportedCallError("a pattern has the shape of a constant weight (outputs, …)")
            out = self._linear(self.count, linear, call)
            self._index[out] = self.count
            self.count += 1
            return out
        if call.choices:  # a ReLU written out, `h * (h > 0)`: what it rectifies is not known
            raise UnsupportedCallError("it chooses by a mask or an index that depends on the input")
        scaled = call.kind == "product" and call.name in ("mul", "div") and len(call.inputs) == 1
        if call.name == "relu" and (index := self._index.get(call.inputs[0])) is not None:
            self.rectified.add(index)
        if call.name != "relu" and not scaled and call.kind not in ("structural", "sum", "max-pool", "write"):
            raise UnsupportedCallError("")
        return call.execute()

    def _linear(self, index: int, linear: Linear, call: Call) -> Tensor:
        out: Tensor = call.execute()
        return out


class Projection(Walk):
    """The derivative with patterns in the place of weights; `times_weight` takes w ⊙ a."""

    def __init__(self, patterns: Sequence[Tensor], *, times_weight: bool) -> None:
        super().__init__()
        self.patterns, self.times_weight = patterns, times_weight

    def _linear(self, index: int, linear: Linear, call: Call) -> Tensor:
        weight = linear.weight
        if index >= len(self.patterns) or self.patterns[index].shape != weight.shape:
            raise InputError("Expected the linear operations that the patterns were fitted on; fit again.")
        pattern = self.patterns[index].to(weight)
        return graft(call.value(), linear.apply(linear.x, weight * pattern if self.times_weight else pattern))


@dataclass
class Sums:
    """What an operation's patterns are made of, over all places and samples; the mask is y > 0, or 1 everywhere."""

    weight: Tensor
    places: float = 0.0
    y: Tensor = field(default_factory=lambda: torch.zeros(()))  # Σ y
    masked: Tensor = field(default_factory=lambda: torch.zeros(()))  # number of masked places
    x: Tensor = field(default_factory=lambda: torch.zeros(()))  # Σ x under the mask
    xy: Tensor = field(default_factory=lambda: torch.zeros(()))  # Σ x y under the mask

    def pattern(self) -> Tensor:
        """a = (E₊[xy] − E₊[x] E[y]) / (wᵀE₊[xy] − wᵀE₊[x] E[y]), so that wᵀa = 1; 0 for a neuron that never speaks."""
        along = (-1, *[1] * (self.weight.dim() - 1))
        covariance = self.xy - self.x * (self.y / self.places).view(along)
        covariance = covariance / self.masked.clamp(min=1).view(along)
        along_weight = (self.weight * covariance).flatten(1).sum(1).view(along)
        return torch.where(along_weight != 0, covariance / along_weight, 0)


class Estimation(Walk):
    """Adds each linear operation's sums over a batch to those so far, in float64."""

    def __init__(self, rectified: set[int], sums: dict[int, Sums]) -> None:
        super().__init__()
        self.known, self.sums = rectified, sums

    def _linear(self, index: int, linear: Linear, call: Call) -> Tensor:
        y, x = call.value(), linear.x.detach()
        weight = linear.weight.detach().requires_grad_()
        channel = 1 if linear.convolution else y.dim() - 1
        others = [dim for dim in range(y.dim()) if dim != channel]
        mask = (y > 0).to(y) if index in self.known else torch.ones_like(y)
        with torch.enable_grad():
            z = linear.apply(x, weight)
        # The weight's gradient sums what comes back times the operand, over all places: any stride, padding and groups.
        (of_x,) = torch.autograd.grad(z, weight, mask, retain_graph=True)
        (of_xy,) = torch.autograd.grad(z, weight, mask * y)
        sums = self.sums.setdefault(index, Sums(weight.detach().double()))
        sums.places += y.numel() / y.shape[channel]
        sums.y, sums.masked = sums.y + y.double().sum(others), sums.masked + mask.double().sum(others)
        sums.x, sums.xy = sums.x + of_x.double(), sums.xy + of_xy.double()
        return super()._linear(index, linear, call)
