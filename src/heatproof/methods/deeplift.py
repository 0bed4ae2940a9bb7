"""DeepLIFT: contributions to the difference from a baseline."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from heatproof import deferred
from heatproof.baselines import Baseline, Zero, as_baseline, one_for_all, resolved
from heatproof.errors import HeatproofWarning, InputError, OperationError
from heatproof.fields import ADDED
from heatproof.methods.base import METHODS, Explanation, Linearizable, Linearization, one_hot, scores, sum_rule, told
from heatproof.methods.lrp import pulled
from heatproof.models import Bound, check_targets, forward
from heatproof.propagation.differences import Differences
from heatproof.propagation.mode import Engine
from heatproof.propagation.proofs import unwrap
from heatproof.propagation.shared import SharingEndsError

INCOMPLETE = 1e-3  # of the promised sum: a map that misses more says so
RULES, CHOICES = ("rescale", "reveal-cancel"), ("complete", "gradient")


@METHODS.register("deeplift")
@dataclass(frozen=True, kw_only=True)
class DeepLIFT(Linearizable):
    """Contributions to S_c(x) − S_c(x̄), each operation's derivative replaced by its average slope from x̄ to x.

    R = (x − x̄) ⊙ ∂^g S_c/∂x with g = (f(z) − f(z̄))/(z − z̄) at nonlinearities, f′(z) where the two meet. Signed, in
    units of the score, shape of the inputs. Complete with the default rules: ΣR = S_c(x) − S_c(x̄) up to rounding, also
    through max-pooling, products, softmax and normalizations, and choices by masks or indices; the diagnostic
    `completeness-gap` is what is missing, `condition-number` = Σ|R|/|ΔS| how far rounding is magnified, and a gap above
    0.1 % of ΔS is a HeatproofWarning. Slopes stay bounded where x̄ makes a normalization singular or a softmax saturate.
    Cost: one backward and two forward passes; a baseline that is the same for all samples runs as a batch of one.

    Args:
        baseline: x̄, what stands for a missing feature; a number or a tensor as well, the same for all samples.
        rule: `rescale`, or `reveal-cancel`, which treats positive and negative contributions to a nonlinearity apart.
        max_pool: `complete`, or `gradient` as Ancona et al. 2018 have it.
        products: `complete`, or `gradient`: the plain derivative through products, and through softmax and
            normalizations, which are made of them (Ancona et al. 2018, A.2).
        allow_detached: accept a model that cuts paths to the input on purpose (`detach`, `no_grad`).
        multipliers: leave out the factor x − x̄: ∂^g S_c/∂x itself, in units of score per input unit. No sum rule, and
            no diagnostics or warnings of one.

    Raises: OperationError for an operation without a rule, with the module that calls it, and for infinite differences;
        InputError where the baseline does not broadcast to the inputs or is not finite, or the outputs there are not.

    Source: Shrikumar et al. 2017; as modified gradients, Ancona et al. 2018, Prop. 2. Deviation: the complete rules for
    operations with several inputs, which neither paper gives.

    >>> hp.methods.DeepLIFT(baseline=0.5)(nn.Sequential(line, nn.ReLU()).eval(), x, 0)
    tensor([[0.5000, 1.0000]])
    """

    version: ClassVar[int] = 2
    baseline: Baseline = Zero()  # noqa: RUF009  # a frozen value
    rule: str = "rescale"
    max_pool: str = "complete"
    products: str = "complete"
    allow_detached: bool = False
    multipliers: bool = field(default=False, metadata=ADDED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "baseline", as_baseline(self.baseline))
        for name, value, known in (
            ("rule", self.rule, RULES),
            ("max_pool", self.max_pool, CHOICES),
            ("products", self.products, CHOICES),
        ):
            if value not in known:
                raise InputError(f"Expected {name} to be one of {', '.join(known)}, but got {value!r}.")

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return 1.5

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        (outputs, pull), reference, before = self._prepared(model, inputs)
        check_targets(inputs, targets, outputs.shape[1])
        maps = pull(one_hot(targets, outputs))
        score = scores(outputs, targets)
        if self.multipliers:
            return Explanation(maps, {"score": score})
        # One row for all may have other last bits than the batch: at the baseline itself the score is its own.
        there = (inputs == reference).flatten(1).all(1)
        baseline = torch.where(there, score, scores(before.expand_as(outputs), targets))
        if self.max_pool == self.products == "complete":
            deferred.when(_incomplete(maps, score - baseline).any(), partial(_say_incomplete, maps.dtype))
        ends = {"score": score, "baseline-score": baseline}
        return Explanation(maps, told(lambda: {**ends, **sum_rule(maps, score - baseline)}))

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        return self._prepared(model, inputs)[0]

    def _prepared(self, model: nn.Module, inputs: Tensor) -> tuple[Linearization, Tensor, Tensor]:
        """The linearization, the baseline, and the outputs there."""
        model = unwrap(model)
        reference = resolved(self.baseline, model, inputs).contiguous()
        alike = not (isinstance(model, Bound) and model.given) and one_for_all(self.baseline, reference)
        try:
            outputs, x, strategy = self._run(model, inputs, reference[:1].expand_as(inputs) if alike else reference)
        except SharingEndsError:
            outputs, x, strategy = self._run(model, inputs, reference)
        difference, after, before, pole = (
            inputs - reference,
            outputs.detach(),
            strategy.reference(outputs),
            strategy.pole,
        )

        def pull(cotangent: Tensor) -> Tensor:
            explained = (cotangent != 0).reshape(-1, *after.shape).any(0)
            deferred.when((explained & ~torch.isfinite(before)).any(), self._refuse_reference)
            slopes = pulled(outputs, x, cotangent)
            if self.multipliers:
                return slopes
            maps = difference * slopes
            if pole:
                short = _incomplete(maps, (cotangent * (after - before)).nan_to_num().sum(-1)).any()
                deferred.when(short, partial(_refuse_pole, pole))
            return maps

        return Linearization(after, pull), reference, before

    def _refuse_reference(self) -> None:
        raise InputError(
            "Expected finite outputs at the baseline, but the model gives NaN or infinity there; "
            f"choose another baseline than {self.baseline}, such as hp.baselines.Mean()."
        )

    def promised_sums(self, model: nn.Module, inputs: Tensor, outputs: Tensor) -> Tensor | None:
        if self.multipliers:
            return None
        with torch.no_grad():
            return outputs - forward(unwrap(model), resolved(self.baseline, model, inputs))

    def _run(self, model: nn.Module, inputs: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Differences]:
        """The outputs, the tensor that their derivatives lead to, and what knows each tensor's reference."""
        strategy = Differences(reference, max_pool=self.max_pool, products=self.products, rule=self.rule)
        x = inputs.detach().clone().requires_grad_()
        engine = Engine(model, strategy, allow_detached=self.allow_detached)
        return engine.run(x, partial(forward, model)), x, strategy


def _refuse_pole(pole: str) -> None:
    raise OperationError(
        f"Expected finite differences between input and baseline, but the result of {pole} is infinite at one of them "
        "alone, and what it does to the score has no share; choose another baseline."
    )


def _say_incomplete(dtype: torch.dtype) -> None:
    # One sentence for all samples, so that Python says it once; the numbers are the diagnostics.
    warnings.warn(
        f"A map of DeepLIFT misses S(x) − S(x̄) by more than {INCOMPLETE:.1%} of it: its contributions cancel, "
        f"or the scores hardly differ, and {dtype} does not resolve it. See the diagnostics "
        "completeness-gap and condition-number; explain in float64 (model.double(), inputs.double()) or from "
        "another baseline.",
        HeatproofWarning,
        stacklevel=2,
    )


def _incomplete(maps: Tensor, promised: Tensor) -> Tensor:
    """Whether the sums of maps (…, N, features …) miss the promised ones (…, N) by too much, or are not numbers."""
    gap = maps.double().flatten(promised.dim()).sum(-1) - promised
    return ~(gap.abs() <= INCOMPLETE * promised.abs())
