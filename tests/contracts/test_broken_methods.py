"""The contract notices: methods that are right but for one clause, and the clause that says so."""

import random
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heatproof.methods import Explanation, Gradient, GradientXInput, Linearizable, Linearization, Method, Saliency
from heatproof.methods.base import evaluate
from heatproof.methods.fitted import FittedMethod, inputs_of
from heatproof.testing import CLAUSES, ContractError, check_method


def broken(clause):
    """A Gradient that the decorated change of (method, model, inputs, targets) → maps breaks in one clause."""

    def enter(change):
        @dataclass(frozen=True, kw_only=True)
        class Broken(Method):
            def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
                return Explanation(change(model, inputs, targets))

        Broken.__module__, Broken.__qualname__ = __name__, f"{change.__name__}_method"
        Broken.__name__ = Broken.__qualname__
        globals()[Broken.__qualname__] = Broken  # so that it pickles
        BROKEN.append((clause, Broken()))
        return change

    return enter


BROKEN: list[tuple[str, object]] = []


def gradient(model, inputs, targets):
    return Gradient()(model, inputs, targets)


@broken("shape")
def flattened(model, inputs, targets):
    return gradient(model, inputs, targets).flatten(1)


@broken("shape")
def repeated_over_channels(model, inputs, targets):
    return gradient(model, inputs, targets).sum(1, keepdim=True).expand_as(inputs)


@broken("dtype-and-device")
def always_double(model, inputs, targets):
    return gradient(model, inputs, targets).double()


@broken("finite")
def divided_by_zero(model, inputs, targets):
    return gradient(model, inputs, targets) / torch.zeros(())


@broken("inputs-untouched")
def scales_its_input(model, inputs, targets):
    # Of the two calls only the one with inputs that require a gradient is compared; values are restored elsewhere.
    maps = gradient(model, inputs, targets)
    inputs.mul_(1.5)
    return maps


@broken("untouched")
def leaves_parameter_gradients(model, inputs, targets):
    with torch.enable_grad():
        model(inputs.clone()).sum().backward()
    return gradient(model, inputs, targets)


@broken("untouched")
def forgets_its_hook(model, inputs, targets):
    model.features.register_forward_hook(lambda *_: None)
    return gradient(model, inputs, targets)


@broken("untouched")
def changes_requires_grad(model, inputs, targets):
    model.requires_grad_(False)
    return gradient(model, inputs, targets)


@broken("untouched")
def swaps_a_module(model, inputs, targets):
    model.features[1] = nn.ReLU().eval()
    return gradient(model, inputs, targets)


@broken("untouched")
def nudges_a_weight(model, inputs, targets):
    with torch.no_grad():
        model.features[0].bias.add_(1e-12)
    return gradient(model, inputs, targets)


@broken("untouched")
def seeds_globally(model, inputs, targets):
    torch.manual_seed(0)
    return gradient(model, inputs, targets)


@broken("untouched")
def draws_from_numpy(model, inputs, targets):
    return gradient(model, inputs, targets) * (1 + 0 * np.random.rand())  # noqa: NPY002


@broken("untouched")
def draws_from_python(model, inputs, targets):
    return gradient(model, inputs, targets) * (1 + 0 * random.random())


@broken("repeatable")
def hidden_draw(model, inputs, targets):
    with torch.random.fork_rng(devices=[]):
        return gradient(model, inputs, targets) + torch.randn(inputs.shape)


@broken("repeatable")
def depends_on_grad_mode(model, inputs, targets):
    return gradient(model, inputs, targets) * (2 if torch.is_grad_enabled() else 1)


@broken("single-sample")
def normalized_over_the_batch(model, inputs, targets):
    maps = gradient(model, inputs, targets)
    return maps / maps.abs().amax()


@broken("permutation")
def favors_the_last_row_of_a_batch(model, inputs, targets):
    maps = gradient(model, inputs, targets)
    if len(maps) > 1:
        # Sample 0, 1, 2 alone and in their first order look right.
        order = inputs.flatten(1).sum(1).argsort()
        expected = FIRST_ORDER.setdefault("order", order)
        maps = maps if torch.equal(order, expected) else maps.flip(0)
    return maps


FIRST_ORDER: dict[str, Tensor] = {}


@broken("in-place-networks")
def hands_its_input_to_the_network(model, inputs, targets):
    maps = gradient(model, inputs, targets)
    with torch.no_grad():
        seen = inputs.clone()
        model(seen) if hasattr(model, "features") else evaluate(model, seen, targets)
    return maps + seen


@broken("bound-models")
def ignores_rows(model, inputs, targets):
    if len(inputs) > 1 and hasattr(model, "given"):
        return gradient(model.net, inputs, targets)
    return gradient(model, inputs, targets)


@broken("untouched-on-error")
def hook_without_finally(model, inputs, targets):
    handle = model.register_forward_hook(lambda *_: None)
    maps = gradient(model, inputs, targets)
    handle.remove()
    return maps


@broken("untouched-on-error")
def swallows_errors(model, inputs, targets):
    try:
        return gradient(model, inputs, targets)
    except RuntimeError:
        return inputs


@dataclass(frozen=True, kw_only=True)
class WrongFlag(Linearizable):
    """Clamped, so not additive, but says that it is."""

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        outputs, pull = Gradient().linearize(model, inputs)
        return Linearization(outputs, lambda cotangent: pull(cotangent).relu())


@dataclass(frozen=True, kw_only=True)
class OverlyModest(Linearizable):
    """Additive, but says that it is not."""

    @property
    def linear(self) -> bool:
        return False

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        return Gradient().linearize(model, inputs)


@dataclass(frozen=True, kw_only=True)
class OutputsElsewhere(Linearizable):
    """Gives the outputs at a baseline for those at the inputs."""

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        _, pull = Gradient().linearize(model, inputs)
        return Linearization(Gradient().linearize(model, 0 * inputs).outputs, pull)


@dataclass(frozen=True, kw_only=True)
class OtherPull(Linearizable):
    """Calls and pulls disagree."""

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return GradientXInput()._explain(model, inputs, targets)

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        return Gradient().linearize(model, inputs)


@dataclass(frozen=True, kw_only=True)
class NoDoor(Saliency):
    """Skips the checks at the door."""

    def explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        picked = targets.long().reshape(-1)[torch.arange(len(inputs)) % targets.numel()] % 5
        frozen = [module for module in model.modules() if module.training]
        for module in frozen:
            module.training = False
        try:
            return Gradient().explain(model, inputs, picked)
        finally:
            for module in frozen:
                module.training = True


@dataclass(frozen=True, kw_only=True)
class Lenient(Saliency):
    """Repairs bad inputs without a word."""

    def explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return Gradient().explain(model, inputs.double().nan_to_num() if inputs.isnan().any() else inputs, targets)


@dataclass(frozen=True, kw_only=True)
class Wrapping(Saliency):
    """Counts labels modulo the number of outputs."""

    def explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return Gradient().explain(model, inputs, targets % 5 if targets.dtype == torch.int64 else targets)


@dataclass(frozen=True, kw_only=True, eq=False)
class Unequal(Saliency):
    """Compares by identity."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


@dataclass(frozen=True, kw_only=True)
class Unpicklable(Saliency):
    """Holds a function that has no name."""

    scale: object = field(default_factory=lambda: lambda maps: maps)


@dataclass(frozen=True, kw_only=True, repr=False)
class Taciturn(Saliency):
    """Does not tell its fields."""

    power: float = 1.0

    def __repr__(self) -> str:
        return "Taciturn()"


@dataclass(frozen=True, kw_only=True)
class Misdiagnosed(Method):
    """A diagnostic for the whole batch."""

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        maps = Gradient()(model, inputs, targets)
        return Explanation(maps, {"mean": maps.mean()})


@dataclass(frozen=True, kw_only=True)
class Centered(FittedMethod):
    """The gradient at inputs without their mean; its subclasses break the promise of what is fitted."""

    on_changed_model: ClassVar[Literal["refit", "reuse", "exclude"]] = "refit"
    on_changed_because: ClassVar[str] = "the mean is that of the data"

    def _fit(self, model, batches, checkpoint):
        return {"mean": torch.cat([inputs_of(batch) for batch in batches]).mean(0).float()}, {}

    def _fit_facts(self, model):
        return {}

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        mean = self._fitted_for(model)["mean"].to(inputs)
        return Explanation(gradient(model, inputs - mean, targets))


@dataclass(frozen=True, kw_only=True)
class Unasked(Centered):
    """Makes do without a fit."""

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return Explanation(gradient(model, inputs, targets))


@dataclass(frozen=True, kw_only=True)
class Marking(Centered):
    """Leaves a mark on the network that it is fitted on."""

    def _fit(self, model, batches, checkpoint):
        model.mark = 1
        return super()._fit(model, batches, checkpoint)


@dataclass(frozen=True, kw_only=True)
class Serving(Centered):
    """Serves any network."""

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return Explanation(gradient(model, inputs - self._value()["mean"].to(inputs), targets))


@dataclass(frozen=True, kw_only=True)
class Undeclared(Centered):
    """Refits where it says that it is excluded."""

    on_changed_model: ClassVar[Literal["refit", "reuse", "exclude"]] = "exclude"

    def on_changed(self, model, batches):
        return self.fit(model, batches)


@dataclass(frozen=True, kw_only=True)
class Stale(Centered):
    """Says that it is reused, and refits."""

    on_changed_model: ClassVar[Literal["refit", "reuse", "exclude"]] = "reuse"

    def on_changed(self, model, batches):
        return self.fit(model, batches)


@dataclass(frozen=True, kw_only=True)
class Silent(Centered):
    """Gives no reason."""

    on_changed_because: ClassVar[str] = ""


@dataclass(frozen=True, kw_only=True)
class Boastful(Saliency):
    """Promises a sum that it does not keep."""

    def promised_sums(self, model: nn.Module, inputs: Tensor, outputs: Tensor) -> Tensor:
        return outputs


@dataclass(frozen=True, kw_only=True)
class Forgetful(GradientXInput):
    """Says that it is complete, whatever it promises."""

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        found = super()._explain(model, inputs, targets)
        return Explanation(found.maps, {**found.diagnostics, "completeness-gap": torch.zeros(len(inputs))})


BROKEN += [
    *(("fitted", kind()) for kind in (Unasked, Marking, Serving, Undeclared, Stale, Silent)),
    ("linearization", WrongFlag()),
    ("linearization", OverlyModest()),
    ("linearization", OutputsElsewhere()),
    ("linearization", OtherPull()),
    ("promised-sums", Boastful()),
    ("promised-sums", Forgetful()),
    ("refuses-training-mode", NoDoor()),
    ("refuses-bad-inputs", Lenient()),
    ("refuses-bad-targets", Wrapping()),
    ("recipe", Unequal()),
    ("recipe", Unpicklable()),
    ("recipe", Taciturn()),
    ("diagnostics", Misdiagnosed()),
]


def test_a_fitted_method_that_keeps_everything_passes():
    check_method(Centered())


@pytest.mark.parametrize(("clause", "method"), BROKEN, ids=[f"{c}-{type(m).__name__}" for c, m in BROKEN])
def test_broken_method_is_told_its_clause(clause, method):
    FIRST_ORDER.clear()
    with pytest.raises(ContractError) as caught:
        check_method(method)
    assert caught.value.clause == clause, str(caught.value)


def test_every_clause_has_a_method_that_breaks_it():
    assert {clause for clause, _ in BROKEN} == set(CLAUSES)
