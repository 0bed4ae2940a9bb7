"""A network as it was before: what a look at it wrote into its buffers and attributes is taken back."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Leave buffers, attributes, containers that they hold, and the random state as they were, bit for bit.

    Parameters are not copied: a network that writes into its own parameters while it is explained is none.
    """
    tensors: dict[int, tuple[Tensor, Tensor]] = {}
    containers: dict[int, tuple[Any, Any]] = {}

    def keep(value: Any) -> None:
        if isinstance(value, Tensor):
            if not isinstance(value, nn.Parameter):
                tensors.setdefault(id(value), (value, value.detach().clone()))
        elif isinstance(value, list | dict | set | deque) and id(value) not in containers:
            containers[id(value)] = (value, value.copy())
            for one in value.values() if isinstance(value, dict) else value:
                keep(one)
        elif isinstance(value, tuple):
            for one in value:
                keep(one)

    modules = list(model.modules())
    attributes = [dict(vars(module)) for module in modules]
    for own in attributes:
        for name, value in own.items():
            if name not in ("_parameters", "_modules") and not name.endswith("hooks"):
                keep(value)
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        for module, own in zip(modules, attributes, strict=True):
            now = vars(module)
            for name in now.keys() - own.keys():
                del now[name]
            now.update({name: value for name, value in own.items() if now.get(name) is not value})
        for container, copy in containers.values():
            container.clear()
            container.extend(copy) if isinstance(container, list | deque) else container.update(copy)
        with torch.no_grad():
            for tensor, copy in tensors.values():
                if not _same_bits(tensor, copy):
                    tensor.data.copy_(copy) if tensor.shape == copy.shape else tensor.set_(copy)  # type: ignore[call-overload]


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.layout != torch.strided or one.is_quantized:
        return one is other or (one.shape == other.shape and bool((one == other).all()))
    return bool(((one == other) | ((one != one) & (other != other))).all())
