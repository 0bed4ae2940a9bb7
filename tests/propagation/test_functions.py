"""A model that is no function of each sample by itself is refused with the reason; its state stays, bit for bit."""

import copy
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from heatproof.auditing.run import audit
from heatproof.errors import InputError, OperationError
from heatproof.methods import METHODS, Gradient, IntegratedGradients, Linearizable, Occlusion, Saliency
from heatproof.models import Bound
from heatproof.testing.snapshots import same_bits

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1, 1, 0, 2])
A = torch.rand(5, 5, generator=torch.Generator().manual_seed(1)).softmax(1)
CALLS: list[int] = []


class Net(nn.Module):
    """Two layers, a step between them, and everything that a step may keep."""

    def __init__(self, step):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.inner, self.last = nn.Linear(6, 8), Inner(step), nn.Linear(8, 3)
        self.eval()

    def forward(self, x):
        return self.last(self.inner(F.relu(self.first(x))))


class Inner(nn.Module):
    def __init__(self, step):
        super().__init__()
        self.step = step
        self.scale = nn.Parameter(torch.linspace(-1, 1, 8))
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.plain, self.cache, self.history, self.calls = torch.zeros(8), None, [], 0
        self.ring = Ring()
        self.own = torch.Generator().manual_seed(0)

    def forward(self, h):
        return self.step(self, h)


class Ring:
    """An object of the model's own package, with a tensor in it."""

    def __init__(self):
        self.values, self.at = torch.zeros(3), 0


def running_mean(inner, h):
    inner.mean.mul_(0.9).add_(0.1 * h.detach().mean(0))
    return h - inner.mean


def another_buffer(inner, h):
    inner.mean = 0.9 * inner.mean + 0.1 * h.detach().mean(0)
    return h - inner.mean


def plain_tensor(inner, h):
    inner.plain += h.detach().mean(0)
    return h + inner.plain


def counted(inner, h):
    inner.calls += 1
    return h * inner.calls


def remembered(inner, h):
    inner.history.append(h.detach().mean(0))
    return h + sum(inner.history)


def ring(inner, h):
    inner.ring.values[inner.ring.at % 3] = h.detach().mean()
    inner.ring.at += 1
    return h + inner.ring.values.sum()


def elsewhere(inner, h):
    CALLS.append(1)
    return h + len(CALLS)


STATEFUL = {
    running_mean: r"keeps state between calls: buffer 'inner\.mean' changed, and its outputs with it",
    another_buffer: r"keeps state between calls: buffer 'inner\.mean' changed",
    plain_tensor: r"keeps state between calls: attribute 'inner\.plain' changed",
    counted: r"keeps state between calls: attribute 'inner\.calls' changed",
    remembered: r"keeps state between calls: attribute 'inner\.history' changed",
    ring: r"keeps state between calls: attribute 'inner\.ring\.values', attribute 'inner\.ring\.at' changed",
    elsewhere: r"look for state outside its modules \(globals, closures\)",
}
DRAWING = {
    "dropout": lambda _, h: F.dropout(h),
    "alpha_dropout": lambda _, h: F.alpha_dropout(h, 0.5, training=True),
    "randn_like": lambda _, h: h + 1e-5 * torch.randn_like(h),
    "bernoulli": lambda _, h: h * torch.bernoulli(torch.full_like(h, 0.5)),
    "randn": lambda inner, h: h + torch.randn(h.shape, generator=inner.own),
    "scaled_dot_product_attention": lambda _, h: F.scaled_dot_product_attention(
        *[h.view(-1, 1, 4, 2)] * 3, dropout_p=0.5
    ).reshape(-1, 8),
    "a random generator": lambda _, h: h * float(np.random.rand()),  # noqa: NPY002  # what a network may draw from
}


def seeded_inside(inner, h):
    torch.manual_seed(3)
    return F.dropout(h)


def snapshot(net):
    inner = net.inner
    tensors = [*net.state_dict().values(), inner.plain, inner.ring.values]
    numbers = (inner.cache, list(inner.history), inner.calls, inner.ring.at)
    drawn = (torch.get_rng_state(), torch.from_numpy(np.random.get_state()[1].copy()), inner.own.get_state())  # noqa: NPY002
    return [one.clone() for one in (*tensors, *drawn)], (numbers, random.getstate())


def same(one, other):
    return all(map(same_bits, one[0], other[0])) and one[1] == other[1]


@pytest.mark.parametrize("step", STATEFUL, ids=lambda step: step.__name__)
@pytest.mark.parametrize("method", [Gradient(), IntegratedGradients(steps=2), Occlusion(), METHODS.get("deeplift")])
def test_a_network_that_keeps_state_is_refused_and_left_as_it_was(step, method):
    net = Net(step)
    before = snapshot(net)
    with pytest.raises(OperationError, match=STATEFUL[step]):
        method(net, X, TARGETS)
    assert same(snapshot(net), before)


@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.parametrize("method", [Gradient(), Occlusion(), METHODS.get("lrp-epsilon-plus")])
def test_a_network_that_draws_is_refused_by_the_operations_name(name, method):
    net = Net(DRAWING[name])
    before = snapshot(net)
    place = "NumPy's or Python's" if name == "a random generator" else r"called in module 'inner' \(Inner\)"
    with pytest.raises(OperationError, match=rf"deterministic model, but {name} is active: it draws .*{place}"):
        method(net, X, TARGETS)
    assert same(snapshot(net), before)


def test_functional_dropout_is_told_what_eval_does_not_do():
    said = (
        r"functional dropout\? F\.dropout\(x\) is active in eval mode, F\.dropout\(x, training=self\.training\) is not"
    )
    with pytest.raises(OperationError, match=said):
        Gradient()(Net(DRAWING["dropout"]), X, TARGETS)


def test_a_seed_inside_makes_no_function_of_each_sample():
    with pytest.raises(OperationError, match="deterministic model, but dropout is active"):
        Gradient()(Net(seeded_inside), X, TARGETS)


def test_an_audit_refuses_both_before_anything_else(tmp_path):
    for step, said in ((running_mean, "buffer 'inner.mean' changed"), (DRAWING["dropout"], "dropout is active")):
        net = Net(step)
        before = snapshot(net)
        with pytest.raises(OperationError, match=said):
            audit(net, X, TARGETS, methods=["gradient"], checks=["completeness"], out=tmp_path / "run")
        assert same(snapshot(net), before)
        assert not (tmp_path / "run").exists()


def counter(inner, h):
    inner.count += 1
    inner.ring.values[0] += 1
    return h


def logged(inner, h):
    inner.history.append(h.detach())
    return h


def drawn_for_nothing(inner, h):
    torch.rand(3)
    random.random()
    return h


def clamped(inner, h):
    inner.scale.data.clamp_(min=0)
    return h * inner.scale


def renormed(inner, h):
    inner.scale.data = inner.scale.data.clamp(-0.5, 0.5)
    return h * inner.scale


def lazy(inner, h):
    if inner.cache is None:
        inner.cache = torch.linspace(0, 1, 8)
    return h + inner.cache


PLAIN = {
    counter: lambda _, h: h,
    logged: lambda _, h: h,
    drawn_for_nothing: lambda _, h: h,
    clamped: lambda inner, h: h * inner.scale.clamp(min=0),
    renormed: lambda inner, h: h * inner.scale.clamp(-0.5, 0.5),
    lazy: lambda _, h: h + torch.linspace(0, 1, 8),
}


@pytest.mark.parametrize("step", PLAIN, ids=lambda step: step.__name__)
@pytest.mark.parametrize("method", [Gradient(), Saliency(), IntegratedGradients(steps=3), Occlusion()], ids=str)
def test_a_trace_that_no_output_shows_is_put_back_after_every_call(step, method):
    net = Net(step)
    before = snapshot(net)
    torch.testing.assert_close(method(net, X, TARGETS), method(Net(PLAIN[step]), X, TARGETS), rtol=0, atol=1e-7)
    assert same(snapshot(net), before)
    method(net, X[:2], TARGETS[:2])
    assert same(snapshot(net), before)
    if isinstance(method, Linearizable):
        outputs, pull = method.linearize(net, X)
        pull(torch.eye(3)[TARGETS])
        assert same(snapshot(net), before)
        assert outputs.shape == (5, 3)


def test_a_trace_is_put_back_after_an_error_too():
    net = Net(counter)
    Gradient()(net, X, TARGETS)
    before = snapshot(net)
    with pytest.raises(InputError, match="between 0 and 2, the model's last output"):
        Gradient()(net, X, TARGETS + 2)
    assert same(snapshot(net), before)


@pytest.mark.parametrize("change", ["hook", "mode", "module"])
def test_what_was_settled_is_settled_again_where_the_model_changed(change):
    net = Net(lambda _, h: h)
    Gradient()(net, X, TARGETS)
    said = "mean in .* mixes them"
    if change == "hook":
        net.first.register_forward_hook(lambda _module, _inputs, out: out - out.mean(0))
    elif change == "mode":
        net.inner.train()
        said = "submodule 'inner' is in training mode"
    else:
        net.inner = Inner(lambda _, h: h - h.mean(0))
        net.inner.eval()
    with pytest.raises((InputError, OperationError), match=said):
        Gradient()(net, X, TARGETS)


class Graph(nn.Module):
    """Rows are nodes of one graph, which mixes its neighbors."""

    def __init__(self, edges):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.edges = nn.Linear(6, 8), nn.Linear(8, 3), edges
        self.eval()

    def forward(self, x):
        h = self.first(x)
        source, sink = self.edges
        return self.last(h.index_add(0, sink, h[source]))


@pytest.mark.parametrize("edges", [[[3], [4]], [[4], [3]], [[0, 1, 2, 3], [1, 2, 3, 4]]], ids=str)
@pytest.mark.parametrize("method", [Gradient(), IntegratedGradients(steps=2), Occlusion()], ids=str)
def test_nodes_of_a_graph_are_mixed(edges, method):
    with pytest.raises(OperationError, match=r"index_add in .* \(Graph\) mixes them.*the graph is the sample"):
        method(Graph(torch.tensor(edges)), X, TARGETS)


def test_a_graph_is_explained_as_the_error_says():
    net, node = Graph(torch.tensor([[3], [4]])), 4

    class OneNode(nn.Module):
        def forward(self, graphs):
            return torch.stack([net(x)[node] for x in graphs])

    found = Gradient()(OneNode().eval(), X[None], torch.tensor([1]))
    expected = net.last.weight[1] @ net.first.weight
    torch.testing.assert_close(found[0, 4], expected.detach())
    torch.testing.assert_close(found[0, 3], expected.detach())
    assert not found[0, :3].any()


def test_a_fixed_batch_is_settled_at_its_own_size():
    fixed = Net(lambda _, h: h.view(5, 2, 4).flip(1).reshape(5, 8))
    plain = Net(lambda _, h: h.view(-1, 2, 4).flip(1).reshape(-1, 8))
    assert torch.equal(Gradient()(fixed, X, TARGETS), Gradient()(plain, X, TARGETS))
    one = Net(lambda _, h: h.view(1, 8))
    torch.testing.assert_close(Gradient()(one, X[:1], TARGETS[:1]), Gradient()(Net(lambda _, h: h), X, TARGETS)[:1])
    with pytest.raises(OperationError, match=r"matmul in module 'inner' \(Inner\) mixes them"):
        Gradient()(Net(lambda _, h: A @ h), X, TARGETS)
    for step, said in ((lambda _, h: F.dropout(h.view(1, 8)), "dropout is active"), (counted, "'inner.calls' changed")):
        with pytest.raises(OperationError, match=said):
            Gradient()(Net(lambda inner, h, step=step: step(inner, h.view(1, 8))), X[:1], TARGETS[:1])


def test_a_network_that_derives_inside_runs_with_a_graph():
    class Force(nn.Module):
        def forward(self, x):
            return torch.autograd.grad((x**3).sum(), x, create_graph=True)[0]

    torch.testing.assert_close(Gradient()(Force().eval(), X, TARGETS), F.one_hot(TARGETS, 6) * 6 * X)
    with pytest.raises(InputError, match=r"does not require grad.*let it do so under torch\.enable_grad"):
        Occlusion()(Force().eval(), X, TARGETS)


def autocast_inside(_, h):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return F.linear(h, torch.eye(8)).float()


@pytest.mark.parametrize("name", METHODS.names())
def test_half_precision_between_full_is_refused_by_every_method(name):
    method = METHODS.get(name)
    if not method.uses_model:
        pytest.skip("it runs no model")
    said = r"full precision, but linear in module 'inner' \(Inner\) makes torch\.bfloat16 under autocast.*leave the"
    with pytest.raises(OperationError, match=said):
        method(Net(autocast_inside), X, TARGETS)
    with pytest.raises(OperationError, match=r"half in module 'inner' .* makes torch\.float16.*call \.float\(\)"):
        method(Net(lambda _, h: h.half().float()), X, TARGETS)
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(InputError, match=r"autocast is active.*leave the"):
        method(Net(lambda _, h: h), X, TARGETS)


def test_an_audit_refuses_autocast(tmp_path):
    arguments = {"methods": ["gradient"], "checks": ["completeness"], "out": tmp_path / "run"}
    with pytest.raises(OperationError, match="under autocast"):
        audit(Net(autocast_inside), X, TARGETS, **arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(InputError, match="autocast is active"):
        audit(Net(lambda _, h: h), X, TARGETS, **arguments)


def test_a_mask_in_half_precision_is_no_rounding():
    mask = torch.ones(8, dtype=torch.bfloat16)
    found = Gradient()(Net(lambda _, h: h * mask.float()), X, TARGETS)
    assert torch.equal(found, Gradient()(Net(lambda _, h: h), X, TARGETS))


def test_tensors_made_under_inference_mode():
    net = Net(lambda _, h: h)
    plain = Gradient()(net, X, TARGETS)
    with torch.inference_mode():
        x, targets, gate = X.clone(), TARGETS.clone(), torch.ones(5, 6)
        cache, other = torch.ones(8), copy.deepcopy(Net(lambda _, h: h))
        parameter = nn.Linear(6, 3)
    assert torch.equal(Gradient()(net, x, targets), plain)
    assert torch.equal(IntegratedGradients(steps=2)(net, x, targets), IntegratedGradients(steps=2)(net, X, TARGETS))

    class Gated(nn.Module):
        def forward(self, x, gate):
            return net(x * gate)

    assert torch.equal(Gradient()(Bound(Gated().eval(), given={"gate": gate}), X, TARGETS), plain)
    with pytest.raises(InputError, match=r"'weight' was made under torch\.inference_mode; make the model outside"):
        Gradient()(parameter.eval(), X, TARGETS)
    with pytest.raises(InputError, match=r"was made under torch\.inference_mode"):
        Gradient()(other, X, TARGETS)
    kept = Net(lambda inner, h: h * inner.cache)
    kept.inner.cache = cache
    said = r"mul in module 'inner' \(Inner\) reads 'inner\.cache', made under torch\.inference_mode; .*\.clone\(\)"
    with pytest.raises(OperationError, match=said):
        Gradient()(kept, X, TARGETS)
    with pytest.raises(OperationError, match="reads one that the model keeps, made under"):
        Gradient()(Net(lambda _, h: h * cache), X, TARGETS)


def test_bound_at_a_layer_is_settled_too():
    bound = Bound(Net(DRAWING["dropout"]), at="first", given={"x": X})
    with pytest.raises(OperationError, match="dropout is active"):
        Gradient()(bound, bound.inputs(), TARGETS)
