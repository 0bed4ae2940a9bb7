"""What stands for a missing feature. A baseline maps inputs (N, …) to a tensor that broadcasts to them."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from heatproof.registry import Registry


@runtime_checkable
class Baseline(Protocol):
    """A value for missing features, per sample: a function of the sample alone, never of its batch."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """The baseline of each sample, broadcastable to `inputs` (N, …)."""
        ...


BASELINES: Registry[Baseline] = Registry("baseline")


@BASELINES.register("zero")
@dataclass(frozen=True, kw_only=True)
class Zero:
    """0 everywhere: black, mid-grey or the data's mean colour, as the inputs were scaled."""

    def __call__(self, inputs: Tensor) -> Tensor:
        return inputs.new_zeros(len(inputs), *[1] * (inputs.dim() - 1))


@BASELINES.register("constant")
@dataclass(frozen=True, kw_only=True)
class Constant:
    """One number everywhere, in input units."""

    value: float = 0.0

    def __call__(self, inputs: Tensor) -> Tensor:
        return Zero()(inputs) + self.value


@BASELINES.register("mean")
@dataclass(frozen=True, kw_only=True)
class Mean:
    """The sample's own mean, channel by channel: for an image its mean colour."""

    def __call__(self, inputs: Tensor) -> Tensor:
        positions = tuple(range(2, inputs.dim()))
        return inputs.mean(positions, keepdim=True) if positions else inputs.mean(1, keepdim=True)
