"""One reference for a whole batch: a single row in memory, seen by every sample.

A baseline that is the same for all samples runs as a batch of one. Its tensors are expanded rows (stride 0 over the
batch), so views keep sharing by themselves; an operation that treats the rows of its batch alike runs on one row; any
other runs on all of them, and the sharing ends there.
"""

from collections.abc import Sequence

from torch import Tensor

from heatproof.propagation.calls import Call

ALIKE = frozenset(("linear", "convolution", "batch-norm", "nonlinearity", "max-pool"))
ELEMENTWISE = frozenset(("add", "sub", "rsub", "mul", "div", "neg"))
POOLS = frozenset(f"{kind}avg_pool{d}d" for kind in ("", "adaptive_") for d in (1, 2, 3))
COPIES = frozenset(("clone", "contiguous", "dropout", "dropout2d", "feature_dropout"))
JOINS = frozenset(("cat", "concat", "concatenate"))


class SharingEndsError(Exception):
    """A write into a shared reference that only some rows would see."""


def shared(tensor: Tensor) -> bool:
    """Whether the tensor's rows are one row."""
    return tensor.dim() > 1 and len(tensor) > 1 and tensor.stride(0) == 0


def row(tensor: Tensor) -> Tensor:
    """The one row of a shared tensor, as a batch of one in the same memory."""
    return tensor[:1]


def treats_rows_alike(call: Call, bars: Sequence[Tensor]) -> bool:
    """Whether the call may run on one row of its shared references."""
    if not bars or not all(shared(bar) and bar.dim() == bars[0].dim() for bar in bars):
        return False
    dims = bars[0].dim()
    if call.kind in ALIKE:
        needed = dims if call.kind in ("linear", "nonlinearity", "batch-norm") else int(call.name[-2]) + 2
        return len(bars) == 1 and dims == needed and (call.kind != "nonlinearity" or _broadcast(call, dims))
    if call.name in ELEMENTWISE:
        return _broadcast(call, dims)
    if call.name in COPIES:
        return True
    if call.name in POOLS:
        return dims == int(call.name[-2]) + 2
    if call.name in JOINS:
        return not call.constants and call.bind("tensors dim").get("dim", 0) not in (0, -dims)
    return False


def _broadcast(call: Call, dims: int) -> bool:
    """Whether every constant is the same for all rows."""
    return all(constant.dim() < dims or len(constant) == 1 for constant in call.constants)
