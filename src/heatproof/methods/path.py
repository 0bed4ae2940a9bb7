"""Methods that average gradients on a path from a baseline to the input."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from heatproof.baselines import Baseline, Zero, as_baseline, resolved
from heatproof.devices import on_device
from heatproof.errors import InputError, unknown
from heatproof.fields import ADDED
from heatproof.methods.backward import gradients
from heatproof.methods.base import (
    METHODS,
    Linearizable,
    Linearization,
    evaluate,
    mixes,
    outputs_of,
    passes,
    scores,
    sum_rule,
)
from heatproof.models import forward

Quadrature = Literal[
    "gauss-legendre", "riemann", "linspace", "riemann-left", "riemann-middle", "riemann-right", "trapezoid"
]


@METHODS.register("integrated-gradients")
@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Linearizable):
    """The average gradient on the straight path from a baseline to the input, times their difference.

    R = (x − x̄) ⊙ Σ_k w_k ∂S_c(x̄ + a_k(x − x̄))/∂x, with nodes a_k and weights w_k on [0, 1].

    Attributions are signed, in units of the score, of the inputs' shape, and sum to ΔS = S_c(x) − S_c(x̄) up to the
    error of the quadrature. Diagnostics: `score` S_c(x), `baseline-score` S_c(x̄), `completeness-gap` = ΣR − ΔS, and
    `condition-number` = Σ|R|/|ΔS|. Cost: `steps` forward and backward passes a sample, in chunks that are never held
    together, and one forward pass each for x and x̄. Several labels pulled at once share the forward passes.

    Args:
        steps: number of nodes.
        baseline: x̄, a function of the sample alone; a number or a tensor as well, the same for all samples.
        quadrature: `gauss-legendre`; sums of equal weights at a_k = (k − 1)/steps (`riemann-left`), (k − ½)/steps
            (`riemann-middle`) or k/steps (`riemann-right`, also called `riemann`, as in DeepExplain, used by Ancona et
            al.), k = 1 … steps; `trapezoid`, whose nodes (k − 1)/(steps − 1) have half a weight at both ends;
            `linspace`, equal weights on linspace(0, 1, steps) as in PAIR's code (used by Adebayo et al.).
        multipliers: leave out the factor x − x̄: the average gradient itself, in units of score per input unit. No sum
            rule, and no diagnostics of one.

    Raises: InputError where a baseline does not broadcast to the inputs or is not finite.

    Source: Sundararajan et al. 2017, eq. 1 and 3; Adebayo et al. 2018, A.5. Deviation: Gauss–Legendre nodes instead of
    a Riemann sum, by default.

    >>> hp.methods.IntegratedGradients(steps=4)(lambda x: x.square(), torch.tensor([[3.0]]), 0).round(decimals=4)
    tensor([[9.]])
    """

    steps: int = 50
    baseline: Baseline = Zero()  # noqa: RUF009  # a frozen value
    quadrature: Quadrature = "gauss-legendre"
    multipliers: bool = field(default=False, metadata=ADDED)
    shares_passes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"Expected steps to be at least 1, but got {self.steps}.")
        object.__setattr__(self, "baseline", as_baseline(self.baseline))
        if self.quadrature == "trapezoid" and self.steps < 2:
            raise InputError("Expected 2 steps or more for a trapezoid, which has a node at either end, but got 1.")
        if self.quadrature not in _QUADRATURES:
            raise unknown("quadrature", self.quadrature, _QUADRATURES)

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return float(self.steps)

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        baseline = resolved(self.baseline, model, inputs)
        outputs = outputs_of(model, inputs)
        nodes, weights = _nodes(inputs, self.quadrature, self.steps)

        def pull(cotangents: Tensor) -> Tensor:
            sums = inputs.new_zeros(len(cotangents), *inputs.shape)
            for block, chunks in passes(inputs, self.steps):
                sample, start = inputs[block], baseline[block]
                samples = torch.arange(block.start, block.stop, device=inputs.device)
                for chunk in chunks:
                    at = _column(nodes[chunk.start : chunk.stop], inputs)
                    weight = _column(weights[chunk.start : chunk.stop], inputs)
                    rows = samples.repeat(len(chunk))
                    points = start + at * (sample - start)  # (nodes, block, …)
                    _, back = gradients(model, points.flatten(0, 1), rows)
                    for mix, cotangent in enumerate(cotangents):
                        sums[mix, block] += (weight * back(cotangent[rows]).view_as(points)).sum(0)
                    del back  # or its graph would be held while the next one is built
            return sums if self.multipliers else (inputs - baseline) * sums

        return Linearization(outputs, mixes(pull))

    def promised_sums(self, model: nn.Module, inputs: Tensor, outputs: Tensor) -> Tensor | None:
        if self.multipliers:
            return None
        with torch.no_grad():
            return outputs - forward(model, resolved(self.baseline, model, inputs))

    def _diagnostics(
        self, maps: Tensor, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor
    ) -> Mapping[str, Tensor]:
        score = scores(outputs, targets)
        if self.multipliers:
            return {"score": score}
        baseline_score = evaluate(model, resolved(self.baseline, model, inputs), targets)
        return {"score": score, "baseline-score": baseline_score, **sum_rule(maps, score - baseline_score)}


def _column(values: Tensor, inputs: Tensor) -> Tensor:
    """(M,) as (M, 1, …), to multiply (M, *inputs.shape)."""
    return values.view(-1, *[1] * inputs.dim())


@on_device
def _nodes(quadrature: Quadrature, steps: int) -> Tensor:
    """Nodes and weights: (2, steps), float64."""
    return torch.from_numpy(np.stack(_QUADRATURES[quadrature](steps)))


def _gauss_legendre(steps: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2


def _riemann(steps: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    return (np.arange(1, steps + 1) - shift) / steps, np.full(steps, 1 / steps)


def _trapezoid(steps: int) -> tuple[np.ndarray, np.ndarray]:
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, steps), weights


def _linspace(steps: int) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(0, 1, steps), np.full(steps, 1 / steps)


_QUADRATURES: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray]]] = {
    "gauss-legendre": _gauss_legendre,
    "riemann": _riemann,
    "linspace": _linspace,
    "riemann-left": partial(_riemann, shift=1.0),
    "riemann-middle": partial(_riemann, shift=0.5),
    "riemann-right": _riemann,
    "trapezoid": _trapezoid,
}
