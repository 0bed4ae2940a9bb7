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
    Saliency,
    SmoothGrad,
    VarGrad,
)
from heatproof.testing import check_method


@pytest.mark.parametrize("name", hp.methods.names())
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
    ],
    ids=str,
)
def test_other_settings_keep_the_contract(method):
    check_method(method)


def test_plain_callable_keeps_what_needs_no_method():
    check_method(plain_gradient)


def plain_gradient(model, inputs, targets):
    with torch.enable_grad():
        x = inputs.detach().clone().requires_grad_()
        score = model(x.clone()).gather(1, targets[:, None]).sum() if not _bound(model) else _score(model, x, targets)
    return torch.autograd.grad(score, x)[0]


def _bound(model):
    return not hasattr(model, "features")


def _score(model, x, targets):
    return hp.models.forward(model, x).gather(1, targets[:, None]).sum()
