"""A call as the operations that it came to: replayed with other values, and what cannot be."""

import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from heatproof import tape
from heatproof.errors import OperationError
from heatproof.state import same_bits

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
OTHER = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


def replays(call, *, given=X, other=OTHER):
    """The function, recorded on one tensor and equal to the call on another, to the bit."""
    played = tape.recorded(call, given)
    for values in (given, other, other):
        for one, expected in zip(played(values), call(values), strict=True):
            assert same_bits(one, expected)
    return played


def test_values_and_ways_back_are_those_of_other_inputs():
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))

    def gradient(x):
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            out = net(leaf).square().sum(1)
        return out.detach(), *torch.autograd.grad(out.sum(), leaf)

    replays(gradient)


def turned(x):
    """In place, and a view that keeps the shape that there was."""
    whole = x.clone()
    before = whole.detach()
    whole.t_().mul_(2)
    return before, whole


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_whose_steps_hang_on_whether_derivatives_are_on(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = kind(4, 2, num_layers=2, batch_first=True, bidirectional=True)

    def gradient(x):
        leaf = x[None].detach().requires_grad_()
        with torch.enable_grad():
            out = net(leaf)[0][:, -1].sum(1)
        return out.detach(), *torch.autograd.grad(out, leaf)

    for derives in (True, False):
        with torch.set_grad_enabled(derives):
            replays(gradient)
            assert torch.is_grad_enabled() is derives


def test_a_recording_that_is_broken_off_leaves_nothing_on():
    def stop(x):
        x * 2
        raise KeyboardInterrupt

    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        tape.recorded(stop, X)
    assert not _get_current_function_mode_stack()
    assert not _get_current_dispatch_mode_stack()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: (x.clone().mul_(2).add_(x),),
        lambda x: (torch.zeros_like(x).index_copy_(0, torch.tensor([2, 0]), x[:2]),),
        lambda x: (x.t().contiguous().view(2, 6)[:, ::2],),
        lambda x: tuple(x.clone().unbind(1)),
        lambda x: (torch.where(x > 0, x, x.new_full((), -1.0)),),
        lambda x: (x.sort(1).values, x.topk(2, 1).indices),
        lambda x: (torch.complex(x, x).conj().resolve_conj().imag,),
        lambda x: (x[:, torch.tensor([3, 1])],),
        lambda x: (x.masked_fill(x > 0, 0.0),),
        lambda x: (torch.cat([x, x.new_empty(0, 4), 2 * x]),),
        lambda x: (x.clone().t_().unsqueeze_(0),),
        lambda x: turned(x),
    ],
)  # fmt: skip
def test_writes_parts_and_several_results(call):
    replays(call)


def test_a_write_into_a_part_is_seen_in_the_whole():
    def call(x):
        whole = torch.zeros(3, 5)
        part = whole[:, 1:]
        part.copy_(x)
        part[0] += 1
        return whole, whole.sum(1)

    replays(call)


def test_what_lies_elsewhere_is_read_anew():
    weight = torch.ones(4)
    played = tape.recorded(lambda x: (x * weight,), X)
    weight.fill_(3.0)
    assert same_bits(played(OTHER)[0], OTHER * 3)


def test_draws_with_a_seed_of_their_own_stay():
    def call(x):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
        return (noise.mul_(x),)

    replays(call)


def test_what_is_handed_out_is_nobody_elses():
    weight = torch.ones(3, 4)
    played = tape.recorded(lambda x: (weight, x, x.t()), X)
    given = OTHER.clone()
    for found in played(given):
        found.zero_()
    assert same_bits(given, OTHER)
    assert bool((weight == 1).all())


class Called(TorchDispatchMode):
    """What is run, in order."""

    def __init__(self):
        super().__init__()
        self.functions = []

    def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
        self.functions.append(function)
        return function(*args, **(kwargs or {}))


def test_steps_that_lead_to_nothing_are_left_out():
    calls = []

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            calls.append("forward")
            return 2 * x

    played = tape.recorded(lambda x: (Counted.apply(x), (x @ x.t()).exp())[:1], X)
    played(OTHER)
    assert calls == ["forward"]  # no Python of the call's runs again
    with Called() as seen:
        played(OTHER)
    assert seen.functions == [torch.ops.aten.mul.Tensor]


BUFFER = torch.zeros(4)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda x: (x * 2 if x.sum() > 0 else x,), r"what aten._local_scalar_dense.default gives depends on values"),
        (lambda x: (x * float(x.max()),), r"aten._local_scalar_dense.default"),
        (lambda x: (x[x > 0],), r"aten.index.Tensor gives depends on values"),
        (lambda x: (x.nonzero(),), r"aten.nonzero.default"),
        (lambda x: (x * torch.equal(x, x),), r"aten.equal.default"),
        (lambda x: (x * float(x.numpy()[0, 0]),), r"numpy reads values that are others in each call"),
        (lambda x: (x * x.tolist()[0][0],), r"tolist reads values"),
        (lambda x: (x + torch.randn(3, 4),), r"aten.randn.default draws random numbers"),
        (lambda x: (torch.rand_like(x),), r"draws random numbers"),
        (lambda x: (torch.nn.functional.dropout(x),), r"draws random numbers"),
        (lambda x: (BUFFER.add_(x[0]),), r"aten.add_.Tensor writes into a tensor that the call did not make"),
        (lambda x: (BUFFER[:2].add_(x[0, :2]),), r"writes into a tensor that the call did not make"),
        (lambda x: (x.add_(1),), r"writes into a tensor that the call did not make"),
        (lambda x: (x.clone().as_strided_((2, 2), (1, 4)).resize_(4),), r"gives a tensor another shape in place"),
        (lambda x: (x.to_sparse().to_dense(),), r"has no memory of its own"),
    ],
)
def test_what_other_values_would_do_otherwise_is_refused(call, why):
    before = BUFFER.clone()
    with pytest.raises(OperationError, match=why):
        tape.recorded(call, X.clone())
    BUFFER.copy_(before)


def test_what_was_settled_before_may_be_asked_for():
    weight = torch.ones(4)
    replays(lambda x: (x * 2 if bool(weight.sum() > 0) else x,))
    replays(lambda x: (x * weight.tolist()[0],))
