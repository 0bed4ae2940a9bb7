"""Noise in maps: moments in closed form, bounds against slow twins, Theorem 4 for any pair of processes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from heatproof.errors import InputError, UnknownNameError
from heatproof.similarity import MSE, SSIM
from heatproof.similarity import get as measure_named
from heatproof.theory import noise_similarity
from heatproof.theory.noisy_maps import (
    MIXES,
    PROCESSES,
    Moments,
    _drawn,
    _mixed,
    bound,
    expected_mse,
    moments,
    mse_maximum,
    ssim_bound,
)
from reference import similarity as reference
from reference import theory as slow

CASES = [(process, mix) for process in PROCESSES for mix in MIXES]


def pairs(process, mix, share, *, side=48, samples=40):
    parts = _drawn(process, side, samples, 0)
    return parts[0], _mixed(mix, share, *parts)


def within(values, expected):
    """The mean over samples is `expected` to four standard errors."""
    assert abs(values.mean().item() - expected) < 4 * values.std().item() / math.sqrt(len(values)) + 1e-12


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("process", "mix"), CASES)
def test_moments_are_those_of_what_is_drawn(process, mix, share):
    maps, mixed = (each.flatten(1) for each in pairs(process, mix, share))
    known = moments(process, mix, share)
    within(maps.mean(1), known.mean)
    within(maps.square().mean(1), known.second)
    within(mixed.mean(1), known.other_mean)
    within(mixed.square().mean(1), known.other_second)
    within((maps * mixed).mean(1), known.covariance + known.mean * known.other_mean)


@pytest.mark.parametrize(("process", "mix"), CASES)
def test_mse_follows_its_closed_form_up_to_theorem_4(process, mix):
    for share in (0.0, 0.5, 1.0):
        known = moments(process, mix, share)
        found = MSE()(*pairs(process, mix, share))
        assert found.mean().item() == pytest.approx(expected_mse(known), abs=0.03)
        assert expected_mse(known) <= mse_maximum(known) + 1e-12
    assert expected_mse(known) == pytest.approx(mse_maximum(known))
    if (process, mix) == ("half-normal", "replaced"):
        assert mse_maximum(known) == pytest.approx(2 - 4 / math.pi)


NUMBERS = st.lists(
    st.tuples(st.floats(0.01, 1), st.floats(-3, 3), st.floats(-3, 3)), min_size=2, max_size=6
)  # fmt: skip


@given(NUMBERS)
def test_theorem_4_holds_for_any_pair_of_processes(table):
    weights = np.array([p for p, _, _ in table])
    weights = weights / weights.sum()
    a, b = (np.array([row[k] for row in table]) for k in (1, 2))
    second = [float(weights @ each**2) for each in (a, b)]
    assume(min(second) > 1e-3)
    means = [float(weights @ each) for each in (a, b)]
    known = Moments(means[0], second[0], means[1], second[1], float(weights @ (a * b)) - means[0] * means[1])
    expected = slow.expected_normalized_mse(list(zip(weights, a, b, strict=True)))
    assert expected_mse(known) == pytest.approx(expected, abs=1e-9)
    assert (expected <= mse_maximum(known) + 1e-9) == (known.covariance >= -1e-9 * math.sqrt(second[0] * second[1]))


@pytest.mark.parametrize("name", ["ssim", "ssim-adebayo"])
def test_bound_of_theorem_1_is_that_of_scalar_loops(name):
    measure = measure_named(name)
    maps, mixed = pairs("smooth half-normal", "added", 0.4, side=14, samples=3)
    found = ssim_bound(measure, maps, mixed)
    gaussian = measure.weights == "gaussian"
    weights = reference.gaussian_weights(11, 1.5) if gaussian else reference.box_weights(5)
    normalize = reference.min_max if gaussian else reference.max_abs
    for i in range(3):
        images = [normalize(each[i].tolist()) for each in (maps, mixed)]
        assert found[i].item() == pytest.approx(slow.ssim_bound(*images, weights, 2.0), abs=1e-9)


def test_ssim_without_covariance_and_with_equal_means_is_its_bound():
    # Checkerboards across each other: in windows of 4 × 4 they have no covariance and the same mean.
    rows = torch.arange(12, dtype=torch.float64) % 2
    maps, other = rows[:, None].expand(12, 12)[None], rows[None, :].expand(12, 12)[None]
    measure = SSIM(window=5, normalization="min-max", data_range=1.0)
    windows = [
        (maps[0, t : t + 5, s : s + 5], other[0, t : t + 5, s : s + 5]) for t in range(8) for s in range(8)
    ]  # fmt: skip
    covariances = [float(((a - a.mean()) * (b - b.mean())).mean()) for a, b in windows]
    assert max(map(abs, covariances)) < 1e-12
    assert measure(maps, other).item() <= ssim_bound(measure, maps, other).item()
    assert measure(maps, other).item() == pytest.approx(ssim_bound(measure, maps, other).item(), rel=0.1)


def test_rows_are_each_measures_own():
    table = noise_similarity(
        ("spearman", "mse"), processes=("half-normal",), mixes=("replaced",), shares=(0.0, 1.0), side=12, samples=3
    )
    parts = _drawn("half-normal", 12, 3, 0)
    for row in table.itertuples():
        a, b = parts[0][row.sample].tolist(), parts[1 if row.share else 0][row.sample].tolist()
        flat = [[v for line in image for v in line] for image in (a, b)]
        if row.measure == "spearman":
            assert row.value == pytest.approx(reference.spearman(*flat), abs=1e-9)
            assert row.bound == 0
        else:
            assert row.value == pytest.approx(reference.mse(*map(reference.second_moment, (a, b))), abs=1e-9)
            seconds = [math.fsum(v * v for v in one) / 144 for one in flat]
            means = [math.fsum(one) / 144 for one in flat]
            assert row.bound == pytest.approx(2 - 2 * means[0] * means[1] / math.sqrt(seconds[0] * seconds[1]))
    assert len(table) == 2 * 2 * 3


def test_every_registered_measure_takes_part_and_no_theorem_is_invented():
    table = noise_similarity(processes=("normal",), mixes=("added",), shares=(0.0,), samples=1)
    bounded = dict(zip(table["measure"], table["bound"].notna(), strict=True))
    assert bounded == {
        "hog": False, "hog-spearman": False, "mse": True, "spearman": True, "spearman-absolute": True,
        "ssim": True, "ssim-adebayo": True, "ssim-flip": False,
    }  # fmt: skip
    maps = torch.randn(1, 8, 8, dtype=torch.float64)
    assert bound(MSE(normalization="max-abs"), maps, maps).isnan().all()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"processes": ("smoothed",)}, UnknownNameError, "did you mean 'smooth'"),
        ({"mixes": ("addded",)}, UnknownNameError, "did you mean 'added'"),
        ({"shares": (1.2,)}, InputError, "Expected a share of noise from 0 to 1, but got 1.2"),
        ({"side": 20}, InputError, "HOG"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        noise_similarity(**{"samples": 1, **settings})
    if "processes" in settings:
        with pytest.raises(error, match=message):
            moments(settings["processes"][0], "added", 0.0)
