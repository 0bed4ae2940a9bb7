"""Intervals against slow twins, closed forms and their coverage."""

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from heatproof.reading import intervals, resampling
from heatproof.reading.intervals import of_combined, of_difference, of_means, of_ratio
from heatproof.reading.proportions import more_hits_than, more_wins_than, of_share_exactly
from heatproof.reading.resampling import RESAMPLES

COLUMNS = 1500


def drawn_counts(n: int) -> np.ndarray:
    seed = int.from_bytes(sha256(f"bootstrap of {n} samples".encode()).digest()[:8], "big")
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)


def studentized(values: np.ndarray) -> tuple[float, float]:
    """The slow twin: one resample after the other, each mean divided by its own standard error."""
    n, mean, error = len(values), values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    distances = []
    for counts in drawn_counts(n):
        drawn = np.repeat(values, counts)
        spread = drawn.std(ddof=1) / np.sqrt(n)
        furthest = 4 * stats.t.ppf(0.975, n - 1)
        apart = drawn.mean() - mean
        distances.append(np.clip(apart / spread, -furthest, furthest) if spread else np.sign(apart) * furthest)
    tail = 0.025 * (1 - 1 / n)
    low, high = np.quantile(distances, [tail, 1 - tail])
    return mean - high * error, mean - low * error


@pytest.mark.parametrize("n", [4, 5, 12])
def test_studentized_is_that_of_resampling_one_by_one(n: int) -> None:
    values = np.random.default_rng(n).exponential(size=n)
    low, high = of_means(values[None, :, None])
    assert (low[0], high[0]) == pytest.approx(studentized(values), rel=1e-9)


@pytest.mark.parametrize("n", [2, 3])
def test_very_few_samples_have_the_interval_of_t(n: int) -> None:
    values = np.random.default_rng(n).exponential(size=n)
    low, high = of_means(values[None, :, None])
    assert (low[0], high[0]) == pytest.approx(stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values)))


def test_missing_values_leave_the_mean() -> None:
    """A sample without a value is as if it had never been drawn: its draws are left out of each resample."""
    values = np.random.default_rng(0).normal(size=9)
    values[[2, 5]] = np.nan
    low, high = of_means(values[None, :, None])
    known = np.isfinite(values)
    n, mean = known.sum(), values[known].mean()
    distances = []
    for counts in drawn_counts(9):
        drawn = np.repeat(values[known], counts[known])
        distances.append((drawn.mean() - mean) / (drawn.std(ddof=1) / np.sqrt(len(drawn))))
    furthest = 4 * stats.t.ppf(0.975, n - 1)
    tail = 0.025 * (1 - 1 / n)
    lower, upper = np.quantile(np.clip(distances, -furthest, furthest), [tail, 1 - tail])
    error = values[known].std(ddof=1) / np.sqrt(n)
    assert (low[0], high[0]) == pytest.approx((mean - upper * error, mean - lower * error), rel=1e-9)


def test_seeds_alone_have_the_interval_of_t() -> None:
    """Samples that agree say nothing of their own: what is left is t with S − 1 degrees of the seeds' means."""
    effect = np.random.default_rng(1).normal(size=4)
    low, high = of_means(np.repeat(effect[:, None, None], 6, axis=1))
    assert (low[0], high[0]) == pytest.approx(stats.t.interval(0.95, 3, effect.mean(), stats.sem(effect)))


def test_seeds_and_samples_are_joined_by_their_squares() -> None:
    """By hand, from the two-way table: what seeds' means differ by beyond what the residual explains."""
    values = np.random.default_rng(2).normal(size=(3, 7)) + np.array([0.0, 1.0, 3.0])[:, None]
    seeds, n = values.shape
    residual = values - values.mean(0) - values.mean(1)[:, None] + values.mean()
    excess = n * values.mean(1).var(ddof=1) - (residual**2).sum() / ((n - 1) * (seeds - 1))
    half = stats.t.ppf(0.975, seeds - 1) * np.sqrt(excess / (n * seeds))
    below, above = studentized(values.mean(0))
    mean = values.mean()
    expected = mean - np.hypot(mean - below, half), mean + np.hypot(above - mean, half)
    low, high = of_means(values[:, :, None])
    assert (low[0], high[0]) == pytest.approx(expected, rel=1e-9)


def test_no_interval_of_one_sample_and_one_value_of_equal_ones() -> None:
    low, high = of_means(np.array([[[1.0, 2.0, np.nan], [np.nan, 2.0, np.nan]]]))
    assert np.isnan([low[0], high[0], low[2], high[2]]).all()
    assert (low[1], high[1]) == (2.0, 2.0)


def test_in_parts_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).normal(size=(2, 30, 7))
    whole = of_means(values)
    monkeypatch.setattr(intervals, "BLOCK", 2)
    monkeypatch.setattr(resampling, "WEIGHTS", 30 * 7)
    np.testing.assert_allclose(of_means(values), whole, rtol=1e-12)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(-3, 3), st.floats(0.1, 10))
def test_an_interval_moves_and_scales_with_its_values(values: list[float], shift: float, scale: float) -> None:
    column = np.array(values).round(6)[None, :, None]
    low, high = of_means(column)
    moved_low, moved_high = of_means(column * scale + shift)
    assert (moved_low[0], moved_high[0]) == pytest.approx((low[0] * scale + shift, high[0] * scale + shift), abs=1e-6)
    turned_low, turned_high = of_means(-column)
    assert turned_low[0] <= -column.mean() <= turned_high[0]


# --- what is made of means ---


def test_a_difference_is_paired() -> None:
    rng = np.random.default_rng(3)
    shared = rng.normal(size=(1, 20, 1)) * 100
    values = shared + rng.normal(size=(1, 20, 2))
    low, high = of_difference(values)
    assert high - low < 2 < 20 < float(np.ptp(of_means(values)))
    (alone_low,), (alone_high,) = of_means(values[:, :, :1] - values[:, :, 1:])
    assert (low, high) == (alone_low, alone_high)


def test_a_ratio_is_exact_where_it_does_not_vary_and_covers_where_it_does() -> None:
    b = np.random.default_rng(5).uniform(1, 3, size=(1, 12, 1))
    assert of_ratio(np.concatenate([0.3 * b, b], 2)) == pytest.approx((0.3, 0.3))
    assert np.isnan(of_ratio(np.concatenate([b, 0 * b], 2))).all()
    rng, covered = np.random.default_rng(6), 0
    for _ in range(400):
        below = rng.uniform(1, 3, size=(1, 12))
        low, high = of_ratio(np.stack([0.3 * below + rng.normal(size=below.shape) * 0.2, below], 2))
        covered += low <= 0.3 <= high
    assert covered / 400 == pytest.approx(0.95, abs=0.035)


def test_what_is_combined_is_the_expanded_percentile_of_its_resamples() -> None:
    """The slow twin, of a product of two means, and of seeds beside it."""
    values = np.random.default_rng(7).uniform(1, 2, size=(2, 9, 2))
    averaged = values.mean(0)
    slow = [np.prod(np.repeat(averaged, counts, axis=0).mean(0)) for counts in drawn_counts(9)]
    tail = stats.norm.cdf(stats.t.ppf(0.025, 8) * np.sqrt(9 / 8))
    low, high = np.quantile(slow, [tail, 1 - tail])
    found = of_combined(values[:1] * 0 + averaged, lambda means: means.prod(1))
    assert found == pytest.approx((low, high), rel=1e-9)
    estimate, by_seed = averaged.mean(0).prod(), values.mean(1).prod(1)
    half = stats.t.ppf(0.975, 1) * stats.sem(by_seed)
    expected = estimate - np.hypot(estimate - low, half), estimate + np.hypot(high - estimate, half)
    assert of_combined(values, lambda means: means.prod(1)) == pytest.approx(expected, rel=1e-9)


# --- proportions ---


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (1, 5), (3, 8), (64, 64), (7, 200)])
def test_proportions_have_scipys_intervals(hits: int, n: int) -> None:
    test = stats.binomtest(hits, n)
    assert of_share_exactly(hits, n) == pytest.approx(tuple(test.proportion_ci(method="exact")), abs=1e-9)
    assert np.isnan(of_share_exactly(0, 0)).all()


def test_hits_of_unequal_chances_have_exact_tails() -> None:
    chances = np.array([0.1, 0.5, 0.9])
    # by hand: none .045, one .455 - .045 ..., all .045
    none, every = 0.9 * 0.5 * 0.1, 0.1 * 0.5 * 0.9
    assert more_hits_than(0, chances) == pytest.approx((1.0, none))
    assert more_hits_than(3, chances) == pytest.approx((every, 1.0))
    assert more_hits_than(4, np.full(10, 0.3)) == pytest.approx(
        (stats.binom.sf(3, 10, 0.3), stats.binom.cdf(4, 10, 0.3))
    )
    assert more_wins_than(9, 1) == pytest.approx((11 / 1024, 1023 / 1024))
    assert more_wins_than(0, 0) == (1.0, 1.0)


# --- coverage: 1500 simulated columns each; the standard error of a coverage of 95 % is 0.6 points ---

DISTRIBUTIONS = {
    "normal": (lambda rng, size: rng.normal(size=size), 0.0),
    "beta": (lambda rng, size: (rng.beta(0.3, 0.7, size) - 0.3) / np.sqrt(0.105), 0.0),
    "exponential": (lambda rng, size: rng.exponential(size=size) - 1, 0.0),
}


@pytest.mark.parametrize(("n", "least"), [(5, 0.90), (8, 0.93), (32, 0.93)])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_means_are_covered_as_often_as_is_said(name: str, n: int, least: float) -> None:
    draw, mean = DISTRIBUTIONS[name]
    low, high = of_means(draw(np.random.default_rng(8), (1, n, COLUMNS)))
    assert ((low <= mean) & (mean <= high)).mean() >= least


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("ratio", [0.1, 1.0])
def test_means_over_seeds_are_covered_as_often_as_is_said(seeds: int, ratio: float) -> None:
    rng = np.random.default_rng(9)
    shape = (seeds, 16, COLUMNS)
    values = (
        rng.normal(size=(1, *shape[1:])) + ratio * rng.normal(size=(seeds, 1, COLUMNS)) + 0.5 * rng.normal(size=shape)
    )
    low, high = of_means(values)
    assert ((low <= 0) & (high >= 0)).mean() >= 0.93
