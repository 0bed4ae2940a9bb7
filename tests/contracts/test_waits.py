"""A method's call looks at its inputs and labels once, and at nothing else: no accelerator is waited for inside."""

import warnings
from dataclasses import dataclass

import pytest
import torch

import heatproof as hp
from heatproof import deferred, draws
from heatproof.auditing.entries import NamedMethod
from heatproof.checks import TRAINED, Block, Maps
from heatproof.devices import on_device
from heatproof.errors import InputError
from heatproof.features import Pixels
from heatproof.methods import (
    Competitive,
    Gradient,
    GradientXInput,
    IntegratedGradients,
    Occlusion,
    SmoothGrad,
    VarGrad,
    get,
)
from heatproof.methods.fitted import FittedMethod
from heatproof.testing import ContractNet
from heatproof.testing.waits import waits

X = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5
Y = torch.tensor([0, 4, 2, 2])
SHORT = {
    "meaningful-perturbation": {"steps": 3, "scale": 4},
    "iba": {"layer": "features.3", "steps": 2, "samples": 2},
    "iba-readout": {"layer": "features.3", "readouts": ("features.3",), "epochs": 1, "floor": 0.0},
}
# DeepLIFT says at the end of a call, with a second look, that maps miss what they promise: only the maps tell.
TWICE = {"deeplift"}


def counted(method, model=None):
    model = ContractNet() if model is None else model
    if isinstance(method, FittedMethod):
        method = method.fit(model, [(X, Y)] * 2)
    method(model, X, Y)  # what is settled once a model
    with waits() as seen:
        method(model, X, Y)
    return seen


@pytest.mark.parametrize("name", hp.methods.names())
def test_a_registered_method_looks_once(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = counted(get(name, **SHORT.get(name, {})))
    assert sum(seen.values()) == (2 if name in TWICE else 1), seen
    assert sum(n for place, n in seen.items() if place.startswith("refusals.py")) == 1


@pytest.mark.parametrize(
    "method",
    [
        VarGrad(IntegratedGradients(steps=2), samples=3),
        SmoothGrad(get("lrp-epsilon-gamma-box"), samples=2),
        SmoothGrad(SmoothGrad(Occlusion(window=8), samples=2), samples=2),
        Competitive(IntegratedGradients(steps=3, baseline=hp.baselines.Blur())),
        Competitive(SmoothGrad(Gradient(), samples=2)),
    ],
    ids=str,
)
def test_methods_around_methods_look_once(method):
    assert sum(counted(method).values()) == 1


@pytest.mark.parametrize(
    ("check", "most"),
    [
        (hp.checks.get("sensitivity-n", sets=4, sizes=3), 0),
        (hp.checks.get("degradation", tile=4), 0),
        (hp.checks.get("blurred-patch"), 0),
        (hp.checks.get("completeness"), 2),  # of the device once, and of what it told, in memory
    ],
    ids=lambda value: getattr(value, "name", None) or type(value).__name__,
)
def test_a_check_looks_once_at_most(check, most):
    """Once a block more, for the samples' digests, whoever asks for them first."""
    x = X.clone()
    block = Block(model=ContractNet(), inputs=x, targets=Y, samples=("0", "1", "2", "3"), features=Pixels())
    maps, method = Maps(X.sum(1), {}), NamedMethod("g", GradientXInput())

    def rows():
        return list(check.rows(block, TRAINED, method, maps, {"trained": maps}, check.shared(block, TRAINED)))

    with waits() as first:
        rows()
    with waits() as seen:
        rows()
    on_a_device = {place: n for place, n in seen.items() if not place.startswith("features.py")}  # NumPy sorts on a CPU
    assert sum(on_a_device.values()) == most, seen
    digests = {place for place in first if place.startswith("draws.py")}
    assert len(digests) == (0 if isinstance(check, hp.checks.SensitivityN) else 1)  # to the host


def test_digests_are_those_of_the_values_as_they_are():
    inputs = torch.ones(2, 3)
    before = draws.digests(inputs)
    assert draws.digests(inputs) == before
    inputs[0] = 2
    after = draws.digests(inputs)
    assert after[0] != before[0]
    assert after[1] == before[1]
    after.clear()
    assert len(draws.digests(inputs)) == 2


def test_linearizing_and_pulling_look_at_the_inputs_alone():
    model = ContractNet()
    SmoothGrad(samples=2).linearize(model, X).pull(torch.ones(4, 5, dtype=torch.float64))
    with waits() as seen:
        SmoothGrad(samples=2).linearize(model, X).pull(torch.ones(4, 5, dtype=torch.float64))
    assert sum(seen.values()) == 1


def test_labels_that_a_call_has_not_looked_at_are_refused_inside():
    @dataclass(frozen=True, kw_only=True)
    class Another(hp.methods.Method):
        """The gradient of other labels than those it is asked for."""

        def _explain(self, model, inputs, targets):
            return Gradient().explain(model, inputs, torch.full_like(targets, 5))

    with pytest.raises(InputError, match="targets between 0 and 4, the model's last output, but got 5"):
        Another()(ContractNet(), X, Y)
    with pytest.raises(InputError, match="targets between 0 and 4, the model's last output, but got 7"):
        Gradient()(ContractNet(), X, torch.tensor([0, 7, 1, 1]))
    with pytest.raises(InputError, match="targets of 0 or more, the number of an output, but got -1"):
        VarGrad(samples=2)(ContractNet(), X, torch.tensor([0, -1, 1, 1]))
    broken = X.clone()
    broken[2, 0, 0, 0] = torch.inf
    with pytest.raises(InputError, match=r"finite inputs, but samples \[2\]"):
        SmoothGrad(samples=2)(ContractNet(), broken, Y)


def test_a_baseline_of_ones_own_is_refused_at_the_end_of_the_call():
    @dataclass(frozen=True)
    class Endless:
        def __call__(self, inputs):
            return torch.full_like(inputs, torch.inf)

    for method in (IntegratedGradients(steps=2, baseline=Endless()), Occlusion(baseline=Endless())):
        with pytest.raises(InputError, match=r"Expected a finite baseline, but .*Endless.* gave NaN or infinity"):
            method(ContractNet(), X, Y)
    with pytest.raises(InputError, match="Expected a finite baseline, but Constant"):
        Occlusion(baseline=hp.baselines.Constant(value=float("nan")))(ContractNet(), X, Y)


def test_flags_are_asked_for_together_in_their_order():
    said = []
    with waits() as seen, deferred.together():
        deferred.when(torch.tensor(True), lambda: said.append("first"))
        with deferred.together():  # an inner call ends with the outer one
            deferred.when(torch.tensor(False), lambda: said.append("never"))
            deferred.when(torch.tensor(True), lambda: said.append("second"))
        assert said == []
    assert said == ["first", "second"]
    assert sum(seen.values()) == 1
    deferred.when(torch.tensor(True), lambda: said.append("at once"))
    assert said[-1] == "at once"

    def fails():
        with deferred.together():
            deferred.when(torch.tensor(True), lambda: said.append("lost"))
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fails()
    assert said[-1] == "at once"  # the error itself is what is wrong


def test_a_tensor_of_numbers_is_made_once_for_each_device_and_dtype():
    made = []

    @on_device
    def steps(count):
        """So many."""
        made.append(count)
        return torch.arange(count, dtype=torch.float64)

    one = steps(torch.zeros(()), 3)
    assert one is steps(torch.ones(2), 3)
    assert (one.dtype, steps(X, 3).dtype, made) == (torch.float32, torch.float64, [3, 3])
    with torch.inference_mode():
        inside = steps(torch.zeros(()), 5)
    assert not inside.is_inference()
    assert (steps.__name__, steps.__doc__) == ("steps", "So many.")


@pytest.mark.parametrize(("name", "once"), [("lrp-epsilon", 2), ("deeplift", 2), ("guided-backprop", 1)])
def test_other_weights_are_looked_at_once_together(name, once):
    """A network whose weights were written into, as a randomized one's, costs one wait more, however many layers."""
    model, method = ContractNet(), get(name)
    method(model, X, Y)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
    with waits() as seen:
        method(model, X, Y)
    assert seen.total() == once, seen
