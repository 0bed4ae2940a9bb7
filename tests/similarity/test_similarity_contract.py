"""What every measure promises: invariances, degenerate maps, kept references, batches, errors, metadata."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heatproof import InputError, similarity
from heatproof.errors import UnknownNameError
from heatproof.similarity import HOG, MSE, SIMILARITIES, SSIM, Spearman, normalized

EXTRA = [HOG(cell=8), HOG(cell=5, correlation="spearman"), SSIM(window=7), MSE(normalization="percentile")]
MEASURES = [similarity.get(name) for name in similarity.names()] + EXTRA
every = pytest.mark.parametrize("measure", MEASURES, ids=[m.metric.name for m in MEASURES])
seeds = st.integers(0, 2**31)
GRID = (50, 52)


def maps_of(seed, n=3, grid=GRID, dtype=torch.float32):
    """Maps with ties, zeros and both signs."""
    maps = torch.randn(n, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)
    maps[:, 10:20] = maps[:, 10:20].round().relu()
    return maps


def test_the_registered_names():
    assert similarity.names() == [
        "hog", "hog-spearman", "mse", "spearman", "spearman-absolute", "ssim", "ssim-adebayo", "ssim-flip",
    ]  # fmt: skip


@every
@settings(max_examples=8)
@given(seed=seeds)
def test_equal_maps_reach_the_best_value(measure, seed):
    best = 0.0 if isinstance(measure, MSE) else 1.0
    maps = maps_of(seed)
    torch.testing.assert_close(measure(maps, maps), torch.full((3,), best).double(), rtol=0, atol=1e-12)


# `flip` turns the second map only.
@pytest.mark.parametrize("measure", [m for m in MEASURES if not getattr(m, "flip", False)], ids=str)
@settings(max_examples=8)
@given(seed=seeds)
def test_similarity_is_symmetric(measure, seed):
    maps, other = maps_of(seed), maps_of(seed + 1)
    torch.testing.assert_close(measure(maps, other), measure(other, maps), rtol=0, atol=1e-12)


@every
@settings(max_examples=8)
@given(seed=seeds, exponent=st.integers(-80, 60))
def test_a_power_of_two_changes_no_bit(measure, seed, exponent):
    # 2^-80 ≈ 1e-24: squares of such maps are 0 in float32.
    maps, other = maps_of(seed), maps_of(seed + 1)
    assert torch.equal(measure(maps * 2.0**exponent, other), measure(maps, other))


@every
@settings(max_examples=3)
@given(seed=seeds)
def test_samples_do_not_know_each_other(measure, seed):
    # 120 maps are more than one chunk.
    maps, other = maps_of(seed, n=120), maps_of(seed + 1, n=120)
    scores = measure(maps, other)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(measure(maps[order], other[order]), scores[order])
    alone = torch.cat([measure(maps[n : n + 1], other[n : n + 1]) for n in (0, 61, 119)])
    assert torch.equal(alone, scores[[0, 61, 119]])


@every
def test_kept_references_give_the_same_bits(measure):
    maps, other = maps_of(0, n=120), maps_of(1, n=120)
    maps[5], other[6] = 0, float("nan")
    kept = measure.prepare(maps)
    scores = measure(maps, other)
    for second in (other, measure.prepare(other)):
        torch.testing.assert_close(measure.compare(kept, second), scores, rtol=0, atol=0, equal_nan=True)


@every
def test_input_precision_and_layout_change_no_bit_and_nothing_is_written(measure):
    maps, other = maps_of(0), maps_of(1)
    scores, before = measure(maps, other), copy.deepcopy((maps, other))
    assert torch.equal(measure(maps.double(), other), scores)
    assert torch.equal(measure(maps.mT.contiguous().mT, other.clone().requires_grad_()), scores)
    doubles = maps.double(), other.double()
    measure(*doubles)
    assert torch.equal(maps, before[0])
    assert torch.equal(other, before[1])
    assert torch.equal(doubles[0], before[0].double())
    assert scores.dtype == torch.float64
    assert not scores.requires_grad


@every
@pytest.mark.parametrize("value", [0.0, -3.0, float("nan"), 0.1])
def test_a_constant_map_is_nan_and_spoils_no_other(measure, value):
    maps, other = maps_of(0), maps_of(1)
    scores = measure(maps, other)
    for side in (0, 1):
        broken = [maps.clone(), other.clone()]
        broken[side][1] = value
        result = measure(*broken)
        assert result.isnan().tolist() == [False, True, False]
        assert torch.equal(result[[0, 2]], scores[[0, 2]])


@every
def test_one_nan_makes_a_sample_nan(measure):
    maps, other = maps_of(0), maps_of(1)
    maps[2, 30, 30] = float("nan")
    assert measure(maps, other).isnan().tolist() == [False, False, True]


@pytest.mark.parametrize("measure", [m for m in MEASURES if not isinstance(m, Spearman)], ids=str)
def test_an_infinite_value_makes_a_sample_nan(measure):
    maps, other = maps_of(0), maps_of(1)
    maps[0, 30, 30] = float("inf")
    assert measure(maps, other).isnan().tolist() == [True, False, False]


@every
def test_an_empty_batch_has_no_scores(measure):
    empty = torch.zeros(0, *GRID)
    for scores in (measure(empty, empty), measure.compare(measure.prepare(empty), empty)):
        assert scores.shape == (0,)
        assert scores.dtype == torch.float64


@given(seed=seeds, absolute=st.booleans())
def test_rank_correlation_ignores_increasing_transforms(seed, absolute):
    generator = torch.Generator().manual_seed(seed)
    maps, other = torch.randint(-9, 10, (2, 4, 60), generator=generator).double().unbind()
    measure = Spearman(absolute=absolute)
    assert torch.equal(measure(maps**3 + 2 * maps, other / 7), measure(maps, other))


@given(seed=seeds)
def test_rank_correlation_ignores_where_features_are(seed):
    maps, other = maps_of(seed, grid=(300,)), maps_of(seed + 1, grid=(300,))
    order = torch.randperm(300, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(Spearman()(maps[:, order], other[:, order]), Spearman()(maps, other))


@given(seed=seeds, shift=st.floats(-5, 5), scale=st.floats(0.1, 10))
def test_min_max_and_percentile_ignore_affine_transforms(seed, shift, scale):
    maps = maps_of(seed, dtype=torch.float64)
    for name in ("min-max", "percentile"):
        torch.testing.assert_close(normalized(scale * maps + shift, name), normalized(maps, name), rtol=0, atol=1e-9)


def test_maps_of_any_dimension_have_ranks_and_distances():
    for grid in [(7,), (2, 3), (3, 4, 5)]:
        maps, other = torch.randn(2, 6, *grid).unbind()
        for measure in (Spearman(), MSE()):
            assert measure.fits(grid) is None
            assert torch.equal(measure(maps, other), measure(maps.flatten(1), other.flatten(1)))


@pytest.mark.parametrize(
    ("measure", "grid", "reason"),
    [
        (HOG(), (28, 28), "HOG(cell=16) needs maps of at least 48×48, but got 28×28; choose HOG(cell=8)."),
        (HOG(), (47, 200), "HOG(cell=16) needs maps of at least 48×48, but got 47×200; choose HOG(cell=8)."),
        (HOG(cell=2), (2, 9), "HOG(cell=2) needs maps of at least 6×6, but got 2×9; choose Spearman() or MSE()."),
        (HOG(), (64,), "HOG needs two-dimensional maps (H, W), but got 64; choose Spearman() or MSE()."),
        (SSIM(), (4, 9), "SSIM(window=5) needs maps of at least 5×5, but got 4×9; choose SSIM(window=3)."),
        (SSIM(window=9), (7, 9), "SSIM(window=9) needs maps of at least 9×9, but got 7×9; choose SSIM(window=7)."),
        (SSIM(), (2, 9), "SSIM(window=5) needs maps of at least 5×5, but got 2×9; choose Spearman() or MSE()."),
        (SSIM(), (3, 8, 8), "SSIM needs two-dimensional maps (H, W), but got 3×8×8; choose Spearman() or MSE()."),
    ],
)
def test_maps_that_do_not_fit(measure, grid, reason):
    assert measure.fits(grid) == reason
    maps = torch.randn(2, *grid)
    for call in (lambda: measure(maps, maps), lambda: measure.prepare(maps)):
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == reason


@pytest.mark.parametrize(("measure", "grid"), [(HOG(), (48, 48)), (SSIM(), (5, 5)), (HOG(cell=1), (3, 3))])
def test_the_smallest_maps_that_fit(measure, grid):
    maps = maps_of(3, grid=(60, 60))[:, : grid[0], : grid[1]]
    assert measure.fits(grid) is None
    torch.testing.assert_close(measure(maps, maps), torch.ones(3).double(), rtol=0, atol=1e-12)


def test_the_cell_that_fits_proposes_is_accepted():
    for side in range(3, 48):
        cell = int(HOG().fits((side, 60)).split("HOG(cell=")[2].split(")")[0])
        assert HOG(cell=cell).fits((side, 60)) is None


def test_errors_at_the_door():
    maps = torch.randn(2, 8, 8)
    with pytest.raises(InputError, match=r"of one shape on one device, but got \(2, 8, 8\) on cpu and \(2, 64\)"):
        Spearman()(maps, maps.flatten(1))
    with pytest.raises(InputError, match=r"one shape"):
        Spearman().compare(Spearman().prepare(maps), maps[:1])
    with pytest.raises(InputError, match=r"floating maps \(N, \*grid\), but got torch.int64"):
        MSE()(maps.long(), maps.long())
    with pytest.raises(InputError, match=r"Expected maps prepared by Spearman\(absolute=True\), but got some prepared"):
        Spearman(absolute=True).compare(Spearman().prepare(maps), maps)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SSIM(window=4), "odd window of at least 3 pixels, but got 4"),
        (lambda: SSIM(sigma=0.0), "sigma > 0"),
        (lambda: SSIM(normalization="second-moment"), "Expected a data_range for normalization 'second-moment'"),
        (lambda: SSIM(data_range=0.0), "data_range to be positive and finite"),
        (lambda: HOG(cell=0), "cell of at least 1 pixel"),
    ],
)
def test_impossible_recipes(build, message):
    with pytest.raises(InputError, match=message):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: SSIM(normalization="max-ab"),
        lambda: SSIM(weights="gausian"),
        lambda: HOG(correlation="person"),
        lambda: HOG(normalization="maxabs"),
        lambda: MSE(normalization="second-momen"),
        lambda: normalized(torch.ones(1, 2), "minmax"),
        lambda: similarity.get("spearmann"),
    ],
)
def test_misspelt_names_are_corrected(build):
    with pytest.raises(UnknownNameError, match="did you mean"):
        build()


@every
def test_recipes_are_values(measure):
    assert pickle.loads(pickle.dumps(measure)) == measure
    assert hash(copy.deepcopy(measure)) == hash(measure)


def test_every_recipe_has_a_label_of_its_own():
    names = [measure.metric.name for measure in MEASURES]
    assert names[:-4] == similarity.names()
    assert names[-4:] == [
        "hog[cell=8]",
        "hog[cell=5,correlation=spearman]",
        "ssim[window=7]",
        "mse[normalization=percentile]",
    ]
    assert SIMILARITIES.get("hog", cell=8).metric.name == "hog[cell=8]"


@every
def test_declared_metrics_bound_what_comes(measure):
    metric = measure.metric
    maps = maps_of(0)
    for other in (maps, -maps, maps_of(1)):
        scores = measure(maps, other)
        assert (scores >= metric.low - 1e-12).all()
        assert metric.high is None or (scores <= metric.high + 1e-12).all()
    assert metric.higher_is_better is isinstance(measure, MSE)
