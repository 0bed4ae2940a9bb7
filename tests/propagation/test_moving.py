"""A part of a joined tensor that holds a parameter alone is that parameter, whichever way it is taken out again."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from heatproof.methods.deeplift import DeepLIFT
from heatproof.methods.guided import GuidedBackprop
from heatproof.methods.lrp import LRP
from heatproof.propagation.calls import Call
from heatproof.propagation.moving import Moving
from heatproof.propagation.operations import identify

METHODS = [LRP(composite="epsilon"), LRP(composite="epsilon-plus-flat"), DeepLIFT(), GuidedBackprop()]
X = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1])


class Net(nn.Module):
    """linear → a step with a parameter, (N, 3) and (3,) → linear."""

    def __init__(self, step):
        super().__init__()
        self.first, self.p, self.last = nn.Linear(4, 3), nn.Parameter(torch.empty(3)), nn.Linear(3, 3)
        self.step = step
        stream = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=stream))
        self.eval()

    def forward(self, x):
        h = F.relu(self.first(x))
        return self.last(torch.tanh(self.step(h, self.p.expand_as(h))))


def both(h, p):
    return torch.cat([h, p], 1)


def written(h, p):
    buffer = torch.zeros(len(h), 6)
    buffer[:, :3], buffer[:, 3:] = h, p
    return h * buffer[:, 3:]


def written_through_views(h, p):
    buffer = torch.zeros(len(h), 6)
    view = buffer[:, 3:]
    view.copy_(p)
    buffer[:, :3].copy_(h)
    return h * view


def overwritten(h, p):
    joined = both(h, h)
    joined[:, 3:] = p
    return h * joined[:, 3:]


TAKEN = {
    "a slice": lambda h, p: h * both(h, p)[:, 3:],
    "narrow": lambda h, p: h * both(h, p).narrow(1, 3, 3),
    "split": lambda h, p: torch.mul(*both(h, p).split(3, 1)),
    "chunk": lambda h, p: torch.mul(*both(h, p).chunk(2, 1)),
    "unbind": lambda h, p: torch.mul(*torch.stack([h, p]).unbind()),
    "iteration": lambda h, p: torch.mul(*torch.stack([h, p], 1).transpose(0, 1)),
    "select": lambda h, p: h * torch.stack([h, p]).select(0, 1),
    "index_select": lambda h, p: h * both(h, p).index_select(1, torch.arange(3, 6)),
    "gather": lambda h, p: h * both(h, p).gather(1, torch.arange(3, 6).expand(len(h), 3)),
    "views of views": lambda h, p: h * both(h, p).view(-1, 2, 3)[:, 1].unsqueeze(1).flatten(1),
    "expand": lambda h, p: h * both(h, p)[:, None].expand(-1, 2, -1)[:, 1, 3:],
    "where": lambda h, p: h * torch.where(torch.arange(6) < 3, both(h, h), both(p, p))[:, 3:],
    "pad and sum": lambda h, p: h * (F.pad(h, (0, 3)) + F.pad(p, (3, 0)))[:, 3:],
    "writes": written,
    "writes through views": written_through_views,
    "an overwritten part": overwritten,
    "a part written into": lambda h, p: h * both(h, p)[:, 3:].mul_(2.0).div_(2.0),
    "interpolated": lambda h, p: h * F.interpolate(both(h, p)[:, None], scale_factor=2)[:, 0, 6::2],
}


@pytest.mark.parametrize("method", METHODS, ids=lambda m: getattr(m, "composite", type(m).__name__))
@pytest.mark.parametrize("taken", TAKEN)
def test_the_part_of_a_joined_tensor_that_is_a_parameter_is_that_parameter(taken, method):
    expected = method(Net(lambda h, p: h * p), X, TARGETS)
    torch.testing.assert_close(method(Net(TAKEN[taken]), X, TARGETS), expected, rtol=1e-5, atol=1e-6)


def largest(p):
    return p.amax(1, keepdim=True).expand_as(p)


LED_ON = {
    "in place": (lambda h, p: both(h, p).tanh_()[:, 3:], lambda p: torch.tanh(p)),
    "sums": (lambda h, p: (2 * both(h, p) - 1)[:, 3:], lambda p: 2 * p - 1),
    "normalized": (lambda h, p: F.layer_norm(torch.stack([h, p], 1), [3])[:, 1], lambda p: F.layer_norm(p, [3])),
    "softmax": (lambda h, p: torch.stack([h, p], 1).softmax(-1)[:, 1], lambda p: p.softmax(-1)),
    "a linear layer": (
        lambda h, p: F.linear(torch.stack([h, p], 1), torch.ones(6, 3), torch.ones(6))[:, 1, :3],
        lambda p: F.linear(p, torch.ones(3, 3), torch.ones(3)),
    ),
    "a matrix": (lambda h, p: (torch.stack([h, p], 1) @ torch.ones(3, 3))[:, 1], lambda p: p @ torch.ones(3, 3)),
    "a maximum": (lambda h, p: torch.stack([h, p], 1).amax(-1, keepdim=True).expand(-1, -1, 3)[:, 1], largest),
    "a max-pooling": (lambda h, p: F.max_pool1d(torch.stack([h, p], 1), 3).expand(-1, -1, 3)[:, 1], largest),
    "a pooling": (lambda h, p: F.avg_pool1d(both(h, p)[:, None], 3).expand(-1, 3, -1)[..., 1], None),
}


@pytest.mark.parametrize("method", METHODS, ids=lambda m: getattr(m, "composite", type(m).__name__))
@pytest.mark.parametrize("name", LED_ON)
def test_what_works_value_by_value_or_along_rows_leaves_the_part_a_constant(name, method):
    taken, alone = LED_ON[name]
    alone = alone or (lambda p: p.mean(1, keepdim=True).expand_as(p))
    expected = method(Net(lambda h, p: h * alone(p)), X, TARGETS)
    torch.testing.assert_close(method(Net(lambda h, p: h * taken(h, p)), X, TARGETS), expected, rtol=1e-5, atol=1e-6)


def test_a_part_that_is_written_into_moves_again():
    def step(h, p):
        joined = both(h, p)
        part = joined[:, 3:]
        joined[:, 3:] = h
        return h * part

    for method in METHODS:
        expected = method(Net(lambda h, p: h * h.clone()), X, TARGETS)
        torch.testing.assert_close(method(Net(step), X, TARGETS), expected, rtol=1e-5, atol=1e-6)


def test_the_input_written_into_a_part_makes_it_move():
    def step(h, p):
        joined = both(h, p)
        part = joined[:, 3:]
        part.add_(h)
        return h * part

    for method in METHODS:
        expected = method(Net(lambda h, p: h * (p + h)), X, TARGETS)
        torch.testing.assert_close(method(Net(step), X, TARGETS), expected, rtol=1e-5, atol=1e-6)


def test_a_part_of_both_moves():
    for method in METHODS:
        mixed = method(Net(lambda h, p: h * both(h, p)[:, 2:5]), X, TARGETS)
        plain = method(Net(lambda h, p: h * torch.cat([h[:, 2:], p[:, :2]], 1)), X, TARGETS)
        torch.testing.assert_close(mixed, plain, rtol=0, atol=0)


def test_nothing_is_kept_of_tensors_that_hold_the_input_alone():
    moving, h = Moving(), torch.ones(2, 3)
    call = Call(torch.cat, identify(torch.cat), ([h, h],), {}, lambda _: True)
    assert moving.foresee(call, lambda _: True) is None
    assert not moving.rests(h)
