"""Each rule against its twin of explicit sums over connections, for every kind of linear operation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from heatproof.errors import InputError
from heatproof.methods.lrp import LRP
from heatproof.propagation.composites import Composite
from heatproof.propagation.first_rules import Box, Flat, WSquare
from heatproof.propagation.rules import AdaptiveBeta, AlphaBeta, Epsilon, Gamma, beta_rule, z_plus
from reference import propagation as twin

EPS = 1e-3
LAYERS = {
    "linear": (lambda: nn.Linear(6, 4), (6,)),
    "conv1d": (lambda: nn.Conv1d(2, 4, 3, padding=1, stride=2), (2, 6)),
    "conv2d": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 4, 4)),
    "conv3d": (lambda: nn.Conv3d(1, 2, 2), (1, 3, 3, 3)),
    "grouped": (lambda: nn.Conv2d(4, 4, 3, groups=2), (4, 4, 4)),
    "dilated": (lambda: nn.Conv2d(1, 2, 2, dilation=2), (1, 4, 4)),
    "same": (lambda: nn.Conv2d(1, 2, 3, padding="same"), (1, 4, 4)),
    "transposed1d": (lambda: nn.ConvTranspose1d(2, 3, 3, stride=2), (2, 4)),
    "transposed2d": (lambda: nn.ConvTranspose2d(4, 4, 2, stride=2, groups=2, output_padding=1), (4, 2, 2)),
    "transposed3d": (lambda: nn.ConvTranspose3d(1, 2, 2), (1, 2, 2, 2)),
}
RULES = {
    "epsilon": (Epsilon(epsilon=EPS), lambda *a, **k: twin.epsilon(*a, **k, eps=EPS)),
    "z+": (z_plus(epsilon=EPS), lambda *a, **k: twin.alpha_beta(*a, **k, alpha=1, beta=0, eps=EPS)),
    "z+ with bias": (
        z_plus(epsilon=EPS, bias="counted"),
        lambda *a, **k: twin.alpha_beta(*a, **k, alpha=1, beta=0, eps=EPS, count_bias=True),
    ),
    "alpha2 beta1": (AlphaBeta(epsilon=EPS), lambda *a, **k: twin.alpha_beta(*a, **k, alpha=2, beta=1, eps=EPS)),
    "alpha2 beta1 with bias": (
        AlphaBeta(epsilon=EPS, bias="counted"),
        lambda *a, **k: twin.alpha_beta(*a, **k, alpha=2, beta=1, eps=EPS, count_bias=True),
    ),
    "alpha0 beta-1": (
        AlphaBeta(alpha=0.0, beta=-1.0, epsilon=5.0, lone="conserving"),
        lambda *a, **k: twin.alpha_beta(*a, **k, alpha=0, beta=-1, eps=5.0, conserving=True),
    ),
    "beta 0.5": (beta_rule(0.5, epsilon=EPS), lambda *a, **k: twin.alpha_beta(*a, **k, alpha=1.5, beta=0.5, eps=EPS)),
    "adaptive": (AdaptiveBeta(epsilon=EPS), lambda *a, **k: twin.adaptive_beta(*a, **k, maximum=3.0, eps=EPS)),
    "adaptive, as coded": (
        AdaptiveBeta(epsilon=EPS, dominated="code"),
        lambda *a, **k: twin.adaptive_beta(*a, **k, maximum=3.0, eps=EPS, code=True),
    ),
    "gamma": (Gamma(epsilon=EPS), lambda *a, **k: twin.gamma(*a, **k, gamma=0.25, eps=EPS)),
    "gamma without bias": (
        Gamma(gamma=2.0, epsilon=EPS, bias="ignored"),
        lambda *a, **k: twin.gamma(*a, **k, gamma=2.0, eps=EPS, count_bias=False),
    ),
}


class Flattened(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x).flatten(1)


def case(kind, seed=0, *, positive=False):
    make, shape = LAYERS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = make().double().eval()
        x = torch.randn(2, *shape, dtype=torch.float64)
    x = x.abs() if positive else x
    weights = {"weight": layer.weight.detach(), "bias": torch.zeros_like(layer.bias)}

    def apply(sample):
        return torch.func.functional_call(layer, weights, (sample,)).detach()

    W = twin.connections(apply, x[0])
    b = (torch.func.functional_call(layer, {}, (0 * x[:1],)).detach()).flatten().numpy()
    return Flattened(layer).eval(), layer, x, W, b


def propagated(model, x, composite, coefficients):
    """The method's relevance where output j carries the relevance coefficients_j · z_j."""
    outputs, pull = LRP(composite=composite).linearize(model, x)
    return pull(coefficients), outputs


@pytest.mark.parametrize(
    ("positive", "stabilizer"),
    [(True, "absolute"), (False, "absolute"), (False, "relative")],
    ids=["non-negative inputs", "signed inputs", "relative"],
)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", LAYERS)
def test_rule_equals_sums_over_connections(kind, rule, positive, stabilizer):
    model, _, x, W, b = case(kind, positive=positive)
    ours, slow = RULES[rule]
    ours = replace(ours, stabilizer=stabilizer)
    coefficients = torch.randn(2, len(W), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    maps, outputs = propagated(model, x, Composite(convolution=ours, dense=ours), coefficients)
    assert torch.equal(outputs, model(x))
    for n in range(2):
        relevance = (coefficients * outputs)[n].numpy()
        expected = slow(W, b, x[n].flatten().numpy(), relevance, relative=stabilizer == "relative")
        np.testing.assert_allclose(maps[n].flatten().numpy(), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("stabilizer", ["absolute", "relative"])
@pytest.mark.parametrize("kind", LAYERS)
def test_first_rules_equal_sums_over_connections(kind, stabilizer):
    model, layer, x, W, _ = case(kind)
    x = x.clamp(-1, 1)
    x[:, :1] = 0  # a black part gets its share all the same
    ones = {"weight": torch.ones_like(layer.weight), "bias": torch.zeros_like(layer.bias)}
    reached = twin.connections(lambda s: torch.func.functional_call(layer, ones, (s,)).detach(), x[0])
    coefficients = torch.randn(2, len(W), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    end = np.full(W.shape[1], 1.0)
    rest = Epsilon()
    for first, slow in (
        (Flat(epsilon=EPS), lambda sample, r, **k: twin.flat(W, r, reached=reached, eps=EPS, **k)),
        (WSquare(epsilon=EPS), lambda sample, r, **k: twin.w_square(W, r, eps=EPS, **k)),
        (
            Box(low=-1.0, high=1.0, epsilon=EPS),
            lambda sample, r, **k: twin.box(W, sample, r, low=-end, high=end, eps=EPS, **k),
        ),
    ):
        first = replace(first, stabilizer=stabilizer)
        maps, outputs = propagated(model, x, Composite(convolution=rest, dense=rest, first=first), coefficients)
        for n in range(2):
            expected = slow(
                x[n].flatten().numpy(), (coefficients * outputs)[n].numpy(), relative=stabilizer == "relative"
            )
            np.testing.assert_allclose(maps[n].flatten().numpy(), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gamma_is_finite_where_the_sum_of_the_other_sign_is_minus_epsilon(sign):
    # z = −ε: Σ with positive contributions favored is −ε as well, and nothing is shared by it.
    epsilon = 2.0**-20
    layer = nn.Linear(1, 1, bias=False).double().eval()
    with torch.no_grad():
        layer.weight.fill_(-sign * epsilon)
    rule = Gamma(epsilon=epsilon, stabilizer="absolute")
    x = torch.ones(1, 1, dtype=torch.float64)
    maps = LRP(composite=Composite(convolution=rule, dense=rule))(layer, x, torch.tensor([0]))
    torch.testing.assert_close(maps, layer(x).detach() * 1.25 / 2.25)


def test_both_adaptive_betas_agree_where_a_relu_follows():
    # Neurons with P ≤ M are closed there, so what β they would get does not matter.
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), _Sum()).double().eval()
    x, targets = torch.rand(4, 6, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)
    assert bool((net[0](x) < 0).any())
    limit, code = (
        LRP(composite=Composite(convolution=Epsilon(), dense=AdaptiveBeta(epsilon=0.0, dominated=name)))
        for name in ("limit", "code")
    )
    torch.testing.assert_close(limit(net, x, targets), code(net, x, targets), rtol=1e-9, atol=1e-12)


class _Sum(nn.Module):
    def forward(self, h):
        return h.sum(1, keepdim=True)


def test_adaptive_beta_solves_equation_1_by_hand():
    # P = 4, M = 1: β = 1/3, so β/(1+β) = M/P = 1/4; R = (4/3)·(4/4) − (1/3)·(−1)/(−1) of z = 3.
    layer = nn.Linear(2, 1, bias=False).double().eval()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[4.0, -1.0]]))
    rule = AdaptiveBeta(epsilon=0.0)
    maps = LRP(composite=Composite(convolution=rule, dense=rule))(
        layer, torch.ones(1, 2, dtype=torch.float64), torch.tensor([0])
    )
    torch.testing.assert_close(maps, torch.tensor([[4.0, -1.0]], dtype=torch.float64))


def test_lazy_and_repeated_pulls_agree():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3)).double().eval()
    outputs, pull = LRP(composite="epsilon-alpha2-beta1").linearize(net, torch.randn(2, 1, 4, 4).double())
    cotangent = torch.randn_like(outputs)
    pulls = [pull(cotangent) for _ in range(5)]  # from the third on the graphs are kept
    assert all(torch.equal(pulls[0], later) for later in pulls)
    both = pull(torch.stack([cotangent, 2 * cotangent]))
    torch.testing.assert_close(both, torch.stack([pulls[0], 2 * pulls[0]]))


def test_value_is_computed_again_where_a_view_was_written_into():
    # The convolution's result is changed through a view, which no fact about the result itself can foresee.
    class Net(nn.Module):
        def __init__(self, viewed):
            super().__init__()
            self.conv, self.viewed = nn.Conv2d(1, 2, 2), viewed

        def forward(self, x):
            h = self.conv(x)
            if self.viewed:
                h.view(len(h), -1).relu_()
            else:
                h = F.relu(h)
            return h.flatten(1)

    torch.manual_seed(0)
    plain, viewed = Net(False).double().eval(), Net(True).double().eval()
    viewed.load_state_dict(plain.state_dict())
    x, targets = torch.randn(3, 1, 3, 3, dtype=torch.float64), torch.tensor([0, 3, 5])
    torch.testing.assert_close(LRP()(viewed, x, targets), LRP()(plain, x, targets), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AlphaBeta(alpha=2.0, beta=2.0), "α − β = 1, but got α = 2.0 and β = 2.0"),
        (lambda: AlphaBeta(bias="no"), "bias to be 'counted' or 'ignored', but got 'no'"),
        (lambda: AlphaBeta(lone="x"), "lone to be 'plain' or 'conserving', but got 'x'"),
        (lambda: AdaptiveBeta(dominated="x"), "dominated to be 'limit' or 'code', but got 'x'"),
        (lambda: Box(low=0.0), "both ends of the box or none"),
        (lambda: LRP(composite="epsilon-pluss"), "did you mean 'epsilon-plus'"),
        (lambda: Composite(convolution=Epsilon(), dense=Epsilon(), gates="x"), "gates to be one of signal, uniform"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_inputs_outside_the_box_are_refused():
    layer = nn.Linear(3, 2).eval()
    rules = Composite(convolution=Epsilon(), dense=Epsilon(), first=Box(low=0.0, high=1.0))
    with pytest.raises(InputError, match="inside the box of the z\\^B rule, but they reach from -1 to 0"):
        LRP(composite=rules)(layer, torch.tensor([[0.0, -1.0, 0.0]]), torch.tensor([0]))
