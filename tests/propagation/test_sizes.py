"""LRP hands back c times the relevance for c times the input, where the network does: its ε has no unit of its own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from heatproof.errors import InputError
from heatproof.methods import METHODS
from heatproof.methods.lrp import LRP
from heatproof.propagation.composites import COMPOSITES, Composite
from heatproof.propagation.first_rules import Box, Flat, WSquare
from heatproof.propagation.rules import AdaptiveBeta, AlphaBeta, Epsilon, Gamma

TARGETS = torch.tensor([0, 2])
NAMES = [name for name in METHODS.names() if name.startswith("lrp-")] + ["clrp", "deep-taylor", "deeplift"]


class Homogeneous(nn.Module):
    """No biases; ReLUs, pooling, a residual sum, a product with a constant matrix, rearrangements."""

    def __init__(self, rectifier=F.relu):
        super().__init__()
        self.rectifier = rectifier
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.stem, self.block = nn.Conv2d(2, 4, 3, bias=False), nn.Conv2d(4, 4, 3, padding=1, bias=False)
            self.mix, self.head = nn.Linear(9, 9, bias=False), nn.Linear(4, 3, bias=False)
            self.matrix = nn.Parameter(torch.randn(4, 4))
            self.left = nn.Parameter(torch.rand(5, 9))

    def forward(self, x):
        h = F.max_pool2d(self.rectifier(self.stem(x)), 2)
        h = h + self.rectifier(self.block(h))
        h = self.mix(h.flatten(2)).transpose(1, 2) @ self.matrix  # (N, 9, 4)
        h = self.left @ F.leaky_relu(h, 0.2)
        return self.head(self.rectifier(torch.einsum("ntc,cd->ntd", h, self.matrix)).mean(1))


def images():
    return torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("scale", [1e-13, 1e-6, 1e6])
@pytest.mark.parametrize("name", NAMES)
def test_relevance_is_in_the_units_of_the_score(name, scale):
    model, x, method = Homogeneous().eval(), images(), METHODS.get(name)
    with torch.no_grad():
        targets = model(x).argmax(1)
    expected, found = method(model, x, targets), method(model, scale * x, targets) / scale
    assert float((found - expected).abs().max() / expected.abs().max()) < 2e-5


@pytest.mark.parametrize("scale", [1e-13, 1.0, 1e6])
@pytest.mark.parametrize("rectifier", [lambda h: h.clamp(min=0), lambda h: F.threshold(h, 0.0, 0.0), torch.nn.ReLU()])
def test_a_relu_in_other_words_has_no_unit_either(rectifier, scale):
    x, method = images(), LRP()
    expected = method(Homogeneous().eval(), x, TARGETS)
    found = method(Homogeneous(rectifier).eval(), scale * x, TARGETS) / scale
    assert float((found - expected).abs().max() / expected.abs().max()) < 2e-5


def test_first_layer_and_input_may_change_units_together():
    model, x, method = Homogeneous().eval(), images(), LRP(composite="epsilon-gamma-box")
    expected = method(model, x, TARGETS)
    with torch.no_grad():
        model.stem.weight.mul_(1e6)
    found = method(model, x / 1e6, TARGETS)
    assert float((found - expected).abs().max() / expected.abs().max()) < 2e-5


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_of_zeros_is_no_matter_and_a_sample_has_its_own_size(name):
    model, x, method = Homogeneous().eval(), images(), METHODS.get(name)
    alone = method(model, x[:1], TARGETS[:1])
    beside = method(model, torch.cat([x[:1], 1e8 * x[1:], torch.zeros_like(x)]), torch.tensor([0, 2, 0, 1]))
    assert bool(beside.isfinite().all())
    assert not beside[2:].any()
    torch.testing.assert_close(beside[:1], alone, rtol=1e-4, atol=1e-5 * float(alone.abs().max()))


def test_the_share_is_of_the_mean_magnitude_of_the_samples_outputs():
    # One layer, z = (3, −1): ε = 0.5 is 0.5 · 2 = 1. R_i = w_i x_i / (z + ε sign z) · z.
    layer = nn.Linear(2, 2, bias=False).double().eval()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
    x = torch.tensor([[1.0, 2.0], [10.0, 20.0]], dtype=torch.float64)
    rule = Epsilon(epsilon=0.5)
    maps = LRP(composite=Composite(convolution=rule, dense=rule))(layer, x, torch.tensor([0, 1]))
    expected = torch.tensor([[1 / 4 * 3, 2 / 4 * 3], [10 / -20 * -10, -20 / -20 * -10]], dtype=torch.float64)
    torch.testing.assert_close(maps, expected)
    by_name = Epsilon(epsilon=0.5, stabilizer="absolute")
    maps = LRP(composite=Composite(convolution=by_name, dense=by_name))(layer, x, torch.tensor([0, 1]))
    expected = torch.tensor([[1 / 3.5 * 3, 2 / 3.5 * 3], [10 / -10.5 * -10, -20 / -10.5 * -10]], dtype=torch.float64)
    torch.testing.assert_close(maps, expected)


@pytest.mark.parametrize("rule", [Epsilon, AlphaBeta, AdaptiveBeta, Gamma, Flat, WSquare, Box])
def test_another_stabilizer_is_refused(rule):
    with pytest.raises(InputError, match="Expected stabilizer to be 'relative' or 'absolute', but got 'none'"):
        rule(stabilizer="none")


def test_published_numbers_are_absolute():
    for name, composite in COMPOSITES.items():
        published = name.startswith("binder") or name.endswith("epsilon5")
        assert composite.dense.stabilizer == composite.convolution.stabilizer
        assert composite.dense.stabilizer == ("absolute" if published else "relative")
