"""Plain functions as models: a module around one, which holds the networks that it calls."""

import functools
import inspect
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

from torch import nn

from heatproof.errors import InputError, shown


class Called(nn.Module):
    """A function of inputs (N, …) as a network. The networks that it closes over, or names, are its submodules.

    So their modes, parameters and hooks are seen where those of a network are, and randomization finds their layers.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.training = False
        for name, module in dict(_networks(function)).items():
            self.add_module(name if not hasattr(self, name) else f"{name}_", module)  # `training` is a flag
        self.forward = function


def as_model(model: Any) -> nn.Module:
    """A network as it is, a function as one: the same module whenever it is the same function.

    Raises: InputError for what cannot be called.
    """
    if isinstance(model, nn.Module):
        return model
    if not callable(model) or isinstance(model, type):
        raise InputError(f"Expected the model to be a torch.nn.Module or a function, but got {shown(model)}.")
    try:
        return _called(model)
    except TypeError:  # one that has no hash
        return Called(model)


@functools.lru_cache(maxsize=16)
def _called(function: Callable[..., Any]) -> Called:
    return Called(function)


def _networks(function: Any) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(function, functools.partial):
        yield from _networks(function.func)
        found = {**{f"argument{i}": value for i, value in enumerate(function.args)}, **function.keywords}
    elif isinstance(function, MethodType):
        found = {"self": function.__self__}
    elif inspect.isfunction(function):
        variables = inspect.getclosurevars(function)
        found = {**variables.globals, **variables.nonlocals}
    else:
        found = dict(vars(function)) if hasattr(function, "__dict__") else {}
    yield from ((name, value) for name, value in found.items() if isinstance(value, nn.Module))
