"""Competition from the features of the last linear layer."""

import pytest
import torch
from method_networks import images, linear
from torch import nn

from heatproof import InputError
from heatproof.methods import Competitive, Gradient, GradientXInput, IntegratedGradients, SmoothGrad
from heatproof.methods import competition as module
from heatproof.methods.backward import GradientPull, gradients
from heatproof.models import Bound

TARGETS = torch.tensor([11, 0, 7])


def wide(*, bias=True, labels=12, width=6):
    """A CNN whose last linear layer has more labels than features."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        layers = [
            nn.Conv2d(2, width, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, labels, bias),
        ]
    return nn.Sequential(*layers).double().eval()


class Skipping(nn.Module):
    """Tables (N, 7) → 7 labels by a product of matrices that the inputs reach through more than its first operand."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            self.down, self.skip, self.up = nn.Linear(7, 3), nn.Linear(7, 7), nn.Linear(3, 7, bias=False)
        self.double().eval()

    def forward(self, x):
        h, weight = self.down(x).relu(), self.up.weight.T
        if self.way == "a bias computed from the inputs":
            return torch.addmm(self.skip(x), h, weight)
        if self.way == "the inputs as the bias":
            return torch.addmm(x, h, weight)
        if self.way == "the inputs, transposed":
            return torch.addmm(x.T, h, weight)
        return torch.mm(h, weight * x.mean())  # a weight computed from the inputs


SKIPS = [
    "a bias computed from the inputs", "the inputs as the bias", "the inputs, transposed",
    "a weight computed from the inputs",
]  # fmt: skip


@pytest.mark.parametrize("way", SKIPS)
def test_layers_that_the_inputs_reach_in_two_ways_pull_labels(way):
    model = Skipping(way)
    x = torch.randn(7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    assert gradients(model, x).pull.factor() is None
    if way in ("a weight computed from the inputs", "the inputs, transposed"):  # which mix samples
        return
    auto, off = (Competitive(GradientXInput(), rank=rank)(model, x, torch.arange(7)) for rank in ("auto", "off"))
    assert torch.equal(auto, off)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_plain_linear_layer_has_a_factor(bias, frozen):
    model = wide(bias=bias).requires_grad_(not frozen)
    factor = gradients(model, images()).pull.factor()
    assert torch.equal(factor.weight, model[-1].weight.detach())


def class_map(**settings):
    """A network whose class map's mean over positions is explained, as SqueezeNet's."""
    conv = nn.Conv2d(6, 12, 1, **settings)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7)))
    net = nn.Sequential(wide()[0], nn.ReLU(), nn.Dropout(), conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Bound(net.double().eval(), layer="3")


@pytest.mark.parametrize("settings", [{}, {"bias": False}])
def test_the_convolution_of_a_class_map_has_a_factor(settings):
    model = class_map(**settings)
    factor = gradients(model, images()).pull.factor()
    assert torch.equal(factor.weight, model.net[3].weight.detach()[:, :, 0, 0])
    agree(model, images(), TARGETS)


@pytest.mark.parametrize("settings", [{"stride": 2}, {"padding": 1}, {"groups": 2}])
def test_other_convolutions_pull_labels(settings):
    assert gradients(class_map(**settings), images()).pull.factor() is None


def test_another_reduction_of_a_class_map_pulls_labels():
    assert gradients(Bound(class_map().net, layer="3", reduction="max"), images()).pull.factor() is None


class Ending(nn.Module):
    """A network that ends in a linear layer, and then does one thing more; or seems to."""

    def __init__(self, way):
        super().__init__()
        self.way, self.base = way, wide()[:2]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(8)
            labels = 24 if way in ("pairs of maps", "folded positions") else 12
            self.fc, self.conv = nn.Linear(6, 12), nn.Conv2d(6, labels, 1)
            self.tied = nn.Linear(6, 6, bias=False)
        self.double().eval()

    def forward(self, x):
        h = self.base(x)
        pooled = h.mean((2, 3))
        n = len(x)
        return {
            "pairs of maps": lambda: self.conv(h).view(n, 12, -1).mean(2),
            "folded positions": lambda: self.conv(h).reshape(n, 12, -1).mean(2),
            "maps of rows": lambda: self.conv(h[:, :, :, :1].expand(-1, -1, -1, 6)).view(n, 12, -1).mean(2),
            "swapped maps": lambda: self.conv(h).transpose(2, 3).reshape(n, 12, -1).mean(2),
            "features first": lambda: self.conv(h).view(n, -1, 12).mean(1),
            "another order": lambda: self.fc(pooled)[:, torch.arange(11, -1, -1)],
            "a view of the weight": lambda: torch.addmm(self.fc.bias, pooled, self.fc.weight.view(6, 12)),
            "a scaled mean": lambda: 3 * self.conv(h).flatten(2).mean(2),
            "the weight twice": lambda: torch.mm(torch.mm(pooled, self.tied.weight.T), self.fc.weight.T),
            "features read twice": lambda: self.fc(pooled) + pooled.repeat(1, 2),
            "features read before": lambda: self.fc(pooled * pooled.sum(1, keepdim=True)),
            "the input beside": lambda: torch.addmm(
                x.mean((1, 2, 3))[:, None].expand(-1, 12), pooled, self.fc.weight.T
            ),
            "scaled by its input": lambda: torch.addmm(self.fc.bias, pooled, self.fc.weight.T, beta=0.5, alpha=2),
        }[self.way]()


@pytest.mark.parametrize(
    "way",
    [
        "pairs of maps", "folded positions", "maps of rows", "swapped maps", "features first", "another order",
        "a view of the weight", "a scaled mean", "the weight twice", "features read twice", "features read before",
        "the input beside", "scaled by its input",
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_short_way_is_taken_only_where_it_is_right(way, dtype):
    model, x = Ending(way).to(dtype), images(dtype=dtype)
    auto, off = (Competitive(Gradient(), rank=rank)(model, x, TARGETS) for rank in ("auto", "off"))
    scale = float(off.abs().max())
    assert scale > 0
    differing = (auto - off).abs() > 1e-5 * scale  # in float32, a near-tie
    assert int(differing.sum()) <= (1 if dtype == torch.float32 else 0)


def test_a_wrong_factor_is_found_out(monkeypatch):
    model, x = wide(), images()
    right = GradientPull.factor
    monkeypatch.setattr(GradientPull, "factor", lambda pull: right(pull)._replace(weight=right(pull).weight.flip(0)))
    auto, off = (Competitive(GradientXInput(), rank=rank)(model, x, TARGETS) for rank in ("auto", "off"))
    assert torch.equal(auto, off)


def test_the_cost_counts_the_proof():
    plain, proved = (Competitive(GradientXInput(), rank=rank).cost(12, (2, 8, 8)) for rank in ("off", "auto"))
    assert proved - plain == pytest.approx(4 / 3)


@pytest.fixture
def by_rank_alone(monkeypatch):
    def refuse(*_):
        raise AssertionError("labels were pulled one by one")

    monkeypatch.setattr(module, "_by_labels", refuse)


@pytest.fixture
def by_labels_alone(monkeypatch):
    def refuse(*_):
        raise AssertionError("features were pulled")

    monkeypatch.setattr(module, "_by_rank", refuse)


def agree(model, x, y, **settings):
    """Both ways: the same support, values and diagnostics, up to rounding in float64."""
    inner = settings.pop("inner", GradientXInput())
    labels = Competitive(inner, rank="off", **settings).explain(model, x, y)
    features = Competitive(inner, **settings).explain(model, x, y)
    assert torch.equal(features.maps != 0, labels.maps != 0)
    assert 0 < int((labels.maps != 0).sum()) < labels.maps.numel()
    torch.testing.assert_close(features.maps, labels.maps, rtol=1e-10, atol=1e-15)
    assert features.diagnostics.keys() == labels.diagnostics.keys()
    for name, value in labels.diagnostics.items():
        torch.testing.assert_close(features.diagnostics[name], value, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("per", ["scalar", "pixel"])
@pytest.mark.parametrize("inner", [Gradient(), GradientXInput()], ids=str)
def test_features_and_labels_agree(inner, per):
    agree(wide(), images(), TARGETS, inner=inner, per=per)


@pytest.mark.parametrize("settings", [{"bias": False}, {"labels": 40}, {"width": 1}])
def test_other_heads_agree(settings):
    agree(wide(**settings), images(), TARGETS)


def test_a_layer_that_reads_the_input_agrees():
    agree(linear(torch.randn(9, 4)), torch.randn(30, 4, dtype=torch.float64), torch.arange(30) % 9)


def test_frozen_weights_agree():
    agree(wide().requires_grad_(False), images(), TARGETS)


@pytest.mark.parametrize("samples", [1, 2])
def test_blocks_and_tiles_agree(samples, monkeypatch):
    monkeypatch.setattr(module, "RANK_BUDGET", samples * 6 * 128 + 5)
    monkeypatch.setattr(module, "TILE", 12 * 50)
    agree(wide(), images(), TARGETS)


def test_blocks_of_bound_models_keep_their_side_inputs(monkeypatch):
    class Gained(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = wide()

        def forward(self, x, gain):
            return self.net(x * gain[:, None, None, None])

    bound = Bound(Gained().eval(), given={"gain": torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)})
    monkeypatch.setattr(module, "RANK_BUDGET", 2 * 6 * 128)
    agree(bound, images(), TARGETS)


@pytest.mark.usefixtures("by_rank_alone")
def test_features_are_pulled_where_labels_outnumber_them():
    Competitive(GradientXInput())(wide(), images(), TARGETS)
    Competitive(Gradient())(wide(), images(), TARGETS)


@pytest.mark.usefixtures("by_labels_alone")
@pytest.mark.parametrize(
    ("model", "method"),
    [
        (wide(labels=12, width=12), Competitive(GradientXInput())),
        (wide(), Competitive(GradientXInput(), rank="off")),
        (wide(), Competitive(IntegratedGradients(steps=2))),
        (wide(), Competitive(SmoothGrad(samples=2))),
        (nn.Sequential(wide(), nn.Tanh()).eval(), Competitive(GradientXInput())),
    ],
    ids=["as many features", "off", "path", "noise", "not linear at the end"],
)
def test_labels_are_pulled_elsewhere(model, method):
    method(model, images(), TARGETS)


@pytest.mark.usefixtures("by_labels_alone")
def test_labels_are_pulled_where_features_do_not_fit(monkeypatch):
    monkeypatch.setattr(module, "RANK_BUDGET", 6 * 128 - 1)
    Competitive(GradientXInput())(wide(), images(), TARGETS)


@pytest.mark.usefixtures("by_labels_alone")
def test_labels_are_pulled_where_products_are_rounded():
    torch.set_float32_matmul_precision("high")
    try:
        Competitive(GradientXInput())(wide().float(), images().float(), TARGETS)
    finally:
        torch.set_float32_matmul_precision("highest")


def test_unknown_setting():
    with pytest.raises(InputError, match="name of a use of the rank, but got 'always'; known are: auto, off"):
        Competitive(GradientXInput(), rank="always")


def test_the_budget_is_an_eighth_of_an_accelerators_memory(monkeypatch):
    monkeypatch.setattr(module, "memory", lambda _: 16 * 2**30)
    assert module._rank_budget(torch.zeros(1, device="meta")) == 2**29  # of 4 bytes
    assert module._rank_budget(torch.zeros(1, device="meta", dtype=torch.float64)) == 2**28
    assert module._rank_budget(torch.zeros(1)) == module.RANK_BUDGET == 2**27
