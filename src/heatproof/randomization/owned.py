"""Every tensor that a network's modules hold: parameters, buffers, and plain attributes."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from heatproof.errors import InputError
from heatproof.models import Bound
from heatproof.randomization.memory import Region, region
from heatproof.randomization.norms import ROLES, Role

ROOT = "(root)"  # the layer of the parameters that the network itself owns, outside all its submodules


class Owned(NamedTuple):
    """A tensor, and the layer that owns it; `trainable` is a parameter."""

    layer: str
    name: str
    module: nn.Module
    tensor: Tensor
    trainable: bool
    role: Role | None


def owned_by(model: nn.Module) -> Iterator[Owned]:
    """Every parameter, then every buffer, then every other tensor among the attributes of the modules.

    Once for each stretch of memory: an attribute that is a view of a parameter is that parameter.

    Raises: InputError for modules whose operations nobody sees, and for parameters that have no values yet.
    """
    modules = dict(_named_modules(model))
    for path, module in modules.items():
        _refuse_unseen(path, module)
    places: set[Region] = set()
    for kind in ("_parameters", "_buffers", "attributes"):
        for path, module in modules.items():
            held = _attributes(module) if kind == "attributes" else getattr(module, kind).items()
            for name, tensor in held:
                if tensor is None:
                    continue
                if is_lazy(tensor):
                    full = joined(path, name)
                    raise InputError(f"Expected parameters of real numbers, but {full!r} is not initialized yet.")
                place = region(tensor)
                if place is None or place in places:
                    continue
                if kind == "attributes" and any(place.overlaps(one) for one in places):
                    continue
                places.add(place)
                yield _entry(modules, path, name, tensor, trainable=kind == "_parameters")


def unreachable(model: nn.Module) -> Iterator[str]:
    """Parameters and buffers whose values stand in no memory of theirs (a subclass that packs them), by name."""
    for path, module in _named_modules(model):
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None and not is_lazy(tensor) and tensor.numel() > 0 and region(tensor) is None:
                kind = f"{type(tensor).__name__}, {tensor.layout}".replace("torch.", "")
                yield f"{joined(path, name)} ({kind}), whose values lie in no memory of their own"


def joined(layer: str, name: str) -> str:
    """The name of a tensor in the network."""
    return name if layer in ("", ROOT) else f"{layer}.{name}"


def _entry(modules: Mapping[str, nn.Module], path: str, name: str, tensor: Tensor, *, trainable: bool) -> Owned:
    module = modules[path]
    # The layer's own module, not the ParametrizationList within it.
    base, _, rest = path.partition(".parametrizations.")
    if path.startswith("parametrizations."):
        base, rest = "", path.removeprefix("parametrizations.")
    prefix = f"parametrizations.{rest}." if rest else ""
    moving = module._buffers.get("running_mean") is not None and module._buffers.get("running_var") is not None
    role = ROLES.get(name) if moving else None
    return Owned(base or ROOT, prefix + name, modules[base], tensor, trainable, role)


def _attributes(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Tensors that a module keeps as attributes, alone or in a list, a tuple or a mapping."""
    for name, value in vars(module).items():
        if name in ("_parameters", "_buffers", "_modules"):
            continue
        yield from _tensors(name, value)


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _tensors(f"{name}.{place}", item)
    elif isinstance(value, Mapping):
        for place, item in value.items():
            yield from _tensors(f"{name}.{place}", item)


def _refuse_unseen(path: str, module: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise InputError(
            f"Expected a model in Python, but submodule {path!r} is a TorchScript module, whose operations "
            "nobody sees; use the module it was made from."
        )
    if hasattr(module, "_orig_mod"):
        raise InputError(f"Expected a model before torch.compile, but {path!r} is compiled; use its `_orig_mod`.")


def _named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Submodules by the names that the user knows: those of the network inside a Bound."""
    for name, module in model.named_modules():
        if not isinstance(model, Bound):
            yield name, module
        elif name == "net" or name.startswith("net."):
            yield name.removeprefix("net").removeprefix("."), module
        elif name:
            yield name, module  # preprocessing, where it is a module
