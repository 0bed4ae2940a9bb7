"""What stands for a missing feature."""

import pytest
import torch

from heatproof.baselines import BASELINES, Baseline, Constant, Mean, Zero

SHAPES = [(3, 4), (3, 5, 4), (3, 2, 4, 6), (2, 1, 3, 4, 5)]


@pytest.mark.parametrize("name", BASELINES.names())
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_baseline_broadcasts_and_knows_one_sample_only(name, shape):
    baseline = BASELINES.get(name)
    assert isinstance(baseline, Baseline)
    x = torch.randn(shape, dtype=torch.float64)
    value = baseline(x)
    assert value.dtype == x.dtype
    assert value.expand_as(x).shape == x.shape
    alone = torch.cat([baseline(one[None]).expand_as(one[None]) for one in x])
    torch.testing.assert_close(value.expand_as(x), alone)


def test_values():
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]])
    assert Zero()(x).tolist() == [[[[0.0]]]]
    assert Constant(value=-1.5)(x).tolist() == [[[[-1.5]]]]
    assert Mean()(x).tolist() == [[[[2.0]], [[2.0]]]]
    assert Mean()(x + torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)).tolist() == [[[[2.0]], [[3.0]]]]
    assert Mean()(torch.tensor([[1.0, 2.0, 6.0]])).tolist() == [[3.0]]
