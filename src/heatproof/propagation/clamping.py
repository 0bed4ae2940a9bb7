"""Guided backpropagation and the deconvolutional network: the ordinary derivative, with another one at every ReLU."""

from typing import Any, ClassVar

from torch import Tensor

from heatproof.errors import InputError
from heatproof.propagation import normalization
from heatproof.propagation.calls import Call
from heatproof.propagation.nodes import graft
from heatproof.propagation.strategy import Strategy


class Clamping(Strategy):
    """At ReLUs only positive derivatives go on; `masked` says whether only where the ReLU was open, too.

    Every other operation keeps its ordinary derivative.
    """

    label: ClassVar[str] = "guided backpropagation"
    holds_choices: ClassVar[bool] = True

    def __init__(self, *, masked: bool) -> None:
        self._masked = masked
        self.rectifiers = 0

    def check(self) -> None:
        """Refuse a network in which nothing was clamped."""
        if self.rectifiers == 0:
            raise InputError(
                "Expected a network with ReLUs, but no relu was called: the result would be the plain gradient; "
                "use Gradient."
            )

    def handle(self, call: Call) -> Any:
        if call.kind == "batch-norm":
            return graft(call.value(), normalization.rescaled(call, call.inputs[0]))
        if call.name != "relu":
            return call.execute()
        self.rectifiers += 1
        out: Tensor = call.execute() if self._masked else graft(call.value(), call.inputs[0])
        # The clamp is on what comes back, so no surrogate can do it.
        out.register_hook(lambda g: g.clamp(min=0))  # type: ignore[no-untyped-call]
        return out
