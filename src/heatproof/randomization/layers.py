"""The layers of a network: which parameters a run of it uses, and in which order, found by running it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from heatproof.errors import InputError
from heatproof.models import Bound, check_inputs, check_model, forward
from heatproof.randomization.watching import ROLES, Role, Watch, quiet, region

ROOT = "(root)"  # the layer of the parameters that the network itself owns, outside all its submodules


@dataclass(frozen=True, kw_only=True, eq=False)
class Weight:
    """One tensor of a layer: a parameter, or a buffer that a batch norm keeps.

    `name` is its name within the layer; `role` says what it is to a batch norm, None elsewhere.
    """

    name: str
    tensor: Tensor
    role: Role | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A module that directly owns parameters that the network uses, with the first and the last time it uses one.

    A parametrized module owns its originals: `conv.parametrizations.weight.original0` belongs to layer `conv`.
    """

    name: str
    module: nn.Module
    weights: tuple[Weight, ...]
    first: int
    last: int


class Usage(NamedTuple):
    """The layers that a run used, in the order of their first use, and the names of parameters that it did not."""

    layers: tuple[Layer, ...]
    unused: tuple[str, ...]


def usage(model: nn.Module, inputs: Tensor) -> Usage:
    """Run `model` once on `inputs` (N, …) and see which parameters each operation receives.

    Operations are watched, not modules, so bare parameters, attention projections, functional calls, reused modules
    and parametrizations are found. Tied parameters are one, named where they are registered first. In a Bound, what
    runs inside `at` or after `layer` is no part of the explained function, and its parameters are not used.

    Cost: one forward pass; another with a graph, and a backward pass, if some parameter seems to be unused.

    Raises: InputError if the model is in training mode, scripted or compiled, or uses no parameter, or if a parameter
    that no operation was seen to receive has a gradient all the same.
    """
    check_model(model)
    check_inputs(model, inputs)
    owned = list(_owned(model))
    watch = Watch([entry.tensor for entry in owned])
    with quiet(inputs), torch.no_grad(), watch, _pauses(model, watch):
        forward(model, inputs)
    unused = [entry for i, entry in enumerate(owned) if entry.trainable and i not in watch.first]
    _refuse_hidden(model, inputs, unused)
    members: dict[str, list[int]] = {}
    for i in sorted(watch.first, key=lambda i: (watch.first[i], i)):
        if owned[i].trainable or _role(watch, owned, i) is not None:
            members.setdefault(owned[i].layer, []).append(i)
    if not members:
        raise InputError(
            f"Expected a model that uses parameters, but {type(model).__name__} uses none on these inputs."
        )
    layers = tuple(
        Layer(
            name=name,
            module=owned[indices[0]].module,
            weights=tuple(
                Weight(name=owned[i].name, tensor=owned[i].tensor, role=_role(watch, owned, i)) for i in sorted(indices)
            ),
            first=min(watch.first[i] for i in indices),
            last=max(watch.last[i] for i in indices),
        )
        for name, indices in members.items()
    )
    return Usage(layers, tuple(_join(entry.layer, entry.name) for entry in unused))


class _Owned(NamedTuple):
    """A parameter or a floating-point buffer, and the layer that owns it."""

    layer: str
    name: str
    module: nn.Module
    tensor: Tensor
    trainable: bool
    role: Role | None


def _owned(model: nn.Module) -> Iterator[_Owned]:
    """Every parameter and floating-point buffer, once for each stretch of memory."""
    seen: set[object] = set()
    # The layer's own module, not the ParametrizationList within it.
    modules = dict(_named_modules(model))
    for path, module in modules.items():
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(
                f"Expected a model in Python, but submodule {path!r} is a TorchScript module, whose operations "
                "nobody sees; use the module it was made from."
            )
        if hasattr(module, "_orig_mod"):
            raise InputError(f"Expected a model before torch.compile, but {path!r} is compiled; use its `_orig_mod`.")
        base, _, rest = path.partition(".parametrizations.")
        if path.startswith("parametrizations."):
            base, rest = "", path.removeprefix("parametrizations.")
        prefix = f"parametrizations.{rest}." if rest else ""
        moving = module._buffers.get("running_mean") is not None and module._buffers.get("running_var") is not None
        tensors: list[tuple[str, Tensor | None, bool]] = [(n, t, True) for n, t in module._parameters.items()]
        tensors += [(n, t, False) for n, t in module._buffers.items()]
        for name, tensor, trainable in tensors:
            if tensor is None or (not trainable and not tensor.is_floating_point()):
                continue
            if trainable and (is_lazy(tensor) or not tensor.is_floating_point()):
                what = "not initialized yet" if is_lazy(tensor) else f"of {tensor.dtype}"
                raise InputError(f"Expected parameters of real numbers, but {_join(path, name)!r} is {what}.")
            place = region(tensor)
            if place is None or place in seen:
                continue
            seen.add(place)
            role = ROLES.get(name) if moving else None
            yield _Owned(base or ROOT, prefix + name, modules[base], tensor, trainable, role)


def _named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Submodules by the names that the user knows: those of the network inside a Bound."""
    for name, module in model.named_modules():
        if not isinstance(model, Bound):
            yield name, module
        elif name == "net" or name.startswith("net."):
            yield name.removeprefix("net").removeprefix("."), module
        elif name:
            yield name, module  # preprocessing, where it is a module


@contextmanager
def _pauses(model: nn.Module, watch: Watch) -> Iterator[None]:
    """Look away while a Bound computes what it throws away."""

    def pause(*_: object) -> None:
        watch.paused = True

    def resume(*_: object) -> None:
        watch.paused = False

    handles = []
    if isinstance(model, Bound) and model.at is not None:
        replaced = model.net.get_submodule(model.at)
        handles += [replaced.register_forward_pre_hook(pause), replaced.register_forward_hook(resume)]
    if isinstance(model, Bound) and model.layer is not None:
        handles.append(model.net.get_submodule(model.layer).register_forward_hook(pause))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _role(watch: Watch, owned: list[_Owned], index: int) -> Role | None:
    # A frozen batch norm keeps its scale in a buffer and computes by itself: its buffers' names tell.
    return watch.roles.get(index, owned[index].role)


def _refuse_hidden(model: nn.Module, inputs: Tensor, unused: list[_Owned]) -> None:
    """Refuse a parameter that no operation was seen to receive, but that the output has a gradient for."""
    suspects = [entry for entry in unused if entry.tensor.requires_grad]
    if not suspects:
        return
    with quiet(inputs), torch.inference_mode(False), torch.enable_grad():
        outputs = forward(model, inputs)
        if not outputs.requires_grad:
            return
        gradients = torch.autograd.grad(outputs.sum(), [entry.tensor for entry in suspects], allow_unused=True)
    hidden = [_join(entry.layer, entry.name) for entry, g in zip(suspects, gradients, strict=True) if g is not None]
    if hidden:
        raise InputError(
            f"Expected every parameter to reach a torch operation in Python, but {', '.join(hidden[:5])} changed the "
            "output inside an operation that hides it (TorchScript, a custom kernel); use a version in plain PyTorch."
        )


def _join(layer: str, name: str) -> str:
    return name if layer in ("", ROOT) else f"{layer}.{name}"
