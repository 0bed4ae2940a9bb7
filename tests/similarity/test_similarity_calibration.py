"""Calibration against noise: 001, appendix B."""

import pytest
import torch

from heatproof import draws, similarity
from heatproof.errors import UnknownNameError
from heatproof.similarity import HOG, SSIM, Spearman, map_vs_noise, noise, noise_vs_noise

NAMES = draws.marks(torch.arange(12.0)[:, None])


def test_noise_is_keyed_by_sample_kind_seed_and_replicate():
    maps = torch.randn(4, 6, 6)
    first = noise(maps, "uniform")
    assert torch.equal(noise(maps[2:], "uniform"), first[2:])
    assert torch.equal(noise(torch.zeros(4, 6, 6), "uniform", samples=draws.marks(maps)), first)
    for other in (noise(maps, "uniform", seed=1), noise(maps, "uniform", replicate=1), noise(maps + 1, "uniform")):
        assert not torch.equal(other, first)
    assert not torch.equal(first[0], first[1])


def test_noise_lies_in_the_interval_and_keeps_the_type():
    for dtype in (torch.float32, torch.float64):
        like = torch.zeros(12, 40, 40, dtype=dtype)
        uniform, gaussian = noise(like, "uniform", samples=NAMES), noise(like, "gaussian", samples=NAMES)
        assert uniform.dtype == gaussian.dtype == dtype
        assert torch.equal(gaussian.abs().amax((1, 2)), torch.ones(12, dtype=dtype))
        # Means of 19,200 numbers of variance 1/3; six standard errors.
        assert uniform.mean().item() == pytest.approx(0, abs=6 * (1 / 3 / 19_200) ** 0.5)
        assert uniform.square().mean().item() == pytest.approx(1 / 3, abs=6 * (4 / 45 / 19_200) ** 0.5)


def test_both_calibrations_are_the_measure_on_the_drawn_maps():
    maps, measure = torch.randn(3, 20, 20), SSIM()
    expected = measure(maps, noise(maps, "gaussian", seed=2))
    assert torch.equal(map_vs_noise(measure, maps, "gaussian", seed=2), expected)
    expected = measure(noise(maps, "uniform"), noise(maps, "uniform", replicate=1))
    assert torch.equal(noise_vs_noise(measure, maps, "uniform"), expected)


@pytest.mark.parametrize(
    ("name", "kind", "expected", "spread"),
    [
        # 001 B: 0.078 for uniform noise at 299 × 299. Gaussian noise prefers no direction.
        ("hog", "uniform", 0.078, 0.021),
        ("hog", "gaussian", 0.013, 0.016),
        ("spearman", "uniform", 0.0, 299**-1),
        ("spearman-absolute", "uniform", 0.0, 299**-1),
        ("spearman", "gaussian", 0.0, 299**-1),
        ("mse", "gaussian", 2.0, 2 / 299),
    ],
)
def test_noise_against_noise_gives_the_numbers_of_001(name, kind, expected, spread):
    # 12 maps; three standard errors. `spread` is one map's standard deviation.
    scores = noise_vs_noise(similarity.get(name), torch.zeros(12, 299, 299), kind, samples=NAMES)
    assert scores.mean().item() == pytest.approx(expected, abs=3 * spread / 12**0.5)


def test_a_map_has_nothing_in_common_with_noise():
    x = torch.linspace(0, 6, 224)
    maps = (torch.sin(x) * torch.cos(2 * x)[:, None]).expand(6, 224, 224) + 0.0
    scores = map_vs_noise(Spearman(), maps, "gaussian", samples=NAMES[:6])
    assert scores.mean().item() == pytest.approx(0, abs=4 / 224 / 6**0.5)


def test_an_unknown_kind_of_noise_is_an_error():
    with pytest.raises(UnknownNameError, match="did you mean 'gaussian'"):
        noise_vs_noise(HOG(), torch.zeros(1, 64, 64), "gausian")
