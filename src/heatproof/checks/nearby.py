"""Inputs a little beside the samples: as far as hardly moves the outputs, and anywhere within a radius."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from heatproof import draws
from heatproof.models import forward

STEPS = 4  # passes that find how far a sample may go
FARTHEST = 0.1  # of each value, where even that moves the outputs less


@dataclass(frozen=True)
class Nudge:
    """Inputs that are changed so little that the outputs stay about where they are.

    x (1 + ε z) with z ~ N(0, 1) keyed by seed and sample, ε for each sample such that its outputs move by `level` of
    their spread, found by proportion in 4 steps, at most 0.1. Relative, as for parameters: what is zero stays zero,
    because noise on a flat ground would make a picture of it, and break the ties of every product with the input.
    """

    level: float
    seed: int

    def __call__(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """The changed samples (N, …)."""
        noise = draws.normal(inputs, self.seed, "steadiness", "inputs")
        reference, shape = outputs_of(model, inputs), (-1, *[1] * (inputs.dim() - 1))
        size = torch.full((len(inputs),), self.level, dtype=torch.float64, device=inputs.device)
        for _ in range(STEPS):
            far = moved(outputs_of(model, inputs * (1 + size.view(shape).to(inputs) * noise)), reference)
            size = (size * self.level / far).nan_to_num(self.level, posinf=FARTHEST).clamp(max=FARTHEST)
        return inputs * (1 + size.view(shape).to(inputs) * noise)

    @property
    def key(self) -> Mapping[str, Any]:
        """What decides the change."""
        return {"inputs": "nudged", **asdict(self)}


@dataclass(frozen=True)
class Ball:
    """Inputs drawn uniformly from the ball ‖y − x‖∞ ≤ `radius`, keyed by draw and sample."""

    radius: float
    draw: int

    def __call__(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """The changed samples (N, …)."""
        return inputs + self.radius * draws.uniform(inputs, self.draw, "steadiness", "ball")

    @property
    def key(self) -> Mapping[str, Any]:
        """What decides the change."""
        return {"inputs": "in a ball", **asdict(self)}


def moved(outputs: Tensor, reference: Tensor) -> Tensor:
    """How far outputs (N, C) are from a reference, a sample: root mean square over labels of its own spread over them.

    One output has no spread over labels: that over samples takes its place, and for one sample its magnitude.
    """
    if reference.shape[1] > 1:
        spread = reference.std(1, keepdim=True)
    else:
        spread = (reference.std() if len(reference) > 1 else reference.abs().max()).expand_as(reference)
    return ((outputs - reference) / spread).square().mean(1).sqrt()


def outputs_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """Outputs (N, C), float64, without a graph."""
    with torch.no_grad():
        return forward(model, inputs, torch.arange(len(inputs), device=inputs.device)).double()


def sensitivity(maps: Tensor, trained: Tensor) -> Tensor:
    """‖Φ(y) − Φ(x)‖ / ‖Φ(x)‖ (N,), Euclidean over features, float64; NaN for a map that is zero."""
    theirs = trained.double().flatten(1)
    far, size = (torch.linalg.vector_norm(one, dim=1) for one in (maps.double().flatten(1) - theirs, theirs))
    share: Tensor = far / torch.where(size > 0, size, torch.nan)
    return share
