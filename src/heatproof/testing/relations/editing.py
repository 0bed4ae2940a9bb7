"""A copy of a network with some of its modules replaced."""

from collections.abc import Callable
from copy import copy, deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.testing.relations.parts import Residual

# What is put in the place of a module that has a name, with the module whose output it reads, where that is known; None
# leaves it.
Edit = Callable[[nn.Module, nn.Module | None], nn.Module | None]
LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def edited(model: nn.Module, edit: Edit, *, only: str | None = None) -> nn.Module | str:
    """A deep copy with the leaves that `edit` has a replacement for replaced, under the same names; or that none is.

    `only` names the one module that is looked at.
    """
    twin = deepcopy(model)
    changed = False
    for name, module in list(twin.named_modules()):
        if not name or list(module.children()) or (only is not None and name != only):
            continue
        owner, _, last = name.rpartition(".")
        parent = twin.get_submodule(owner)
        replacement = edit(module, _before(parent, last))
        if replacement is not None:
            parent._modules[last] = replacement.train(module.training)
            changed = True
    return twin if changed else "no operation of the network is written another way by it"


def _before(parent: nn.Module, name: str) -> nn.Module | None:
    if isinstance(parent, Residual) and isinstance(parent.body, nn.Sequential):
        return parent.body[-1]
    if not isinstance(parent, nn.Sequential):
        return None
    names = list(parent._modules)
    at = names.index(name)
    return parent._modules[names[at - 1]] if at else None


class Respelled(nn.Module):
    """A module's parameters and settings under a function that computes the same from them."""

    def __init__(self, module: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.__dict__.update({name: copy(value) for name, value in vars(module).items()})
        self._function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self._function(self, *inputs)


def first_linear(model: nn.Module, inputs: Tensor) -> str | None:
    """The name of the linear layer or convolution that alone reads the input itself; None where there is none."""
    readers: list[tuple[str, nn.Module]] = []
    x = inputs[:1].clone()

    def look(name: str, module: nn.Module, arguments: Any) -> None:
        if not list(module.children()) and any(one is x for one in arguments):
            readers.append((name, module))

    handles = [
        module.register_forward_pre_hook(lambda module, arguments, name=name: look(name, module, arguments))
        for name, module in model.named_modules()
    ]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    if len(readers) != 1 or not isinstance(readers[0][1], LINEAR):
        return None
    return readers[0][0]


def last_linear(model: nn.Module) -> str | None:
    """The name of the linear layer or pointwise convolution that was added last."""
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return names[-1] if names else None
