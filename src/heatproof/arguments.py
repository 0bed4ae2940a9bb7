"""The arguments of a network's forward beside the explained one: a row a sample, or what all samples share."""

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Number
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.errors import InputError, shown, unknown

_FLAGS = (type(None), bool, Number, torch.dtype, torch.device)


@dataclass(frozen=True, eq=False)
class Shared:
    """What all samples share, as an argument of a network: a graph's edges, the ids of label texts, a word."""

    value: Any


def is_shared(value: Any) -> bool:
    """Whether an argument has no row a sample: `Shared`, a number, a flag, None."""
    return isinstance(value, (Shared, *_FLAGS)) or (isinstance(value, Tensor) and value.dim() == 0)


def content(value: Any) -> Any:
    """The value of an argument that is shared."""
    return value.value if isinstance(value, Shared) else value


def parameters_of(net: nn.Module) -> Mapping[str, inspect.Parameter]:
    """The parameters of the network's forward by name; none where it shows none, as scripted ones do not."""
    try:
        return inspect.signature(net.forward).parameters
    except (TypeError, ValueError):
        return {}


def check_arguments(net: nn.Module, given: Mapping[str, Any], explained: Collection[str], *, first: bool) -> None:
    """Refuse arguments that the network's forward does not take, takes from elsewhere, or misses.

    `explained` are those that are explained by name; `first` says that the first one is.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"Expected `given` to be arguments by name, {{name: tensor}}, but got {shown(given)}.")
    for name, value in given.items():
        if not isinstance(value, str | Tensor) and not is_shared(value):
            raise InputError(
                f"Expected given[{name!r}] to be a tensor with one row a sample, its name in the data, a number, a "
                f"flag or None, but got {shown(value)}; what all samples share is heatproof.models.Shared(value)."
            )
    parameters = parameters_of(net)
    if not parameters:
        return
    kinds = {name: parameter.kind for name, parameter in parameters.items()}
    what, method = f"argument of {type(net).__name__}.forward", inspect.Parameter
    named = [name for name, kind in kinds.items() if kind not in (method.VAR_POSITIONAL, method.VAR_KEYWORD)]
    for name in given:
        if name not in named and method.VAR_KEYWORD not in kinds.values():
            raise unknown(what, name, named)
    if first and named[:1] and named[0] in given:
        raise InputError(
            f"Expected a Bound with `at`, or without {named[0]!r} among `given`: it is the first {what}, which the "
            "explained tensor is given as."
        )
    taken = [*given, *explained, *(named[:1] if first else [])]
    missing = [name for name in named if parameters[name].default is method.empty and name not in taken]
    if missing:
        raise InputError(
            f"Expected `given` to hold every {what} that has no default, but {', '.join(map(repr, missing))} "
            f"{'is' if len(missing) == 1 else 'are'} missing."
        )
