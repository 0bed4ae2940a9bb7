"""Layer-wise relevance propagation and deep Taylor decomposition."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from heatproof.errors import InputError, unknown
from heatproof.layouts.inputs import feature_axes
from heatproof.layouts.seen import network
from heatproof.methods.backward import nothing_overwritten
from heatproof.methods.base import METHODS, Explanation, Linearizable, Linearization, alone, one_hot, scores, sum_rule
from heatproof.methods.competition import Competitive
from heatproof.models import check_targets, forward
from heatproof.propagation.composites import Composite, composite
from heatproof.propagation.first_rules import Box, FirstRule
from heatproof.propagation.mode import Engine
from heatproof.propagation.proofs import unwrap
from heatproof.propagation.relevance import Relevance
from heatproof.propagation.terms import Ledger


@dataclass(frozen=True, kw_only=True)
class LRP(Linearizable):
    """Relevance: the score handed back operation by operation, each sharing what it got among its inputs.

    R = ∂S_c/∂m at m = 1, the network evaluated at m ⊙ x, with every operation's derivative replaced by its rule's:
    R_i = Σ_j (share of i in j) R_j. Signed, in units of the score, shape of the inputs. The sum over the inputs is S_c
    where biases are zero or ignored and every neuron with relevance has contributions of the signs that its rule
    shares among; the diagnostic `conservation-gap` = ΣR − S_c says by how much it is not, and `inherent-gap` which part
    of that is owed to neurons with nothing to share among, or nothing of the sign (z⁺, αβ, adaptive β, γ, the rules for
    the first layer): no bias, no constant, the rule itself; NaN where it is not known which sample lost it. A constant
    that the model adds (positions, a shift of its input) takes its share, as a counted bias does.
    Cost: one forward pass, and one backward pass with up to four evaluations of each linear operation.

    The ε of the rules is a share of the size of a sample's outputs in their layer, so that relevance keeps the units of
    the score; `Composite.stabilized("absolute")` is the ε of Bach et al. and of Zennit, a number.

    Where `condition-number` is in the hundreds, float32 does not resolve a map: z⁺ on convolutions of values of both
    signs divides by next to nothing (DaViT: 1000, and 1 % of the maximum between float32 and float64). Use float64.

    Args:
        composite: which rule where, by name (`heatproof.propagation.composites.COMPOSITES`) or a `Composite`.
        allow_detached: accept a model that cuts paths to the input on purpose (`detach`, `no_grad`).

    Relevance at a layer inside: explain `Bound(net, at=layer, given={…})` at its `inputs()`.

    Raises: OperationError for an operation without a rule, with the module that calls it.

    Source: Bach et al. 2015; as modified gradients, Ancona et al. 2018, Prop. 1; the rules in `propagation.rules`.

    >>> hp.methods.LRP(composite="epsilon")(line, x, 1).round(decimals=3)
    tensor([[3., 4.]])
    """

    version: ClassVar[int] = 2
    composite: str | Composite = "epsilon-plus"
    allow_detached: bool = False

    def __post_init__(self) -> None:
        composite(self.composite)

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return 1.5

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        pull = relevance(model, inputs, composite(self.composite), self.allow_detached)
        return Linearization(pull.outputs.detach(), pull)

    def promised_sums(self, model: nn.Module, inputs: Tensor, outputs: Tensor) -> Tensor:
        return outputs

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return relevance(model, inputs, composite(self.composite), self.allow_detached).explain(targets)


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
    (`conservation-gap`, and their part alone, `inherent-gap`). Shape of the inputs, units of the score.
    Cost: one forward pass, and one backward pass with one or two evaluations of each linear operation.

    Args:
        low, high: the box that inputs lie in, one number or one a channel; None takes each sample's own range.
        allow_detached: accept a model that cuts paths to the input on purpose.

    Source: Montavon et al. 2017, eq. 8 (z⁺) and 14 (z^B). Deviations: the default box; biases are ignored, where
    the paper trains with biases ≤ 0.

    >>> relevance = hp.methods.DeepTaylor(low=0.0, high=2.0)(nn.Sequential(line, nn.ReLU()).eval(), x, 0)
    >>> relevance.sum().round(decimals=3)
    tensor(3.)
    """

    version: ClassVar[int] = 3
    low: float | tuple[float, ...] | None = None
    high: float | tuple[float, ...] | None = None
    allow_detached: bool = False

    def __post_init__(self) -> None:
        Box(low=self.low, high=self.high)

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return 1.5

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        pull = self._pull(model, inputs)
        return Linearization(pull.outputs.detach(), pull)

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return self._pull(model, inputs).explain(targets)

    def _pull(self, model: nn.Module, inputs: Tensor) -> "RelevancePull":
        plus = composite("deep-taylor")
        rules = Composite(convolution=plus.convolution, dense=plus.dense, first=Box(low=self.low, high=self.high))
        return replace(relevance(model, inputs, rules, self.allow_detached), positive=True)

    def promised_sums(self, model: nn.Module, inputs: Tensor, outputs: Tensor) -> Tensor:
        return outputs.clamp(min=0)


@dataclass(frozen=True, eq=False)
class RelevancePull:
    """From a mix of outputs to relevance; `positive` hands back only what speaks for a label."""

    outputs: Tensor  # (N, C), with its graph
    mask: Tensor  # (N, …), the leaf of ones
    ledger: Ledger
    positive: bool = False

    def __call__(self, cotangent: Tensor) -> Tensor:
        return pulled(self.outputs, self.mask, cotangent * (self.outputs > 0) if self.positive else cotangent)

    def explain(self, targets: Tensor) -> Explanation:
        """The relevance of each sample's label, and what its sum is short of."""
        check_targets(self.mask, targets, self.outputs.shape[1])
        cotangent = one_hot(targets, self.outputs)
        if alone():
            return Explanation(self(cotangent))
        maps, lost, unsorted = self._accounted(cotangent)
        if len(unsorted):
            lost = lost + self._sorted(unsorted, cotangent)
        score = scores(self.outputs, targets)
        owed = score.clamp(min=0) if self.positive else score
        return Explanation(maps, {"score": score, **sum_rule(maps, owed, "conservation-gap"), "inherent-gap": -lost})

    def _accounted(self, cotangent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The relevance (N, …), what each sample lost (N,), and lost elements of unknown samples."""
        self.ledger.start()
        try:
            maps, unsorted = self(cotangent), self.ledger.unsorted
            return maps, self.ledger.lost(cotangent), torch.cat(unsorted) if unsorted else cotangent.new_empty(0)
        finally:
            self.ledger.open = False
            self.ledger.unsorted = []

    def _sorted(self, lost: Tensor, cotangent: Tensor) -> Tensor:
        """What each sample lost (N,), from elements in any layout; NaN where one is not of a single sample.

        Where sample n's cotangent is scaled by a power of two, so are its elements, and no others: exactly, save for
        what is next to nothing. 32 powers a pull say whose each is, digit by digit.
        """
        samples = torch.arange(len(cotangent), device=cotangent.device)
        counted = lost.abs() > torch.finfo(lost.dtype).tiny / torch.finfo(lost.dtype).eps
        amounts, whose = lost[counted], torch.zeros_like(lost[counted], dtype=torch.int64)
        for place in range(0, len(samples).bit_length(), 5):
            _, _, scaled = self._accounted(torch.ldexp(cotangent, (samples >> place)[:, None] % 32))
            if len(scaled) != len(lost):
                return torch.full_like(cotangent[:, 0], torch.nan)
            ratio = scaled[counted] / amounts
            digit = ratio.log2().round()
            if not torch.allclose(ratio, torch.exp2(digit), rtol=1e-3, atol=0):
                return torch.full_like(cotangent[:, 0], torch.nan)
            whose += digit.long() << place
        if bool((whose >= len(samples)).any()):
            return torch.full_like(cotangent[:, 0], torch.nan)
        # On the CPU, where additions keep their order.
        return torch.zeros(len(samples), dtype=lost.dtype).index_add(0, whose.cpu(), amounts.cpu()).to(lost)


def relevance(model: nn.Module, inputs: Tensor, rules: Composite, allow_detached: bool = False) -> RelevancePull:
    """The relevance of any mix of outputs under a composite's rules."""
    model = unwrap(model)
    mask = torch.ones_like(inputs).requires_grad_()
    layers = network(model)
    for name in rules.by_name:
        if name not in dict(layers.named_modules()):
            raise unknown(f"layer of {type(layers).__name__}", name, [one for one, _ in layers.named_modules() if one])
    strategy = Relevance(rules, mask, _channels(model, inputs, rules.first), layers)
    engine = Engine(model, strategy, allow_detached=allow_detached)
    with torch.enable_grad():
        x = inputs * mask
    outputs = engine.run(x, partial(forward, model))
    strategy.check(outputs)
    return RelevancePull(outputs, mask, strategy.ledger)


def _channels(model: nn.Module, inputs: Tensor, first: FirstRule | None) -> tuple[int, ...]:
    """The axis of the channels, which a box a channel asks for."""
    if not isinstance(first, Box) or isinstance(first.low, int | float):
        return ()
    try:
        return feature_axes(model, inputs)
    except InputError:
        if first.low is not None:  # numbers a channel, and nothing tells which axis that is
            raise
        return ()


def pulled(outputs: Tensor, towards: Tensor, cotangent: Tensor) -> Tensor:
    """The derivative of a mix (N, C), or of each of several (K, N, C), of the outputs towards a tensor."""
    if cotangent.dim() == 3:
        return torch.stack([pulled(outputs, towards, one) for one in cotangent])
    with nothing_overwritten():
        (gradient,) = torch.autograd.grad(outputs, towards, cotangent, retain_graph=True)
    return gradient
