"""A call's Python beside its arithmetic, counted: what a researcher's loop on a small network waits for."""

import gc
import weakref
from functools import partial

import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof.methods import LRP, get
from heatproof.propagation.facts import ByTensor, Facts
from heatproof.testing.begun import functions_begun

X = torch.randn(8, 10, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 4


def network(blocks=2, width=32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hidden = [layer for _ in range(blocks - 1) for layer in (nn.Linear(width, width), nn.ReLU())]
        return nn.Sequential(nn.Linear(10, width), nn.ReLU(), *hidden, nn.Linear(width, 4)).eval()


def begun(run):
    """How many Python functions a call runs, once what is settled of the model is."""
    for _ in range(3):
        run()
    return functions_begun(run)


# Of a call and, of that, of each linear layer and ReLU more; a tenth above what it is.
MOST = {
    "gradient": (235, 10),
    "gradient-x-input": (310, 10),
    "guided-backprop": (530, 96),
    "lrp-epsilon": (790, 170),
    "lrp-epsilon-plus": (790, 170),
    "deeplift": (800, 181),
}


@pytest.mark.parametrize("name", MOST)
def test_a_call_runs_few_python_functions(name):
    method = get(name)
    short, long = (begun(partial(method, network(blocks), X, Y)) for blocks in (2, 4))
    call, layer = MOST[name]
    assert short <= call
    assert (long - short) / 2 <= layer


def test_what_is_known_of_a_tensor_goes_with_it():
    """No fact, mark or reference of a call outlives it, and none waits for the garbage to be collected."""
    gc.disable()
    try:
        facts, marks, tensor = Facts(), ByTensor(), torch.ones(2)
        value = torch.zeros(3)
        facts[tensor] = value
        marks[tensor] = value
        held = weakref.ref(value)
        del value
        assert facts.get(tensor) is held()
        assert marks[tensor] is held()
        assert tensor in marks
        tensor.add_(1)
        assert facts.get(tensor) is None  # written into since
        del tensor
        assert held() is None
        assert not marks._of
        tensor, value = torch.ones(2), torch.zeros(3)
        marks[tensor] = value
        held = weakref.ref(value)
        del value, marks
        assert held() is None  # though the tensor lives
    finally:
        gc.enable()


def alive():
    gc.collect()
    return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())


@pytest.mark.parametrize("method", [LRP(), LRP(composite="epsilon-gamma-box"), get("deeplift"), get("guided-backprop")])
def test_a_call_leaves_no_tensor(method):
    net = network()
    method(net, X, Y)
    before = alive()
    for _ in range(3):
        method(net, X, Y)
    assert alive() == before


def test_a_gradient_is_the_same_where_its_pass_is_not_watched():
    net = network()
    expected = [hp.methods.get("gradient")(net, X, Y) for _ in range(3)]
    x = X.clone().requires_grad_()
    (plain,) = torch.autograd.grad(net(x).gather(1, Y[:, None]).sum(), x)
    for maps in expected:
        torch.testing.assert_close(maps, plain, rtol=0, atol=0)
