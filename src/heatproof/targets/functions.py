"""Targets that are computed: a difference of two others, and any function of what a model returns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from heatproof.errors import HeatproofError, InputError
from heatproof.fields import typed
from heatproof.named_code import named_code
from heatproof.targets.base import LABEL, TARGETS, OfNumbers, Sides, Target, as_target


@TARGETS.register("difference")
@typed
@dataclass(frozen=True)
class Difference(OfNumbers):
    """One target less another, S_a − S_b: why this label and not that one. One output; labels stand for themselves.

    By default the predicted label less the one with the second largest output.

    >>> hp.methods.Gradient()(line, x, hp.targets.Difference(1, 0))
    tensor([[2., 2.]])
    """

    a: Target | int = field(default_factory=lambda: _label("predicted"))
    b: Target | int = field(default_factory=lambda: _label("runner-up"))

    def __post_init__(self) -> None:
        for name in ("a", "b"):
            object.__setattr__(self, name, as_target(getattr(self, name)))

    @property
    def name(self) -> str:
        return f"{as_target(self.a).name} less {as_target(self.b).name}"

    @property
    def unit(self) -> str:
        return as_target(self.a).unit

    def settle(self, answer: Any, rows: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        found = {LABEL: torch.zeros_like(rows)}
        for side, one in self._both():
            found |= {f"{side}.{name}": rows_ for name, rows_ in one.settle(answer, rows, labels).items()}
        return found

    def read(self, answer: Any, sides: Sides) -> Tensor:
        values = []
        for side, one in self._both():
            ours = {name.removeprefix(f"{side}."): v for name, v in sides.items() if name.startswith(f"{side}.")}
            label = ours.pop(LABEL)
            values.append(one.read(answer, ours).gather(1, label[:, None]))
        return values[0] - values[1]

    def _both(self) -> list[tuple[str, Target]]:
        return [("a", as_target(self.a)), ("b", as_target(self.b))]


@TARGETS.register("python")
@typed
@dataclass(frozen=True)
class Function(OfNumbers):
    """Any function of what the model returns: its values (N,), or outputs (N, C) of which `label` is explained.

    Args:
        call: takes what the model returns for some rows, and treats each row by itself; or its name, `module:function`.
        title: what it is, in a few words; the function's name by default.
        unit: its unit.
        label: which of several outputs is explained.

    >>> hp.methods.Gradient()(line, x, hp.targets.Function(lambda outputs: outputs.prod(1)))
    tensor([[16., 26.]])
    """

    call: Callable[[Any], Tensor] | str = ""
    title: str = field(default="", kw_only=True)
    unit: str = field(default="score", kw_only=True)
    label: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.call, str) and self.call:
            object.__setattr__(self, "call", named_code(self.call, "function"))

    @property
    def name(self) -> str:
        return self.title or str(getattr(self.call, "__name__", type(self.call).__name__))

    def settle(self, answer: Any, rows: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        found = self.read(answer, {})
        if len(found) != len(rows) or self.label >= found.shape[1]:
            raise InputError(
                f"Expected {self.name} to give values ({len(rows)},), or outputs ({len(rows)}, C) with output "
                f"{self.label}, but it gave {tuple(found.shape)}."
            )
        return {LABEL: torch.full_like(rows, self.label)}

    def read(self, answer: Any, sides: Sides) -> Tensor:
        if isinstance(self.call, str):
            raise InputError("Expected `call`, a function of what the model returns, but got none.")
        try:
            found = self.call(answer)
        except HeatproofError:
            raise
        except Exception as error:  # whatever it raises
            raise InputError(
                f"Expected {self.name} to read what the model returns, a {type(answer).__name__}, but it raised "
                f"{type(error).__name__}: {error}."
            ) from error
        if not isinstance(found, Tensor) or found.dim() not in (1, 2) or not found.is_floating_point():
            got = f"{tuple(found.shape)} of {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"Expected {self.name} to give floating values (N,) or outputs (N, C), but it gave {got}.")
        return found[:, None] if found.dim() == 1 else found


def _label(which: Any) -> Target:
    from heatproof.targets.labels import Label

    return Label(which)
