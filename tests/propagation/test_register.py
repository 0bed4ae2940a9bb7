"""A user's own operation gets rules: by a kind, or by the same in operations that the engine knows."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from test_holes import TARGETS, Net, X

from heatproof.errors import OperationError
from heatproof.methods.base import METHODS as REGISTRY
from heatproof.methods.deeplift import DeepLIFT
from heatproof.methods.guided import GuidedBackprop
from heatproof.methods.lrp import LRP
from heatproof.propagation import operations, register

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
FAMILIES = ("lrp", "deep-taylor", "deeplift", "guided-backprop", "deconvnet")
METHODS = [LRP(composite="epsilon"), LRP(composite="alpha1-beta0"), DeepLIFT(), GuidedBackprop()]


@pytest.fixture(autouse=True)
def forgotten():
    yield
    operations._registered.clear()
    operations.identify.cache_clear()


def gated(h, gate):
    return h * torch.sigmoid(gate)


class Gate(torch.autograd.Function):
    """A fused gate with a backward pass of its own."""

    @staticmethod
    def forward(ctx, h, gate):
        ctx.save_for_backward(h, gate)
        return h * torch.sigmoid(gate)

    @staticmethod
    def backward(ctx, g):
        h, gate = ctx.saved_tensors
        s = torch.sigmoid(gate)
        return g * s, g * h * s * (1 - s)


@torch.library.custom_op("heatprooftests::gate", mutates_args=())
def gate_operator(h: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    return h * torch.sigmoid(gate)


gate_operator.register_autograd(
    lambda ctx, g: Gate.backward(ctx, g), setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs)
)
SPELLINGS = {
    "Function": (Gate, lambda h, gate: Gate.apply(h, gate)),
    "operator": (torch.ops.heatprooftests.gate, lambda h, gate: torch.ops.heatprooftests.gate(h, gate)),
    "overload": (
        torch.ops.heatprooftests.gate.default,
        lambda h, gate: torch.ops.heatprooftests.gate.default(h, gate),
    ),
    "custom_op": (gate_operator, gate_operator),
}


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_decomposition_is_the_rule(name, method):
    function, fused = SPELLINGS[name]
    net = Net(lambda h: fused(h, h.flip(1)))
    with pytest.raises(OperationError, match=r"propagation.register"):
        method(net, X, TARGETS)
    register(function, gated)
    plain = Net(lambda h: gated(h, h.flip(1)))
    outputs, _ = method.linearize(net, X)
    assert torch.equal(outputs, net(X))
    torch.testing.assert_close(method(net, X, TARGETS), method(plain, X, TARGETS))


def test_a_gate_stays_a_gate_where_a_decomposition_makes_it():
    class Squash(torch.autograd.Function):
        @staticmethod
        def forward(ctx, h):
            return torch.sigmoid(h)

    register(Squash, torch.sigmoid)
    for method in METHODS:
        fused, plain = (Net(lambda h, f=f: h.flip(1) * f(h)) for f in (lambda h: Squash.apply(h), torch.sigmoid))
        torch.testing.assert_close(method(fused, X, TARGETS), method(plain, X, TARGETS))


def test_a_decomposition_is_complete_under_deeplift():
    register(Gate, gated)
    explained = DeepLIFT().explain(Net(lambda h: Gate.apply(h, h.flip(1))).double(), X.double(), TARGETS)
    gap, total = explained.diagnostics["completeness-gap"], explained.maps.abs().sum(1)
    assert bool((gap.abs() <= 1e-10 * total).all())


@pytest.mark.parametrize("kind", ["structural", "sum", "nonlinearity"])
def test_a_kind_is_the_rule(kind):
    rotate = {"structural": lambda h: h.roll(1, 1), "sum": lambda h: h + h.flip(1), "nonlinearity": F.softsign}[kind]

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, h):
            ctx.save_for_backward(h)
            return rotate(h)

        @staticmethod
        def backward(ctx, g):
            (h,) = ctx.saved_tensors
            return torch.func.vjp(rotate, h)[1](g)[0]

    register(Own, kind)
    for method in METHODS:
        ours, plain = method(Net(lambda h: Own.apply(h)), X, TARGETS), method(Net(rotate), X, TARGETS)
        torch.testing.assert_close(ours, plain)


class MyRoll(torch.autograd.Function):
    """One of the page's three."""

    @staticmethod
    def forward(ctx, h):
        return h.roll(1, 1)

    @staticmethod
    def backward(ctx, g):
        return g.roll(-1, 1)


@torch.library.custom_op("mylib::pool", mutates_args=())
def pool(h: torch.Tensor) -> torch.Tensor:
    return h.unfold(1, 2, 2).mean(2).repeat_interleave(2, 1)


pool.register_autograd(lambda ctx, g: pool(g))


@pytest.mark.parametrize("name", [n for n in REGISTRY.names() if n.startswith(FAMILIES)])
def test_the_pages_examples_serve_every_method(name):
    own = {"MyRoll": MyRoll, "FusedGate": Gate}
    steps = {
        torch.special.ndtr: torch.special.ndtr,
        MyRoll: lambda h: MyRoll.apply(h),
        torch.ops.mylib.pool: torch.ops.mylib.pool,
        Gate: lambda h: Gate.apply(h, h.flip(1)),
    }
    for example in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        exec(example.replace("class FusedGate(torch.autograd.Function): ...", ""), own)
    assert set(operations._registered) == {operations._packet(function) for function in steps}
    for step in steps.values():
        net, method = Net(step), REGISTRY.get(name)
        outputs, _ = method.linearize(net, X)
        assert torch.equal(outputs, net(X))
        assert bool(method(net, X, TARGETS).isfinite().all())


def test_a_decomposition_that_calls_what_nobody_knows_is_an_error_that_names_it():
    register(Gate, lambda h, gate: torch.special.airy_ai(h) * gate)
    with pytest.raises(OperationError, match="calls airy_ai"):
        LRP()(Net(lambda h: Gate.apply(h, h)), X, TARGETS)
