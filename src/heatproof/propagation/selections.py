"""What a mask or an index chooses, where it chooses otherwise at the baseline.

`number` gives a mask or an index as a number that carries its change (`heatproof.propagation.switches`). What is chosen
changes by the average over the order of the two changes: values first, or the switch first.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from heatproof.propagation.calls import Call
from heatproof.propagation.nodes import scale
from heatproof.propagation.references import References
from heatproof.propagation.secants import NoSecantError

Number = Callable[[Tensor], Tensor]


def filled(call: Call, value: Tensor, bar: Tensor, number: Number, reference: References) -> Tensor:
    """m·a + (1 − m)·b: `where`, `masked_fill`, a number written where a mask is true."""
    mask, *filling = _filling(call)
    mask_bar, moving = reference(mask), number(mask)
    if call.name == "__setitem__":  # a mask of the leading dimensions
        mask, mask_bar, moving = (t.reshape(*t.shape, *[1] * (value.dim() - t.dim())) for t in (mask, mask_bar, moving))
    (a, a_bar), (b, b_bar) = (_ends(each, value, reference) for each in filling)
    switched = mask != mask_bar
    jump = torch.where(switched, (a.detach() - b.detach() + a_bar - b_bar) / 2, 0.0)
    share = (mask.to(value.dtype) + mask_bar.to(value.dtype)) / 2
    # A value that is not chosen may be NaN, or so large that rounding drowns the others: there the switch has the
    # whole change.
    idle = torch.where(mask, b, a).abs() + torch.where(mask_bar, b_bar, a_bar).abs()
    room = (value.abs() + bar.abs()) / torch.finfo(value.dtype).eps ** 0.5
    lost = switched & ~((idle <= room) & torch.isfinite(jump))
    if bool(lost.any()):
        whole = (value - bar) * (mask.to(value.dtype) - mask_bar.to(value.dtype))
        jump = torch.where(lost, whole, jump)
        if infinite := int((~torch.isfinite(jump)).sum()):
            raise NoSecantError(
                f"{infinite} of its {jump.numel()} values are infinite at either the input or the baseline alone; "
                "fill with a large number"
            )
    total = (moving * jump).to(value.dtype)
    for part, weight in ((a, share), (b, 1 - share)):
        if part.requires_grad:
            total = total + part * torch.where(lost, 0.0, weight)
    return total.expand_as(value)


def _ends(filling: Any, value: Tensor, reference: References) -> tuple[Tensor, Tensor]:
    """What fills, a tensor or a number, at the input and at the baseline."""
    if isinstance(filling, Tensor):
        return filling.to(value.dtype), reference(filling).to(value.dtype)
    constant = torch.as_tensor(filling, dtype=value.dtype, device=value.device)
    return constant, constant


def selected(call: Call, number: Number, reference: References) -> Tensor:
    """Values at an index that moves: `gather` and its relatives."""
    (index,) = call.choices
    bar = reference(index)
    moving = number(index)

    def run(at: Tensor, values: Callable[[Tensor], Tensor]) -> Tensor:
        chosen: Tensor = call.at(lambda t: at if t is index else values(t))
        return chosen

    now, then = (run(at, lambda t: t) for at in (index, bar))
    before = [run(at, reference) for at in (index, bar)]
    jump = (now.detach() - then.detach() + before[0] - before[1]) / 2
    rate = torch.where(index == bar, 0.0, 1.0 / unless_zero((index - bar).double()))
    carried = _along(call, scale(moving.detach(), moving, rate), jump)
    return (now + then) / 2 + (carried * jump).to(jump.dtype)


def _filling(call: Call) -> tuple[Tensor, Any, Any]:
    """Mask, what stands where it is true, and what stands elsewhere."""
    args = [*call.args, *call.kwargs.values()]
    if call.name == "where" and len(args) == 3:
        first = isinstance(args[0], Tensor) and args[0].dtype == torch.bool
        return (args[0], args[1], args[2]) if first else (args[1], args[0], args[2])
    x, mask, fill = args[:3]
    one = not isinstance(fill, Tensor) or fill.numel() == 1
    if call.name == "where" or not (isinstance(mask, Tensor) and mask.dtype == torch.bool and one):
        raise NoSecantError("its places are others at the baseline, and only a mask and one number have a rule")
    return mask, fill.reshape(()) if isinstance(fill, Tensor) else fill, x


def _along(call: Call, t: Tensor, out: Tensor) -> Tensor:
    """A number for each index, shaped so that it broadcasts over what the indices chose."""
    if call.name in ("gather", "take_along_dim"):
        return t
    if call.name == "index_select":
        dim = call.bind()["dim"] % out.dim()
        return t.view(*[1] * dim, -1, *[1] * (out.dim() - dim - 1))
    key = call.args[1] if call.name == "__getitem__" else None
    if isinstance(key, tuple):
        kinds = [isinstance(each, Tensor) for each in key]
        if sum(kinds) == 1 and all(isinstance(each, Tensor | slice) for each in key):
            before = kinds.index(True)
            return t.reshape(*[1] * before, *t.shape, *[1] * (out.dim() - before - t.dim()))
        if not all(isinstance(each, Tensor) and each.dtype != torch.bool for each in key):
            raise NoSecantError("its index is another one at the baseline, and stands beside others")
        t = t.expand_as(torch.broadcast_tensors(*key)[0])  # type: ignore[no-untyped-call]
    return t.reshape(*t.shape, *[1] * (out.dim() - t.dim()))


def unless_zero(t: Tensor) -> Tensor:
    """t, and 1 where it is 0."""
    return torch.where(t == 0, 1.0, t)
