"""Every spelling of an operation is that operation."""

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from heatproof.errors import InputError
from heatproof.propagation import register
from heatproof.propagation.operations import identify, key

X = torch.rand(1, 2, 4, 4)
V = torch.rand(3, 4)
STATISTICS = (torch.zeros(2), torch.ones(2))


class Recorder(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, function, kinds, args=(), kwargs=None):
        self.seen.append(identify(key(function)))
        return function(*args, **(kwargs or {}))


def iadd(a):
    a += 1


def imul(a):
    a *= 2


def setitem(a):
    a[0] = 1


SPELLINGS = {
    "add": [
        lambda: V + 1, lambda: 1 + V, lambda: torch.add(V, 1), lambda: V.add(1), lambda: V.clone().add_(1),
        lambda: iadd(V.clone()), lambda: torch.ops.aten.add(V, V), lambda: torch.ops.aten.add.Tensor(V, V),
    ],
    "sub": [lambda: V - 1, lambda: torch.subtract(V, V), lambda: V.sub_(0)],
    "rsub": [lambda: 1 - V, lambda: torch.rsub(V, 1)],
    "mul": [lambda: V * 2, lambda: 2 * V, lambda: torch.multiply(V, V), lambda: imul(V.clone())],
    "div": [lambda: V / 2, lambda: torch.true_divide(V, 2), lambda: V.div(2)],
    "rdiv": [lambda: 2 / (V + 1)],
    "matmul": [lambda: V @ V.T, lambda: torch.matmul(V, V.T), lambda: torch.ops.aten.matmul.default(V, V.T)],
    "pow": [lambda: V**2, lambda: torch.pow(V, 2)],
    "rpow": [lambda: 2**V],
    "abs": [lambda: abs(V), lambda: V.abs()],
    "neg": [lambda: -V, lambda: torch.negative(V)],
    "relu": [
        lambda: F.relu(V), lambda: F.relu_(V.clone()), lambda: torch.relu(V), lambda: torch.relu_(V.clone()),
        lambda: V.relu(), lambda: V.clone().relu_(), lambda: F.relu(V.clone(), True),
        lambda: torch.ops.aten.relu(V), lambda: torch.ops.aten.relu.default(V), lambda: torch.ops.aten.relu_(V.clone()),
    ],
    "sigmoid": [lambda: torch.sigmoid(V), lambda: V.sigmoid(), lambda: F.sigmoid(V), lambda: torch.special.expit(V)],
    "softmax": [lambda: V.softmax(1), lambda: F.softmax(V, 1), lambda: torch.softmax(V, 1)],
    "conv2d": [
        lambda: F.conv2d(X, torch.ones(1, 2, 2, 2)), lambda: torch.conv2d(X, torch.ones(1, 2, 2, 2)),
        lambda: torch.ops.aten.conv2d.default(X, torch.ones(1, 2, 2, 2)),
    ],
    "max_pool2d": [lambda: F.max_pool2d(X, 2), lambda: torch.max_pool2d(X, 2)],
    "batch_norm": [lambda: F.batch_norm(X, *STATISTICS)],
    "adaptive_avg_pool2d": [lambda: F.adaptive_avg_pool2d(X, 1)],
    "view": [lambda: V.view(-1), lambda: torch.ops.aten.view(V, [-1])],
    "__setitem__": [lambda: setitem(V.clone())],
    "__getitem__": [lambda: V[0]],
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_the_same_operation(name):
    for spelling in SPELLINGS[name]:
        with Recorder() as recorder:
            spelling()
        assert name in [operation.name for operation in recorder.seen], recorder.seen


@pytest.mark.parametrize(
    ("call", "in_place"),
    [
        (lambda: V.clone().add_(1), True),
        (lambda: iadd(V.clone()), True),
        (lambda: setitem(V.clone()), True),
        (lambda: V.clone().relu_(), True),
        (lambda: V.add(1), False),
        (lambda: V.isnan(), False),
    ],
)
def test_a_write_is_known_by_its_name(call, in_place):
    with Recorder() as recorder:
        call()
    assert recorder.seen[-1].in_place is in_place


def test_a_strangers_function_is_unknown_even_under_a_known_name():
    def relu(x):
        return x

    assert identify(relu).kind == ""


def test_registering_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match=r"one of structural, sum, nonlinearity, or a function .* but got 'product'"):
        register(torch.special.airy_ai, "product")
