"""Layer-wise relevance propagation and deep Taylor decomposition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from heatproof.methods.base import METHODS, Linearizable, Linearization, scores, total
from heatproof.methods.competition import Competitive
from heatproof.models import forward
from heatproof.propagation.composites import Composite, composite
from heatproof.propagation.mode import Engine
from heatproof.propagation.proofs import unwrap
from heatproof.propagation.relevance import Relevance
from heatproof.propagation.rules import Box


@dataclass(frozen=True, kw_only=True)
class LRP(Linearizable):
    """Relevance: the score handed back operation by operation, each sharing what it got among its inputs.

    R = ∂S_c/∂m at m = 1, the network evaluated at m ⊙ x, with every operation's derivative replaced by its rule's:
    R_i = Σ_j (share of i in j) R_j. Signed, in units of the score, shape of the inputs. The sum over the inputs is S_c
    where biases are zero or ignored and every neuron with relevance has contributions of the signs that its rule
    shares among; the diagnostic `conservation-gap` = ΣR − S_c says by how much it is not. A constant that the model
    adds (positions, a shift of its input) takes its share, as a counted bias does.
    Cost: one forward pass, and one backward pass with up to four evaluations of each linear operation.

    Args:
        composite: which rule where, by name (`heatproof.propagation.composites.COMPOSITES`) or a `Composite`.
        allow_detached: accept a model that cuts paths to the input on purpose (`detach`, `no_grad`).

    Relevance at a layer inside: explain `Bound(net, at=layer, given={…})` at its `inputs()`.

    Raises: OperationError for an operation without a rule, with the module that calls it.

    Source: Bach et al. 2015; as modified gradients, Ancona et al. 2018, Prop. 1; the rules in `propagation.rules`.
    """

    composite: str | Composite = "epsilon-plus"
    allow_detached: bool = False

    def __post_init__(self) -> None:
        composite(self.composite)

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return 1.5

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        return relevance(model, inputs, composite(self.composite), self.allow_detached)

    def promised_sums(self, model: nn.Module, inputs: Tensor, outputs: Tensor) -> Tensor:
        return outputs

    def _diagnostics(
        self, maps: Tensor, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor
    ) -> Mapping[str, Tensor]:
        score = scores(outputs, targets)
        return {"score": score, "conservation-gap": total(maps) - score}


for _name in (
    "epsilon",
    "epsilon-plus",
    "epsilon-plus-flat",
    "epsilon-gamma-box",
    "epsilon-alpha2-beta1",
    "epsilon-alpha2-beta1-flat",
    "alpha1-beta0",
    "adaptive-beta",
):
    METHODS.register(f"lrp-{_name}")(partial(LRP, composite=_name))


@METHODS.register("clrp")
def clrp() -> Competitive:
    """Competitive LRP (Gupta & Arora, Algorithm 2), with the default composite."""
    return Competitive(LRP())


@METHODS.register("deep-taylor")
@dataclass(frozen=True, kw_only=True)
class DeepTaylor(Linearizable):
    """Deep Taylor decomposition: z⁺ in every hidden layer, z^B at the input; what speaks for the label, no more.

    The relevance that is handed back is max(S_c, 0), so maps are ≥ 0 on networks of linear operations, ReLUs, pooling
    and sums, and zero where the score is negative. The sum is max(S_c, 0) up to neurons without positive contribution
    (`conservation-gap`). Shape of the inputs, units of the score.
    Cost: one forward pass, and one backward pass with one or two evaluations of each linear operation.

    Args:
        low, high: the box that inputs lie in, one number or one a channel; None takes each sample's own range.
        allow_detached: accept a model that cuts paths to the input on purpose.

    Source: Montavon et al. 2017, eq. 8 (z⁺) and 14 (z^B). Deviations: the default box; biases are ignored, where
    the paper trains with biases ≤ 0.
    """

    low: float | tuple[float, ...] | None = None
    high: float | tuple[float, ...] | None = None
    allow_detached: bool = False

    def __post_init__(self) -> None:
        Box(low=self.low, high=self.high)

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return 1.5

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        plus = composite("deep-taylor")
        rules = Composite(convolution=plus.convolution, dense=plus.dense, first=Box(low=self.low, high=self.high))
        outputs, pull = relevance(model, inputs, rules, self.allow_detached)
        return Linearization(outputs, lambda cotangent: pull(cotangent * (outputs > 0)))

    def promised_sums(self, model: nn.Module, inputs: Tensor, outputs: Tensor) -> Tensor:
        return outputs.clamp(min=0)

    def _diagnostics(
        self, maps: Tensor, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor
    ) -> Mapping[str, Tensor]:
        score = scores(outputs, targets)
        return {"score": score, "conservation-gap": total(maps) - score.clamp(min=0)}


def relevance(model: nn.Module, inputs: Tensor, rules: Composite, allow_detached: bool = False) -> Linearization:
    """The relevance of any mix of outputs under a composite's rules."""
    model = unwrap(model)
    mask = torch.ones_like(inputs).requires_grad_()
    strategy = Relevance(rules, mask)
    engine = Engine(model, strategy, allow_detached=allow_detached)
    with torch.enable_grad():
        x = inputs * mask
    outputs = engine.run(x, partial(forward, model))
    strategy.check()
    return Linearization(outputs.detach(), partial(pulled, outputs, mask))


def pulled(outputs: Tensor, towards: Tensor, cotangent: Tensor) -> Tensor:
    """The derivative of a mix (N, C), or of each of several (K, N, C), of the outputs towards a tensor."""
    if cotangent.dim() == 3:
        return torch.stack([pulled(outputs, towards, one) for one in cotangent])
    (gradient,) = torch.autograd.grad(outputs, towards, cotangent, retain_graph=True)
    return gradient
