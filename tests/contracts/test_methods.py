"""Every registered method keeps the contract; new ones join by themselves."""

import pytest
import torch

import heatproof as hp
from heatproof.methods import (
    Competitive,
    EdgeDetector,
    Gradient,
    GradientXInput,
    IntegratedGradients,
    PatternAttribution,
    PatternNet,
    PerSampleBottleneck,
    Saliency,
    SmoothGrad,
    VarGrad,
)
from heatproof.testing import ContractNet, check_method

# Hundreds of steps a call; a short recipe of theirs keeps the contract among the tests of their own.
LONG = {"meaningful-perturbation"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in hp.methods.names()]
)
def test_registered_method_keeps_the_contract(name):
    check_method(hp.methods.get(name))


@pytest.mark.parametrize(
    "method",
    [
        IntegratedGradients(steps=3, baseline=hp.baselines.Mean(), quadrature="riemann"),
        IntegratedGradients(steps=3, baseline=hp.baselines.Constant(value=0.2), quadrature="linspace"),
        SmoothGrad(IntegratedGradients(steps=2), samples=3, seed=4),
        SmoothGrad(Saliency(), samples=3),
        SmoothGrad(SmoothGrad(Gradient(), samples=2), samples=2, noise=0.0),
        VarGrad(Competitive(GradientXInput()), samples=3),
        Competitive(IntegratedGradients(steps=3), per="pixel", ties="drop"),
        Competitive(SmoothGrad(GradientXInput(), samples=3)),
        EdgeDetector(kind="canny"),
        SmoothGrad(PatternAttribution(), samples=3),
        Competitive(PatternNet()),
        VarGrad(PerSampleBottleneck(steps=2, samples=2), samples=2),
    ],
    ids=str,
)
def test_other_settings_keep_the_contract(method):
    check_method(method)


@pytest.mark.parametrize("name", ["gradient-x-input", "integrated-gradients", "smoothgrad", "vargrad", "cgi"])
def test_methods_keep_the_contract_on_a_bound_model(name):
    inputs = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gain = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    model = hp.models.Bound(ContractNet(), given={"gain": gain})
    check_method(hp.methods.get(name), model=model, inputs=inputs, targets=torch.tensor([1, 4, 0]))


def test_plain_callable_keeps_what_needs_no_method():
    check_method(plain_gradient)


def plain_gradient(model, inputs, targets):
    with torch.enable_grad():
        x = inputs.detach().clone().requires_grad_()
        score = hp.models.forward(model, x).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(score, x)[0]
