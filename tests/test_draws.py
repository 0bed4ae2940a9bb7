"""Random numbers that depend on what they are for."""

import hashlib
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heatproof import counters
from heatproof.draws import digests, generator, integers, marks, normal, reseed, uniform
from reference import counters as twin

KEYS = st.lists(st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.none()), max_size=4)


@given(one=KEYS, other=KEYS)
def test_equal_keys_and_only_they_give_equal_streams(one, other):
    first = torch.rand(4, generator=generator(*one))
    again = torch.rand(4, generator=generator(*other))
    # True == 1 in Python, but not as a key.
    assert torch.equal(first, again) == (list(map(repr, one)) == list(map(repr, other)))


def test_a_key_is_its_sha_256():
    digest = hashlib.sha256(b'[3, "what", null]').digest()
    assert generator(3, "what", None).initial_seed() == int.from_bytes(digest[:8], "big") >> 1


def test_digests_name_values_and_shape_not_place_dtype_or_batch():
    x = torch.randn(3, 2, 4)
    names = digests(x)
    assert len(set(names)) == 3
    assert digests(x.flip(0)) == names[::-1]
    assert digests(x[1:2]) == names[1:2]
    assert digests(x.double()) == names
    assert digests(x.mT.contiguous().mT) == names
    assert digests(x.clone().requires_grad_()) == names
    assert not set(digests(x.view(3, 4, 2))) & set(names)


@pytest.mark.parametrize("draw", [normal, uniform])
def test_a_samples_numbers_do_not_depend_on_its_batch_or_dtype(draw):
    x = torch.randn(3, 2, 4)
    drawn = draw(x, 0, "test")
    assert drawn.shape == x.shape
    assert torch.equal(draw(x.flip(0), 0, "test"), drawn.flip(0))
    assert torch.equal(draw(x[1:2], 0, "test"), drawn[1:2])
    assert torch.equal(draw(x.double(), 0, "test"), drawn.double())
    assert torch.equal(draw(x, 0, "test", samples=marks(x)), drawn)
    copies = draw(x, 0, "test", copies=range(2, 5))
    assert copies.shape == (3, *x.shape)
    assert torch.equal(draw(x, 0, "test", copies=range(4, 5))[0], copies[2])
    assert torch.equal(draw(x, 0, "test", copies=range(1))[0], drawn)
    assert not bool((draw(x, 1, "test") == drawn).any())
    assert not bool((draw(x, 0, "text") == drawn).any())


def test_marks_name_values_and_shape_not_place_dtype_or_batch():
    x = torch.randn(3, 2, 4)
    names = marks(x)
    assert (names.shape, names.dtype) == ((3, 2), torch.int64)
    assert len(set(names.flatten().tolist())) == 6
    assert torch.equal(marks(x.flip(0)), names.flip(0))
    assert torch.equal(marks(x[1:2]), names[1:2])
    for same in (x.double(), x.mT.contiguous().mT, x.clone().requires_grad_()):
        assert torch.equal(marks(same), names)
    others = [x.view(3, 4, 2), x.flip(2), x.where(x != x[0, 0, 0], -x), torch.cat([x, torch.zeros(3, 1, 4)], 1)]
    for other in others:
        assert not bool((marks(other)[0] == names[0]).any())
    assert not torch.equal(marks(torch.zeros(1, 3)), marks(-torch.zeros(1, 3)))  # other bits, as in a digest


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_numbers_are_those_of_integers_without_end(count, monkeypatch):
    monkeypatch.setattr(counters, "_CPU", 300)  # so that streams are made in pieces
    keys = torch.randint(-(2**62), 2**62, (3, 2), generator=torch.Generator().manual_seed(count))
    flat, gaussian = counters.uniform(keys, count), counters.normal(keys, count)
    for row, key in enumerate(keys.tolist()):
        assert flat[row].tolist() == twin.uniform(key, count)
        assert gaussian[row].tolist() == pytest.approx(twin.normal(key, count), abs=2e-6)


def test_streams_and_marks_are_those_of_integers_without_end(monkeypatch):
    monkeypatch.setattr(counters, "_CPU", 6)
    x, shape, key = torch.tensor([[0.5, -1.25, 3e-9, 0.0, -0.0]]), (-5, 2**62 + 7), (2**63 - 1, -(2**63))
    found = counters.marks(x, shape)
    assert [word % 2**64 for word in found[0].tolist()] == twin.mark(x[0].tolist(), shape)
    for row, copy in zip(counters.streams(found, key, range(3, 6)), range(3, 6), strict=True):
        assert [word % 2**64 for word in row[0].tolist()] == twin.stream(found[0].tolist(), key, copy)


def test_the_table_is_the_quantile_function_to_its_ends():
    """Every bin, at its edges and between them, and the two ends."""
    halves = torch.cat([torch.arange(600), torch.logspace(0, 31, 20_000, base=2).long() - 1, torch.tensor([2**31 - 1])])
    values, slopes = counters._table(torch.device("cpu"))
    tail = halves.to(torch.float32) + 0.5
    bins = (tail.view(torch.int32) >> 15) - counters._first_bin()
    assert (int(bins.min()), int(bins.max())) == (0, len(values) - 1)
    exact = -torch.special.ndtri((halves.double() + 0.5) / 2**32)
    assert float((values[bins].double() + slopes[bins].double() * tail.double() - exact).abs().max()) < 1e-6
    assert exact[0].item() == pytest.approx(6.33796, abs=1e-5)


def test_numbers_are_fair_and_alike_in_no_two_streams():
    """Bits, neighbors, copies, samples and keys: what one generator for all would get wrong first."""
    x = torch.zeros(2, 50_000)
    x[1] = 1
    drawn = torch.stack([normal(x, key, "fair", copies=range(2)) for key in (0, 1)]).flatten(0, 2)  # 8 streams
    correlations = torch.corrcoef(torch.cat([drawn, drawn.roll(1, 1), drawn.square() - 1])).fill_diagonal_(0)
    assert float(correlations.abs().max()) < 4.5 / 50_000**0.5
    halves = torch.cat([h.flatten() for *_, h in counters._halves(torch.tensor([[3, 4]]), 100_000)])
    low, high = twin.chance(100_000)
    assert all(low < float((halves >> bit & 1).double().mean()) < high for bit in range(32))


def test_integers_are_even_and_below():
    drawn = integers(7, (3, 5_000), "even", samples=marks(torch.zeros(2, 1)))
    assert (drawn.shape, drawn.dtype) == ((2, 3, 5_000), torch.int64)
    counts = drawn.flatten().bincount()
    assert len(counts) == 7
    assert float((counts - 30_000 / 7).abs().max()) < 4 * (30_000 * 6 / 49) ** 0.5
    assert integers(1, (4,), samples=marks(torch.zeros(2, 1))).eq(0).all()


def test_moments():
    x = torch.zeros(1, 100_000)
    gaussian, flat = normal(x, 0), uniform(x, 0)
    # Four standard errors of 100 000 draws.
    assert abs(float(gaussian.mean())) < 4 / 1e5**0.5
    assert abs(float(gaussian.var()) - 1) < 4 * (2 / 1e5) ** 0.5
    assert abs(float(flat.mean())) < 4 * (1 / 3e5) ** 0.5
    assert abs(float(flat.var()) - 1 / 3) < 4 * (4 / 45 / 1e5) ** 0.5
    assert -1 <= float(flat.min()) < float(flat.max()) < 1


def test_the_global_generator_is_never_touched():
    before = torch.get_rng_state()
    normal(torch.zeros(2, 3), 0)
    uniform(torch.zeros(2, 3), 0)
    assert torch.equal(torch.get_rng_state(), before)


@dataclass(frozen=True)
class Inner:
    seed: int = 5
    size: int = 2


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    seed: int = 1
    name: str = "x"


def test_reseed_moves_every_seed_and_nothing_else():
    recipe = Outer()
    assert reseed(recipe, 0) is recipe
    assert reseed(recipe, 3) == Outer(inner=Inner(seed=5 + 3 * 2**32), seed=1 + 3 * 2**32)
    assert reseed(print, 1) is print
    assert reseed(Outer, 1) is Outer
