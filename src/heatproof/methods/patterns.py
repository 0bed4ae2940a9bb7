"""PatternNet and PatternAttribution: the direction of the signal in each neuron's input, instead of its weight."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from heatproof.errors import InputError
from heatproof.methods.base import METHODS, Linearizable, Linearization, passes
from heatproof.methods.fitted import Batch, FittedMethod, inputs_of
from heatproof.methods.lrp import pulled
from heatproof.models import forward
from heatproof.propagation.mode import Engine
from heatproof.propagation.patterns import Estimation, Projection, Sums, Walk
from heatproof.propagation.proofs import unwrap


@dataclass(frozen=True, kw_only=True)
class _Patterned(Linearizable, FittedMethod):
    """What the two methods share: patterns fitted in one pass over data, and the way back through them."""

    on_changed_model: ClassVar[Literal["refit", "reuse", "exclude"]] = "exclude"
    on_changed_because: ClassVar[str] = "the signal that weights are fitted to is learned, and random weights have none"
    _times_weight: ClassVar[bool]

    @property
    def fit_cost(self) -> float:
        return 5 / 3  # a forward pass, and two backward passes of each linear operation

    def _fit(
        self, model: nn.Module, batches: Iterable[Batch], checkpoint: Path | None
    ) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
        sums: dict[int, Sums] = {}
        rectified: set[int] | None = None
        seen = 0
        for batch in batches:
            x = inputs_of(batch)
            for block, _ in passes(x, 1):
                rows = torch.arange(seen + block.start, seen + block.stop, device=x.device)
                if rectified is None:
                    walk = Walk()
                    _run(model, walk, x[block][:1], rows[:1])
                    rectified = walk.rectified
                _run(model, Estimation(rectified, sums), x[block], rows)
            seen += len(x)
        if not sums:
            raise InputError(
                "Expected batches through linear operations, but there was no sample or no such operation."
            )
        return {f"pattern.{i:04}": one.pattern().float() for i, one in sums.items()}, {"samples": str(seen)}

    def _fit_facts(self, model: nn.Module) -> Mapping[str, str]:
        return {"method": "patterns"}  # both methods have the same

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        fitted = self._fitted_for(model)
        strategy = Projection([fitted.on(name, inputs) for name in fitted], times_weight=self._times_weight)
        outputs, towards = _run(model, strategy, inputs, None)
        if strategy.count != len(strategy.patterns):
            raise InputError(
                f"Expected {len(strategy.patterns)} linear operations, as in fitting, but the network ran "
                f"{strategy.count}; fit again."
            )
        pull: Callable[[Tensor], Tensor] = partial(pulled, outputs, towards)
        values = outputs.detach()
        return Linearization(values, lambda cotangent: pull(cotangent * values))


@METHODS.register("pattern-net")
@dataclass(frozen=True, kw_only=True)
class PatternNet(_Patterned):
    """The signal in the input: what the network reads, without the distractor that its weights only cancel.

    R = S_c · ∂S_c/∂x with the weight w of every linear operation replaced in the derivative by its pattern a₊; on a
    linear model a·wᵀx, the signal itself. Signed, in input units, shape of the inputs; no sum rule.

    a₊ = (E₊[xy] − E₊[x]E[y]) / (wᵀE₊[xy] − wᵀE₊[x]E[y]), y a neuron's value before its ReLU, x its input, E₊ the mean
    where y > 0; where no ReLU follows, the mean everywhere. `fit` takes one pass over batches of inputs, with two
    backward passes of each linear operation. Patterns serve PatternNet and PatternAttribution alike.
    Cost: one forward and one backward pass, with two evaluations of each linear operation.

    Raises: InputError without a fit or for another network; OperationError for operations other than linear ones,
    ReLU, max-pooling, sums and rearrangements: batch norm among them, which must be folded first.

    Source: Kindermans et al. 2018, the two-component estimator.

    >>> hp.methods.PatternNet().fit(net, [(images, labels)])(net, images, labels).shape
    torch.Size([4, 1, 8, 8])
    """

    _times_weight: ClassVar[bool] = False


@METHODS.register("pattern-attribution")
@dataclass(frozen=True, kw_only=True)
class PatternAttribution(_Patterned):
    """How much of the score each part of the signal in the input gives.

    R = S_c · ∂S_c/∂x with the weight w of every linear operation replaced in the derivative by w ⊙ a₊. Signed, in units
    of the score, shape of the inputs. On one linear operation it sums to S_c, because wᵀa₊ = 1.

    Patterns, cost and errors as in PatternNet.

    Source: Kindermans et al. 2018.

    >>> hp.methods.PatternAttribution().fit(net, [(images, labels)])(net, images, labels).shape
    torch.Size([4, 1, 8, 8])
    """

    _times_weight: ClassVar[bool] = True

    @property
    def fit_recipe(self) -> FittedMethod:
        return PatternNet()


def _run(model: nn.Module, strategy: Walk, inputs: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor]:
    """The outputs under a strategy, and the leaf that they lead back to."""
    model = unwrap(model)
    x = inputs.detach().clone().requires_grad_()
    outputs = Engine(model, strategy).run(x, lambda values: forward(model, values, rows))
    return outputs, x
