"""Arguments as leaves, and back: as torch's trees have it, but for containers without tensors."""

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from heatproof.methods import GuidedBackprop
from heatproof.propagation import mode
from heatproof.propagation.schemas import bound
from heatproof.propagation.trees import flattened, rebuilt

T, U = torch.zeros(2), nn.Parameter(torch.ones(2))
PLAIN = [
    ((T, U, None, (1, 1), [2, 3], 1, 1.5, True, "valid"), {"dtype": torch.float32, "device": T.device}),
    ((T, slice(None), ...), {}),
    ((T, (slice(None), 0, None, ...)), {}),
    ((), {"input": T}),
    ((T, torch.contiguous_format, torch.strided), {}),
]
NESTED = [(([T, U], 1), {}), ((T, (slice(None), U)), {}), ((), {"tensors": (T, [U])}), ((T, {"size": T}), {})]


@pytest.mark.parametrize(("args", "kwargs"), PLAIN)
def test_a_container_without_tensors_is_a_leaf(args, kwargs):
    leaves, spec = flattened(args, kwargs)
    assert all(one is other for one, other in zip(leaves, [*args, *kwargs.values()], strict=True))
    again = rebuilt([U if leaf is T else leaf for leaf in leaves], spec)
    assert again == (tuple(U if arg is T else arg for arg in args), {k: U if v is T else v for k, v in kwargs.items()})


@pytest.mark.parametrize(("args", "kwargs"), NESTED)
def test_tensors_inside_containers_are_leaves(args, kwargs):
    leaves, spec = flattened(args, kwargs)
    expected, _ = tree_flatten((args, kwargs))
    assert all(one is other for one, other in zip(leaves, expected, strict=True))
    assert rebuilt(leaves, spec) == (args, kwargs)


def test_arguments_are_named_as_at_the_first_call_of_their_kind():
    """What was found for some arguments serves others of the same types, and no other types."""
    x = torch.zeros(2, 3, 4, 4)
    for size, dims in ((1, (2, 3)), (2, (3, 2))):
        assert bound(torch.sum, "sum", (x, dims), {"keepdim": True}) == {"input": x, "dim": dims, "keepdim": True}
        assert bound(torch.Tensor.view, "view", (x, size, -1), {}) == {"input": x, "size": (size, -1)}
        assert bound(torch.Tensor.view, "view", (x, (size, -1)), {}) == {"input": x, "size": (size, -1)}
        assert bound(torch.add, "add", (x, x), {"alpha": size}) == {"input": x, "other": x, "alpha": size}
    weight = torch.zeros(3, 3, 1, 1)
    named = {"input": x, "weight": weight, "bias": None, "stride": 1, "padding": "valid"}
    assert bound(torch.conv2d, "conv2d", (x, weight, None, 1, "valid"), {}) == named
    assert bound(torch.conv2d, "conv2d", (x, weight, None, 1, (0, 0)), {}) == named | {"padding": (0, 0)}


@pytest.mark.parametrize("ask", [lambda h: h.dim(), len, lambda h: h.shape, lambda h: h.is_floating_point()])
def test_what_is_asked_about_a_tensor_passes_by_the_rules(ask, monkeypatch):
    seen = []
    plain = mode.Engine.intercept

    def intercept(self, call):
        seen.append(call.name)
        return plain(self, call)

    class Asking(nn.Module):
        def forward(self, x):
            ask(x)
            return torch.relu(x)

    monkeypatch.setattr(mode.Engine, "intercept", intercept)
    GuidedBackprop()(Asking().eval(), torch.randn(2, 3), torch.tensor([0, 1]))
    assert seen == ["clone", "relu"]
