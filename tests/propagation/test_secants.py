"""Secants of operations with several inputs: complete, bounded, symmetric, and the derivative where x and x̄ meet."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from heatproof.errors import OperationError
from heatproof.methods.deeplift import DeepLIFT
from heatproof.propagation.differences import Differences
from heatproof.propagation.mode import Engine
from reference import propagation as twin


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, x):
        return self.function(x)


def multipliers(function, x, bar):
    """The matrix (outputs, inputs) of slopes that DeepLIFT holds for one sample."""
    leaf = x[None].clone().requires_grad_()
    strategy = Differences(bar[None], max_pool="complete", products="complete", rule="rescale")
    outputs = Engine(Apply(function), strategy).run(leaf, Apply(function))
    rows = [torch.autograd.grad(outputs[0, i], leaf, retain_graph=True)[0][0] for i in range(outputs.shape[1])]
    return torch.stack(rows)


def pair(seed, scale=1.0, size=5):
    stream = torch.Generator().manual_seed(seed)
    return scale * torch.randn(2, size, generator=stream, dtype=torch.float64)


def halves(x):
    return x.chunk(2, -1)


def divide(x):
    a, d = halves(x)
    return a / (d.square() + 0.1)


FUNCTIONS = {
    "softmax": lambda x: F.softmax(x, 1),
    "softmin": lambda x: F.softmin(x, 1),
    "log-softmax": lambda x: F.log_softmax(x, 1),
    "logsumexp": lambda x: x.logsumexp(1, keepdim=True),
    "layer norm": lambda x: F.layer_norm(x, x.shape[1:], eps=1e-6),
    "rms norm": lambda x: F.rms_norm(x, x.shape[1:], eps=1e-6),
    "group norm": lambda x: F.group_norm(x[:, :4, None], 1, eps=1e-6)[..., 0],
    "instance norm": lambda x: F.instance_norm(x[:, None], eps=1e-6)[:, 0],
    "normalize": lambda x: F.normalize(x, dim=1),
    "1-normalize": lambda x: F.normalize(x, p=1, dim=1),
    "norm": lambda x: x.norm(dim=1, keepdim=True),
    "1-norm": lambda x: torch.linalg.vector_norm(x, 1, dim=1, keepdim=True),
    "3.5-norm": lambda x: torch.linalg.vector_norm(x, 3.5, dim=1, keepdim=True),
    "standard deviation": lambda x: x.std(1, keepdim=True),
    "quotient": divide,
    "written-out norm": lambda x: x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6),
    "product": lambda x: halves(x)[0] * halves(x)[1],
}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(seed=st.integers(0, 10_000), power=st.integers(-4, 3), one=st.booleans(), zero=st.booleans())
def test_complete_symmetric_and_finite(name, seed, power, one, zero):
    size = 6 if name in ("quotient", "product") else 5
    x, bar = pair(seed, 10.0**power, size)
    if zero and power > -4:
        bar = torch.zeros_like(bar)
    if one:
        bar = bar * 1e-3
    function = FUNCTIONS[name]
    m = multipliers(function, x, bar)
    assert bool(torch.isfinite(m).all())
    change = (function(x[None]) - function(bar[None]))[0]
    # 1e-8 of what changes; sums of contributions that cancel are as exact as their largest term, and a softmax is
    # as exact as its exponents, which are inputs, rounded as these are.
    exponents = torch.finfo(x.dtype).eps * float(x.abs().max() + bar.abs().max()) if "soft" in name else 0.0
    room = 1e-8 * change.abs().max() + 1e-14 * (m.abs() @ (x - bar).abs()).max() + 1e-15 + exponents
    assert bool(((m @ (x - bar) - change).abs() <= room).all())
    torch.testing.assert_close(multipliers(function, bar, x), m, rtol=1e-7, atol=1e-9 * float(m.abs().max()))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("apart", [0.0, 1e-7])
def test_the_derivative_where_input_and_baseline_meet(name, apart):
    x, direction = pair(3, size=6)
    jacobian = torch.autograd.functional.jacobian(lambda t: FUNCTIONS[name](t[None])[0], x)
    torch.testing.assert_close(multipliers(FUNCTIONS[name], x, x + apart * direction), jacobian, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 5.0, 20.0]))
def test_softmax_equals_its_equations(seed, scale):
    x, bar = pair(seed, scale)
    expected, weights = twin.softmax_secant(x.tolist(), bar.tolist())
    np.testing.assert_allclose(multipliers(FUNCTIONS["softmax"], x, bar), expected, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(multipliers(FUNCTIONS["logsumexp"], x, bar)[0], weights, rtol=1e-8, atol=1e-11)
    log = np.eye(5) - weights
    np.testing.assert_allclose(multipliers(FUNCTIONS["log-softmax"], x, bar), log, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(multipliers(FUNCTIONS["softmin"], -x, -bar), -expected, rtol=1e-8, atol=1e-11)


@given(st.integers(0, 10_000), st.sampled_from([1.0, 30.0, 1000.0, 1e6]))
def test_softmax_slopes_are_at_most_the_larger_probability(seed, scale):
    x, bar = pair(seed, scale)
    p, q = x.softmax(0), bar.softmax(0)
    m = multipliers(FUNCTIONS["softmax"], x, bar)
    assert bool((m.abs() <= torch.maximum(p, q)[:, None] * (1 + 1e-12)).all())
    assert bool((m.diagonal() >= 0).all())
    assert bool((m - m.diag().diag() <= 0).all())
    weights = multipliers(FUNCTIONS["logsumexp"], x, bar)[0]
    assert bool((weights >= 0).all())
    torch.testing.assert_close(weights.sum(), torch.ones((), dtype=torch.float64))


def test_a_softmax_of_scores_a_thousand_apart_by_hand():
    # p = (1, 0) and p̄ = (½, ½): L₁ = ½/ln 2, L₂ = ½/(1000 − ln 2), and the slope is L₁L₂/(L₁ + L₂) = ½/1000.
    x, bar = torch.tensor([1000.0, 0.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    expected = torch.tensor([[5e-4, -5e-4], [-5e-4, 5e-4]], dtype=torch.float64)
    torch.testing.assert_close(multipliers(FUNCTIONS["softmax"], x, bar), expected)
    single = multipliers(FUNCTIONS["softmax"], x.float(), bar.float())
    torch.testing.assert_close(single, expected.float())


def test_masked_scores_take_no_part():
    mask = torch.tensor([False, True, False, False, True])
    x, bar = pair(5, 3.0)
    free = ~mask
    for name in ("softmax", "logsumexp", "log-softmax"):

        def masked(t, f=FUNCTIONS[name]):
            out = f(t.masked_fill(mask, -math.inf))
            return out[:, free] if out.shape[1] == 5 else out

        m = multipliers(masked, x, bar)
        assert bool((m[:, mask] == 0).all())
        torch.testing.assert_close(m[:, free], multipliers(FUNCTIONS[name], x[free], bar[free]))


def test_a_score_that_is_masked_at_one_end_alone_is_refused_by_name():
    model = Apply(lambda x: torch.log(torch.relu(x)).softmax(1)).double().eval()
    x = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    with pytest.raises(OperationError, match=r"calls softmax .3 of its 3 scores are −∞ at either"):
        DeepLIFT()(model, x, torch.tensor([0]))


@given(st.integers(0, 10_000), st.sampled_from([1e-8, 1e-3, 1.0]), st.booleans(), st.sampled_from([0.0, 1e-4, 1.0]))
def test_normalizations_equal_their_equations_and_are_bounded(seed, eps, centered, near):
    x, bar = pair(seed)
    bar = near * bar  # also at a vector of zeros, where the derivative is 1/√ε

    def normalize(t):
        return F.layer_norm(t, (5,), eps=eps) if centered else F.rms_norm(t, (5,), eps=eps)

    m = multipliers(normalize, x, bar)
    expected = twin.normalization_secant(x.tolist(), bar.tolist(), eps=eps, centered=centered)
    np.testing.assert_allclose(m, expected, rtol=1e-9, atol=1e-11)
    d, d_bar = (t - t.mean() if centered else t for t in (x, bar))
    both = sum(float((t.square().mean() + eps).sqrt()) for t in (d, d_bar))
    assert float(torch.linalg.matrix_norm(m, 2)) <= 4 / both * (1 + 1e-12)


def test_a_normalization_from_zero_by_hand():
    # y = x/‖x‖ from x̄ = 0: each value is its own, y_i of x_i.
    x = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    expected = torch.tensor([[0.6, 0.0]], dtype=torch.float64)
    for function in (
        lambda t: F.normalize(t, dim=1),
        lambda t: t / t.norm(dim=1, keepdim=True).clamp_min(1e-12),
        lambda t: t * torch.rsqrt(t.square().sum(1, keepdim=True) + 1e-24),
        lambda t: t * (t.pow(2).sum(1) + 1e-24).pow(-0.5).unsqueeze(1),
        lambda t: t * (t.pow(2).sum(1, keepdim=True) + 1e-24) ** -0.5,
        lambda t: t * (1 / (t.square().sum(1, keepdim=True) + 1e-24).sqrt()).expand_as(t),
        lambda t: t / (t.square().sum(1, keepdim=True) + 1e-24).sqrt(),
        lambda t: t * torch.reciprocal((t.square().sum(1, keepdim=True) + 1e-24).sqrt()) * 1.0,
        lambda t: F.rms_norm(t, (2,), eps=1e-24) / math.sqrt(2),
    ):
        torch.testing.assert_close(DeepLIFT()(Apply(function), x, torch.tensor([0])), expected)


def test_a_normalization_between_two_vectors_by_hand():
    # (3, 4) from (0, 5), of the same length: θ = ½, and the length does not change. (1, 0) from (2, 0): its length
    # alone does, θ = ⅓: Δd (⅓·1 + ⅔·½) + (⅔·1 + ⅓·2) Δr = −⅔ + ⅔ = 0.
    for spelled in (lambda t: F.normalize(t, dim=1), lambda t: t / t.norm(dim=1, keepdim=True)):
        m = multipliers(spelled, torch.tensor([3.0, 4.0]).double(), torch.tensor([0.0, 5.0]).double())
        both = torch.tensor([[0.3 * 3, 0.3 * 9], [0.9 * 3, 0.9 * 9]]).double() / 50
        torch.testing.assert_close(m, torch.eye(2).double() / 5 - both)
        m = multipliers(spelled, torch.tensor([1.0, 0.0]).double(), torch.tensor([2.0, 0.0]).double())
        torch.testing.assert_close(m, torch.tensor([[0.0, 0.0], [0.0, 2 / 3]]).double())


def test_a_vector_that_is_zero_at_both_ends_gets_nothing():
    x = torch.tensor([[0.0, 0.0, 3.0, 4.0]], dtype=torch.float64)
    for function in (
        lambda t: F.normalize(t.view(-1, 2, 2), dim=2).flatten(1)[:, [1, 2]],
        lambda t: t.view(-1, 2, 2).norm(dim=2),
        lambda t: t.view(-1, 2, 2).square().sum(2).sqrt(),
        lambda t: F.layer_norm(t.view(-1, 2, 2), (2,)).flatten(1)[:, [1, 2]],
        lambda t: t.view(-1, 2, 2).std(2),
    ):
        maps = DeepLIFT()(Apply(function), x, torch.tensor([1]))
        assert bool((maps[0, :2] == 0).all())
        torch.testing.assert_close(maps.sum(1), function(x)[:, 1])


@given(st.integers(0, 10_000), st.floats(-12, 3), st.floats(-12, 3))
def test_a_quotients_slopes_lie_between_those_at_its_ends(seed, one, other):
    a, a_bar = pair(seed, size=1)[:, 0].abs()
    d, d_bar = (torch.tensor(10.0**power, dtype=torch.float64) for power in (one, other))
    m = multipliers(lambda t: t[:, :1] / t[:, 1:], torch.stack([a, d]), torch.stack([a_bar, d_bar]))[0]
    for slope, ends in zip(m, ((1 / d, 1 / d_bar), (-a / d**2, -a_bar / d_bar**2)), strict=True):
        room = 1e-12 * abs(float(slope))
        assert min(ends) - room <= slope <= max(ends) + room
    expected = twin.quotient_secant(*(float(t) for t in (a, d, a_bar, d_bar)))
    np.testing.assert_allclose(m, expected, rtol=1e-10)


def test_divisors_with_a_pole_between_them_keep_the_sum():
    # 2/1 from 1/−3, with θ = ½: ½ (1 − ⅓) for the numerator, −½ (2 + 1) · 1/(1 · −3) for the divisor; 7/3 in all.
    x, bar = torch.tensor([2.0, 1.0], dtype=torch.float64), torch.tensor([1.0, -3.0], dtype=torch.float64)
    m = multipliers(lambda t: t[:, :1] / t[:, 1:], x, bar)
    torch.testing.assert_close(m, torch.tensor([[1 / 3, 0.5]], dtype=torch.float64))


@given(st.integers(0, 10_000), st.sampled_from([1.0, 1.5, 2.0, 3.5, 8.0]), st.sampled_from([0.0, 1e-6, 1.0]))
def test_a_norms_slopes_are_at_most_its_order(seed, order, near):
    x, bar = pair(seed, 1e-3)
    m = multipliers(lambda t: torch.linalg.vector_norm(t, order, dim=1, keepdim=True), x, near * bar)
    assert bool((m.abs() <= order * (1 + 1e-9)).all())
