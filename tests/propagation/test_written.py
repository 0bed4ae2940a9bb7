"""Activations written out in arithmetic get the rule of the activation, as its name does."""

import gc
import math
import warnings
import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from heatproof.methods.deeplift import DeepLIFT
from heatproof.methods.guided import GuidedBackprop
from heatproof.methods.lrp import LRP
from heatproof.propagation import COMPOSITES

METHODS = {
    "epsilon": LRP(composite="epsilon"),
    "epsilon-plus": LRP(composite="epsilon-plus"),
    "gamma-box": LRP(composite="epsilon-gamma-box"),
    "deeplift": DeepLIFT(),
    "reveal-cancel": DeepLIFT(rule="reveal-cancel"),
    "guided": GuidedBackprop(),
}
X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1])


class Net(nn.Module):
    """Convolutions, a batch norm and a squeeze-and-excitation gate around an activation, and one ReLU."""

    def __init__(self, activation, gate=F.hardsigmoid):
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 5, 3)
        self.squeeze, self.last = nn.Linear(6, 6), nn.Linear(5, 3)
        self.activation, self.gate = activation, gate
        stream = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=stream) * 0.6)
        self.eval()

    def forward(self, x):
        h = self.activation(self.norm(self.a(x)))
        h = h * self.gate(self.squeeze(h.mean((2, 3))))[..., None, None]
        return self.last(F.relu(self.activation(self.b(h))).mean((2, 3)))


def gelu_of_tanh(x):
    return F.gelu(x, approximate="tanh")


def softplus_written(x):
    return torch.where(x > 20, x, torch.log1p(torch.exp(x)))


WRITTEN = {
    "silu": (F.silu, lambda x: x * torch.sigmoid(x)),
    "silu as a quotient": (F.silu, lambda x: x / (1 + torch.exp(-x))),
    "silu in place": (F.silu, lambda x: x.mul_(torch.sigmoid(x))),
    "hardswish": (F.hardswish, lambda x: x * torch.clamp(x + 3, 0, 6) / 6),
    "hardswish in place": (F.hardswish, lambda x: x * (F.relu6(x + 3, inplace=True) / 6)),
    "hardswish in steps": (F.hardswish, lambda x: x * torch.clamp_max(torch.clamp_min(x + 3, 0), 6) * (1 / 6)),
    "hardswish from lifted numbers": (
        F.hardswish,
        lambda x: torch.div(x * torch.clamp(torch.add(x, torch.tensor(3.0)), 0, 6), torch.tensor(6.0)),
    ),
    "gelu": (F.gelu, lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))),
    "gelu by tanh": (
        gelu_of_tanh,
        lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))),
    ),
    "mish": (F.mish, lambda x: x * torch.tanh(softplus_written(x))),
    "elu": (F.elu, lambda x: torch.where(x > 0, x, torch.exp(x) - 1)),
    "tanh": (torch.tanh, lambda x: 2 * torch.sigmoid(2 * x) - 1),
    "hardsigmoid": (F.hardsigmoid, lambda x: F.relu6(x + 3) / 6),
}


def close(method, one, other):
    """Within 1e-5 of the largest value, in double precision."""
    x = X.double()
    expected = method(one.double(), x, TARGETS)
    assert expected.abs().max() > 0
    torch.testing.assert_close(method(other.double(), x, TARGETS), expected, rtol=0, atol=1e-5 * expected.abs().max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", WRITTEN)
def test_an_activation_that_is_written_out_has_the_map_of_its_name(name, method):
    named, written = WRITTEN[name]
    close(METHODS[method], Net(named), Net(written))


@pytest.mark.parametrize("composite", ["epsilon", "epsilon-plus"])
@pytest.mark.parametrize("gates", ["uniform", "signal"])
def test_a_gate_that_is_written_out_is_a_gate(composite, gates):
    method = LRP(composite=replace(COMPOSITES[composite], gates=gates))
    close(method, Net(F.hardswish), Net(F.hardswish, gate=lambda x: torch.clamp(x + 3, 0, 6) / 6))
    close(method, Net(F.silu, torch.sigmoid), Net(F.silu, lambda x: 1 / (1 + torch.exp(-x))))


class Block(nn.Module):
    """As MobileNetV3 has it: depthwise convolution, batch norm, squeeze-and-excitation, hardswish, a skip."""

    def __init__(self, activation):
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.depthwise, self.second = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4)
        self.down, self.up = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
        self.act, self.relu, self.gate = activation(), nn.ReLU(), nn.Hardsigmoid()
        self.pool, self.head, self.last = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = self.act(self.first(self.stem(x)))
        inner = self.act(self.second(self.depthwise(h)))
        inner = inner * self.gate(self.up(self.relu(self.down(self.pool(inner)))))
        return self.last(self.act(self.head(self.pool(h + inner).flatten(1))))


@pytest.mark.parametrize("activation", [nn.Hardswish, nn.SiLU, nn.GELU, nn.Mish, nn.ELU, nn.Softplus])
def test_a_decomposed_export_has_the_maps_of_the_network(activation, calibrated):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = calibrated(Block(activation), X).double()
    x = X.double()
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # torch's own, of its own
        decomposed = torch.export.export(net, (x,)).run_decompositions().module()
    for method in METHODS.values():
        expected = method(net, x, TARGETS)
        bound = 1e-5 * expected.abs().max()
        torch.testing.assert_close(method(decomposed, x, TARGETS), expected, rtol=0, atol=bound)


def test_a_product_of_two_tensors_stays_one():
    """x·σ(z) with another z shares its relevance; so does a gate whose scale is one a channel."""
    half = LRP(composite=replace(COMPOSITES["epsilon"], gates="uniform"))
    x, scale = torch.tensor([[1.0, -2.0]]), torch.tensor([2.0, 3.0])

    class Product(nn.Module):
        def __init__(self, step):
            super().__init__()
            self.step = step
            self.eval()

        def forward(self, x):
            return self.step(x)

    def gated(x):
        a, z = (x * 1.0).unbind(1)
        return (a * torch.sigmoid(z))[:, None]

    score = gated(x)
    torch.testing.assert_close(half(Product(gated), x, torch.tensor([0])), score.expand(1, 2) / 2)
    scaled = Product(lambda x: (x * torch.sigmoid(x * scale)).sum(1, keepdim=True))
    torch.testing.assert_close(half(scaled, x, torch.tensor([0])), x * torch.sigmoid(x * scale))


def test_a_relu_of_an_activation_stays_a_relu():
    class Two(nn.Module):
        def __init__(self, step):
            super().__init__()
            self.step = step
            self.eval()

        def forward(self, x):
            return self.step(x).sum(1, keepdim=True) * -1.0

    def clamped(x):
        return torch.relu(torch.sigmoid(x))

    def multiplied(x):
        return torch.relu(x) * x

    for step in (clamped, multiplied):  # nothing of a negative derivative comes through a ReLU
        guided = GuidedBackprop()(Two(step), torch.tensor([[1.0, 2.0]]), torch.tensor([0]))
        expected = torch.zeros(1, 2) if step is clamped else torch.tensor([[-1.0, -2.0]])
        torch.testing.assert_close(guided, expected, rtol=0, atol=0)


def test_an_overwritten_tensor_is_no_root():
    def step(x):
        h = x * 1.0
        gate = torch.sigmoid(h)
        h += 1.0
        return h * gate

    close(METHODS["deeplift"], Net(lambda x: (x + 1) * torch.sigmoid(x)), Net(step))
    close(METHODS["guided"], Net(lambda x: (x + 1) * torch.sigmoid(x)), Net(step))


def test_nothing_that_is_known_of_a_tensor_keeps_it():
    made = []

    def step(x):
        h = x * 2.0
        made.append(weakref.ref(h))
        return h.mul_(torch.sigmoid(h)).clamp_(max=9.0) * 1.0

    net = Net(step)
    METHODS["epsilon"](net, X, TARGETS)
    gc.collect()
    assert [ref() for ref in made] == [None] * len(made)
