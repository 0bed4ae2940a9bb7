"""Random numbers that depend on what they are for."""

import hashlib
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heatproof.draws import digests, generator, normal, reseed, uniform

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
    assert torch.equal(draw(x, 0, "test", samples=digests(x)), drawn)
    assert not bool((draw(x, 1, "test") == drawn).any())
    assert not bool((draw(x, 0, "text") == drawn).any())


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
