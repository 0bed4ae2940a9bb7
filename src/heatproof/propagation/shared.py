"""Rows of a batch: what treats them alike, what keeps them, and one reference in memory for all of them.

A baseline that is the same for all samples runs as a batch of one. Its tensors are expanded rows (stride 0 over the
batch), so views keep sharing by themselves; an operation that treats the rows of its batch alike runs on one row; any
other runs on all of them, and the sharing ends there.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from heatproof.propagation.calls import Call
from heatproof.propagation.trees import tensors_in

ALIKE = frozenset(("linear", "convolution", "batch-norm", "nonlinearity", "max-pool"))
ELEMENTWISE = frozenset(("add", "sub", "rsub", "mul", "div", "neg"))
POOLS = frozenset(f"{kind}avg_pool{d}d" for kind in ("", "adaptive_") for d in (1, 2, 3))
COPIES = frozenset(("clone", "contiguous", "dropout", "dropout2d", "feature_dropout"))
JOINS = frozenset(("cat", "concat", "concatenate"))
RESHAPES = frozenset(("flatten", "view", "reshape", "view_as", "reshape_as", "unflatten"))


class SharingEndsError(Exception):
    """A write into a shared reference that only some rows would see."""


def shared(tensor: Tensor) -> bool:
    """Whether the tensor's rows are one row."""
    return tensor.dim() > 1 and tensor.shape[0] > 1 and tensor.stride(0) == 0


def row(tensor: Tensor) -> Tensor:
    """The one row of a shared tensor, as a batch of one in the same memory."""
    return tensor[:1]


def treats_rows_alike(call: Call, bars: Sequence[Tensor]) -> bool:
    """Whether the call may run on one row of its shared references."""
    return bool(bars) and all(shared(bar) for bar in bars) and rowwise(call)


def rowwise(call: Call) -> bool:
    """Whether the call does the same to every row of its marked tensors, and each row of its result is of one of them.

    False where that is not known.
    """
    dims = call.inputs[0].dim() if call.inputs else 0
    if dims < 2 or (len(call.inputs) > 1 and any(tensor.dim() != dims for tensor in call.inputs)):
        return False
    if call.kind in ALIKE:
        needed = dims if call.kind in ("linear", "nonlinearity", "batch-norm") else int(call.name[-2]) + 2
        alone = len(call.inputs) == 1 and call.inputs[0] is call.target  # and not its weight
        return alone and dims == needed and (call.kind != "nonlinearity" or _broadcast(call, dims))
    if call.name in ELEMENTWISE:
        return _broadcast(call, dims)
    if call.name in COPIES:
        return True
    if call.name in POOLS:
        return dims == int(call.name[-2]) + 2
    if call.name in JOINS:
        return not call.constants and call.bind().get("dim", 0) not in (0, -dims)
    return False


def keeps_rows(call: Call, result: Any) -> bool:
    """Whether a rearrangement of one marked tensor left its rows where they were. False where that is not known."""
    if call.kind != "structural" or len(call.inputs) != 1 or call.inputs[0].dim() < 2:
        return False
    x = call.inputs[0]
    outs = tensors_in(result)
    if not all(out.dim() > 0 and out.shape[0] == x.shape[0] for out in outs):
        return False
    return call.name in RESHAPES or all(_inside_rows(out, x) for out in outs)


def _inside_rows(view: Tensor, x: Tensor) -> bool:
    """Whether each row of a view lies in the memory of the same row of x, and the rows of x do not interlock."""
    if view.untyped_storage().data_ptr() != x.untyped_storage().data_ptr() or view.stride(0) != x.stride(0):
        return False
    start = view.storage_offset() - x.storage_offset()
    return start >= 0 and start + _reach(view) < x.stride(0) > _reach(x)


def _reach(t: Tensor) -> int:
    """How far the last element of a row stands from its first."""
    return sum((size - 1) * stride for size, stride in zip(t.shape[1:], t.stride()[1:], strict=True))


def _broadcast(call: Call, dims: int) -> bool:
    """Whether every constant is the same for all rows."""
    return not call.constants or all(one.dim() < dims or one.shape[0] == 1 for one in call.constants)
