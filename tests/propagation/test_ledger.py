"""The inherent gap: relevance of neurons without a contribution of the sign that their rule shares among."""

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.methods.lrp import LRP, DeepTaylor
from heatproof.propagation.composites import Composite
from heatproof.propagation.rules import AdaptiveBeta, AlphaBeta, Epsilon
from reference import propagation as twin

EPS = 1e-9


def mlp(seed=0):
    """Two layers whose neurons often have contributions of one sign only."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 8, bias=False), nn.Tanh(), nn.Linear(8, 3, bias=False)).double().eval()
    with torch.no_grad():
        net[0].weight.abs_()
        net[2].weight[1].abs_()
    x = torch.randn(4, 3, dtype=torch.float64)
    x[0], x[1] = -x[0].abs(), x[1].abs()
    return net, x, torch.tensor([1, 1, 2, 0])


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (2.0, 1.0), (0.0, -1.0)])
def test_it_is_what_neurons_of_one_sign_do_not_hand_on(alpha, beta):
    net, x, targets = mlp()
    rule = AlphaBeta(alpha=alpha, beta=beta, epsilon=EPS)
    explained = LRP(composite=Composite(convolution=rule, dense=rule)).explain(net, x, targets)
    first, last = (net[i].weight.detach().numpy() for i in (0, 2))
    for n in range(len(x)):
        hidden = np.tanh(first @ x[n].numpy())
        score = last[targets[n]] @ hidden
        top = np.eye(3)[targets[n]] * score
        handed = twin.alpha_beta(last, np.zeros(3), hidden, top, alpha=alpha, beta=beta, eps=EPS)
        expected = twin.lost(last, hidden, top, alpha=alpha, beta=beta)
        expected += twin.lost(first, x[n].numpy(), handed, alpha=alpha, beta=beta)
        assert float(explained.diagnostics["inherent-gap"][n]) == pytest.approx(-expected, rel=1e-6, abs=1e-9)
    gaps = explained.diagnostics["conservation-gap"] - explained.diagnostics["inherent-gap"]
    assert float(gaps.abs().max()) < 1e-6
    assert float(explained.diagnostics["inherent-gap"].abs().max()) > 1e-3


def test_adaptive_beta_loses_at_neurons_without_a_positive_contribution_alone():
    net, x, targets = mlp()
    rule = AdaptiveBeta(epsilon=EPS)
    diagnostics = LRP(composite=Composite(convolution=rule, dense=rule)).explain(net, x, targets).diagnostics
    torch.testing.assert_close(diagnostics["inherent-gap"], diagnostics["conservation-gap"], rtol=1e-5, atol=1e-7)


def test_epsilon_and_a_counted_bias_are_no_part_of_it():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3)).double().eval()
    diagnostics = LRP(composite="epsilon").explain(net, torch.randn(2, 3).double(), torch.tensor([0, 1])).diagnostics
    assert float(diagnostics["conservation-gap"].abs().min()) > 1e-3
    assert torch.equal(diagnostics["inherent-gap"], torch.zeros(2, dtype=torch.float64))


def test_deep_taylor_reports_it():
    net, x, targets = mlp()
    net[1] = nn.ReLU().eval()
    diagnostics = DeepTaylor().explain(net, x, targets).diagnostics
    # The stabilizer of 1e-6 is small beside every sum.
    torch.testing.assert_close(diagnostics["inherent-gap"], diagnostics["conservation-gap"], rtol=1e-4, atol=1e-5)


class Rows(nn.Module):
    """A network whose linear operations see the samples in another order, or several rows of each."""

    def __init__(self, order):
        super().__init__()
        torch.manual_seed(3)
        self.order, self.first, self.last = order, nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):  # (N, steps, 4)
        samples, steps = x.shape[:2]
        if self.order == "sequence first":
            h = torch.tanh(self.first(x.transpose(0, 1))).transpose(0, 1)
        elif self.order == "rows of each":
            h = torch.tanh(self.first(x.reshape(samples * steps, 4))).view(samples, steps, 6)
        elif self.order == "mixed rows":
            h = self.first(x.transpose(0, 1).reshape(samples * steps, 4)).view(steps, samples, 6).transpose(0, 1)
            h = torch.tanh(h)
        else:
            h = torch.tanh(self.first(x))
        return self.last(h.sum(1))


@pytest.mark.parametrize("order", ["batch first", "rows of each", "sequence first", "mixed rows"])
def test_it_is_a_samples_own_or_not_a_number(order):
    # Three steps of three samples: a tensor that is ordered by steps looks like one ordered by samples.
    plus = AlphaBeta(alpha=1.0, beta=0.0)
    method = LRP(composite=Composite(convolution=plus, dense=plus))
    x, targets = torch.randn(3, 3, 4, dtype=torch.float64), torch.tensor([0, 1, 1])
    net = Rows(order).double().eval()
    lost = method.explain(net, x, targets).diagnostics["inherent-gap"]
    alone = torch.cat(
        [method.explain(net, x[n : n + 1], targets[n : n + 1]).diagnostics["inherent-gap"] for n in range(3)]
    )
    assert len(alone.unique()) == 3
    if order in ("batch first", "rows of each"):
        torch.testing.assert_close(lost, alone)
    else:
        assert bool(lost.isnan().all())


def test_rows_that_no_number_of_samples_divides_are_not_a_number():
    plus = AlphaBeta(alpha=1.0, beta=0.0)
    method = LRP(composite=Composite(convolution=plus, dense=plus))
    x, targets = torch.randn(2, 3, 4, dtype=torch.float64), torch.tensor([0, 1])
    explained = method.explain(Rows("sequence first").double().eval(), x, targets)
    assert bool(explained.diagnostics["inherent-gap"].isnan().all())
    assert bool(explained.maps.isfinite().all())


def test_pulls_in_between_and_after_are_not_written_down():
    net, x, targets = mlp()
    rule = AlphaBeta(alpha=1.0, beta=0.0, epsilon=EPS)
    pull = LRP(composite=Composite(convolution=rule, dense=rule)).linearize(net, x).pull
    first = pull.explain(targets)
    cotangent = torch.eye(3, dtype=torch.float64)[targets]
    for _ in range(4):  # from the third on the graphs are kept
        assert torch.equal(pull(cotangent), first.maps)
    again = pull.explain(targets)
    assert torch.equal(again.maps, first.maps)
    assert torch.equal(again.diagnostics["inherent-gap"], first.diagnostics["inherent-gap"])


def test_a_composite_without_such_rules_has_none():
    conv = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten()).eval()
    rules = Composite(convolution=Epsilon(), dense=Epsilon())
    explained = LRP(composite=rules).explain(conv, torch.randn(2, 1, 3, 3), torch.tensor([0, 1]))
    assert torch.equal(explained.diagnostics["inherent-gap"], torch.zeros(2))
