"""What the papers prove, as properties of random networks; and their counterexamples."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import heatproof as hp
from heatproof.methods.deeplift import DeepLIFT
from heatproof.methods.lrp import LRP, DeepTaylor
from heatproof.propagation.composites import COMPOSITES, Composite
from heatproof.propagation.rules import AdaptiveBeta, AlphaBeta, Epsilon, beta_rule, z_plus

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus}
LRP0 = LRP(composite=Composite(convolution=Epsilon(epsilon=0.0), dense=Epsilon(epsilon=0.0)))
seeds = st.integers(0, 100_000)
activations = st.sampled_from(sorted(ACTIVATIONS))


def mlp(seed, activation="relu", *, bias, sign=None, depth=2):
    torch.manual_seed(seed)
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(6, 6, bias=bias), ACTIVATIONS[activation]()]
    net = nn.Sequential(*layers, nn.Linear(6, 3, bias=bias)).double().eval()
    if sign is not None:
        with torch.no_grad():
            for layer in net[::2]:
                layer.bias.copy_(sign * layer.bias.abs())
    return net, torch.randn(4, 6, dtype=torch.float64), torch.randint(0, 3, (4,))


def rewritten(net, x, target, g):
    """003's modified chain rule by hand: the product of weights and g(z), path by path, as matrices."""
    values, h = [], x
    for layer in net:
        values.append(h)
        h = layer(h)
    back = torch.zeros_like(h)
    back[target] = 1.0
    for layer, before in zip(reversed(list(net)), reversed(values), strict=True):
        back = back @ layer.weight if isinstance(layer, nn.Linear) else back * g(layer, before)
    return back


@given(seeds, activations, st.booleans())
def test_proposition_1_epsilon_lrp_is_input_times_a_modified_gradient(seed, activation, bias):
    net, x, targets = mlp(seed, activation, bias=bias)
    maps = LRP0(net, x, targets)
    for n in range(len(x)):
        expected = x[n] * rewritten(net, x[n], targets[n], lambda f, z: torch.where(z == 0, 0.0, f(z) / z))
        torch.testing.assert_close(maps[n], expected.detach(), rtol=1e-7, atol=1e-9)


@given(seeds, activations, st.booleans())
def test_proposition_2_deeplift_is_difference_times_a_modified_gradient(seed, activation, bias):
    net, x, targets = mlp(seed, activation, bias=bias)
    baseline = hp.baselines.Constant(value=0.4)
    maps = DeepLIFT(baseline=baseline)(net, x, targets)
    bar = torch.full_like(x[0], 0.4)
    reference = {}
    h = bar
    for layer in net:
        reference[layer] = h
        h = layer(h)
    for n in range(len(x)):

        def g(f, z):
            difference = z - reference[f]  # 0 only where all neurons before are closed: nothing arrives from there
            return torch.where(difference == 0, 0.0, (f(z) - f(reference[f])) / difference)

        expected = (x[n] - bar) * rewritten(net, x[n], targets[n], g)
        torch.testing.assert_close(maps[n], expected.detach(), rtol=1e-5, atol=1e-8)


@given(seeds, st.booleans())
def test_proposition_3_i_lrp_is_gradient_times_input_on_relu_networks(seed, bias):
    net, x, targets = mlp(seed, bias=bias)
    torch.testing.assert_close(LRP0(net, x, targets), hp.methods.GradientXInput()(net, x, targets))


@given(seeds, st.sampled_from(["relu", "tanh"]))
def test_proposition_3_ii_lrp_is_deeplift_without_biases_and_with_f_of_0_equal_0(seed, activation):
    net, x, targets = mlp(seed, activation, bias=False)
    torch.testing.assert_close(LRP0(net, x, targets), DeepLIFT()(net, x, targets), rtol=1e-6, atol=1e-9)


@given(seeds, st.booleans())
def test_proposition_4_all_agree_on_linear_models_and_satisfy_sensitivity_n(seed, bias):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(6, 5, bias=bias), nn.Linear(5, 3, bias=bias)).double().eval()
    x, targets = torch.randn(3, 6, dtype=torch.float64), torch.tensor([0, 1, 2])
    expected = x * (net[1].weight @ net[0].weight)[targets]
    kept = (torch.rand(3, 6) < 0.5).double()
    score = hp.models.forward(net, x).gather(1, targets[:, None])[:, 0]
    removed = hp.models.forward(net, x * (1 - kept)).gather(1, targets[:, None])[:, 0]
    for method in (LRP0, DeepLIFT(), hp.methods.GradientXInput(), hp.methods.IntegratedGradients(steps=3)):
        maps = method(net, x, targets)
        torch.testing.assert_close(maps, expected.detach(), rtol=1e-7, atol=1e-10)
        torch.testing.assert_close((kept * maps).sum(1), (score - removed).detach(), rtol=1e-7, atol=1e-10)


@given(seeds)
def test_lemma_1_of_000_and_conservation_without_biases(seed):
    net, x, targets = mlp(seed, bias=False)
    for method in (LRP0, DeepLIFT()):
        explained = method.explain(net, x, targets)
        gap = explained.diagnostics.get("conservation-gap", explained.diagnostics.get("completeness-gap"))
        assert float(gap.abs().max()) <= 1e-9 * float(explained.maps.abs().sum(1).max()) + 1e-12
    explained = LRP0.explain(net, x, targets)
    torch.testing.assert_close(explained.maps.sum(1), explained.diagnostics["score"], rtol=1e-8, atol=1e-10)


def test_counterexample_a_counted_bias_takes_relevance():
    # h₁ = ReLU(2x − 1.9), h₂ = ReLU(x), S = h₂ − 4h₁ at x = 1: S = 0.6, but R = 1 − 4·2·(0.1/0.1) = −7.
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).double().eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[2.0], [1.0]]))
        net[0].bias.copy_(torch.tensor([-1.9, 0.0]))
        net[2].weight.copy_(torch.tensor([[-4.0, 1.0]]))
        net[2].bias.zero_()
    explained = LRP0.explain(net, torch.ones(1, 1, dtype=torch.float64), torch.tensor([0]))
    torch.testing.assert_close(explained.diagnostics["score"], torch.tensor([0.6], dtype=torch.float64))
    torch.testing.assert_close(explained.maps, torch.tensor([[-7.0]], dtype=torch.float64))
    torch.testing.assert_close(explained.diagnostics["conservation-gap"], torch.tensor([-7.6], dtype=torch.float64))


SHARING = {
    "z+": z_plus(epsilon=0.0),
    "alpha2 beta1": AlphaBeta(epsilon=0.0, lone="conserving"),
    "beta 0.5": beta_rule(0.5, epsilon=0.0),
    "adaptive": AdaptiveBeta(epsilon=0.0),
}


@given(seeds, st.sampled_from(sorted(SHARING)), st.floats(0.1, 3.0), st.floats(0.1, 3.0))
def test_002_f_monotonicity(seed, rule, one, other):
    # Two inputs with no other connection than to one neuron: the larger contribution gets the larger relevance.
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(5, 1), nn.ReLU(), nn.Linear(1, 2)).double().eval()
    x = torch.rand(1, 5, dtype=torch.float64)
    with torch.no_grad():
        net[0].weight[0, :2] = torch.tensor([one, other], dtype=torch.float64)
        net[0].bias.fill_(4.0)
    maps = LRP(composite=Composite(convolution=SHARING[rule], dense=SHARING[rule]))(net, x, torch.tensor([1]))
    contributions = net[0].weight[0, :2] * x[0, :2]
    first, second = maps[0, :2].abs()
    if contributions[0] >= contributions[1]:
        assert first >= second * (1 - 1e-9)
    else:
        assert second >= first * (1 - 1e-9)


@given(seeds, st.sampled_from(["z+", "adaptive"]))
def test_002_g_positive_logits_and_no_positive_bias_give_a_positive_sum(seed, rule):
    net, x, _ = mlp(seed, bias=True, sign=-1.0, depth=3)
    x = x.abs()
    method = LRP(composite=Composite(convolution=SHARING[rule], dense=SHARING[rule]))
    outputs, pull = method.linearize(net, x)
    for label in range(3):
        one = torch.zeros_like(outputs)
        one[:, label] = 1
        positive = outputs[:, label] > 0
        assert bool((pull(one).sum(1)[positive] > 0).all())


@given(seeds)
def test_z_plus_conserves_where_every_neuron_has_a_positive_contribution(seed):
    net, x, targets = mlp(seed, bias=True, sign=-1.0)
    with torch.no_grad():
        for layer in net[::2]:
            layer.weight[:, 0] = layer.weight[:, 0].abs() + 0.1
        net[0].bias.zero_()
    x = x.abs() + 0.1
    hidden = net[:2](x)
    if not bool((hidden[:, 0] > 0).all()) or not bool((net[:4](x)[:, 0] > 0).all()):
        return
    explained = LRP(composite=Composite(convolution=SHARING["z+"], dense=SHARING["z+"])).explain(net, x, targets)
    torch.testing.assert_close(explained.maps.sum(1), explained.diagnostics["score"], rtol=1e-9, atol=1e-11)


@given(seeds)
def test_deep_taylor_is_not_negative_and_zero_where_the_score_is(seed):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    )
    net = net.double().eval()
    x, targets = torch.randn(3, 2, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2])
    explained = DeepTaylor().explain(net, x, targets)
    assert float(explained.maps.min()) >= -1e-12
    assert bool((explained.maps[explained.diagnostics["score"] <= 0] == 0).all())


def test_relevance_at_a_layer_inside_is_that_of_a_bound_network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4, bias=False)).double().eval()
    x, targets = torch.randn(2, 1, 4, 4, dtype=torch.float64), torch.tensor([1, 3])
    bound = hp.models.Bound(net, at="1", given={"input": x})
    inside = LRP()(bound, bound.inputs(), targets)
    assert inside.shape == (2, 3, 2, 2)
    # ε on the dense layer: R = w·h, and z⁺ below hands on what sums to it.
    torch.testing.assert_close(
        inside.flatten(1), net[3].weight[targets].detach() * net[:3](x).detach(), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(inside.sum((1, 2, 3)), LRP()(net, x, targets).sum((1, 2, 3)), atol=1e-5, rtol=1e-4)


def test_competitive_lrp_keeps_what_wins():
    net, x, targets = mlp(3, bias=True)
    plain, competing = LRP(), hp.methods.Competitive(LRP())
    maps, kept = plain(net, x, targets), competing(net, x, targets)
    assert bool(((kept == 0) | torch.isclose(kept, maps)).all())
    every = torch.stack([plain(net, x, torch.full((4,), label)) for label in range(3)])
    wins = (maps >= every.amax(0) - 1e-12) & (maps > 0) | (maps <= every.amin(0) + 1e-12) & (maps < 0)
    torch.testing.assert_close(kept, torch.where(wins, maps, 0.0))


@pytest.mark.parametrize("name", COMPOSITES)
def test_every_composite_is_linear_in_the_labels(name):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)).double().eval()
    outputs, pull = LRP(composite=name).linearize(net, torch.randn(2, 2, 6, 6, dtype=torch.float64))
    a, b = torch.randn_like(outputs), torch.randn_like(outputs)
    torch.testing.assert_close(pull(a) + pull(b), pull(a + b))
