"""Rules of named layers and smoothed ReLUs as in Zennit; what goes into a layer; a layer and a neuron of it."""

import captum.attr
import pytest
import torch
import zennit.composites
import zennit.core
import zennit.rules
from method_networks import cnn, images
from torch import nn

from heatproof import InputError, targets
from heatproof.methods import LRP, BetaSmooth, GradCAM, Gradient, GradientXInput, IntegratedGradients
from heatproof.models import Bound
from heatproof.propagation.composites import Composite
from heatproof.propagation.rules import AlphaBeta, Epsilon, Gamma
from heatproof.recipes import describe

LABELS = torch.tensor([4, 0, 2])


def deep(*, bias=True):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = nn.Sequential(
            nn.Linear(6, 8, bias=bias), nn.ReLU(), nn.Linear(8, 8, bias=bias), nn.ReLU(), nn.Linear(8, 5, bias=bias)
        )
    return net.double().eval()


def rows(seed=5):
    return torch.randn(3, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def zennits(net, x, layer_map):
    x = x.clone().requires_grad_()
    composite = zennit.composites.NameMapComposite([([name], rule) for name, rule in layer_map.items()])
    with composite.context(net) as modified:
        out = modified(x)
        (relevance,) = torch.autograd.grad(out, x, torch.zeros_like(out).scatter_(1, LABELS[:, None], 1) * out.detach())
    return relevance


def test_a_rule_for_each_named_layer_is_zennits():
    net, x = deep(bias=False), rows()
    layers = {
        "0": Epsilon(epsilon=0.1, stabilizer="absolute"),
        "2": AlphaBeta(alpha=2.0, beta=1.0, epsilon=1e-6, stabilizer="absolute"),
        "4": Gamma(gamma=0.5, epsilon=1e-6, stabilizer="absolute"),
    }
    found = LRP(composite=Composite(convolution=Epsilon(), dense=Epsilon(epsilon=9.0), layers=layers))(net, x, LABELS)
    expected = zennits(
        net, x, {"0": zennit.rules.Epsilon(0.1), "2": zennit.rules.AlphaBeta(2.0, 1.0), "4": zennit.rules.Gamma(0.5)}
    )
    # Zennit's gamma rule favors positive contributions, ours those of the neuron's sign: alike above 0.
    above = net(x).gather(1, LABELS[:, None])[:, 0] > 0
    assert bool(above.any())
    torch.testing.assert_close(found[above], expected[above], rtol=1e-4, atol=1e-6)


def test_smoothed_relus_are_zennits():
    net, x = cnn(), images()
    leaf = x.clone().requires_grad_()
    with zennit.composites.BetaSmooth(beta_smooth=4.0).context(net) as modified:
        modified(leaf).gather(1, LABELS[:, None]).sum().backward()
    torch.testing.assert_close(BetaSmooth(beta=4.0)(net, x, LABELS), leaf.grad)
    torch.testing.assert_close(BetaSmooth(beta=1e9)(net, x, LABELS), Gradient()(net, x, LABELS))
    with pytest.raises(InputError, match="a network with ReLUs"):
        BetaSmooth()(nn.Linear(6, 5).double().eval(), rows(), LABELS)
    with pytest.raises(InputError, match="beta to be finite"):
        BetaSmooth(beta=0.0)


def test_grad_cam_of_what_goes_into_a_layer():
    net, x = cnn(), images()
    into = GradCAM(layer="1(0)", layout="channels-first", relu=False)
    expected = captum.attr.LayerGradCam(net, net[1]).attribute(x, LABELS, attribute_to_layer_input=True)
    torch.testing.assert_close(into.in_layer(net, x, LABELS), expected[:, 0].detach())
    torch.testing.assert_close(into(net, x, LABELS), GradCAM(layer="0", relu=False)(net, x, LABELS))
    with pytest.raises(InputError, match=r"which dimensions of '1\(0\)' are positions"):
        GradCAM(layer="1(0)")(net, x, LABELS)
    with pytest.raises(InputError, match="which is none with"):
        GradCAM(layer="4(0)", layout="channels-first")(net, x, LABELS)


class Twice(nn.Module):
    """A layer that is called with a keyword, and one that runs twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 4), Scaled()

    def forward(self, x):
        h = self.first(x)
        return self.second(self.second(h, by=h + 1), by=h * 2)


class Scaled(nn.Module):
    def forward(self, x, by):
        return x * by


def test_what_goes_into_a_layer_is_a_place():
    net, x = Twice().double().eval(), rows()
    labels = torch.tensor([0, 1, 3])
    into = Bound(net, at="second(by)#2", given={"x": x})
    h = net.first(x)
    torch.testing.assert_close(into.inputs(), (h * 2).detach())
    slope = Gradient()(into, into.inputs(), labels)
    torch.testing.assert_close(slope, nn.functional.one_hot(labels, 4) * (h * (h + 1)).detach())
    of = Bound(net, layer="second(0)#2", reduction="none")
    torch.testing.assert_close(of(x), h * (h + 1))
    with pytest.raises(InputError, match="argument that 'second' was called with"):
        Bound(net, at="second(1)#2", given={"x": x}).inputs()


def test_a_neuron_at_a_position_is_captums():
    net, x = cnn(), images()
    inside = Bound(net, layer="2", reduction="none")
    at = targets.Index((1, 2, 0), labels=0)
    integrated = captum.attr.NeuronIntegratedGradients(net, net[2])
    expected = integrated.attribute(x, (1, 2, 0), n_steps=6)
    torch.testing.assert_close(IntegratedGradients(steps=6)(inside, x, at), expected, rtol=1e-6, atol=1e-8)
    one = LRP(composite="epsilon")(Bound(net, layer="0", reduction="none"), x, targets.Index((3, 5, 1), labels=0))
    patch = one[:, :, 5:8, 1:4].abs().sum((1, 2, 3))
    torch.testing.assert_close(patch, one.abs().sum((1, 2, 3)))


def test_attributions_of_a_layer_are_captums():
    net, x = cnn(), images()
    inside = Bound(net, at="1", given={"input": x})
    h = inside.inputs()
    explainer = captum.attr.LayerGradientXActivation(net, net[1])
    torch.testing.assert_close(GradientXInput()(inside, h, LABELS), explainer.attribute(x, LABELS).detach())


def test_a_neuron_that_the_next_layer_overwrites_is_as_it_was():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).double().eval()
    x, inside = rows(), Bound(net, layer="0", reduction="none")
    torch.testing.assert_close(inside(x), net[0](x))
    before = net[0](x).detach()
    unit = int(before[0].argmin())
    assert float(before[0, unit]) < 0
    found = Gradient()(inside, x, targets.Index((unit,)))
    torch.testing.assert_close(found, net[0].weight[unit].detach().expand_as(x))


def test_a_target_of_a_slice_is_told_apart_by_it():
    def of(chosen: slice) -> targets.Function:
        return targets.Function(lambda out: out[:, chosen].sum(1))

    net, x = deep(), rows()
    found = Gradient()(net, x, of(slice(1, 3)))
    expected = Gradient()(net, x, 1) + Gradient()(net, x, 2)
    torch.testing.assert_close(found, expected)
    assert describe(of(slice(1, 3))) == describe(of(slice(1, 3))) != describe(of(slice(0, 3)))


def test_numbers_of_samples_are_explained_together():
    class Product(nn.Module):
        def forward(self, a, b):
            return a * b

    a, b = rows()[:, 0], rows()[:, 1]
    both = Bound(Product().eval(), at=["a", "b"], given={"a": a, "b": b})
    parts = both.parts(Gradient()(both, both.inputs(), 0))
    torch.testing.assert_close(parts["a"], b)
    torch.testing.assert_close(parts["b"], a)
