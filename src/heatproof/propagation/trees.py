"""The arguments of a call as a list of leaves, and back: quickly where no tensor is inside a container, as mostly.

torch's trees take as long as the call itself. A container without tensors, such as a stride, is a leaf here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
# How many leaves are given by place, and the names of the others; or torch's.
Spec = tuple[int, tuple[str, ...]] | TreeSpec

_SINGLE = (Tensor, int, float, bool, str, type(None), complex, slice, type(...), torch.dtype, torch.device)
_NUMBERS = frozenset((int, float, bool, type(None), slice, type(...)))
_PLAIN = {*_SINGLE, torch.nn.Parameter, torch.memory_format, torch.layout}


def flattened(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], Spec]:
    """The leaves of `args` and `kwargs`, and what `rebuilt` makes them of again."""
    leaves = [*args, *kwargs.values()] if kwargs else list(args)
    for leaf in leaves:
        if type(leaf) not in _PLAIN and not _is_leaf(leaf):
            return tree_flatten((tuple(args), kwargs))
    return leaves, (len(args), tuple(kwargs))


def rebuilt(leaves: Sequence[Any], spec: Spec) -> Arguments:
    """Arguments with these leaves."""
    if not isinstance(spec, tuple):
        found: Arguments = tree_unflatten(leaves, spec)
        return found
    count, names = spec
    return tuple(leaves[:count]), dict(zip(names, leaves[count:], strict=True))


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors in what a call returns (mostly one, itself) or takes, in their order."""
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _is_leaf(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return _NUMBERS.issuperset(map(type, value))
    return isinstance(value, _SINGLE)
