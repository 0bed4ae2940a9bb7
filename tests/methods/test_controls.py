"""Controls that know no network."""

import sys

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st
from method_networks import images

from heatproof import InputError
from heatproof.errors import MissingExtraError
from heatproof.methods import EdgeDetector, InputXEdges, InputXRandomGradient, Random
from heatproof.methods.base import METHODS
from reference import methods as reference

TARGETS = torch.tensor([4, 0, 2])


class NeverRun(torch.nn.Module):
    def forward(self, x):
        raise AssertionError("a control must not run the network")


MODEL = NeverRun().eval()
CONTROLS = [Random(), InputXRandomGradient(), EdgeDetector(), EdgeDetector(kind="canny"), InputXEdges()]


@pytest.mark.parametrize("control", CONTROLS, ids=str)
def test_controls_never_run_the_network_and_know_no_label(control):
    assert not control.uses_model
    maps = control(MODEL, images(), TARGETS)
    assert torch.equal(maps, control(MODEL, images(), TARGETS + 90))


def test_all_other_methods_use_the_network():
    ignorant = {name for name in METHODS.names() if not METHODS.get(name).uses_model}
    assert ignorant == {"random", "input-x-random-gradient", "edge-detector", "input-x-edges"}


def test_random_is_standard_normal_and_keyed_by_sample_and_seed():
    x = torch.randn(2, 3, 100, 100)
    maps = Random()(MODEL, x, TARGETS[:2])
    assert maps.shape == x.shape
    # 60 000 draws: four standard errors of the mean, the variance and the fourth moment.
    assert abs(float(maps.mean())) < 4 / 60_000**0.5
    assert abs(float(maps.square().mean()) - 1) < 4 * (2 / 60_000) ** 0.5
    assert abs(float(maps.pow(4).mean()) - 3) < 4 * (96 / 60_000) ** 0.5
    assert torch.equal(Random()(MODEL, x.flip(0), TARGETS[:2]), maps.flip(0))
    assert not bool((Random(seed=1)(MODEL, x, TARGETS[:2]) == maps).any())
    assert not bool((maps[0] == maps[1]).any())


def test_input_x_random_gradient_is_the_input_times_fresh_noise():
    x = images()
    x[:, :, 0] = 0.0
    noise = InputXRandomGradient()(MODEL, x, TARGETS) / x
    assert bool((InputXRandomGradient()(MODEL, x, TARGETS)[:, :, 0] == 0).all())
    other = Random()(MODEL, x, TARGETS)
    correlation = np.corrcoef(noise[:, :, 1:].flatten(), other[:, :, 1:].flatten())[0, 1]
    assert abs(correlation) < 4 / (3 * 2 * 7 * 8) ** 0.5  # not the noise that Random shows


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 2**31))
def test_sobel_equals_the_slow_twin_and_scipy(height, width, seed):
    x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    maps = EdgeDetector(layout="channels-first")(MODEL, x, TARGETS[:2])
    gray = x.mean(1).numpy()
    np.testing.assert_allclose(maps[:, 0], np.stack([reference.sobel(one) for one in gray]), atol=1e-14)
    derivatives = [np.stack([scipy.ndimage.sobel(one, axis, mode="nearest") for one in gray]) for axis in (0, 1)]
    np.testing.assert_allclose(maps[:, 0], np.hypot(*derivatives) / 8, atol=1e-14)


def test_a_ramp_of_one_a_pixel_has_magnitude_one():
    ramp = torch.arange(6.0).expand(1, 2, 5, 6)
    edges = EdgeDetector()(MODEL, ramp, TARGETS[:1])
    assert edges.shape == (1, 1, 5, 6)
    torch.testing.assert_close(edges[..., 1:-1], torch.ones(1, 1, 5, 4))
    torch.testing.assert_close(edges[..., 0], torch.full((1, 1, 5), 0.5))  # the border pixel stands for the one beyond


def test_canny_is_scikit_images_on_images_scaled_to_one():
    feature = pytest.importorskip("skimage.feature")
    x = torch.zeros(3, 2, 20, 20)
    x[0, :, 5:15, 5:15] = 7.0
    x[1] = torch.randn(2, 20, 20, generator=torch.Generator().manual_seed(0))
    edges = EdgeDetector(kind="canny")(MODEL, x, TARGETS)
    assert edges.dtype == x.dtype
    assert set(edges.unique().tolist()) == {0.0, 1.0}
    assert float(edges[2].sum()) == 0.0  # constant
    for i in range(2):
        gray = x[i].mean(0)
        scaled = ((gray - gray.min()) / (gray.max() - gray.min())).numpy()
        np.testing.assert_array_equal(edges[i, 0].numpy(), feature.canny(scaled))
    torch.testing.assert_close(edges[0], EdgeDetector(kind="canny")(MODEL, x / 100 - 3, TARGETS)[0])


def test_input_x_edges_is_their_product():
    for kind in ("sobel", "canny"):
        x = images()
        expected = x * EdgeDetector(kind=kind)(MODEL, x, TARGETS)
        assert torch.equal(InputXEdges(kind=kind)(MODEL, x, TARGETS), expected)


def test_errors_say_what_to_do(monkeypatch):
    for control in (EdgeDetector(), InputXEdges()):
        with pytest.raises(InputError, match=r"\(2, 10, 4\) are series \(N, C, T\) or tokens .* say layout="):
            control(MODEL, torch.zeros(2, 10, 4), TARGETS[:2])
        with pytest.raises(InputError, match=r"Expected images \(N, C, H, W\) to find edges in, but got \(2, 10\)"):
            control(MODEL, torch.zeros(2, 10), TARGETS[:2])
    with pytest.raises(InputError, match=r"Expected images \(N, C, H, W\) to find edges in, but got \(2, 1, 4, 4, 4\)"):
        EdgeDetector(kind="canny")(MODEL, torch.zeros(2, 1, 4, 4, 4), TARGETS[:2])
    with pytest.raises(InputError, match="name of a layout, but got 'nhwc'"):
        InputXEdges(layout="nhwc")
    for kind in (EdgeDetector, InputXEdges):
        with pytest.raises(InputError, match="name of a detector of edges, but got 'cany'; did you mean 'canny'"):
            kind(kind="cany")
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'heatproof\[image\]'"):
        EdgeDetector(kind="canny")(MODEL, images(), TARGETS)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_ramp_of_one_a_pixel_has_magnitude_one_in_every_number_of_directions(dims):
    slopes = torch.tensor([3.0, 4.0, 12.0][:dims], dtype=torch.float64)
    grids = torch.meshgrid(*[torch.arange(5, dtype=torch.float64)] * dims, indexing="ij")
    ramp = sum(slope * grid for slope, grid in zip(slopes, grids, strict=True))
    x = torch.stack([ramp, ramp])[None]
    maps = EdgeDetector(layout="channels-first")(MODEL, x, TARGETS[:1])
    assert maps.shape == (1, 1, *[5] * dims)
    inside = maps[(0, 0, *[slice(1, -1)] * dims)]
    torch.testing.assert_close(inside, torch.full_like(inside, float(slopes.norm())))
    last = EdgeDetector(layout="channels-last")(MODEL, x.movedim(1, -1), TARGETS[:1])
    assert torch.equal(last, maps.movedim(1, -1))
    times = InputXEdges(layout="channels-last")(MODEL, x.movedim(1, -1), TARGETS[:1])
    assert torch.equal(times, x.movedim(1, -1) * last)
