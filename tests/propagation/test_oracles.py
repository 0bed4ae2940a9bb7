"""Peers as oracles where their formula is the paper's, and tests that show where they are wrong and we are not."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from heatproof.methods.deeplift import DeepLIFT
from heatproof.methods.guided import Deconvnet, GuidedBackprop
from heatproof.methods.lrp import LRP
from heatproof.propagation.composites import Composite
from heatproof.propagation.first_rules import Box, Flat
from heatproof.propagation.rules import AlphaBeta, Epsilon, Gamma, z_plus

models = pytest.importorskip("torchvision.models")
zennit_composites = pytest.importorskip("zennit.composites")
zennit_torchvision = pytest.importorskip("zennit.torchvision")
zennit_attribution = pytest.importorskip("zennit.attribution")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    captum = pytest.importorskip("captum.attr")

EPSILON = Epsilon()
# Zennit counts the bias in z⁺ and αβ, and its ε is absolute; its name for the composite, and ours with that setting.
COMPOSITES = {
    "EpsilonPlus": Composite(convolution=z_plus(bias="counted"), dense=EPSILON),
    "EpsilonPlusFlat": Composite(convolution=z_plus(bias="counted"), dense=EPSILON, first=Flat()),
    "EpsilonAlpha2Beta1": Composite(convolution=AlphaBeta(bias="counted"), dense=EPSILON),
    "EpsilonAlpha2Beta1Flat": Composite(convolution=AlphaBeta(bias="counted"), dense=EPSILON, first=Flat()),
    "EpsilonGammaBox": Composite(convolution=Gamma(), dense=EPSILON, first=Box(low=-3.0, high=3.0)),
}
COMPOSITES = {name: composite.stabilized("absolute") for name, composite in COMPOSITES.items()}
NETWORKS = {"vgg16": "VGGCanonizer", "resnet18": "ResNetCanonizer", "resnet50": "ResNetCanonizer"}
CASES = [
    pytest.param(network, name, marks=[] if network == "resnet18" and "Flat" not in name else [pytest.mark.slow])
    for network in NETWORKS
    for name in COMPOSITES
]


def zennits(model, x, targets, name, canonizer):
    box = {}
    if "Box" in name:
        box = {"low": torch.full((1, 3, 1, 1), -3.0).to(x), "high": torch.full((1, 3, 1, 1), 3.0).to(x)}
    composite = getattr(zennit_composites, name)(canonizers=[getattr(zennit_torchvision, canonizer)()], **box)
    with zennit_attribution.Gradient(copy.deepcopy(model), composite) as attributor:
        _, relevance = attributor(x, lambda out: out * torch.eye(out.shape[1]).to(out)[targets])
    return relevance


def without_epsilon(model):
    """The same function with each batch norm's ε in its variance.

    Zennit's canonizer folds a batch norm and leaves another, of unit variance, with the ε still in it: each layer
    shrinks by 5e-6, which flips ReLUs. That is the whole difference; this setting removes it.
    """
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if isinstance(module, _BatchNorm):
            module.running_var += module.eps
            module.eps = 0.0
    return twin.eval()


@pytest.mark.parametrize(("network", "name"), CASES)
def test_zennit_agrees(calibrated, network, name):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64).clamp(-3, 3)
    model = without_epsilon(calibrated(getattr(models, network)(weights=None).double(), x))
    targets = torch.tensor([3, 5])
    ours = LRP(composite=COMPOSITES[name])(model, x, targets)
    theirs = zennits(model, x, targets, name, NETWORKS[network])
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-3


@pytest.mark.parametrize("name", ["EpsilonPlus", "EpsilonAlpha2Beta1", "EpsilonPlusFlat"])
def test_zennits_epsilon_is_the_absolute_one(name):
    torch.manual_seed(1)
    layers = nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3, bias=False)
    model, targets = nn.Sequential(*layers).double().eval(), torch.tensor([0, 1, 2, 0])
    x = 1e-6 * small_images()
    with zennit_attribution.Gradient(copy.deepcopy(model), getattr(zennit_composites, name)()) as attributor:
        _, theirs = attributor(x, lambda out: out * torch.eye(3).to(out)[targets])
    absolute = LRP(composite=COMPOSITES[name])(model, x, targets)
    assert float((absolute - theirs).abs().max() / theirs.abs().max()) < 1e-9
    relative = LRP(composite=COMPOSITES[name].stabilized("relative"))(model, x, targets)
    assert float(absolute.abs().sum() / relative.abs().sum()) < 0.5  # ε takes the rest


@pytest.mark.slow
def test_zennits_canonized_batch_norms_keep_their_epsilon(calibrated):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64).clamp(-3, 3)
    model, targets = calibrated(models.resnet50(weights=None).double(), x), torch.tensor([3, 5])
    ours = LRP(composite=COMPOSITES["EpsilonPlus"])(model, x, targets)
    theirs = zennits(model, x, targets, "EpsilonPlus", "ResNetCanonizer")
    assert float((ours - theirs).abs().max() / theirs.abs().max()) > 1e-3


def small(activation=nn.ReLU):
    # No max-pooling: there both are complete, by different rules (Captum shares a window between two winners).
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), activation(), nn.Conv2d(4, 6, 3), activation(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(24, 8), activation(), nn.Linear(8, 3),
    ).double().eval()  # fmt: skip


def small_images():
    return torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Softplus])
@pytest.mark.filterwarnings("ignore")
def test_captums_deeplift_agrees_on_sequential_networks(activation):
    model, x, targets = small(activation), small_images(), torch.tensor([0, 1, 2, 0])
    theirs = captum.DeepLift(model).attribute(x, target=targets)
    torch.testing.assert_close(DeepLIFT()(model, x, targets), theirs.detach(), rtol=1e-5, atol=1e-8)


@pytest.mark.filterwarnings("ignore")
def test_captums_guided_backprop_and_deconvnet_agree():
    model, x, targets = small(), small_images(), torch.tensor([0, 1, 2, 0])
    for ours, theirs in ((GuidedBackprop(), captum.GuidedBackprop), (Deconvnet(), captum.Deconvolution)):
        expected = theirs(copy.deepcopy(model)).attribute(x.clone(), target=targets)
        torch.testing.assert_close(ours(model, x, targets), expected.detach())


class Hidden(nn.Module):
    """A network of the kind that hooks on modules get wrong."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(4)
        self.how, self.relu = how, nn.ReLU()
        self.first, self.second, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.LazyLinear(3)
        self.pool, self.softmax = nn.MaxPool2d(3, 1), nn.Softmax(1)

    def forward(self, x):
        h, g = self.first(x), self.second
        if self.how == "functional":
            h = F.relu(g(F.relu(h)))
        elif self.how == "inline":
            h = g(h.clamp(min=0)).relu()
        elif self.how == "product":
            h = torch.sigmoid(h) * h
        elif self.how == "overlapping pool":
            h = self.pool(h)
        else:
            h = self.softmax(5 * h) * 1.0
        return self.head(h.flatten(1))


@pytest.mark.parametrize("how", ["functional", "inline", "product", "overlapping pool", "softmax"])
@pytest.mark.filterwarnings("ignore")
def test_ours_is_complete_where_captums_is_not(how):
    model, x, targets = Hidden(how), small_images(), torch.tensor([0, 1, 2, 0])
    model.double()(x)
    model.eval()
    explained = DeepLIFT().explain(model, x, targets)
    total = explained.maps.abs().flatten(1).sum(1)
    change = explained.diagnostics["score"] - explained.diagnostics["baseline-score"]
    assert bool((explained.diagnostics["completeness-gap"].abs() <= 1e-8 * total).all())
    theirs = captum.DeepLift(model).attribute(x, target=targets).detach()
    gap = theirs.flatten(1).sum(1) - change
    assert float((gap.abs() / theirs.abs().flatten(1).sum(1)).max()) > 1e-3


@pytest.mark.filterwarnings("ignore")
def test_a_reused_relu_stops_captum_and_not_us():
    class Reused(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(4)
            self.relu, self.first, self.second = nn.ReLU(), nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x):
            return self.relu(self.second(self.relu(self.first(x))))

    model = Reused().double().eval()
    x, targets = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 1, 2])
    explained = DeepLIFT().explain(model, x, targets)
    assert float(explained.diagnostics["completeness-gap"].abs().max()) < 1e-12
    change = explained.diagnostics["score"] - explained.diagnostics["baseline-score"]
    try:
        theirs = captum.DeepLift(model).attribute(x, target=targets)
    except (AssertionError, RuntimeError):
        return
    assert float((theirs.sum(1) - change).abs().max()) > 1e-3
