"""Normalizations: y = (x − μ) · r · γ + β, with μ and r of the batch's past (batch norm) or of the sample itself."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from heatproof.errors import OperationError
from heatproof.propagation.calls import Call
from heatproof.propagation.nodes import graft, scale


@dataclass(frozen=True)
class Normalization:
    """A normalization of each sample by its own statistics.

    `grouped` reshapes x so that the statistics run over `dims`, `shape` is its own; `centered` subtracts the mean.
    `weight` broadcasts to x (there is no bias, which no derivative sees).
    """

    grouped: Callable[[Tensor], Tensor]
    dims: tuple[int, ...]
    eps: float
    centered: bool
    shape: torch.Size
    weight: Tensor | None

    def finish(self, t: Tensor) -> Tensor:
        """What is divided, in the shape of x and weighed."""
        t = t.reshape(self.shape)
        return t if self.weight is None else t * self.weight

    def deviation(self, x: Tensor) -> Tensor:
        """What is divided: x − μ, or x itself."""
        grouped = self.grouped(x)
        return grouped - grouped.mean(self.dims, keepdim=True) if self.centered else grouped

    def power(self, deviation: Tensor) -> Tensor:
        """The mean square of the deviation."""
        return deviation.square().mean(self.dims, keepdim=True)

    def held(self, value: Tensor, x: Tensor) -> Tensor:
        """`value`, with the derivative that holds the denominator."""
        deviation = self.deviation(x)
        rate = torch.rsqrt(self.power(deviation.detach()) + self.eps)
        s = scale(deviation, deviation, rate).reshape(self.shape)  # of which nobody reads the value
        return graft(value, s) if self.weight is None else scale(value, s, self.weight)

    def secant(self, x: Tensor, reference: Tensor) -> Tensor:
        """The surrogate whose difference between x and reference is the normalization's (linear in x).

        y = d·r with r = 1/σ and σ² = s² + ε, a quotient (`heatproof.propagation.quotients`): with θ = s/(s + s̄),
        Δy = Δd·(θr + (1−θ)r̄) + ((1−θ)d + θd̄)·Δr, and Δr = −r·r̄·mean((d + d̄)·Δd)/(σ + σ̄). Slopes are at most twice
        2/(σ + σ̄); at a baseline without variance they do not swell as 1/√ε does, since the whole change is Δd/σ there.
        Symmetric in x and x̄; the derivative where they meet.
        """
        d, bar = self.deviation(x), self.deviation(reference.detach())
        held = d.detach()
        powers = [self.power(t) for t in (held, bar)]
        size, size_bar = (power.sqrt() for power in powers)
        root, root_bar = (torch.sqrt(power + self.eps) for power in powers)
        both = size + size_bar
        theta, rest = (torch.where(both > 0, t / both, 0.5) for t in (size, size_bar))
        change = ((held + bar) * d).mean(self.dims, keepdim=True) / (root * root_bar * (root + root_bar))
        return self.finish(d * (theta / root + rest / root_bar) - (rest * held + theta * bar) * change)


def of(call: Call) -> Normalization:
    """The normalization that a call of `layer_norm`, `group_norm`, `instance_norm` or `rms_norm` is."""
    given = call.bind()
    x = call.inputs[0]
    weight = given.get("weight")
    weight = None if weight is None else weight.detach()
    eps = given.get("eps", 1e-5)
    if call.name in ("layer_norm", "rms_norm"):
        dims = tuple(range(-len(given["normalized_shape"]), 0))
        if eps is None:
            eps = torch.finfo(x.dtype).eps
        return Normalization(lambda t: t, dims, eps, call.name != "rms_norm", x.shape, weight)
    if call.name == "instance_norm" and not given.get("use_input_stats", True):
        raise OperationError("Expected instance_norm to use each sample's own statistics, but it uses running ones.")
    groups = x.shape[1] if call.name == "instance_norm" else given["num_groups"]
    shape, weight = x.shape, None if weight is None else along(weight, x)
    return Normalization(lambda t: t.reshape(shape[0], groups, -1), (-1,), eps, True, shape, weight)


def refuse_batch_statistics(call: Call) -> None:
    """Refuse a batch norm that takes its statistics from the batch, so that samples would depend on each other."""
    given = call.bind()
    if given.get("training") or given.get("running_mean") is None or given.get("running_var") is None:
        raise OperationError(
            "Expected a batch norm with running statistics in eval mode, but this one normalizes with the batch's own: "
            "a sample's attribution would depend on the other samples."
        )


def gain_of(call: Call) -> Tensor:
    """Scale γ/√(σ² + ε) (C,) of a batch norm in eval mode.

    Raises: OperationError for any other.
    """
    refuse_batch_statistics(call)
    given = call.bind()
    with torch.no_grad():
        gain = torch.rsqrt(given["running_var"] + given.get("eps", 1e-5))
        weight = given.get("weight")
        return gain if weight is None else gain * weight


def batch_norm_of(call: Call) -> tuple[Tensor, Tensor]:
    """Scale, as `gain_of` has it, and shift β − μ·scale (C,)."""
    gain, given = gain_of(call), call.bind()
    with torch.no_grad():
        shift, bias = given["running_mean"] * gain, given.get("bias")
        return gain, -shift if bias is None else bias - shift


def rescaled(call: Call) -> Tensor:
    """A batch norm in eval mode, whose derivative is its scale.

    torch's own (2.12, on a CPU) is wrong, not by rounding, where the cotangent is channels-last and the input is not:
    in LeViT and XCiT, where a transposition follows.
    """
    return scale(call.value(), call.inputs[0], along(gain_of(call), call.inputs[0]))


def along(channels: Tensor, x: Tensor) -> Tensor:
    """One number a channel (C,), shaped so that it broadcasts over x (N, C, …)."""
    return channels.view(1, -1, *[1] * (x.dim() - 2))


def refuse_randomness(call: Call) -> None:
    """Refuse dropout and random leaks that are switched on."""
    if "dropout" in call.name:
        given = call.bind()
        active = given.get("training", True) and given.get("p", 1) != 0
    else:
        active = call.name == "rrelu" and call.bind().get("training", False)
    if active:
        raise OperationError(
            f"Expected a deterministic model, but {call.name} is active: it ignores eval mode; switch it off."
        )
