"""Products with an addend: one that depends on the input is a part of the sum, and no factor of a product."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from heatproof.propagation.calls import Call

WITH_ADDEND: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "addmm": lambda a, b: a @ b,
    "addmv": lambda a, b: a @ b,
    "baddbmm": lambda a, b: a @ b,
    "addbmm": lambda a, b: (a @ b).sum(0),
    "addr": lambda a, b: a[:, None] * b,
}


def opened(call: Call) -> Callable[..., Tensor] | None:
    """The sum that a call is, where its addend depends on the input; None for any other call."""
    by_addend = call.name in WITH_ADDEND
    weighted = call.kind in ("linear", "convolution")
    if not by_addend and not (weighted and (len(call.inputs) > 1 or call.inputs[0] is not call.target)):
        return None
    given = call.bind()
    addend = given.pop("input" if by_addend else "bias", None)
    if all(tensor is not addend for tensor in call.inputs):
        return None
    if by_addend:
        return lambda *_, **__: _sum(call.name, addend, given)
    return lambda *_, **__: _biased(call, given, addend)


def _sum(name: str, addend: Tensor, given: dict[str, Any]) -> Tensor:
    """β·addend + α·(a b)."""
    beta, alpha = given.pop("beta", 1), given.pop("alpha", 1)
    product: Tensor = WITH_ADDEND[name](*list(given.values())[:2])
    if beta == 0:  # and whatever the addend is, it is not read
        scaled: Tensor = product * alpha
        return scaled
    total: Tensor = (addend if beta == 1 else addend * beta) + (product if alpha == 1 else product * alpha)
    return total


def _biased(call: Call, given: dict[str, Any], bias: Tensor) -> Tensor:
    x, weight = given.pop("input"), given.pop("weight")
    function: Callable[..., Tensor] = getattr(F, call.name)
    along = bias if call.kind == "linear" else bias.view(-1, *[1] * (weight.dim() - 2))
    biased: Tensor = function(x, weight, **given) + along
    return biased
