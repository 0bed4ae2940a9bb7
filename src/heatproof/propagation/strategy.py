"""What a family of backward methods tells the engine."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from heatproof.propagation.calls import Call


class Strategy(ABC):
    """How one family of methods treats the calls that depend on the input. It lives as long as one linearization.

    `label` is what errors call the method. `holds_choices`: masks and indices computed from the input are constant, as
    they are for every derivative. `own_derivatives`: an operation without a rule keeps its own derivative, so that none
    is written out in others.
    """

    label: ClassVar[str]
    holds_choices: ClassVar[bool]
    own_derivatives: ClassVar[bool] = False

    def begin(self, x: Tensor) -> None:
        """Called with the explained tensor, before the model runs."""
        return

    @abstractmethod
    def handle(self, call: Call) -> Any:
        """The call's result: its plain value with the method's derivative. May write in place if the call does."""

    def foresee(self, call: Call) -> None:
        """Called before a call makes masks, indices or plain values from the input, or writes into some."""
        return

    def note(self, call: Call, result: Any) -> None:
        """Called with the masks, indices and plain values that a call made from the input."""
        return

    def moves(self, call: Call) -> bool:
        """Whether numbers that a call makes from masks or indices alone have a derivative, or are constant."""
        return True

    def before_write(self, call: Call) -> None:
        """Called before a call writes into its target."""
        return

    def after_write(self, target: Tensor, new: Tensor) -> None:
        """Called after `target` got the value of `new`, which `handle` returned."""
        return

    def grafted(self, call: Call, outputs: list[Tensor], decomposed: list[Tensor]) -> None:
        """Called after a call was opened: `outputs` stand for what the opened operations made."""
        return
