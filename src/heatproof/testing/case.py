"""What a clause of the contract is given, and how it compares maps."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from heatproof.methods.base import Attribution, Method
from heatproof.models import forward

# Relative to each map's largest magnitude, in float64: the promise between batches of different sizes, and rounding.
BATCH, ROUNDING = 1e-5, 1e-9


@dataclass(frozen=True)
class Case:
    """A method with what it is tried on, and its maps there."""

    method: Attribution
    model: nn.Module
    inputs: Tensor
    targets: Tensor
    maps: Tensor
    own_model: bool
    changes: tuple[str, ...]

    @property
    def uses_model(self) -> bool:
        return not isinstance(self.method, Method) or self.method.uses_model


def forward_width(model: nn.Module, inputs: Tensor) -> int:
    """The number of outputs of `model`."""
    with torch.no_grad():
        return forward(model, inputs).shape[1]


def distance_of(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest magnitude; infinite between different shapes."""
    if one.shape != other.shape:
        return torch.inf
    scale = other.abs().amax().clamp_min(torch.finfo(other.dtype).tiny)
    distance = float(((one - other).abs() / scale).amax())
    return torch.inf if distance != distance else distance
