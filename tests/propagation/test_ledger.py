"""The inherent gap: relevance of neurons without a contribution of the sign that their rule shares among."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from heatproof.methods.lrp import LRP, DeepTaylor, RelevancePull
from heatproof.propagation.composites import Composite
from heatproof.propagation.first_rules import Flat, WSquare
from heatproof.propagation.rules import AdaptiveBeta, AlphaBeta, Epsilon, Gamma
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


PLUS = AlphaBeta(alpha=1.0, beta=0.0)


def one_by_one(method, net, x, targets):
    """Each sample's figure when it is explained alone."""
    lost = [method.explain(net, x[n : n + 1], targets[n : n + 1]).diagnostics["inherent-gap"] for n in range(len(x))]
    return torch.cat(lost)


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("order", ["batch first", "rows of each", "sequence first", "mixed rows"])
def test_it_is_a_samples_own_in_any_layout(order, samples):
    # Three steps of three samples: a tensor that is ordered by steps looks like one ordered by samples.
    method = LRP(composite=Composite(convolution=PLUS, dense=PLUS))
    x, targets = torch.randn(samples, 3, 4, dtype=torch.float64), torch.tensor([0, 1, 1, 0][:samples])
    net = Rows(order).double().eval()
    lost, alone = method.explain(net, x, targets).diagnostics["inherent-gap"], one_by_one(method, net, x, targets)
    assert len(alone.unique()) == samples
    torch.testing.assert_close(lost, alone, rtol=1e-9, atol=1e-12)


class Odd(nn.Module):
    """Layouts whose first dimension is as long as the batch and is none of samples."""

    def __init__(self, kind, length):
        super().__init__()
        torch.manual_seed(4)
        self.kind, self.length = kind, length
        self.first, self.last = nn.Linear(5, 5, bias=False), nn.Linear(5, 2, bias=False)
        self.conv, self.weight = nn.Conv2d(2, 3, 2, bias=False), nn.Parameter(torch.randn(length, 5))
        self.eval()

    def forward(self, x):
        samples = len(x)
        if self.kind == "weight from the left":  # (length, 5) @ (5, N)
            h = torch.tanh(self.weight @ x.T).T
            return self.last(h.sum(1, keepdim=True) + x)
        if self.kind == "steps of one sample":  # a linear layer on (length, 5), sample by sample
            h = torch.stack([torch.tanh(self.first(one)).sum(0) for one in x])
            return self.last(h)
        if self.kind == "frames of one sample":  # a convolution on (length, 2, 3, 3), sample by sample
            h = torch.stack([torch.tanh(self.conv(one)).mean((0, 2, 3)) for one in x])
            return h @ h.new_ones(3, 2).cumsum(1)
        if self.kind == "features first":  # a rearrangement whose first dimension is the features'
            h = torch.tanh(self.first(x)).T.reshape(self.length, samples)
            return (self.weight.T @ h).T[:, :2]
        raise AssertionError(self.kind)


SHAPES = {
    "weight from the left": (5,),
    "steps of one sample": (5, 5),
    "frames of one sample": (5, 2, 3, 3),
    "features first": (5,),
}


@pytest.mark.parametrize("samples", [2, 5])
@pytest.mark.parametrize("kind", SHAPES)
def test_a_first_dimension_as_long_as_the_batch_is_not_taken_for_it(kind, samples):
    rule = AlphaBeta(alpha=2.0, beta=1.0)
    method = LRP(composite=Composite(convolution=rule, dense=rule))
    x, targets = torch.rand(samples, *SHAPES[kind], dtype=torch.float64), torch.arange(samples) % 2
    net = Odd(kind, 5).double()
    for parameter in net.parameters():
        parameter.data.abs_()  # no neuron has a negative contribution
    lost, alone = method.explain(net, x, targets).diagnostics["inherent-gap"], one_by_one(method, net, x, targets)
    assert len(alone.unique()) == samples
    torch.testing.assert_close(lost, alone, rtol=1e-9, atol=1e-12)


def test_more_samples_than_a_pull_can_tell_apart():
    method = LRP(composite=Composite(convolution=PLUS, dense=PLUS))
    x, targets = torch.randn(37, 3, 4), torch.arange(37) % 2
    net = Rows("sequence first").eval()
    lost, alone = method.explain(net, x, targets).diagnostics["inherent-gap"], one_by_one(method, net, x, targets)
    torch.testing.assert_close(lost, alone, rtol=1e-4, atol=1e-6)


class Residual(nn.Module):
    """What convolutional networks are made of."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 6, 6, 3, padding=1) for i in range(3))
        self.norms, self.relu = nn.ModuleList(nn.BatchNorm2d(6) for _ in range(3)), nn.ReLU(inplace=True)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 2)
        self.norms[0].bias.data.fill_(1.0)
        self.convs[0].weight.data[0] = 0  # a channel of its bias alone
        self.eval()

    def forward(self, x):
        h = F.max_pool2d(self.relu(self.norms[0](self.convs[0](x))), 3, 2, 1)
        side = self.norms[2](self.convs[2](self.relu(self.norms[1](self.convs[1](h)))))
        side += h
        return self.head(torch.flatten(self.pool(self.relu(torch.cat([side[:, :3], side[:, 3:]], 1))), 1))


def test_a_convolutional_network_needs_no_second_pull(monkeypatch):
    def counted(self, cotangent):
        pulls.append(cotangent)
        return plain(self, cotangent)

    plain, pulls = RelevancePull.__call__, []
    monkeypatch.setattr(RelevancePull, "__call__", counted)
    x, targets = torch.randn(2, 3, 8, 8), torch.tensor([0, 1])
    diagnostics = LRP(composite="alpha1-beta0").explain(Residual(), x, targets).diagnostics
    assert bool((diagnostics["inherent-gap"] != 0).all())
    assert len(pulls) == 1


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


def boxed():
    """A first layer with neurons of which every input stands at the end of its box that leaves nothing to share."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3, bias=False)).double().eval()
    with torch.no_grad():
        net[0].weight[:3].abs_()
        net[0].weight[3:].abs_().neg_()
        net[0].bias.fill_(20.0)
        net[2].weight.abs_()
    x = torch.tensor([[0.0, 0, 0, 0], [9, 9, 9, 9], [1, 2, 0, 9], [9, 9, 0, 0]], dtype=torch.float64)
    return net, x, torch.tensor([0, 1, 2, 0])


def test_a_box_rule_loses_where_every_input_stands_at_its_end():
    net, x, targets = boxed()
    diagnostics = DeepTaylor(low=0.0, high=9.0).explain(net, x, targets).diagnostics
    hidden = net[:2](x)
    relevance = hidden * net[2].weight[targets]  # z⁺ hands each neuron its contribution: there is no other sign
    nothing = torch.zeros(4, 6, dtype=torch.bool)
    nothing[0, :3] = nothing[1, 3:] = True  # weights > 0 at the low end, weights < 0 at the high end
    torch.testing.assert_close(
        diagnostics["inherent-gap"], -(relevance * nothing).sum(1).detach(), rtol=1e-5, atol=1e-9
    )
    torch.testing.assert_close(diagnostics["inherent-gap"], diagnostics["conservation-gap"], rtol=1e-5, atol=1e-4)
    assert float(diagnostics["inherent-gap"][0]) < -1
    assert float(diagnostics["inherent-gap"][2]) == 0


@pytest.mark.parametrize("rule", [Flat(), WSquare()], ids=str)
def test_flat_and_w_square_lose_where_there_is_nothing_to_share_among(rule):
    net, x, targets = boxed()
    with torch.no_grad():
        net[0].weight[1] = 0  # a neuron of its bias alone
    method = LRP(composite=Composite(convolution=PLUS, dense=PLUS, first=rule))
    diagnostics = method.explain(net, x, targets).diagnostics
    own = (net[:2](x)[:, 1] * net[2].weight[targets, 1]).detach()
    expected = -own if isinstance(rule, WSquare) else torch.zeros_like(own)  # flat shares among inputs of any weight
    torch.testing.assert_close(diagnostics["inherent-gap"], expected, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(diagnostics["inherent-gap"], diagnostics["conservation-gap"], rtol=1e-4, atol=1e-3)


def test_gamma_without_biases_reports_it():
    net, x, targets = boxed()
    rule = Gamma(bias="ignored", epsilon=EPS)
    diagnostics = LRP(composite=Composite(convolution=rule, dense=rule)).explain(net, x[:1], targets[:1]).diagnostics
    assert float(diagnostics["inherent-gap"]) < -1  # an input of zeros: every hidden neuron is its bias
    torch.testing.assert_close(diagnostics["inherent-gap"], diagnostics["conservation-gap"], rtol=1e-6, atol=1e-6)
