"""What is known of the tensors on the way: which are the input rearranged, which have a constant part."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from heatproof.propagation.calls import Call, is_number
from heatproof.propagation.facts import Facts

AVERAGES = frozenset(f"{a}avg_pool{d}d" for a in ("", "adaptive_") for d in (1, 2, 3))
POOLS = AVERAGES | {"mean", "interpolate", "upsample"}
JOINS = frozenset(("cat", "concat", "concatenate", "stack"))


class Split(NamedTuple):
    """A tensor's two parts: `moving` carries the derivative, `constant` does not; their sum is the tensor."""

    moving: Tensor
    constant: Tensor


@dataclass(frozen=True)
class Masked:
    """A tensor that is the explained input, rearranged or rescaled: the mask on it, and the z^B box it lies in."""

    mask: Tensor
    box: tuple[Tensor, Tensor] | None


class Known:
    """Which tensors are `masked`, and which are `split`; `carry` takes both along where a call is linear."""

    def __init__(self) -> None:
        self.masked: Facts[Masked] = Facts()
        self.split: Facts[Split] = Facts()

    def carry(self, call: Call, result: Any) -> None:
        """What is known of the operands of a rearrangement or sum holds, rearranged or summed, for its result."""
        masks = [self.masked.get(tensor) for tensor in call.inputs]
        splits = [self.split.get(tensor) for tensor in call.inputs]
        outputs = listed(result)
        if all(mask is not None for mask in masks):
            self._carry_mask(call, [mask for mask in masks if mask is not None], outputs)
        known = [split is not None for split in splits]
        if any(known) and (all(known) or not call.in_place):
            self._carry_split(call, splits, outputs)

    def _carry_mask(self, call: Call, facts: list[Masked], outputs: list[Tensor]) -> None:
        if call.name in ("add", "sub", "rsub", "neg"):
            if len(facts) > 1:
                return
            masks = [facts[0].mask.expand_as(out) for out in outputs]
        else:
            nothing = [torch.zeros_like(constant) for constant in call.constants]
            masks = listed(call.run(*[fact.mask for fact in facts], constants=nothing))
        boxes: list[tuple[Tensor, Tensor] | None] = [None] * len(outputs)
        if facts[0].box is not None:
            ends = [listed(call.run(*[f.box[end] for f in facts if f.box is not None])) for end in (0, 1)]
            boxes = [(torch.minimum(low, high), torch.maximum(low, high)) for low, high in zip(*ends, strict=True)]
        for out, mask, box in zip(outputs, masks, boxes, strict=True):
            self.masked[out] = Masked(mask, box)

    def _carry_split(self, call: Call, splits: list[Split | None], outputs: list[Tensor]) -> None:
        additive = call.name == "add" and len(call.args) == 2 and not call.kwargs
        if not (additive or call.name in POOLS | JOINS or (call.kind == "structural" and not call.constants)):
            return
        if call.name in ("masked_fill", "where"):  # they bring constants of their own
            return
        both = [split or Split(t, torch.zeros_like(t)) for split, t in zip(splits, call.inputs, strict=True)]
        if additive and len(both) == 1:
            parts = [Split(both[0].moving.expand_as(outputs[0]), call.run(both[0].constant))]
        else:
            nothing = [torch.zeros_like(constant) for constant in call.constants]
            moving = listed(call.run(*[split.moving for split in both], constants=nothing))
            constant = listed(call.run(*[split.constant for split in both]))
            parts = [Split(m, c.detach()) for m, c in zip(moving, constant, strict=True)]
        for out, part in zip(outputs, parts, strict=True):
            self.split[out] = part


def mapped(call: Call, box: tuple[Tensor, Tensor] | None, out: Tensor) -> tuple[Tensor, Tensor] | None:
    """The box after an elementwise operation: the images of its ends, widened to hold the value."""
    if box is None:
        return None
    with torch.no_grad():
        ends = torch.stack([*(call.run(end) for end in box), out.detach()])
        return ends.amin(0), ends.amax(0)


def listed(result: Any) -> list[Tensor]:
    """What is floating in a call's result, as a list: the lengths of packed sequences, and indices, carry nothing."""
    tensors = [result] if isinstance(result, Tensor) else list(result)
    return [tensor for tensor in tensors if is_number(tensor)]
