"""DeepLIFT: complete through every operation that has several inputs, or the paper's plain gradient by name."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import heatproof as hp
from heatproof.errors import HeatproofWarning, InputError, OperationError
from heatproof.methods.deeplift import DeepLIFT
from heatproof.propagation import choices
from heatproof.propagation.differences import Differences
from heatproof.propagation.mode import Engine
from reference import propagation as twin

BASELINE = hp.baselines.Constant(value=0.3)


class Step(nn.Module):
    """linear → the operation → linear, for inputs (N, 2, 6, 6)."""

    def __init__(self, step, seed=0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first, self.second = nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 1)
            x = torch.randn(2, 2, 6, 6)
            self.step = step
            width = step(self.first(x), self.second(x)).flatten(1).shape[1]
            self.last = nn.Linear(width, 3)
        self.double().eval()

    def forward(self, x):
        return self.last(self.step(self.first(x), self.second(x)).flatten(1))


OPERATIONS = {
    "product": lambda a, b: a * b,
    "square": lambda a, b: a * a + b**2,
    "quotient": lambda a, b: a / (b.square() + 1),
    "constant over": lambda a, b: 2.0 / (a.abs() + 1) + b,
    "matrix product": lambda a, b: a @ b.transpose(2, 3),
    "einsum": lambda a, b: torch.einsum("nchw,nchv->nwv", a, b),
    "bmm": lambda a, b: torch.bmm(a.flatten(2), b.flatten(2).mT),
    "baddbmm": lambda a, b: torch.baddbmm(torch.ones(1, 4, 4, dtype=a.dtype), a.flatten(2), b.flatten(2).mT),
    "softmax": lambda a, b: (5 * a).softmax(1) * b,
    "log-softmax": lambda a, b: F.log_softmax(a, 1) + b,
    "logsumexp": lambda a, b: torch.logsumexp(a, (2, 3)) + b.logsumexp(1, keepdim=True).sum((2, 3)),
    "masked softmax": lambda a, b: a.masked_fill(torch.eye(6, dtype=torch.bool), -torch.inf).softmax(-1) + b,
    "overlapping max-pool": lambda a, b: F.max_pool2d(a, 3, 2, 1) + F.max_pool2d(b, 3, stride=2, padding=1),
    "max-pool 1d": lambda a, b: F.max_pool1d(a.flatten(2), 5, 2) + F.max_pool1d(b.flatten(2), 5, 2),
    "max-pool 3d": lambda a, b: F.max_pool3d((a + b)[:, None], 2, 1),
    "adaptive max-pool": lambda a, b: F.adaptive_max_pool2d(a, 4) + F.adaptive_max_pool2d(b, (4, 4)),
    "amax": lambda a, b: a.amax(1) - b.amin(1),
    "amax over two": lambda a, b: a.amax((1, 3), keepdim=True) - torch.amin(b, dim=(-1, 1), keepdim=True),
    "max and min": lambda a, b: a.max(1).values - b.min(dim=1, keepdim=True)[0][:, 0],
    "topk": lambda a, b: a.topk(2, 1).values * b.flatten(2).topk(3, largest=False)[0].sum((1, 2))[:, None, None, None],
    "sort": lambda a, b: a.sort(1).values + b.sort(2, descending=True).values + torch.sort(a * b, stable=True)[0],
    "variance": lambda a, b: a.var(1) + torch.var(b, (1,), correction=0) + a.var((2, 3), False, True).sum(1) + a[:, 0],
    "standard deviation": lambda a, b: torch.std(a, 1) + b.std((1, 2), keepdim=True)[:, 0] + a.std(1, unbiased=False),
    "maximum": lambda a, b: torch.maximum(a, b) + torch.minimum(a, 2 * b),
    "layer norm": lambda a, b: F.layer_norm(a, (6, 6), torch.linspace(0.1, 2, 36, dtype=a.dtype).view(6, 6)) * b,
    "group norm": lambda a, b: F.group_norm(a, 2) + b,
    "instance norm": lambda a, b: F.instance_norm(a) + b,
    "rms norm": lambda a, b: F.rms_norm(a, (6,)) + b,
    "normalize": lambda a, b: F.normalize(a, dim=1) + b,
    "norm": lambda a, b: a.norm(dim=1) + torch.linalg.vector_norm(b, dim=1),
    "glu": lambda a, b: F.glu(a, 1) + b[:, :2],
    "smooth": lambda a, b: F.gelu(a) + F.silu(b) + F.hardswish(4 * a) + F.elu(b) + F.softplus(a) + torch.tanh(b),
    "kinks": lambda a, b: F.relu6(9 * a) + F.hardtanh(b) + F.leaky_relu(a) + b.clamp(-0.2, 0.4) + a.abs(),
    "powers": lambda a, b: (a.abs() + 1).sqrt() + (b.abs() + 1).rsqrt() + (a.abs() + 1).log() + torch.exp(b) + 2**a,
    "writes": lambda a, b: F.relu_(a.clone()).mul_(2).add_(b).div_(1.5).sigmoid_(),
    "write to a view": lambda a, b: _write(a.clone(), b),
    "interpolate": lambda a, b: F.interpolate(F.relu(a), scale_factor=2, mode="bilinear") + 1 - b.repeat(1, 1, 2, 2),
    "where": lambda a, b: torch.where(a > 0, a, 2 * b) + torch.where(a > b, 0.0, b * b) + a.where(b < 0.2, b),
    "masks": lambda a, b: a * (b > 0) + (a > b).to(a.dtype) * b - a * ~((a < 0.1) | (b < 0)) / (1 + (b > 0.3)),
    "masks filled": lambda a, b: a.masked_fill(b < 0, 0.5) + _masked(a.clone(), b),
    "counts": lambda a, b: (
        a.sum(1) / ((b > 0).sum(1) + 1) + (b > 0).any(1) * a[:, 0] + (a > 0).all(1).to(a.dtype) * b[:, 0]
    ),
    "by argmax": lambda a, b: a.gather(1, b.argmax(1, keepdim=True)) + a.take_along_dim(b.max(2, True)[1], 2),
    "by one hot": lambda a, b: (a * F.one_hot(b.argmax(1), 4).movedim(-1, 1)).sum(1) + b[:, 0],
    "attention": lambda a, b: F.scaled_dot_product_attention(a, b, torch.tanh(b)),
}


def _masked(a, b):
    a[b > 0] = 0.3
    a[:, :2].mul_(b[:, :2] < 0.5)
    return a


def _write(a, b):
    a[:, :2].relu_()
    a[:, 2:] = torch.tanh(b[:, :2])
    a[:, 0] += 1
    return a * b


def missed(explained):
    """|ΣR − ΔS|, and |ΔS| = |S(x) − S(x̄)|, which is not 0."""
    said = explained.diagnostics
    change = (said["score"] - said["baseline-score"]).abs()
    assert bool((change > 0).all())
    torch.testing.assert_close(said["condition-number"], explained.maps.abs().flatten(1).sum(1) / change)
    return said["completeness-gap"].abs(), change


def images(seed=3, scale=1.0, count=3):
    x = torch.randn(count, 2, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scale * x


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("baseline", [hp.baselines.Zero(), BASELINE], ids=str)
def test_complete_through_every_operation(name, baseline):
    model, x = Step(OPERATIONS[name]), images()
    for target in range(3):
        explained = DeepLIFT(baseline=baseline).explain(model, x, torch.full((3,), target))
        gap, change = missed(explained)
        assert bool((gap <= 1e-8 * change).all()), gap / change


@pytest.mark.parametrize("name", OPERATIONS)
def test_complete_in_single_precision(name):
    model, x = Step(OPERATIONS[name]).float(), images().float()
    if name in ("layer norm", "baddbmm", "masked softmax"):
        pytest.skip("its constants are in float64")
    explained = DeepLIFT(baseline=BASELINE).explain(model, x, torch.tensor([0, 1, 2]))
    gap, change = missed(explained)
    rounding = 1e-6 * explained.diagnostics["score"].abs()  # ΔS is not known better than the scores are
    assert bool((gap <= 1e-4 * change + rounding).all()), gap / change


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_input_at_the_baseline_gets_nothing_and_stays_finite(name):
    x = torch.full((2, 2, 6, 6), 0.3, dtype=torch.float64)
    maps = DeepLIFT(baseline=BASELINE)(Step(OPERATIONS[name]), x, torch.tensor([0, 1]))
    assert torch.equal(maps, torch.zeros_like(maps))


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_baseline_shared_by_the_batch_is_each_samples_own(name):
    # Alone a sample has a reference of its own; in a batch one row stands for all, until an operation parts them.
    model, x, targets = Step(OPERATIONS[name]), images(), torch.tensor([0, 1, 2])
    alone = torch.cat([DeepLIFT(baseline=BASELINE)(model, x[n : n + 1], targets[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(DeepLIFT(baseline=BASELINE)(model, x, targets), alone, rtol=1e-7, atol=1e-10)


def test_a_shared_baseline_runs_as_a_batch_of_one():
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 4, 2), nn.Tanh(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ).double().eval()  # fmt: skip
    x = images()
    reference = torch.full((1, 2, 6, 6), 0.3, dtype=torch.float64).expand_as(x)
    strategy = Differences(reference, max_pool="complete", products="complete", rule="rescale")
    outputs = Engine(model, strategy).run(x.clone().requires_grad_(), lambda t: hp.models.forward(model, t))
    assert strategy.reference(outputs).stride(0) == 0
    torch.testing.assert_close(strategy.reference(outputs)[:1], model(reference[:1]).detach())


@given(st.integers(0, 10_000), st.sampled_from(["relu", "tanh", "sigmoid", "softplus"]), st.booleans())
def test_multipliers_are_average_slopes(seed, activation, bias):
    torch.manual_seed(seed)
    f = getattr(F, activation) if activation in ("relu", "softplus") else getattr(torch, activation)
    layer = nn.Linear(5, 4, bias=bias).double().eval()
    x, bar = torch.randn(1, 5, dtype=torch.float64), 0.3
    maps = DeepLIFT(baseline=BASELINE)(nn.Sequential(layer, _Apply(f)).eval(), x, torch.tensor([2]))
    z, z_bar = layer(x)[0, 2], layer(torch.full_like(x, bar))[0, 2]
    expected = (x - bar) * layer.weight[2] * ((f(z) - f(z_bar)) / (z - z_bar))
    torch.testing.assert_close(maps, expected.detach(), rtol=1e-6, atol=1e-9)


class _Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_the_slope_where_input_and_baseline_meet_is_the_derivative():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Sigmoid()).double().eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
    x = torch.tensor([[1e-13, 2.0]], dtype=torch.float64)
    maps = DeepLIFT()(model, x, torch.tensor([0]))
    torch.testing.assert_close(maps[0, 0] / 1e-13, torch.tensor(0.25, dtype=torch.float64))


def test_counterexample_of_003_section_3_1():
    # S = ReLU(x₁ − 1)·ReLU(x₂): the plain gradient through the product counts both factors' changes in full.
    class Net(nn.Module):
        def forward(self, x):
            return F.relu(x[:, :1] - 1) * F.relu(x[:, 1:])

    x, targets = torch.tensor([[3.0, 2.0]], dtype=torch.float64), torch.tensor([0])
    model = Net().eval()
    plain = DeepLIFT(products="gradient").explain(model, x, targets)
    # g₁ = (2 − 0)/3, g₂ = 1: R₁ = 3·⅔·2 = 4, R₂ = 2·1·2 = 4, but S = 4.
    torch.testing.assert_close(plain.maps, torch.tensor([[4.0, 4.0]], dtype=torch.float64))
    torch.testing.assert_close(plain.diagnostics["completeness-gap"], torch.tensor([4.0], dtype=torch.float64))
    ours = DeepLIFT().explain(model, x, targets)
    torch.testing.assert_close(ours.maps, torch.tensor([[2.0, 2.0]], dtype=torch.float64))
    gradients = hp.methods.IntegratedGradients(steps=200).explain(model, x, targets)
    assert gradients.diagnostics["completeness-gap"].abs() < 1e-2


@dataclass(frozen=True)
class Ripples:
    def __call__(self, inputs):
        return torch.cos(torch.arange(inputs[0].numel(), dtype=inputs.dtype)).view_as(inputs[:1])


def test_max_pool_gradient_is_003s_and_incomplete():
    model, x = Step(OPERATIONS["overlapping max-pool"]), images()
    explained = DeepLIFT(max_pool="gradient", baseline=Ripples()).explain(model, x, torch.tensor([0, 1, 2]))
    assert bool((explained.diagnostics["completeness-gap"].abs() > 1e-3).all())


@pytest.mark.parametrize("activation", [torch.relu, torch.tanh, torch.sigmoid], ids=["relu", "tanh", "sigmoid"])
def test_reveal_cancel_equals_its_equations(activation):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 4), _Apply(activation)).double().eval()
    x = torch.randn(2, 6, dtype=torch.float64)
    weights = model[0].weight.detach().numpy(), model[0].bias.detach().numpy()
    outputs, pull = DeepLIFT(rule="reveal-cancel", baseline=BASELINE).linearize(model, x)
    coefficients = torch.randn_like(outputs)
    maps = pull(coefficients)
    for n in range(2):
        expected = twin.reveal_cancel(
            lambda z: float(activation(torch.tensor(z, dtype=torch.float64))),
            *weights, x[n].numpy(), np.full(6, 0.3), coefficients[n].numpy(),
        )  # fmt: skip
        np.testing.assert_allclose(maps[n].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_reveal_cancel_sees_what_rescale_cancels():
    # min(x₁, x₂) = x₁ − ReLU(x₁ − x₂): Rescale gives one input everything, RevealCancel half to each.
    class Minimum(nn.Module):
        def __init__(self):
            super().__init__()
            self.difference, self.pick = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
            with torch.no_grad():
                self.difference.weight.copy_(torch.tensor([[1.0, -1.0]]))
                self.pick.weight.copy_(torch.tensor([[1.0, 0.0]]))

        def forward(self, x):
            return self.pick(x) - torch.relu(self.difference(x))

    x, targets = torch.tensor([[3.0, 2.0]], dtype=torch.float64), torch.tensor([0])
    model = Minimum().double().eval()
    torch.testing.assert_close(DeepLIFT()(model, x, targets), torch.tensor([[0.0, 2.0]], dtype=torch.float64))
    revealed = DeepLIFT(rule="reveal-cancel")(model, x, targets)
    # Δ⁺ = 3, Δ⁻ = −2: m⁺ = ½(3 + 1)/3, m⁻ = ½(0 + −2)/−2.
    torch.testing.assert_close(revealed, torch.tensor([[1.0, 1.0]], dtype=torch.float64))


def test_unknown_rules_and_operations_without_a_rule_are_refused():
    with pytest.raises(InputError, match="rule to be one of rescale, reveal-cancel, but got 'x'"):
        DeepLIFT(rule="x")
    for step, message in (
        (lambda a, b: a.max() + b, r"but max in the model itself .Step. mixes them"),
        (lambda a, b: a.topk(2, 1, sorted=False)[0] + b[:, :2], r"calls topk .its values come in no order"),
        (lambda a, b: a.mode(1).values + b[:, 0], r"calls mode .only maxima, minima, topk and sort have a rule"),
        (
            lambda a, b: torch.stack([part[mask].sum().view(1) for part, mask in zip(a, b > 0, strict=True)]),
            r"calls __getitem__ .it chooses otherwise .* in \d+ of 144 places.. Choose a baseline",
        ),
        (lambda a, b: a.gather(1, a.argsort(1)), r"it chooses otherwise .* no difference of two values decides it"),
        (lambda a, b: a.norm(p=0.5, dim=1) + b[:, 0], r"calls norm .only norms of order p ≥ 1 have a rule, not 0.5"),
    ):
        with pytest.raises(OperationError, match=message):
            DeepLIFT()(Step(step), images(), torch.tensor([0, 1, 2]))


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_an_order_statistics_slopes_lie_between_0_and_1(seed, count):
    # Ties too: values are small integers.
    stream = torch.Generator().manual_seed(seed)
    x, bar = (torch.randint(-2, 3, (4, 5), generator=stream).double() for _ in range(2))
    for sign in (1.0, -1.0):
        leaf = x.clone().requires_grad_()
        s = choices.ranked(leaf, bar, count, sign)
        change = sign * ((sign * x).topk(count, -1)[0] - (sign * bar).topk(count, -1)[0])
        for k in range(count):
            (slopes,) = torch.autograd.grad(s[:, k].sum(), leaf, retain_graph=True)
            assert bool(((slopes >= 0) & (slopes <= 1)).all())
            torch.testing.assert_close((slopes * (x - bar)).sum(-1), change[:, k])


def test_the_second_largest_by_hand():
    # x = (3, 1, 2), x̄ = 0: the second largest rises by 2, and x₃ is it.
    class Second(nn.Module):
        def forward(self, x):
            return x.topk(2, -1).values[:, 1:]

    maps = DeepLIFT()(Second().eval(), torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]))
    torch.testing.assert_close(maps, torch.tensor([[0.0, 0.0, 2.0]]))


class Block(nn.Module):
    """A pre-norm block of attention and a gated layer, its norms without biases, as language models have them."""

    def __init__(self, width, norm):
        super().__init__()
        self.norms = nn.ModuleList(norm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(2 * width, width, bias=False)

    def forward(self, x):
        q, k, v = self.qkv(self.norms[0](x)).chunk(3, -1)
        x = x + self.out(F.scaled_dot_product_attention(3 * q, k, v))
        signal, gate = self.up(self.norms[1](x)).chunk(2, -1)
        return x + self.down(signal * F.silu(gate))


class WrittenOut(nn.Module):
    """An RMS norm by arithmetic."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


NORMS = {
    "rms": lambda width: nn.RMSNorm(width, eps=1e-6),
    "written out": WrittenOut,
    "layer": lambda width: nn.LayerNorm(width, bias=False),
}


@pytest.mark.parametrize("norm", NORMS)
def test_norms_from_an_embedding_of_zeros(norm):
    # Seven times 1/(2√ε) would be 1e14 or more. (Integrated gradients jump over the singular point, and miss ΔS.)
    torch.manual_seed(0)
    parts = [Block(16, NORMS[norm]) for _ in range(3)]
    model = nn.Sequential(*parts, NORMS[norm](16), nn.Flatten(), nn.Linear(80, 3)).eval()
    x, targets = torch.randn(4, 5, 16), torch.tensor([0, 1, 2, 0])
    for dtype, room in ((torch.float32, 1e-4), (torch.float64, 1e-8)):
        explained = DeepLIFT().explain(model.to(dtype), x.to(dtype), targets)
        gap, change = missed(explained)
        assert bool((gap <= room * change).all()), gap / change
        path = hp.methods.IntegratedGradients().explain(model, x.to(dtype), targets).diagnostics
        assert bool((explained.diagnostics["condition-number"] <= 2 * path["condition-number"]).all())


class Held(nn.Module):
    """A group norm whose derivative holds what it divides by."""

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, x):
        h = x.unflatten(1, (self.groups, -1)).flatten(2)
        h = h - h.mean(2, keepdim=True)
        return (h / (h.square().mean(2, keepdim=True) + 1e-5).sqrt().detach()).view_as(x)


NORMS_OF_IMAGES = {
    "instance": (lambda: nn.InstanceNorm2d(8), 8),
    "group": (lambda: nn.GroupNorm(4, 8), 4),
    "all channels": (lambda: nn.GroupNorm(1, 8), 1),
}


@pytest.mark.parametrize("name", NORMS_OF_IMAGES)
def test_norms_of_images_from_a_black_picture(name):
    def network(norm):
        torch.manual_seed(0)
        parts = [
            layer
            for i in range(4)
            for layer in (nn.Conv2d(8 if i else 3, 8, 3, padding=1, bias=False), norm(), nn.ReLU())
        ]
        return nn.Sequential(*parts, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(32, 3)).eval()

    norm, groups = NORMS_OF_IMAGES[name]
    x, targets = torch.randn(4, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    explained = DeepLIFT().explain(network(norm).double(), x, targets)
    gap, change = missed(explained)
    assert bool((gap <= 1e-8 * change).all()), gap / change
    single = DeepLIFT().explain(network(norm), x.float(), targets)
    gap, change = missed(single)
    assert bool((gap <= 1e-3 * change).all()), gap / change
    # Nothing but its directions counts: each norm hands on what it divides, each ReLU from 0 has its own derivative.
    held = hp.methods.GradientXInput()(network(lambda: Held(groups)).double(), x, targets)
    torch.testing.assert_close(explained.maps, held)


def test_a_gap_above_a_thousandth_is_a_warning_and_names_the_numbers():
    class Cancels(nn.Module):
        def forward(self, x):  # 1e6 (x₁ + x₂) and a little, in float32
            return (1e6 * x).sum(1, keepdim=True) + 1e-3 * x[:, :1]

    x = torch.tensor([[1.0, -1.0]])
    with pytest.warns(HeatproofWarning, match=r"misses S.x. − S.x̄. by more than 0.1% of it.*condition-number"):
        said = DeepLIFT().explain(Cancels().eval(), x, torch.tensor([0])).diagnostics
    assert float(said["condition-number"]) > 1e8
    maps = DeepLIFT()(Cancels().double().eval(), x.double(), torch.tensor([0]))
    torch.testing.assert_close(maps.sum(), torch.tensor(1e-3, dtype=torch.float64), rtol=1e-5, atol=0)


@dataclass(frozen=True)
class Broken:
    shape: tuple
    value: float = 0.0

    def __call__(self, inputs):
        return inputs.new_full(self.shape, self.value)


def test_its_baseline_is_checked_as_that_of_others():
    x, model = images(), Step(OPERATIONS["smooth"])
    for baseline, message in (
        (Broken((3, 5)), r"Expected a baseline that broadcasts to the inputs .3, 2, 6, 6., but .*gave .3, 5."),
        (Broken((1,), torch.nan), r"Expected a finite baseline, but .* gave NaN or infinity"),
    ):
        for method in (DeepLIFT(baseline=baseline), hp.methods.IntegratedGradients(baseline=baseline)):
            with pytest.raises(InputError, match=message):
                method(model, x, torch.tensor([0, 1, 2]))


def test_a_network_without_a_value_at_the_baseline_says_so():
    model = _Apply(lambda x: x / x.norm(dim=1, keepdim=True)).eval()
    x, targets = torch.tensor([[3.0, 4.0]]), torch.tensor([0])
    with pytest.raises(InputError, match=r"Expected finite outputs at the baseline, .* another baseline than Zero"):
        DeepLIFT()(model, x, targets)
    assert bool(torch.isfinite(DeepLIFT(baseline=hp.baselines.Constant(value=1.0))(model, x, targets)).all())
    infinite = _Apply(lambda x: torch.relu(torch.log(x))).eval()
    with pytest.raises(OperationError, match=r"finite differences .* the result of log is infinite at one"):
        DeepLIFT()(infinite, x, targets)
