"""Numbers: closed forms, slow twins, SciPy and scikit-image."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr
from skimage.feature import hog
from skimage.metrics import structural_similarity

from heatproof import similarity
from heatproof.similarity import HOG, MSE, SSIM, Spearman, normalized
from heatproof.similarity.hog import _directions, _sums_by_counting, _sums_by_mask
from heatproof.similarity.normalization import _partitioned, percentiles
from heatproof.similarity.ranks import _ranks_by_order, _ranks_by_search, centered_ranks
from heatproof.similarity.windows import box, gaussian, inside
from reference import similarity as reference

NORMALIZE = {
    "max-abs": reference.max_abs,
    "second-moment": reference.second_moment,
    "min-max": reference.min_max,
    "percentile": reference.percentile,
}


def pair(*shape, dtype=torch.float64, seed=0):
    """Two batches of maps that have something in common, with ties and zeros."""
    generator = torch.Generator().manual_seed(seed)
    maps, noise = torch.randn(2, *shape, dtype=dtype, generator=generator).unbind()
    maps[:, : shape[1] // 3] = maps[:, : shape[1] // 3].round()
    return maps, 0.5 * maps + noise.relu()


def each(function, maps, other):
    return [function(a, b) for a, b in zip(maps.tolist(), other.tolist(), strict=True)]


def close(actual, expected, tolerance=1e-6, relative=0.0):
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=torch.float64), atol=tolerance, rtol=relative)


# Slow twins


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("absolute", [False, True])
def test_spearman_agrees_with_its_slow_twin(dtype, absolute):
    maps, other = pair(6, 120, dtype=dtype)
    seen = [m.abs() if absolute else m for m in (maps, other)]
    close(Spearman(absolute=absolute)(maps, other), each(reference.spearman, *seen), 1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 11, 14), (2, 13, 12)])
@pytest.mark.parametrize(
    "recipe",
    [
        SSIM(),
        SSIM(window=7, data_range=1.3),
        SSIM(window=3, normalization="percentile"),
        SSIM(window=9, normalization="second-moment", data_range=4.0),
        SSIM(window=7, weights="gaussian", sigma=1.1),
        similarity.get("ssim-adebayo"),
    ],
)
def test_ssim_agrees_with_its_slow_twin(dtype, shape, recipe):
    maps, other = pair(*shape, dtype=dtype)
    weights = reference.box_weights(recipe.window)
    if recipe.weights == "gaussian":
        weights = reference.gaussian_weights(recipe.window, recipe.sigma)
    intervals = {"max-abs": 2.0, "min-max": 1.0, "percentile": 1.0}
    data_range = recipe.data_range or intervals[recipe.normalization]
    normalize = NORMALIZE[recipe.normalization]
    expected = each(lambda a, b: reference.ssim(normalize(a), normalize(b), weights, data_range), maps, other)
    close(recipe(maps, other), expected, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("side", "cell"), [((12, 12), 4), ((17, 22), 5), ((30, 26), 8), ((5, 6), 1)])
@pytest.mark.parametrize("correlation", ["pearson", "spearman"])
def test_hog_agrees_with_its_slow_twin(dtype, side, cell, correlation):
    maps, other = pair(3, *side, dtype=dtype)
    correlate = getattr(reference, correlation)

    def twin(a, b):
        descriptors = [reference.hog(reference.max_abs(image), cell) for image in (a, b)]
        return correlate(*([round(value, 10) for value in row] for row in descriptors))

    close(HOG(cell=cell, correlation=correlation)(maps, other), each(twin, maps, other), 1e-9)


@pytest.mark.parametrize("name", NORMALIZE)
def test_mse_and_its_normalizations_agree_with_their_slow_twins(name):
    maps, other = pair(4, 9, 13, dtype=torch.float32)
    twin = NORMALIZE[name]
    expected = torch.tensor([twin(image) for image in maps.tolist()], dtype=torch.float64)
    torch.testing.assert_close(normalized(maps, name), expected, rtol=1e-12, atol=1e-15)
    distances = each(lambda a, b: reference.mse(twin(a), twin(b)), maps, other)
    close(MSE(normalization=name)(maps, other), distances, 0.0, 1e-6)


# SciPy and scikit-image


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spearman_agrees_with_scipy(dtype):
    maps, other = pair(3, 40, 50, dtype=dtype)
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(maps.numpy(), other.numpy(), strict=True)]
    close(Spearman()(maps, other), expected, 1e-14)


def test_ranks_are_scipys_average_ranks_exactly_and_both_algorithms_agree():
    maps, other = pair(5, 300)
    special = torch.tensor([[0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, 1e-310, 3.0, 3.0, 3.0]]).double()
    for rows in (maps, other, other.float(), special, special.float(), -maps.float()):
        expected = torch.from_numpy(rankdata(rows.numpy(), axis=1)) - 1
        assert torch.equal(_ranks_by_order(rows + 0.0), expected)
        assert torch.equal(_ranks_by_search(rows), expected)


def test_half_precision_ranks_like_float32():
    rows = torch.randn(2, 200).bfloat16()
    assert torch.equal(centered_ranks(rows), centered_ranks(rows.float()))


@pytest.mark.parametrize("window", [3, 5, 7, 9, 11, 13])
def test_ssim_agrees_with_scikit_image(window):
    maps, other = pair(2, 37, 50)
    ready = [normalized(m, "max-abs").numpy() for m in (maps, other)]
    values = [structural_similarity(a, b, win_size=window, data_range=2.0) for a, b in zip(*ready, strict=True)]
    close(SSIM(window=window)(maps, other), values)


def test_adebayos_ssim_agrees_with_scikit_image():
    maps, other = pair(2, 37, 50)
    ready = [normalized(m, "min-max").numpy() for m in (maps, other)]
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": True, "data_range": 2.0}
    values = [structural_similarity(a, b, **options) for a, b in zip(*ready, strict=True)]
    close(similarity.get("ssim-adebayo")(maps, other), values)


@pytest.mark.parametrize("cell", [16, 8, 7, 5])
def test_hog_agrees_with_scikit_image(cell):
    maps, other = pair(2, 53, 70)
    ready = [normalized(m, "max-abs").numpy() for m in (maps, other)]
    descriptors = [np.stack([hog(image, pixels_per_cell=(cell, cell)) for image in images]) for images in ready]
    # scikit-image adds the pixels of a cell in float32.
    close(HOG(cell=cell).descriptors(maps), torch.from_numpy(descriptors[0]), 1e-6)
    pearson = [np.corrcoef(a, b)[0, 1] for a, b in zip(*descriptors, strict=True)]
    close(HOG(cell=cell)(maps, other), pearson)


def test_percentiles_are_numpys():
    rows = torch.randn(4, 331, dtype=torch.float64)
    expected = np.percentile(rows.numpy(), [1, 50, 99, 100], axis=1).T
    close(percentiles(rows, (1, 50, 99, 100)), torch.from_numpy(expected), 1e-15)
    kept = _partitioned(rows, {3, 170, 330})
    assert torch.equal(kept[:, [3, 170, 330]], rows.sort(1).values[:, [3, 170, 330]])


# Closed forms


def test_75000_tied_zeros_do_not_overflow():
    # Indicators of two disjoint sets of k among n features: Pearson's and Spearman's −k / (n − k). The sum of squared
    # ranks, 1.4e14, and the cube of the tied block, 4.2e14, are beyond int32.
    k, n = 76, 75_000 + 76
    maps, other = torch.zeros(2, 1, n).unbind()
    maps[:, :k] = 1
    other[:, -k:] = 1
    close(Spearman()(maps, other), [-k / (n - k)], 1e-15)
    assert Spearman(absolute=True)(maps, -maps).item() == 1


def test_signs_matter_to_the_signed_rank_correlation_only():
    maps, _ = pair(4, 8, 8)
    assert torch.equal(Spearman()(maps, -maps), -torch.ones(4).double())
    assert torch.equal(Spearman(absolute=True)(maps, -maps), torch.ones(4).double())


def test_mse_is_4_for_opposite_maps_and_2_for_maps_without_overlap():
    maps, _ = pair(3, 8, 8)
    close(MSE()(maps, -maps), torch.full((3,), 4.0), 1e-14)
    left, right = torch.zeros(2, 1, 8, 8).unbind()
    left[:, :, 1], right[:, :, 5] = 3.0, 1e-20
    close(MSE()(left, right), [2.0], 1e-14)


@pytest.mark.parametrize(("kind", "expected"), [("zero-mean", 2.0), ("half-normal", 2 - 4 / math.pi)])
def test_mse_of_independent_maps_is_the_bound_of_002(kind, expected):
    maps, other = torch.randn(2, 4, 400, 400, generator=torch.Generator().manual_seed(0)).unbind()
    if kind == "half-normal":
        maps, other = maps.abs(), other.abs()
    # Four standard errors: the variance of one pixel's squared difference is below 9.
    assert MSE()(maps, other).mean().item() == pytest.approx(expected, abs=4 * 3 / math.sqrt(4 * 400 * 400))


def test_ssim_of_unrelated_constants_is_the_luminance_factor_window_by_window():
    # Two steps, equal inside each half: windows in a half have no variance, so only luminance and C₁ count there.
    maps, other = torch.ones(2, 1, 5, 20).unbind()
    maps, other = maps.clone(), other.clone()
    maps[..., :10], other[..., :10] = -1, 1
    other[..., 10:] = -1
    c1, c2 = 0.02**2, 0.06**2
    halves = (c1 - 2) / (c1 + 2)
    values = [halves] * 12  # windows 0 … 5 and 10 … 15
    for ones in range(1, 5):
        mean = 2 * ones / 5 - 1
        variance = 25 / 24 * (1 - mean**2)
        values.append((c1 - 2 * mean**2) / (c1 + 2 * mean**2) * (c2 - 2 * variance) / (c2 + 2 * variance))
    close(SSIM()(maps, other), [np.mean(values)], 1e-12)


def test_flip_takes_the_larger_similarity():
    maps, other = pair(3, 12, 12)
    flipped, plain = similarity.get("ssim-flip"), SSIM(normalization="percentile")
    assert torch.equal(flipped(maps, other), torch.maximum(plain(maps, other), plain(maps, -other)))
    close(flipped(maps, -maps), torch.ones(3), 1e-12)


def test_directions_of_a_ramp_fall_into_their_bin():
    # A plane that rises along 50° has one direction everywhere but at the border, where one difference is 0.
    y, x = torch.meshgrid(torch.arange(30.0), torch.arange(30.0), indexing="ij")
    plane = x * math.cos(math.radians(50)) + y * math.sin(math.radians(50))
    middle = HOG(cell=6).descriptors(torch.stack([plane, -plane]))[0].view(3, 3, 3, 3, 9)[1, 1, 1, 1]
    assert middle.nonzero().tolist() == [[2]]
    assert torch.equal(*HOG(cell=6).descriptors(torch.stack([plane, -plane])))


def test_directions_are_floored_angles_at_every_border():
    degrees = torch.arange(-360, 361, 5).double()[:, None]
    length = torch.tensor([1e-30, 1.0, 1e12]).double()
    down, across = torch.sin(torch.deg2rad(degrees)) * length, torch.cos(torch.deg2rad(degrees)) * length
    expected = (degrees % 180 / 20).floor().to(torch.int8).expand(-1, 3)
    inside_a_bin = (degrees % 20 != 0).expand(-1, 3)
    assert torch.equal(_directions(down, across)[inside_a_bin], expected[inside_a_bin])
    across = torch.tensor([2.0, -2.0, 2.0, -2.0, 0.0, 0.0, 1.0, -1.0])
    down = torch.tensor([0.0, 0.0, -0.0, -0.0, 0.0, 3.0, -1e-30, -1e-30])
    assert _directions(down, across).tolist() == [0, 0, 0, 0, 0, 4, 8, 0]


def test_both_ways_of_counting_directions_agree():
    bins = torch.randint(0, 9, (3, 12, 8), dtype=torch.int8)
    magnitude = torch.randint(0, 9, (3, 12, 8)).double()
    assert torch.equal(_sums_by_counting(bins, magnitude, 4), _sums_by_mask(bins, magnitude, 4))


def test_window_sums_leave_out_wrapped_windows():
    image = torch.randint(0, 50, (2, 9, 13)).double()
    rows = image.flatten(1)
    for size in (3, 5, 7, 9):
        expected = image.unfold(1, size, 1).unfold(2, size, 1).sum((3, 4))
        assert torch.equal(inside(box(rows, size, 13), size, 9, 13), expected)
    weights = torch.tensor(reference.gaussian_weights(5, 0.8), dtype=torch.float64)
    expected = (image.unfold(1, 5, 1).unfold(2, 5, 1) * weights).sum((3, 4))
    torch.testing.assert_close(inside(gaussian(rows, 5, 13, 0.8), 5, 9, 13), expected)


def test_kept_ranks_take_four_bytes_a_feature_and_are_exact() -> None:
    maps = torch.tensor([[[0.0, 2.0, 2.0, -1.0]], [[1.0, 1.0, 1.0, 1.0]], [[math.nan, 1.0, 2.0, 3.0]]])
    ranks, squares = Spearman().prepare(maps).parts
    assert ranks.dtype == torch.int32
    assert ranks.tolist() == [[-1, 2, 2, -3], [0, 0, 0, 0], [0, 0, 0, 0]]  # twice the centered ones
    assert squares[:2].tolist() == [18.0, 0.0]
    assert squares[2].isnan()
    assert Spearman().compare(Spearman().prepare(maps), maps).isnan().tolist() == [False, True, True]
