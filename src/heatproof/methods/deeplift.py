"""DeepLIFT: contributions to the difference from a baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from heatproof.baselines import Baseline, Zero
from heatproof.errors import InputError
from heatproof.methods.base import METHODS, Linearizable, Linearization, evaluate, scores, total
from heatproof.methods.lrp import pulled
from heatproof.models import Bound, forward
from heatproof.propagation.differences import Differences
from heatproof.propagation.mode import Engine
from heatproof.propagation.proofs import unwrap
from heatproof.propagation.shared import SharingEndsError

RULES, CHOICES = ("rescale", "reveal-cancel"), ("complete", "gradient")


@METHODS.register("deeplift")
@dataclass(frozen=True, kw_only=True)
class DeepLIFT(Linearizable):
    """Contributions to S_c(x) − S_c(x̄), each operation's derivative replaced by its average slope from x̄ to x.

    R = (x − x̄) ⊙ ∂^g S_c/∂x with g = (f(z) − f(z̄))/(z − z̄) at nonlinearities, f′(z) where the two meet. Signed, in
    units of the score, shape of the inputs. Complete with the default rules: ΣR = S_c(x) − S_c(x̄) up to rounding, also
    through max-pooling, products, softmax and normalizations; the diagnostic `completeness-gap` is what is missing.
    Cost: one backward and two forward passes; a baseline that is the same for all samples runs as a batch of one.

    Args:
        baseline: x̄, what stands for a missing feature.
        rule: `rescale`, or `reveal-cancel`, which treats positive and negative contributions to a nonlinearity apart.
        max_pool: `complete`, or `gradient` as Ancona et al. 2018 have it.
        products: `complete`, or `gradient`: the plain derivative through products, and through softmax and
            normalizations, which are made of them (Ancona et al. 2018, A.2).
        allow_detached: accept a model that cuts paths to the input on purpose (`detach`, `no_grad`).

    Raises: OperationError for an operation without a rule, with the module that calls it.

    Source: Shrikumar et al. 2017; as modified gradients, Ancona et al. 2018, Prop. 2. Deviation: the complete rules for
    operations with several inputs, which neither paper gives.
    """

    baseline: Baseline = Zero()  # noqa: RUF009  # a frozen value
    rule: str = "rescale"
    max_pool: str = "complete"
    products: str = "complete"
    allow_detached: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("rule", self.rule, RULES),
            ("max_pool", self.max_pool, CHOICES),
            ("products", self.products, CHOICES),
        ):
            if value not in known:
                raise InputError(f"Expected {name} to be one of {', '.join(known)}, but got {value!r}.")

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return 1.5

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        model = unwrap(model)
        reference = self._reference(inputs)
        alike = not (isinstance(model, Bound) and model.given) and bool((reference == reference[:1]).all())
        try:
            outputs, x = self._run(model, inputs, reference[:1].expand_as(inputs) if alike else reference)
        except SharingEndsError:
            outputs, x = self._run(model, inputs, reference)
        difference = inputs - reference
        return Linearization(outputs.detach(), lambda cotangent: difference * pulled(outputs, x, cotangent))

    def promised_sums(self, model: nn.Module, inputs: Tensor, outputs: Tensor) -> Tensor:
        with torch.no_grad():
            return outputs - forward(unwrap(model), self._reference(inputs))

    def _run(self, model: nn.Module, inputs: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs and the tensor that their derivatives lead to."""
        strategy = Differences(reference, max_pool=self.max_pool, products=self.products, rule=self.rule)
        x = inputs.detach().clone().requires_grad_()
        engine = Engine(model, strategy, allow_detached=self.allow_detached)
        return engine.run(x, partial(forward, model)), x

    def _diagnostics(
        self, maps: Tensor, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor
    ) -> Mapping[str, Tensor]:
        score = scores(outputs, targets)
        baseline = evaluate(unwrap(model), self._reference(inputs), targets)
        return {"score": score, "baseline-score": baseline, "completeness-gap": total(maps) - (score - baseline)}

    def _reference(self, inputs: Tensor) -> Tensor:
        return self.baseline(inputs).to(inputs).expand_as(inputs).contiguous()
