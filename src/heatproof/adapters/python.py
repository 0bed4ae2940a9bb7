"""A function of the user's own, by its name or as it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from heatproof.adapters.base import ADAPTERS, Adapter
from heatproof.errors import InputError, shown
from heatproof.fields import typed
from heatproof.named_code import named_code


@ADAPTERS.register("python")
@typed
@dataclass(frozen=True, repr=False)
class Python(Adapter):
    """A function (model, inputs, targets) -> attributions: `Python("my_package.maps:method")`, or the function itself.

    It may return a NumPy array; with `numpy` it gets inputs and targets as arrays as well. In an audit it counts by its
    code: rows are made anew after an edit.

    Args:
        call: `module:name`, which is imported at once, or a callable.
        numpy: whether it takes NumPy arrays.
    """

    call: str | Callable[..., Any] = ""
    numpy: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.call, str) and self.call:
            object.__setattr__(self, "call", named_code(self.call, "method"))

    def __repr__(self) -> str:
        own = self.call if isinstance(self.call, str) else getattr(self.call, "__qualname__", repr(self.call))
        said = f"{self.call.__module__}:{own}" if hasattr(self.call, "__qualname__") else own
        return f"Python({said!r}{', numpy=True' if self.numpy else ''})"

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        if isinstance(self.call, str):
            raise InputError("Expected `call`, the method as module:function, but got none.")
        given = [one.cpu().numpy() for one in (inputs, targets)] if self.numpy else [inputs, targets]
        found = self.call(model, *given)
        if isinstance(found, np.ndarray):
            found = torch.from_numpy(np.ascontiguousarray(found)).to(inputs)
        if not isinstance(found, Tensor):
            raise InputError(f"Expected attributions of {self!r} as a tensor or array, but got {shown(found)}.")
        return found.to(inputs.device)
