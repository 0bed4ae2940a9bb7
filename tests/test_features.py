"""What counts as one feature."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heatproof import InputError
from heatproof.features import FEATURES, Columns, Pixels, Tiles, Tokens, default_features


def randn(*shape):
    return torch.randn(shape, dtype=torch.float64)


def test_pixels_pool_channels():
    maps = randn(2, 3, 4, 5)
    for reduction, expected in {
        "sum": maps.sum(1),
        "mean": maps.mean(1),
        "max": maps.amax(1),
        "l2": maps.square().sum(1).sqrt(),
    }.items():
        pooled = Pixels(reduction=reduction).pool(maps, (3, 4, 5))
        torch.testing.assert_close(pooled, expected)
        assert pooled.shape == (2, *Pixels().grid((3, 4, 5)))
    assert Pixels().grid((3, 4, 5, 6)) == (4, 5, 6)


def test_channels_that_are_not_resolved_are_not_multiplied():
    maps = randn(2, 1, 4, 5)
    assert torch.equal(Pixels().pool(maps, (3, 4, 5)), maps[:, 0])
    tokens = randn(2, 7, 1)
    assert torch.equal(Tokens().pool(tokens, (7, 16)), tokens[:, :, 0])


@given(height=st.integers(1, 20), width=st.integers(1, 20), size=st.integers(1, 9), channels=st.sampled_from([1, 3]))
def test_tiles_equal_their_slow_twin(height, width, size, channels):
    maps = randn(2, channels, height, width)
    pooled = Tiles(size=size).pool(maps, (3, height, width))
    rows, columns = Tiles(size=size).grid((3, height, width))
    expected = torch.zeros(2, rows, columns, dtype=maps.dtype)
    for i in range(height):
        for j in range(width):
            expected[:, i // size, j // size] += maps[:, :, i, j].sum(1)
    torch.testing.assert_close(pooled, expected)


def test_tokens_and_columns():
    maps = randn(2, 7, 3)
    torch.testing.assert_close(Tokens().pool(maps, (7, 3)), maps.sum(2))
    assert Tokens().grid((7, 3)) == (7,)
    table = randn(2, 5)
    assert torch.equal(Columns().pool(table, (5,)), table)
    assert Columns().grid((5,)) == (5,)


@pytest.mark.parametrize(
    ("shape", "features"), [((5,), Columns()), ((7, 3), Tokens()), ((3, 8, 8), Pixels()), ((1, 4, 4, 4), Pixels())]
)
def test_defaults_and_sums_survive(shape, features):
    assert default_features(shape) == features
    maps = randn(2, *shape)
    pooled = features.pool(maps, shape)
    assert pooled.shape == (2, *features.grid(shape))
    torch.testing.assert_close(pooled.flatten(1).sum(1), maps.flatten(1).sum(1))


def test_names():
    assert {"pixels", "tiles", "tokens", "columns"} <= set(FEATURES.names())
    assert FEATURES.get("tiles", size=14) == Tiles(size=14)


def test_errors_say_what_to_do():
    with pytest.raises(InputError, match="reduction to be one of sum, mean, l2, max, but got 'median'"):
        Pixels(reduction="median")
    with pytest.raises(InputError, match=r"samples \(C, positions …\) for pixels, but got \(5,\); use Columns\(\)"):
        Pixels().grid((5,))
    with pytest.raises(InputError, match=r"images \(C, H, W\) for tiles, but got samples \(7, 3\)"):
        Tiles().grid((7, 3))
    with pytest.raises(InputError, match=r"sequences \(T, E\) for tokens, but got samples \(3, 8, 8\)"):
        Tokens().grid((3, 8, 8))
    with pytest.raises(InputError, match=r"but got \(2, 3, 4, 4\)"):
        Pixels().pool(randn(2, 3, 4, 4), (3, 8, 8))
    with pytest.raises(InputError, match=r"maps \(N, 7, 3 or 1\), but got \(2, 6, 3\)"):
        Tokens().pool(randn(2, 6, 3), (7, 3))
    with pytest.raises(InputError, match=r"but got \(2, 1\)"):
        Columns().pool(randn(2, 1), (5,))
    with pytest.raises(InputError, match=r"but got \(2, 4, 8, 8\)"):
        Pixels().pool(randn(2, 4, 8, 8), (3, 8, 8))
    with pytest.raises(InputError, match="size to be at least 1, but got 0"):
        Tiles(size=0)
