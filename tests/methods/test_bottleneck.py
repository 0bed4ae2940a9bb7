"""The per-sample bottleneck: closed forms, the authors' program, and limits."""

import math
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from quarters import LAYER, blobs, network
from torch import nn

import heatproof as hp
from heatproof.errors import InputError
from heatproof.methods.bottleneck import PerSampleBottleneck
from heatproof.methods.known_layers import found_layer, found_readouts, layer_of, readout_layers_of
from heatproof.methods.restriction import Adam, Mask, Statistics, blurring, enlarged
from heatproof.methods.split import Split
from heatproof.testing import ContractNet, check_method
from reference import bottleneck as twin


@pytest.fixture(scope="module")
def trained():
    """A network that tells the quarters apart, and the bottleneck fitted on it."""
    model = network()
    return model, PerSampleBottleneck(layer=LAYER).fit(model, blobs(256)[0].split(64))


def mask_of(signal, mean, std, *, smoothing=0.0, noise="paper"):
    statistics = Statistics(torch.as_tensor(mean), torch.as_tensor(std), torch.ones_like(torch.as_tensor(mean)))
    return Mask(signal, statistics, smoothing, noise)


def logit(passed):
    return math.log(passed) - math.log1p(-passed)


@given(
    st.floats(-5, 5),
    st.floats(-5, 5),
    st.floats(0.05, 3),
    st.floats(0.01, 0.99),
    st.sampled_from(["paper", "published"]),
)
def test_information_is_the_divergence_of_two_gaussians(signal, mean, std, passed, noise):
    one = torch.full((1, 1, 1, 1), signal, dtype=torch.float64)
    mask = mask_of(one, torch.full_like(one[0], mean), torch.full_like(one[0], std), noise=noise)
    masked = mask(torch.full_like(one, logit(passed)))
    assert masked.nats.item() == pytest.approx(twin.kl(signal, mean, std, passed, noise), rel=1e-9, abs=1e-12)
    assert masked.center.item() == pytest.approx(passed * signal + (1 - passed) * mean, rel=1e-9, abs=1e-12)
    variance = (1 - passed) ** 2 if noise == "paper" else 1 - passed
    assert masked.spread.item() == pytest.approx(math.sqrt(variance) * std, rel=1e-9)


@pytest.mark.parametrize(("noise", "nats"), [("paper", 5.000), ("published", 2.500)])
def test_an_untrained_bottleneck_lets_through_what_table_4_says(noise, nats):
    # (R − μ)² averages to σ² over data; two values one σ from the mean stand for it.
    signal = torch.tensor([1.0, -1.0], dtype=torch.float64).view(2, 1, 1, 1)
    mask = mask_of(signal, torch.zeros(1, 1, 1).double(), torch.ones(1, 1, 1).double(), noise=noise)
    assert mask(torch.full_like(signal, 5.0)).nats.mean().item() == pytest.approx(nats, abs=5e-4)


def test_no_bits_where_nothing_passes_and_no_bound_where_all_does():
    signal = torch.full((1, 1, 1, 1), 2.0, dtype=torch.float64)
    mask = mask_of(signal, torch.zeros(1, 1, 1).double(), torch.ones(1, 1, 1).double())
    assert mask(torch.full_like(signal, -800.0)).nats.item() == 0
    bits = [mask(torch.full_like(signal, alpha)).nats.item() for alpha in (10.0, 100.0, 700.0)]
    assert bits == pytest.approx([10 + 1.5, 100 + 1.5, 700 + 1.5], rel=1e-3)


@given(st.integers(1, 9), st.sampled_from([0.5, 1.0, 2.0]))
def test_blurring_is_a_convolution_with_reflection(size, sigma):
    values = torch.randn(size, size + 1, generator=torch.Generator().manual_seed(size), dtype=torch.float64)
    if size < 2:
        assert torch.allclose(blurring(values, 1, sigma), torch.ones(1, 1, dtype=torch.float64))
        return
    ours = blurring(values, size, sigma) @ values @ blurring(values, size + 1, sigma).T
    torch.testing.assert_close(ours, twin.blurred(values, sigma), rtol=1e-12, atol=1e-12)


def test_blur_of_sigma_1_has_5_taps():
    assert (blurring(torch.zeros(()), 20, 1.0)[10] > 0).sum() == 5


def test_adam_is_torchs():
    value = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    theirs = value.clone().requires_grad_()
    optimizer, ours = torch.optim.Adam([theirs], lr=0.7), Adam(value, 0.7)
    for step in range(5):
        gradient = torch.cos(theirs.detach() * (step + 1))
        theirs.grad = gradient.clone()
        optimizer.step()
        value = ours.step(value, gradient)
    torch.testing.assert_close(value, theirs.detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("size", [(16, 16), (8, 24), (13, 9), (20, 5)])
def test_an_enlarged_map_keeps_its_sum(size):
    bits = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bits[1] = 0
    pixels = enlarged(bits, size)
    torch.testing.assert_close(pixels.flatten(1).sum(1), bits.flatten(1).sum(1), rtol=1e-12, atol=0)
    if size == (16, 16):
        plain = nn.functional.interpolate(bits, size, mode="bilinear", align_corners=False) / 4
        torch.testing.assert_close(pixels, plain, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("noise", "layer", "active"), [("paper", LAYER, 0.01), ("published", LAYER, 0.01), ("paper", "features.4", 0.25)]
)
def test_maps_are_those_of_the_authors_program(trained, noise, layer, active):
    model = trained[0]
    recipe = PerSampleBottleneck(layer=layer, noise=noise, read="last-pass", active=active)
    method = recipe.fit(model, blobs(256)[0].split(64))
    x, y = blobs(3, seed=5)
    maps = method(model, x, y)
    split, fitted, marks = Split(model, layer), method.fitted, hp.draws.marks(x)
    std = fitted["variance"].sqrt().clamp(min=0.01)
    variance = {"paper": "corrected", "published": "published"}[noise]
    carries = (fitted["active"] > active).float()
    assert (0.1 < carries.mean() < 0.9) == (layer != LAYER)  # before the ReLU all are active
    for i in range(3):
        signal = split.below(x[i : i + 1])
        noises = [
            hp.draws.normal(signal, 0, "bottleneck", step, samples=marks[i : i + 1], copies=range(10))[:, 0]
            for step in range(10)
        ]
        above = lambda z, i=i: split.above(z, x[i : i + 1].expand(len(z), -1, -1, -1))  # noqa: E731
        expected = twin.authors(
            above, signal, y[i], fitted["mean"], std, noises, (16, 16), variance=variance, active=carries
        )
        assert torch.corrcoef(torch.stack([maps[i, 0].flatten(), expected.flatten()]))[0, 1] > 0.9999
        torch.testing.assert_close(maps[i, 0], expected, rtol=1e-3, atol=1e-4)


def test_maps_sum_to_the_bits_and_information_is_their_share(trained):
    model, method = trained
    x, y = blobs(4, seed=2)
    explanation = method.explain(model, x, y)
    bits = explanation.diagnostics["bits"]
    assert explanation.maps.shape == (4, 1, 16, 16)
    assert bool((explanation.maps >= 0).all())
    torch.testing.assert_close(explanation.maps.flatten(1).sum(1), bits, rtol=1e-5, atol=0)
    torch.testing.assert_close(explanation.diagnostics["information"], bits * math.log(2) / (8 * 8 * 8))


def test_probabilities_before_and_after(trained):
    model, method = trained
    x, y = blobs(6, seed=3)
    diagnostics = replace(method, beta=0.1).explain(model, x, y).diagnostics
    plain = model(x).softmax(1).gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(diagnostics["probability-before"], plain)
    closed = replace(method, beta=1e6).explain(model, x, y).diagnostics
    assert bool((closed["probability-after"] < plain - 0.1).all())


def test_without_a_price_on_information_only_what_speaks_against_the_label_goes(trained):
    model, method = trained
    x, y = blobs(64, seed=4)
    x = x + 1.5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))  # the network errs on some
    for beta in (0.0, 1e-3):
        diagnostics = replace(method, beta=beta, samples=20).explain(model, x, y).diagnostics
        before, after = diagnostics["probability-before"], diagnostics["probability-after"]
        assert (before < 0.9).sum() >= 10
        fallen = after < before - 1e-4
        # None without a price; with a small one, an image whose label hangs on little may fall under some draws.
        assert int(fallen.sum()) <= (1 if beta else 0)
        assert after.mean() > before.mean() + 0.1


def test_price_alone_closes_the_bottleneck(trained):
    model, method = trained
    x, y = blobs(3, seed=6)
    for steps, most in [(10, 1e-2), (100, 1e-6)]:
        bits = replace(method, beta=1e9, steps=steps, samples=1).explain(model, x, y).diagnostics["bits"]
        assert bool((bits / (8 * 8 * 8) < most).all())


def test_mean_bits_fall_with_the_price_of_information(trained):
    model, method = trained
    x, y = blobs(32, seed=7)
    means = [replace(method, beta=b).explain(model, x, y).diagnostics["bits"].mean().item() for b in (0.1, 1, 10, 100)]
    assert all(higher > lower for higher, lower in pairwise(means))


def test_bits_are_where_the_object_is(trained):
    model, method = trained
    x, y = blobs(32, seed=8)
    maps = replace(method, beta=0.1)(model, x, y)
    quarters = nn.functional.avg_pool2d(maps, 8).flatten(1)
    assert (quarters.argmax(1) == y).float().mean() > 0.9


def test_inactive_features_carry_nothing(trained):
    model, method = trained
    x, y = blobs(3, seed=9)
    assert bool((replace(method, active=1.1)(model, x, y) == 0).all())
    assert torch.equal(replace(method, active=0.5)(model, x, y), method(model, x, y))  # before the ReLU all are active


class Halves(nn.Module):
    """What is positive of an image, and what is negative, as two maps of its size."""

    def __init__(self):
        super().__init__()
        self.signs = nn.Conv2d(1, 2, 1, bias=False)
        self.signs.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
        self.features, self.head = nn.ReLU(), nn.Linear(2, 3)

    def forward(self, x):
        return self.head(self.features(self.signs(x)).mean((2, 3)))


@pytest.mark.parametrize(("settings", "dead"), [({}, 2), ({"active": 0.0}, 0), ({"active": 0.015}, 3)], ids=str)
def test_features_of_at_most_this_share_of_the_data_carry_nothing(settings, dead):
    # The negative half is active at place k on k of 200 images, and nowhere on the others: 0.01 are two of them.
    model = Halves().eval().requires_grad_(False)
    x = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    for place in range(6):
        x[:place, 0, 0, place] *= -1
    method = PerSampleBottleneck(layer="features", steps=0, smoothing=0.0, **settings).fit(model.double(), [x])
    positive, negative = x.clamp(min=0), (-x).clamp(min=0)
    assert torch.equal(method.fitted["active"][1, 0, :6].double(), (torch.arange(6) / 200).float().double())
    one, passed = x[:1], 1 / (1 + math.exp(-5.0))
    expected = 0.0
    for values, half in ((positive, 0), (negative, 1)):
        for y, place in ((y, place) for y in range(8) for place in range(8)):
            seen = values[:, 0, y, place]
            if half == 0 or settings == {"active": 0.0} or (y == 0 and dead < place < 6):
                mean, std = seen.mean().float().item(), seen.var().float().sqrt().clamp(min=0.01).item()
                expected += twin.kl(seen[0].item(), mean, std, passed)
    found = method.explain(model, one, torch.zeros(1, dtype=torch.int64)).diagnostics
    assert found["information"].item() == pytest.approx(expected / 128, rel=1e-5)
    assert found["bits"].item() == pytest.approx(expected / math.log(2), rel=1e-5)


def test_a_feature_that_data_hardly_showed_no_longer_carries_nearly_everything():
    # Seen on one of 200 images its σ is small, and where it is seen (R − μ)²/σ² is (n − 1)²/n: 198 instead of 1.
    model = Halves().double().eval().requires_grad_(False)
    x = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    x[0, 0, 0, 0] *= -1
    label = torch.zeros(1, dtype=torch.int64)
    nats = {
        active: PerSampleBottleneck(layer="features", steps=0, smoothing=0.0, active=active)
        .fit(model, [x])
        .explain(model, x[:1], label)
        .diagnostics["information"]
        .item()
        for active in (0.0, 0.01)
    }
    passed = 1 / (1 + math.exp(-5.0))
    seen = (-x[:, 0, 0, 0]).clamp(min=0)
    alone = twin.kl(seen[0].item(), seen.mean().item(), seen.std().item(), passed)
    assert alone == pytest.approx(-math.log1p(-passed) + 0.5 * (passed**2 * 199**2 / 200 + (1 - passed) ** 2 - 1))
    silent = twin.kl(0.0, 0.0, 0.01, passed)  # what 63 places let through that never say anything
    assert (nats[0.0] - nats[0.01]) * 128 == pytest.approx(alone + 63 * silent, rel=1e-5)
    assert PerSampleBottleneck().active == hp.methods.get("iba-readout").active == 0.01


def test_maps_do_not_depend_on_the_rest_of_the_batch(trained):
    model, (x, y) = deepcopy(trained[0]).double(), blobs(30, seed=1)
    method = trained[1]
    together = method(model, x.double(), y)
    torch.testing.assert_close(method(model, x[7:8].double(), y[7:8]), together[7:8], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("settings", [{}, {"noise": "published", "read": "last-pass"}, {"smoothing": 0.0}], ids=str)
def test_the_contract(settings):
    model = ContractNet()
    images = torch.randn(24, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    check_method(PerSampleBottleneck(layer=LAYER, steps=3, samples=3, **settings).fit(model, [images]))


def test_declared_for_changed_networks():
    assert PerSampleBottleneck.on_changed_model == "refit"


def test_layers_of_known_networks():
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        assert layer_of(None, models.vgg16()) == "features.17"
        assert layer_of(None, models.vgg11_bn()) == "features.15"
        assert layer_of(None, models.resnet50()) == "layer2"
        assert readout_layers_of(None, (), models.resnet18()) == (
            "layer1",
            (*(f"layer{i}" for i in (1, 2, 3, 4)), "fc"),
        )
        vgg = tuple(f"features.{i}" for i in (10, 17, 24, 28))
        assert readout_layers_of(None, (), models.vgg16()) == (vgg[0], (*vgg, "classifier"))
        assert readout_layers_of("a", ("b",), models.vgg16()) == ("a", ("b",))
        assert layer_of("layer1", models.resnet50()) == "layer1"
        assert layer_of(None, models.squeezenet1_0()) is None
        assert readout_layers_of(None, (), models.squeezenet1_0()) == (None, ())


class Skipping(nn.Module):
    """Three maps; a connection leads around the second, and the outputs see the third through pooling."""

    def __init__(self):
        super().__init__()
        self.first, self.inner = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(4, 3)

    def forward(self, x):
        h = self.first(x)
        return self.head(self.pool(h + self.inner(h)).mean((2, 3)))


def test_layers_of_other_networks_are_found():
    x = torch.rand(2, 1, 16, 16)
    quarters = network()
    assert found_layer(quarters, x) == "features"  # 8 places of 16 pixels; 4 after pooling would be too few
    assert found_readouts(quarters, x, None) == ("features", ("features", "head.0", "head"))
    assert found_readouts(quarters, x, "features.0") == ("features.0", ("features.1", "features", "head.0", "head"))
    skipping = Skipping().eval()
    assert found_layer(skipping, x) == "pool"
    assert found_layer(skipping, x[:, :, :12, :12]) == "first"  # pooling leaves 6 places, and no skip leads around it
    with pytest.raises(InputError, match=r"everything passes through on images .*, but found none; name a layer"):
        found_layer(nn.Sequential(nn.Flatten(), nn.Linear(256, 3)).eval(), x)


@pytest.mark.slow
def test_the_rule_finds_what_004_chose():
    models = pytest.importorskip("torchvision.models")
    x = torch.rand(1, 3, 224, 224)
    resnet = models.resnet50().eval()
    assert found_layer(resnet, x) == layer_of(None, resnet)
    assert found_readouts(resnet, x, None) == readout_layers_of(None, (), resnet)
    assert found_layer(models.vgg16().eval(), x) == "features.22"  # conv4_3 where 004 takes conv4_1: 28 places both
    assert found_layer(models.squeezenet1_1().eval(), x) == "features.7"
    assert found_layer(models.densenet121().eval(), x) == "features.transition2.conv"


def test_a_layer_that_is_not_named_is_found_in_fitting(trained):
    model, _ = trained
    x, y = blobs(32)
    method = PerSampleBottleneck(steps=2, samples=2).fit(model, [x])
    assert method.fitted.facts["layer"] == "features"
    named = PerSampleBottleneck(layer="features", steps=2, samples=2).fit(model, iter([x]))
    assert torch.equal(method(model, x[:2], y[:2]), named(model, x[:2], y[:2]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": -1}, "steps to be at least 0"),
        ({"samples": 0}, "samples to be at least 1"),
        ({"beta": -1.0}, "beta to be finite and at least 0"),
        ({"smoothing": math.nan}, "smoothing to be finite"),
        ({"rate": 0.0}, "rate to be finite and above 0"),
        ({"noise": "none"}, "noise to be 'paper' or 'published'"),
        ({"read": "first"}, "read to be 'final' or 'last-pass'"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(InputError, match=message):
        PerSampleBottleneck(**settings)


def test_what_it_cannot_explain_is_named(trained):
    model, method = trained
    x, y = blobs(2)
    with pytest.raises(InputError, match=r"feature maps \(N, C, h, w\), but got \(2, 4\)"):
        PerSampleBottleneck(layer="head.2").fit(model, [x])
    with pytest.raises(InputError, match=r"model runs on, .* give inputs of the size that it was trained on"):
        method(model, x[:, :, ::2, ::2], y)
    single = hp.models.Bound(model, output=lambda logits: logits[:, :1])
    with pytest.raises(InputError, match="at least 2 outputs"):
        PerSampleBottleneck(layer=LAYER).fit(single, [x])(single, x, torch.zeros_like(y))
    cut = hp.models.Bound(model, output=torch.Tensor.detach)
    fitted = PerSampleBottleneck(layer=LAYER).fit(cut, [x])
    with pytest.raises(InputError, match="no path leads back"), torch.no_grad():
        fitted(cut, x, y)
