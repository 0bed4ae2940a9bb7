"""Guided backpropagation and the deconvolutional network: the ordinary derivative, with another one at every ReLU."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from heatproof.errors import InputError
from heatproof.propagation import normalization
from heatproof.propagation.calls import Call
from heatproof.propagation.facts import Facts
from heatproof.propagation.nodes import graft, scale
from heatproof.propagation.strategy import Strategy

PROBES = (-1e30, -3.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 3.0, 7.0, 1e30)
MASKED = frozenset(("mul", "where", "masked_fill"))
LARGER = frozenset(("maximum", "fmax", "max"))
IN_OTHER_WORDS = LARGER | MASKED


def rectifies(call: Call, *, signed: bool = False) -> bool:
    """Whether a call is max(x, 0) in other words: `clamp(min=0)`, `maximum(x, 0)`, `where(x > 0, x, 0)`, `x * (x > 0)`.

    A function of one tensor is tried at a few numbers; a mask is compared with the signs of x. Where x is nowhere below
    0 that tells nothing, unless a mask is known to be one of signs (`signed`).
    """
    if len(call.inputs) != 1 or (call.kind != "nonlinearity" and call.name not in IN_OTHER_WORDS):
        return False
    x = call.inputs[0].detach()
    if x.is_complex():
        return False
    if call.kind == "nonlinearity":
        probes = torch.tensor(PROBES, dtype=x.dtype, device=x.device)
        return not call.constants and torch.equal(call.run(probes), torch.relu(probes))
    if call.name in LARGER and len(call.constants) == 1:
        return not bool(call.constants[0].any())
    beside = [other for other in (*call.choices, *call.constants) if other.shape == x.shape]
    if call.name not in MASKED or not beside:
        return False
    return (signed or bool((x < 0).any())) and torch.equal(call.value(), torch.relu(x))


def compares_with_zero(call: Call) -> bool:
    """Whether a call makes the mask of where its one tensor is above, or below, 0."""
    if call.name not in ("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal"):
        return False
    if len(call.inputs) != 1 or call.inputs[0].is_complex():
        return False
    probes = torch.tensor(PROBES, dtype=call.inputs[0].dtype, device=call.inputs[0].device)
    try:
        mask = call.run(probes)
    except RuntimeError:  # compared with a tensor of a size of its own
        return False
    return any(torch.equal(mask, known) for known in (probes > 0, probes >= 0, probes < 0, probes <= 0))


class _AtReLUs(Strategy):
    """A strategy that changes the derivative of ReLUs, however they are written, and keeps all others."""

    holds_choices: ClassVar[bool] = True
    own_derivatives: ClassVar[bool] = True

    def __init__(self) -> None:
        self._signs: Facts[bool] = Facts()  # masks of what is above or below 0, also as numbers
        self.rectifiers = 0

    def check(self) -> None:
        """Refuse a network in which nothing was changed."""
        if self.rectifiers == 0:
            raise InputError(
                "Expected a network with ReLUs, but no relu was called: the result would be the plain gradient; "
                "use Gradient."
            )

    def note(self, call: Call, result: Any) -> None:
        if isinstance(result, Tensor) and (
            compares_with_zero(call) or (call.kind == "structural" and self._sees_signs(call))
        ):
            self._signs[result] = True

    def _sees_signs(self, call: Call) -> bool:
        return any(self._signs.get(mask) is not None for mask in (*call.choices, *call.constants))

    def handle(self, call: Call) -> Any:
        if call.kind == "batch-norm":
            return normalization.rescaled(call)
        if call.name != "relu" and not rectifies(call, signed=call.name in MASKED and self._sees_signs(call)):
            plain = call.execute()
            if call.name == "instance_norm":  # torch's own derivative needs it so, see `models`
                plain.register_hook(lambda g: g.contiguous())
            return plain
        self.rectifiers += 1
        return self._rectified(call)

    @abstractmethod
    def _rectified(self, call: Call) -> Tensor:
        """The value of a ReLU, with its derivative."""


class Smoothing(_AtReLUs):
    """ReLUs keep their values and take the derivative of a softplus: σ(β x) in place of 1 where x > 0."""

    label: ClassVar[str] = "smoothed ReLUs"

    def __init__(self, beta: float) -> None:
        super().__init__()
        self._beta = beta

    def _rectified(self, call: Call) -> Tensor:
        x = call.inputs[0]
        return scale(call.value(), x, torch.sigmoid(self._beta * x.detach()))


class Clamping(_AtReLUs):
    """At ReLUs only positive derivatives go on; `masked` says whether only where the ReLU was open, too.

    Every other operation keeps its ordinary derivative.
    """

    label: ClassVar[str] = "guided backpropagation"

    def __init__(self, *, masked: bool) -> None:
        super().__init__()
        self._masked = masked

    def _rectified(self, call: Call) -> Tensor:
        x = call.inputs[0]
        if call.name == "relu":
            out: Tensor = call.execute() if self._masked else graft(call.value(), x)
        else:
            out = graft(call.value(), torch.relu(x) if self._masked else x)
        # The clamp is on what comes back, so no surrogate can do it.
        out.register_hook(lambda g: g.clamp(min=0))  # type: ignore[no-untyped-call]
        return out
