"""torch's default dtype is a setting of the user's own code, and decides no number of ours."""

from dataclasses import replace

import pytest
import torch

import heatproof as hp
from heatproof.checks.similarities import _permuted
from heatproof.data.demo import compose
from heatproof.methods.readout_network import initial
from heatproof.testing import ContractNet


@pytest.fixture(params=[torch.float32, torch.float64])
def default(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


def numbers(net):
    """What is drawn where a network runs in float32."""
    images = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float32)
    labels = torch.arange(6) % 5
    iba = replace(hp.methods.get("iba"), steps=2).fit(net, [(images, labels)])
    digits = torch.ones(6, 24, 24, dtype=torch.float32)
    return [
        iba(net, images[:2], labels[:2]),
        *(hp.methods.get(name)(net, images[:2], labels[:2]) for name in ("smoothgrad", "random", "cgi", "vargrad")),
        *initial(3, 4, 5.0, 0),
        _permuted(images, images, 0, "chance", samples=["a"] * 6),
        compose(digits, torch.arange(6), 0, "test")[0],
    ]


NET = ContractNet().float()


def test_draws_and_maps_are_the_same_under_any_default(default):
    found = numbers(NET)
    torch.set_default_dtype(torch.float32)
    for ours, theirs in zip(found, numbers(NET), strict=True):
        assert ours.dtype == theirs.dtype == torch.float32
        assert torch.equal(ours, theirs)
