"""What an adapter is: a frozen recipe that makes an explainer of another package for a model, and calls it."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heatproof.errors import InputError, MissingExtraError, shown, unknown
from heatproof.methods.split import find_layer
from heatproof.models import Bound
from heatproof.registry import Registry

ADAPTERS: "Registry[Any]" = Registry("adapter", "heatproof.adapters")
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_OF_MODULES = ("_parameters", "_modules", *_HOOKS)


class Adapter(ABC):
    """A method of another package, as a callable (model, inputs, targets) -> attributions that broadcast to the inputs.

    A frozen dataclass whose fields are its configuration, so that it has a name in the rows and pickles to a worker.
    An audit treats it as it treats any foreign method: global generators are seeded, and what it leaves behind is put
    back and named.
    """

    def __repr__(self) -> str:
        default, own = type(self)(), [(one.name, getattr(self, one.name)) for one in fields(self)]  # type: ignore[arg-type]  # a dataclass, as every adapter is
        said = [f"{name}={value!r}" for name, value in own[1:] if value != getattr(default, name)]
        return f"{type(self).__name__}({', '.join([repr(own[0][1]), *said])})"

    @abstractmethod
    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Attributions of labels `targets` (N,), int64, for `inputs` (N, …)."""


class WithRows(nn.Module):
    """A model as a function of inputs and the rows that they belong to, so that side inputs follow what is repeated."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """The outputs (M, C) of variants `x` (M, …) of samples `rows` (M,)."""
        out: Tensor = self.model(x, rows) if isinstance(self.model, Bound) else self.model(x)
        return out[:, None] if out.dim() == 1 else out


class OfOneSample(nn.Module):
    """A model as a function of variants of sample `row`, for an explainer that knows nothing of side inputs.

    With a `label`, its score (M, 1) alone.
    """

    def __init__(self, model: nn.Module, row: int, label: int | None = None) -> None:
        super().__init__()
        self.model, self.row, self.label = model, row, label
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        """The outputs of variants `x` (M, …)."""
        rows = torch.full((len(x),), self.row, device=x.device)
        out: Tensor = self.model(x, rows) if isinstance(self.model, Bound) else self.model(x)
        if self.label is None:
            return out
        return (out[:, None] if out.dim() == 1 else out)[:, self.label, None]


def each_alone(
    explain: Callable[[nn.Module, Tensor, Tensor], Any], model: nn.Module, inputs: Tensor, targets: Tensor
) -> Tensor:
    """What `explain` gives for all samples together; one by one where side inputs have a row a sample.

    An explainer that repeats samples, or masks them in batches of its own, would meet the rows of others.
    """
    with tidied(model):
        if not (isinstance(model, Bound) and model.given):
            return as_maps(explain(model, inputs, targets), inputs)
        parts = []
        for row in range(len(inputs)):
            x = inputs[row : row + 1]
            parts.append(as_maps(explain(OfOneSample(model, row), x, targets[row : row + 1]), x))
        return torch.cat(parts)


@contextmanager
def tidied(model: nn.Module) -> Iterator[None]:
    """Parts, hooks and gradients of a model are afterwards what they were, whatever an explainer leaves of its own.

    pytorch-grad-cam clears gradients and adds to them, and leaves a layer replaced where it is interrupted; shap leaves
    parameters on modules that are not containers.
    """
    modules = [(one, {name: dict(getattr(one, name)) for name in _OF_MODULES}) for one in model.modules()]
    gradients = [(one, one.grad) for one in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None  # a backward pass adds to what it finds
    try:
        yield
    finally:
        for module, parts in modules:
            for name, before in parts.items():
                now = getattr(module, name)
                if now != before:
                    now.clear()
                    now.update(before)
        for parameter, gradient in gradients:
            parameter.grad = gradient


def package(name: str, purpose: str, *, called: str = "") -> Any:
    """The module `name`. Raises: MissingExtraError where its package, `called` otherwise, is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it uses that is deprecated is for its authors to mend
            return import_module(name)
    except ImportError as error:
        if error.name is not None and not f"{name}.".startswith(f"{error.name}."):
            raise  # it is there, and something that it needs is not
        raise MissingExtraError(called or name.partition(".")[0], "", purpose) from None


def named(module: Any, name: str, kind: str) -> Any:
    """The public class `name` of a module. Raises: UnknownNameError with the nearest."""
    found = getattr(module, name, None)
    if not name or found is None:
        known = [one for one, value in vars(module).items() if isinstance(value, type) and not one.startswith("_")]
        raise unknown(kind, name, known)
    return found


def layers_of(model: nn.Module, names: "str | tuple[str, ...]") -> list[nn.Module]:
    """The submodules of these names."""
    if not names:
        raise InputError("Expected `layer`, the name of a submodule, but got none; see model.named_modules().")
    return [find_layer(model, name) for name in ((names,) if isinstance(names, str) else names)]


def as_maps(found: Any, inputs: Tensor) -> Tensor:
    """What an explainer returned as attributions that broadcast to `inputs` (N, …), in their dtype and device.

    Maps of a layer (N, K, positions …) are summed over its channels and enlarged to the inputs' positions, bilinearly
    as their own packages do; maps (N, positions …) get a dimension of channels.
    """
    if isinstance(found, list | tuple) and len(found) == 1:
        found = found[0]
    if isinstance(found, np.ndarray):
        found = torch.from_numpy(np.ascontiguousarray(found))
    if not isinstance(found, Tensor) or found.shape[:1] != inputs.shape[:1]:
        raise InputError(f"Expected attributions of {len(inputs)} samples, but the explainer gave {shown(found)}.")
    maps = found.detach().to(inputs)
    if maps.dim() == inputs.dim() - 1:
        maps = maps[:, None] if maps.shape[1:] == inputs.shape[2:] or inputs.dim() > 3 else maps[..., None]
    fits = maps.dim() == inputs.dim()
    if fits and all(one in (1, full) for one, full in zip(maps.shape, inputs.shape, strict=True)):
        return maps
    if fits and inputs.dim() == 3 and maps.shape[1] == inputs.shape[1]:  # a layer of the same tokens
        return maps.sum(2, keepdim=True)
    if fits and inputs.dim() in (3, 4, 5):
        way = {3: "linear", 4: "bilinear", 5: "trilinear"}[inputs.dim()]
        return F.interpolate(maps.sum(1, keepdim=True), inputs.shape[2:], mode=way, align_corners=False)
    raise InputError(
        f"Expected attributions that broadcast to {tuple(inputs.shape)}, or a map of a layer (N, K, positions …), but "
        f"the explainer gave {tuple(found.shape)}."
    )
