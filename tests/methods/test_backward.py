"""Gradient, Saliency, Gradient × Input."""

import itertools

import captum.attr
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from method_networks import cnn, images, quadratic
from torch import nn

from heatproof import InputError
from heatproof.methods import Gradient, GradientXInput, Saliency

TARGETS = torch.tensor([4, 0, 2])


def test_gradient_of_a_quadratic_is_its_closed_form():
    model, x, y = quadratic(), torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 2, 1])
    expected = 2 * torch.einsum("nde,ne->nd", model.A[y], x) + model.b[y]
    torch.testing.assert_close(Gradient()(model, x, y), expected.detach())
    torch.testing.assert_close(Saliency()(model, x, y), expected.detach().abs())
    torch.testing.assert_close(GradientXInput()(model, x, y), x * expected.detach())


def test_captum_agrees():
    model, x = cnn(), images()
    torch.testing.assert_close(
        Saliency()(model, x, TARGETS), captum.attr.Saliency(model).attribute(x.clone().requires_grad_(), TARGETS)
    )
    expected = captum.attr.InputXGradient(model).attribute(x.clone().requires_grad_(), TARGETS).detach()
    torch.testing.assert_close(GradientXInput()(model, x, TARGETS), expected)


@given(
    widths=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    inputs=st.integers(1, 6),
    outputs=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_gradient_x_input_is_complete_on_relu_networks_without_biases(widths, inputs, outputs, seed):
    stream = torch.Generator().manual_seed(seed)
    sizes = [inputs, *widths, outputs]
    layers = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after, bias=False, dtype=torch.float64), nn.ReLU()]
        with torch.no_grad():
            layers[-2].weight.normal_(generator=stream)
    model = nn.Sequential(*layers[:-1]).eval()
    x = torch.randn(5, inputs, generator=stream, dtype=torch.float64)
    y = torch.randint(0, outputs, (5,), generator=stream)
    explanation = GradientXInput().explain(model, x, y)
    score = model(x).detach().gather(1, y[:, None])[:, 0]
    scale = explanation.maps.abs().sum(1)
    assert torch.equal(explanation.diagnostics["score"], score)
    assert bool(((explanation.maps.sum(1) - score).abs() <= 1e-13 * scale).all())
    assert bool((explanation.diagnostics["completeness-gap"].abs() <= 1e-13 * scale).all())


def test_completeness_gap_is_what_biases_took():
    model = nn.Linear(2, 1).double().eval()
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    gap = GradientXInput().explain(model, x, torch.tensor([0])).diagnostics["completeness-gap"]
    torch.testing.assert_close(gap, -model.bias.detach())


def test_pull_mixes_labels():
    model, x = cnn(), images()
    outputs, pull = Gradient().linearize(model, x)
    mix = torch.zeros_like(outputs)
    mix[:, 1], mix[:, 3] = 2.0, -0.5
    singles = [Gradient()(model, x, torch.full((3,), label)) for label in (1, 3)]
    torch.testing.assert_close(pull(mix), 2 * singles[0] - 0.5 * singles[1])


def test_a_model_cut_from_its_inputs_is_told():
    class Cut(nn.Module):
        def forward(self, x):
            return x.detach().flatten(1)

    layer = nn.Linear(images()[0].numel(), 8).to(images())  # whose parameters have a path of their own
    for net in (Cut(), nn.Sequential(Cut(), layer)):
        with pytest.raises(InputError, match="no path leads back"):
            Gradient()(net.eval(), images(), TARGETS)


def test_recurrent_networks_are_explained_in_eval_mode():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    model = Recurrent().double().eval()
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    torch.testing.assert_close(Gradient()(model, x, torch.tensor([1, 1])), expected)
