"""The arguments of a call by name, whichever of torch's spellings it is."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch._ops import OpOverload, OpOverloadPacket


def bound(function: Callable[..., Any], name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The given arguments of `function`, the operation `name`, by name, in the order of its own signature."""
    return dict(zip(_names(function, name), args, strict=False)) | dict(kwargs)


@cache
def _names(function: Callable[..., Any], name: str) -> tuple[str, ...]:
    if isinstance(function, OpOverload):
        return tuple(argument.name for argument in function._schema.arguments)
    if isinstance(function, OpOverloadPacket):
        return _names(getattr(function, function._overload_names[0]), name)
    if inspect.isfunction(function):
        parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
        if not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
            return tuple(parameter.name for parameter in parameters)
    packet = getattr(torch.ops.aten, name, None) if name.isidentifier() and not name.startswith("__") else None
    return _names(packet, name) if isinstance(packet, OpOverloadPacket) else ()
