"""ε in average pooling and in sums: Binder et al.'s settings, against sums over the values."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from heatproof.errors import InputError
from heatproof.methods.lrp import LRP
from heatproof.propagation.composites import COMPOSITES, Composite
from heatproof.propagation.rules import Epsilon

EXACT = Epsilon(epsilon=0.0)
EPS = 0.25
X = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = torch.tensor([0, 1, 1])


def rules(**epsilons):
    return LRP(composite=Composite(convolution=EXACT, dense=EXACT, **epsilons))


def stabilized(y):
    return torch.where(y >= 0, y + EPS, y - EPS)


class Step(nn.Module):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self, x):
        return self.step(x)


POOLS = [
    lambda x: F.avg_pool2d(x, 4).flatten(1),
    lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    lambda x: F.avg_pool1d(x.flatten(2), 16).flatten(1),
]


@pytest.mark.parametrize("pool", POOLS)
def test_average_pooling_hands_on_a_share_of_its_value_and_epsilon(pool):
    # R_i = (x_i / 16) / (mean + ε·sign mean) · mean.
    maps = rules(pooling_epsilon=EPS)(Step(pool).eval(), X, TARGETS)
    for n, target in enumerate(TARGETS):
        mean = X[n, target].mean()
        torch.testing.assert_close(maps[n, target], X[n, target] / 16 / stabilized(mean) * mean)
        assert not maps[n, 1 - target].any()


@pytest.mark.parametrize("in_place", [False, True])
def test_a_sum_of_two_branches_hands_on_a_share_of_its_value_and_epsilon(in_place):
    def step(x):
        a, b = x[:, :, 0, 0] * 2, x[:, :, 1, 1] * 3
        return a.add_(b) if in_place else a + b

    maps = rules(sum_epsilon=EPS)(Step(step).eval(), X, TARGETS)
    for n, target in enumerate(TARGETS):
        a, b = 2 * X[n, target, 0, 0], 3 * X[n, target, 1, 1]
        torch.testing.assert_close(maps[n, target, 0, 0], a / stabilized(a + b) * (a + b))
        torch.testing.assert_close(maps[n, target, 1, 1], b / stabilized(a + b) * (a + b))
        assert maps[n].count_nonzero() == 2


def test_a_constant_that_is_added_needs_no_share():
    maps = rules(sum_epsilon=EPS)(Step(lambda x: x.flatten(1)[:, :2] + 1.0).eval(), X, TARGETS)
    torch.testing.assert_close(maps, rules()(Step(lambda x: x.flatten(1)[:, :2] + 1.0).eval(), X, TARGETS))


def test_a_constant_part_on_the_way_does_not_lose_the_share(calibrated):
    # batch norm → pooling → linear: the linear rule reads the moving part, which must carry the stabilizer as well.
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.head = nn.BatchNorm2d(2), nn.Linear(2, 2)

        def forward(self, x):
            return self.head(F.adaptive_avg_pool2d(self.norm(F.relu(x)), 1).flatten(1))

    torch.manual_seed(0)
    net = calibrated(Net().double(), X)
    maps, plain = (rules(pooling_epsilon=epsilon)(net, X, TARGETS) for epsilon in (EPS, 0.0))
    pooled = F.adaptive_avg_pool2d(net.norm(F.relu(X)), 1).detach()
    expected = plain.sum((2, 3), keepdim=True) * pooled / stabilized(pooled)
    torch.testing.assert_close(maps.sum((2, 3), keepdim=True), expected)


@pytest.mark.parametrize("name", [name for name in COMPOSITES if name.startswith("binder")])
def test_values_are_untouched_and_published_epsilons_are_small(calibrated, name):
    torch.manual_seed(0)
    parts = [nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 4, 2)]
    net = nn.Sequential(*parts, nn.Flatten(), nn.Linear(4, 2)).double()
    net = calibrated(net, X)
    outputs, _ = LRP(composite=name).linearize(net, X)
    assert torch.equal(outputs, net(X))
    ours, bare = COMPOSITES[name], Composite(convolution=COMPOSITES[name].convolution, dense=COMPOSITES[name].dense)
    maps, without = LRP(composite=ours)(net, X, TARGETS), LRP(composite=bare)(net, X, TARGETS)
    difference = float((maps - without).abs().max() / without.abs().max())
    assert 0 < difference < (2e-5 if "residual" in name else 2e-2)


def test_negative_stabilizers_are_refused():
    with pytest.raises(InputError, match=r"at least 0, but got -1.0 and 0.0"):
        Composite(convolution=EXACT, dense=EXACT, pooling_epsilon=-1.0)
