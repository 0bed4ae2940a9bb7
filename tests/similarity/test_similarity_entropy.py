"""Entropy of a map's histogram: closed forms, the slow twin, degenerate maps, settings."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heatproof.errors import InputError, UnknownNameError
from heatproof.similarity.entropy import RULES, entropies
from reference import similarity as reference


def pair(count=4, *, seed=0, dtype=torch.float64):
    stream = torch.Generator().manual_seed(seed)
    maps = torch.randn(count, 12, 11, dtype=dtype, generator=stream)
    return maps, torch.rand(count, 12, 11, dtype=dtype, generator=stream) ** 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("span", ["shared", "own"])
@pytest.mark.parametrize("bins", [2, 7, 100])
def test_entropies_agree_with_the_slow_twin(bins, span, dtype):
    maps, other = pair(dtype=dtype)
    before, after = entropies(maps, other, bins=bins, span=span)
    rise = (after - before) / before
    for i in range(len(maps)):
        expected = reference.entropy_rise(maps[i].tolist(), other[i].tolist(), bins, shared=span == "shared")
        assert float(rise[i]) == pytest.approx(expected, abs=1e-9)


def test_own_spans_are_numpys_histograms():
    maps, other = pair()
    for found, images in zip(entropies(maps, other, bins=50, span="own"), (maps, other), strict=True):
        for entropy, image in zip(found.tolist(), images, strict=True):
            shares = np.histogram(image.numpy(), bins=50)[0] / image.numel()
            assert entropy == pytest.approx(-sum(p * math.log2(p) for p in shares if p), abs=1e-9)


@pytest.mark.parametrize("rule", list(RULES))
def test_rules_choose_bins_as_numpy_does_from_the_first_map(rule):
    names = {"square-root": "sqrt", "sturges": "sturges", "freedman-diaconis": "fd"}
    maps, other = pair()
    before, _ = entropies(maps, other, bins=rule, span="own", normalization="none")
    for entropy, image in zip(before.tolist(), maps, strict=True):
        count = min(max(len(np.histogram_bin_edges(image.numpy(), names[rule])) - 1, 10), 200)
        flat = image.flatten().tolist()
        assert entropy == pytest.approx(reference.histogram_entropy(flat, min(flat), max(flat), count), abs=1e-9)


def test_values_in_every_bin_alike_have_the_most_entropy():
    values = torch.arange(64, dtype=torch.float64).reshape(1, 8, 8)
    assert entropies(values, values, bins=16)[0].item() == pytest.approx(4.0)
    two = (values > 31).double()
    assert entropies(two, two, bins=16)[0].item() == pytest.approx(1.0)


@given(st.integers(0, 99), st.integers(-60, 60))
def test_scale_and_order_do_not_matter(seed, power):
    maps, other = pair(1, seed=seed)
    # Powers of two scale without rounding, so that no value changes its bin.
    for one, same in zip(entropies(maps, other), entropies(maps, other * 2.0**power), strict=True):
        assert torch.equal(one, same)
    assert torch.equal(entropies(maps, other.flip(1))[0], entropies(maps, other)[0])


def test_shared_bins_tell_a_peaked_map_from_a_flat_one():
    # By its own range, one outlier makes a map of noise look simple, and hides that nothing else changed.
    noise = torch.randn(1, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outlier = noise.clone()
    outlier[0, 0, 0] = 1e3
    before, after = entropies(noise, outlier, span="own")
    assert before.item() - after.item() > 5
    assert entropies(noise, outlier)[1].item() == pytest.approx(after.item(), abs=0.1)


@pytest.mark.parametrize("spoiled", [0.0, math.nan, math.inf])
def test_a_degenerate_map_has_no_entropy(spoiled):
    maps, other = pair(2)
    other[1] = spoiled
    for found in (*entropies(maps, other), *entropies(other, maps)):
        assert found.isnan().tolist() == [False, True]


def test_no_samples_have_no_entropies():
    assert [len(found) for found in entropies(torch.empty(0, 3, 3), torch.empty(0, 3, 3))] == [0, 0]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"bins": 1}, InputError, "Expected at least 2 bins, but got 1"),
        ({"bins": "sturgess"}, UnknownNameError, "did you mean 'sturges'"),
        ({"span": "each"}, UnknownNameError, "Expected the name of a span of the bins, but got 'each'"),
        ({"normalization": "max"}, UnknownNameError, "Expected the name of a normalization, but got 'max'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        entropies(*pair(), **settings)
