"""Complexity against closed forms and scalar loops."""

import math

import check_toys as toys
import pytest
import torch

from heatproof.checks import Complexity
from heatproof.methods import GradientXInput
from heatproof.methods.base import Explanation, Method
from heatproof.testing.playing import play, stage


class Given(Method):
    """Maps that are handed over."""

    def __init__(self, maps):
        self.maps = maps

    def _explain(self, model, inputs, targets):
        return Explanation(self.maps)


def of(maps):
    inputs = toys.images(len(maps))
    rows = play(
        Complexity(), stage(toys.network(), inputs, torch.zeros(len(maps), dtype=torch.int64), {"m": Given(maps)})
    )
    return [toys.row(rows, "m", metric, "").tolist() for metric in ("effective-share", "gini")]


def test_one_feature_and_all_of_them_are_the_ends():
    one, same, half = torch.zeros(3, 1, 6, 6, dtype=torch.float64)
    one[0, 2, 3], same[:], half[:, :3] = -5.0, -0.3, 2.0
    share, gini = of(torch.stack([one, same, half]))
    assert share == pytest.approx([1 / 36, 1.0, 0.5])
    assert gini == pytest.approx([35 / 36, 0.0, 0.5])


def test_scalar_loops_give_the_same():
    maps = GradientXInput()(toys.network(), toys.images(), torch.zeros(3, dtype=torch.int64)).sum(1, keepdim=True)
    share, gini = of(maps)
    for i in range(3):
        size = sorted(abs(value) for value in maps[i].flatten().tolist())
        p = [value / sum(size) for value in size]
        assert share[i] == pytest.approx(math.exp(-sum(q * math.log(q) for q in p if q)) / 36)
        # half the mean difference of every two, over the mean
        apart = sum(abs(a - b) for a in size for b in size) / 36**2
        assert gini[i] == pytest.approx(apart / 2 / (sum(size) / 36))


def test_neither_scale_sign_nor_place_counts():
    maps = torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = -1e-200 * maps.flip(-1)
    assert of(maps) == [pytest.approx(found) for found in of(moved)]


def test_a_map_of_nothing_has_no_value():
    share, gini = of(
        torch.tensor([0.0, math.nan, math.inf], dtype=torch.float64)[:, None, None, None].expand(3, 1, 6, 6)
    )
    assert all(map(math.isnan, share + gini))
