"""What counts as one feature."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heatproof import InputError
from heatproof.features import FEATURES, Columns, Pixels, Tiles, Tokens, default_features, ranks


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


def test_a_direction_that_a_map_does_not_resolve_is_the_same_everywhere():
    maps = randn(2, 1, 1, 5)
    assert torch.equal(Pixels().pool(maps, (3, 4, 5)), maps[:, 0].expand(2, 4, 5))
    last = randn(2, 4, 1, 3)
    assert torch.equal(Pixels(layout="channels-last").pool(last, (4, 5, 3)), last.sum(3).expand(2, 4, 5))
    assert torch.equal(Tiles(size=2).pool(torch.ones(1, 1, 1, 4), (1, 4, 4)), torch.full((1, 2, 2), 4.0))


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
    with pytest.raises(InputError, match=r"images \(C, H, W\) or other positions for tiles, but got samples \(7,\)"):
        Tiles().grid((7,))
    with pytest.raises(InputError, match="name of a layout, but got 'nhwc'"):
        Pixels(layout="nhwc")
    with pytest.raises(InputError, match=r"maps \(N, \(8, 8\), 3 or 1\), but got \(2, 3, 8, 8\)"):
        Pixels(layout="channels-last").pool(randn(2, 3, 8, 8), (8, 8, 3))
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


LAYOUTS = [
    (Columns(), (5,)),
    (Columns(), (3, 4, 2)),
    (Tokens(), (7, 3)),
    (Pixels(), (3, 4, 5)),
    (Pixels(), (2, 3, 4, 2)),
    (Tiles(size=3), (2, 7, 5)),
    (Tiles(size=9), (1, 4, 4)),
    (Tiles(size=3), (2, 8)),
    (Tiles(size=2), (2, 3, 4, 5)),
    (Tiles(size=3, layout="channels-last"), (7, 5, 2)),
    (Pixels(layout="channels-last"), (4, 5, 3)),
    (Pixels(), (3, 7)),
]


@pytest.mark.parametrize(("features", "shape"), LAYOUTS, ids=str)
def test_spread_is_the_adjoint_of_pool(features, shape):
    values, maps = randn(2, *features.grid(shape)), randn(2, *shape)
    spread = features.spread(values, shape)
    torch.testing.assert_close((spread * maps).sum(), (values * features.pool(maps, shape)).sum())


@pytest.mark.parametrize(("features", "shape"), LAYOUTS, ids=str)
def test_replaced_scalars_are_those_of_the_chosen_features(features, shape):
    inputs, baseline = randn(2, *shape), randn(2, *[1] * len(shape))
    chosen = randn(2, *features.grid(shape)) > 0
    replaced = features.replace(inputs, chosen, baseline)
    # A feature is wholly replaced or wholly kept: count its scalars that changed.
    changed, size = features.pool((replaced != inputs).double(), shape), features.pool(torch.ones(2, *shape), shape)
    assert torch.equal(changed, chosen * size)
    assert torch.equal(replaced[replaced != inputs], baseline.expand_as(inputs)[replaced != inputs])


def test_ranks_from_most_to_least_relevant():
    pooled = torch.tensor([[[0.5, 3.0], [-2.0, 1.0]], [[4.0, 3.0], [2.0, torch.nan]]])
    assert ranks(pooled, 0, samples=["a", "b"]).tolist() == [[2, 0, 3, 1], [0, 1, 2, 3]]
    assert ranks(pooled, 0, samples=["a", "b"]).dtype == torch.int64


def test_ties_are_broken_at_random_but_by_key():
    pooled = torch.zeros(400, 5)
    pooled[:, 3] = 1
    samples = [str(index) for index in range(400)]
    placed = ranks(pooled, 0, "masks", samples=samples)
    assert (placed.sort(1).values == torch.arange(5)).all()
    assert (placed[:, 3] == 0).all()
    # Every other feature stands at each of the places 1 … 4 for a quarter of the samples: 100 ± 5 · 8.7.
    counts = torch.stack([(placed[:, [0, 1, 2, 4]] == place).sum(0) for place in range(1, 5)])
    assert (counts - 100).abs().max() < 44
    assert torch.equal(ranks(pooled[7:9], 0, "masks", samples=samples[7:9]), placed[7:9])
    assert not torch.equal(ranks(pooled, 1, "masks", samples=samples), placed)


def test_orders_that_break_ties_are_drawn_once_where_they_are_kept():
    kept, asked = {}, []

    def keep(key, draw):
        asked.append(key)
        return kept[key] if key in kept else kept.setdefault(key, draw())

    samples = ["a", "b"]
    for key in (0, 1, 0):
        for pooled in (torch.zeros(2, 9), torch.ones(2, 3, 3), torch.zeros(2, 4)):
            assert torch.equal(ranks(pooled, key, samples=samples, keep=keep), ranks(pooled, key, samples=samples))
    assert len(asked) == 9
    assert len(kept) == 2 * 2  # keys × numbers of features
    ranks(torch.zeros(2, 9), 0, samples=["a", "c"], keep=keep)
    assert len(kept) == 5


def test_negative_zero_ties_with_zero():
    pooled = torch.tensor([[0.0, -0.0]]).expand(64, 2)
    first = ranks(pooled, samples=[str(index) for index in range(64)])[:, 0]
    assert 0 < first.sum() < 64


def test_errors_of_spread_replace_and_ranks():
    with pytest.raises(InputError, match=r"one value a feature, \(N, 3, 2\), but got \(2, 7, 5\)"):
        Tiles(size=3).spread(randn(2, 7, 5), (2, 7, 5))
    with pytest.raises(InputError, match=r"features as bool, but got torch\.float64; compare ranks"):
        Pixels().replace(randn(2, 3, 4, 5), randn(2, 4, 5), randn(2, 1, 1, 1))
    with pytest.raises(InputError, match=r"one name a sample \(2\), but got 1"):
        ranks(randn(2, 5), samples=["a"])
