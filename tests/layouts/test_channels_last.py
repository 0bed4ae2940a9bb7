"""A network that takes channels last gets the maps of the one that takes them first."""

import pytest
import torch
from layout_networks import Pooling, noise, seeded
from torch import nn

from heatproof import baselines
from heatproof.errors import InputError
from heatproof.methods import (
    LRP,
    DeepLIFT,
    DeepTaylor,
    EdgeDetector,
    InputXEdges,
    IntegratedGradients,
    MeaningfulPerturbation,
    Occlusion,
    PerSampleBottleneck,
    SmoothGrad,
)
from heatproof.methods.noise import _sigma


class Last(nn.Module):
    """(N, …, C) for a network of (N, C, …)."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.movedim(-1, 1))


TARGETS = torch.tensor([0, 3])
FIRST = seeded(lambda: Pooling(2))
LAST = Last(FIRST).eval()
IMAGES = noise(2, 2, 7, 8)
PER_CHANNEL = [baselines.Mean(), baselines.Blur(sigma=1.0)]
METHODS = [
    *(IntegratedGradients(steps=2, baseline=one) for one in PER_CHANNEL),
    *(DeepLIFT(baseline=one) for one in PER_CHANNEL),
    *(Occlusion(window=3, baseline=one) for one in PER_CHANNEL),
    MeaningfulPerturbation(steps=3, scale=2, mask_sigma=1.0, jitter=1),
    DeepTaylor(),
    DeepTaylor(low=(-4.0, -5.0), high=(4.0, 5.0)),
    LRP(composite="epsilon-gamma-box"),
]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_maps_do_not_depend_on_where_channels_stand(method):
    first = method(FIRST, IMAGES, TARGETS)
    last = method(LAST, IMAGES.movedim(1, -1).contiguous(), TARGETS)
    torch.testing.assert_close(last.movedim(-1, 1), first, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", [EdgeDetector(), InputXEdges()], ids=str)
def test_edges_are_found_in_positions(method):
    net, images = Last(FIRST).eval(), IMAGES.movedim(1, -1).contiguous()
    torch.testing.assert_close(method(net, images, TARGETS).movedim(-1, 1), method(FIRST, IMAGES, TARGETS))


def test_edges_of_images_without_channels():
    class Gray(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Pooling(2, channels=1)

        def forward(self, x):
            return self.net(x[:, None])

    net, images = seeded(Gray), IMAGES[:, 0]
    Occlusion()(net, images, TARGETS)
    edges = EdgeDetector()(net, images, TARGETS)
    torch.testing.assert_close(edges[:, None], EdgeDetector(layout="channels-first")(net, images[:, None], TARGETS))


def test_the_mean_of_tokens_is_their_mean_embedding():
    class Texts(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.head = nn.Linear(3, 3), nn.Linear(3, 4)

        def forward(self, x):
            return self.head(self.mix(x).relu().mean(1))

    net, x = seeded(Texts), noise(2, 5, 3)
    mean = baselines.resolved(baselines.Mean(), net, x)
    torch.testing.assert_close(mean, x.mean(1, keepdim=True).expand_as(x))
    whole = baselines.resolved(baselines.Mean(layout="channels-first"), net, x)
    torch.testing.assert_close(whole, x.mean(2, keepdim=True).expand_as(x))


def test_where_nothing_tells_the_channels_a_mean_is_asked_for_them():
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(15, 4)))
    x = noise(2, 5, 3)
    with pytest.raises(InputError, match="layout='channels-first'"):
        IntegratedGradients(baseline=baselines.Mean())(net, x, TARGETS)
    IntegratedGradients(baseline=baselines.Mean(layout="channels-last"))(net, x, TARGETS)
    box = DeepTaylor()(net, x, TARGETS)  # of all values together
    torch.testing.assert_close(box, DeepTaylor()(net[1], x.flatten(1), TARGETS).view_as(box))


def test_ranges_are_those_of_channels():
    sigma = _sigma(LAST, IMAGES.movedim(1, -1), 0.5, (2.0, 4.0), None)
    assert sigma.shape == (2, 7, 8, 2)
    assert sigma[0, 0, 0].tolist() == [1.0, 2.0]
    with pytest.raises(InputError, match=r"a number a column or channel, 2 of inputs \(2, 7, 8, 2\), but got 7"):
        SmoothGrad(scale=(1.0,) * 7)(LAST, IMAGES.movedim(1, -1), TARGETS)


def test_a_box_of_other_channels_is_refused():
    with pytest.raises(InputError, match=r"or 2, one a channel of inputs \(2, 7, 8, 2\), but got 7 and 7"):
        DeepTaylor(low=(-9.0,) * 7, high=(9.0,) * 7)(LAST, IMAGES.movedim(1, -1), TARGETS)


def test_bits_stand_where_pixels_do():
    method = PerSampleBottleneck(layer="features.1", steps=2, samples=2, smoothing=0.0)
    named = PerSampleBottleneck(layer="net.features.1", steps=2, samples=2, smoothing=0.0)
    images = noise(6, 2, 7, 8)
    fitted = method.fit(FIRST, [images]), named.fit(LAST, [images.movedim(1, -1)])
    first, last = (
        one.explain(net, x, TARGETS)
        for one, net, x in zip(fitted, (FIRST, LAST), (IMAGES, IMAGES.movedim(1, -1)), strict=True)
    )
    assert first.maps.shape == (2, 1, 7, 8)
    assert last.maps.shape == (2, 7, 8, 1)
    for one in (first, last):
        torch.testing.assert_close(one.maps.flatten(1).sum(1), one.diagnostics["bits"], rtol=1e-9, atol=1e-12)
