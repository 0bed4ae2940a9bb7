"""What a call runs and holds: passes that are made once, graphs that are gone before the next."""

import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from heatproof.methods import DeepLIFT, GradCAM, IntegratedGradients, path

X = torch.randn(5, 3, 12, 12, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 0, 1])


class Counted(nn.Module):
    """A network that writes down, outside of itself, how many rows its passes have."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            first = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU()]
            self.maps = nn.Sequential(*first)
            self.head = nn.Linear(6, 3)

    def forward(self, x):
        ROWS.append(len(x))
        return self.head(self.maps(x).mean((2, 3)))


ROWS = []


@pytest.fixture
def net():
    ROWS.clear()
    return Counted().eval()


def test_the_layer_of_grad_cam_is_found_once_a_model(net):
    GradCAM()(net, X, Y)
    found = len(ROWS)
    ROWS.clear()
    for _ in range(3):
        GradCAM()(net, X, Y)
    assert ROWS == [5, 5, 5]
    assert found > 1


class Convolved(TorchDispatchMode):
    """The rows of every convolution that runs forward."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
        if str(function).startswith("aten.convolution.default"):
            self.rows.append(len(args[0]))
        return function(*args, **(kwargs or {}))


def test_deeplift_runs_a_baseline_that_all_samples_share_once_and_for_one_row(net):
    DeepLIFT()(net, X, Y)
    ROWS.clear()
    with Convolved() as ran:
        found = DeepLIFT().explain(net, X, Y)
    assert ROWS == [5]  # the baseline goes along, operation by operation; no pass of its own for the diagnostics
    assert sorted(ran.rows) == [1, 1, 5, 5]
    assert set(found.diagnostics) >= {"baseline-score", "completeness-gap"}


def test_nodes_are_computed_once(net, monkeypatch):
    computed = []
    own = np.polynomial.legendre.leggauss
    monkeypatch.setattr(np.polynomial.legendre, "leggauss", lambda steps: (computed.append(steps), own(steps))[1])
    assert path._nodes.__name__ == "_nodes"
    for _ in range(3):
        IntegratedGradients(steps=37)(net, X, Y)
    assert computed == [37]


class Step(torch.autograd.Function):
    """The identity, whose place in a graph lives as long as the graph."""

    @staticmethod
    def forward(ctx, x):
        GRAPHS.append(weakref.ref(ctx))
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


GRAPHS = []


def test_the_graph_of_a_chunk_is_gone_before_the_next_is_built(monkeypatch):
    class Stepping(nn.Module):
        def forward(self, x):
            if torch.is_grad_enabled():
                alive.append(sum(one() is not None for one in GRAPHS))
                x = Step.apply(x)
            return x.flatten(1)[:, :3].square()

    alive = []
    monkeypatch.setattr("heatproof.methods.base.rows_per_pass", lambda _: 5)
    maps = IntegratedGradients(steps=6)(Stepping().eval(), X, Y)
    assert len(alive) == 6  # a chunk of one step of five samples
    assert set(alive) == {0}
    torch.testing.assert_close(maps.flatten(1).sum(1), X.flatten(1)[range(5), Y].square())
