"""Which values of a tensor depend on the explained input, where not all of them do.

`torch.cat([h, p])` with a parameter p depends on the input, and its part that is p alone does not: a product with that
part is one with a constant, as it is with p. So a tensor that mixes both goes with a mask of what moves, and the mask
is joined, cut, written and rearranged as the tensor is. What leads on value by value, or along rows, leads the mask on
as well; after anything else (a convolution) all values count as moving.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from heatproof.propagation.calls import Call, is_number
from heatproof.propagation.carried import AVERAGES, JOINS, listed
from heatproof.propagation.facts import Facts
from heatproof.propagation.linear import linear_of
from heatproof.propagation.trees import tensors_in

PADS = frozenset(("pad", "constant_pad_nd"))
STACKS = JOINS | {"hstack", "vstack", "dstack", "column_stack", "row_stack", "block_diag"}
# Of what is 0 or positive: 0 where nothing moves.
POOLED = AVERAGES | {"sum", "mean", "cumsum", "sum_to_size", "max", "amax", "interpolate", "upsample"}
ELEMENTWISE = frozenset(("add", "sub", "rsub", "neg", "positive", "mul", "div", "rdiv", "maximum", "minimum"))


class Parts(NamedTuple):
    """Where a tensor's values move, and whether none does."""

    moving: Tensor
    none: bool


class Moves(NamedTuple):
    """What will move in a call's results, and in the base of the view that it writes into."""

    results: list[Tensor]
    base: Tensor | None


class Moving:
    """The masks of the tensors that hold both; a write that was not followed makes a mask untrue (`Facts`)."""

    def __init__(self) -> None:
        self._parts: Facts[Parts] = Facts()
        self.any = False  # whether any tensor holds both

    def rests(self, tensor: Tensor) -> bool:
        """Whether a tensor is known to hold, or show, nothing that depends on the input."""
        if not self.any:
            return False
        if (parts := self._parts.get(tensor)) is not None:
            return parts.none
        base = tensor._base if tensor._is_view() else None
        if base is None or (parts := self._parts.get(base)) is None:
            return False
        window = _window(parts.moving, base, tensor)
        return window is not None and not bool(window.any())

    def foresee(self, call: Call, marked: Callable[[Tensor], bool]) -> Moves | None:
        """The masks that a call will make, asked before it writes; None where all that it makes will move."""
        mixes = call.name in PADS or (call.constants and (call.name in STACKS or _arranges(call)))
        if call.choices or not (mixes or self.any):
            return None
        known = [self._parts.get(tensor) for tensor in call.inputs]
        if not (mixes or any(known)):
            return None
        moving = [
            torch.ones_like(t) if parts is None else parts.moving.to(t.dtype)
            for t, parts in zip(call.inputs, known, strict=True)
        ]
        with torch.no_grad():
            results = _after(call, moving)
            if results is None:
                return None
            base = self._base(call, marked) if call.in_place else None
        return Moves([result != 0 for result in results], base)

    def _base(self, call: Call, marked: Callable[[Tensor], bool]) -> Tensor | None:
        base = call.target._base
        if base is None:
            return None
        parts = self._parts.get(base)
        if parts is None:
            return None if marked(base) else torch.zeros_like(base, dtype=torch.bool)
        return parts.moving.clone()

    def follow(self, call: Call, result: object, moves: Moves | None) -> None:
        """Remember what was foreseen, now that the call has run."""
        if moves is None:
            return
        leaves = [leaf for leaf in tensors_in(result) if is_number(leaf)]
        if len(leaves) != len(moves.results):
            return
        for leaf, moving in zip(leaves, moves.results, strict=True):
            self._keep(leaf, moving)
        base = call.target._base if moves.base is not None else None
        if base is not None and moves.base is not None:
            window = _window(moves.base, base, call.target)
            if window is not None:
                window.copy_(moves.results[0])
                self._keep(base, moves.base)

    def hand_over(self, known: Tensor, other: Tensor) -> None:
        """What is known of one tensor holds for another, which has got its value."""
        self._parts.hand_over(known, other)

    def _keep(self, tensor: Tensor, moving: Tensor) -> None:
        if moving.shape == tensor.shape and not bool(moving.all()):
            self._parts[tensor] = Parts(moving, not bool(moving.any()))
            self.any = True


def _arranges(call: Call) -> bool:
    return call.kind in ("structural", "write")


def _after(call: Call, moving: list[Tensor]) -> list[Tensor] | None:
    """The masks of a call's results, not 0 where something moves; None where that is not known."""
    pooled = len(moving) == 1 and (call.name in POOLED or call.kind == "max-pool")
    if pooled and "cubic" in f"{call.function} {call.bind().get('mode')}":  # whose weights have either sign
        return None
    if _arranges(call) or call.name in STACKS | PADS or pooled:
        nothing = [torch.zeros_like(constant) for constant in call.constants]
        return listed(call.run(*moving, constants=nothing))
    if call.name in ELEMENTWISE or (call.kind in ("nonlinearity", "batch-norm") and len(moving) == 1):
        shapes = [tensor.shape for tensor in (*call.inputs, *(call.constants if call.name in ELEMENTWISE else ()))]
        shape = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
        return [torch.stack([(mask != 0).expand(shape) for mask in moving]).any(0)]
    if len(moving) != 1:
        return None
    (mask,), given = moving, call.bind()
    if call.kind == "normalization" and "normalized_shape" in given:
        last = tuple(range(-len(given["normalized_shape"]), 0))
        return [mask.amax(last, keepdim=True).expand_as(mask)]
    if call.kind == "softmax" and isinstance(dim := given.get("dim"), int):
        return [mask.amax(dim, keepdim=True).expand_as(mask)]
    if call.kind == "linear" and call.inputs[0] is call.target:
        return [mask.amax(-1, keepdim=True).expand(*mask.shape[:-1], len(given["weight"]))]
    if call.kind == "product" and (linear := linear_of(call)) is not None:
        return [linear.apply(mask, torch.ones_like(linear.unscaled))]
    return None


def _window(moving: Tensor, base: Tensor, view: Tensor) -> Tensor | None:
    """What a view shows of its base, of the base's mask; None where the two lie in memory in other ways."""
    if moving.stride() != base.stride() or not moving.is_contiguous() or view.dtype != base.dtype:
        return None
    return moving.as_strided(view.size(), view.stride(), view.storage_offset() - base.storage_offset())
