"""Arguments as leaves, and back: as torch's trees have it, but for containers without tensors."""

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_flatten

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
