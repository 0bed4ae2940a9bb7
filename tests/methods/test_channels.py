"""One magnitude a position."""

import math

import pytest
import torch
from method_networks import cnn, images, linear

from heatproof import InputError
from heatproof.methods import ChannelNorm, Gradient, GradientXInput, get

TARGETS = torch.tensor([4, 0, 2])


@pytest.mark.parametrize("method", [Gradient(), GradientXInput()])
def test_is_the_length_over_channels_by_scalar_loops(method):
    model, x = cnn(), images()
    signed = method(model, x, TARGETS)
    found = ChannelNorm(method)(model, x, TARGETS)
    assert found.shape == (len(x), 1, *x.shape[2:])
    for n, _, row, column in found.nonzero().tolist():
        expected = math.sqrt(math.fsum(v * v for v in signed[n, :, row, column].tolist()))
        assert found[n, 0, row, column].item() == pytest.approx(expected, rel=1e-12)


def test_of_a_table_it_is_the_magnitude():
    weight = torch.randn(3, 6, dtype=torch.float64)
    x, y = torch.randn(2, 6, dtype=torch.float64), torch.tensor([0, 2])
    assert torch.equal(get("gradient-l2")(linear(weight), x, y), weight[y].abs())


def test_tiny_gradients_keep_their_length_in_float32():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 1, bias=False), torch.nn.Flatten()).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([3e-30, 4e-30, 0.0])[None, :, None, None])
    found = ChannelNorm()(model, torch.ones(1, 3, 1, 1), torch.tensor([0]))
    assert found.item() == pytest.approx(5e-30, rel=1e-6)


def test_what_is_no_method_is_refused():
    with pytest.raises(InputError, match="Expected a method, such as Gradient"):
        ChannelNorm(lambda model, inputs, targets: inputs)
