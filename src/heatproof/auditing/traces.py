"""What somebody else's code may leave behind: on a model, and among the settings of the process. All is put back."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as of_all_modules

from heatproof import modes
from heatproof.arithmetic import SETTINGS
from heatproof.errors import InputError
from heatproof.models import Bound
from heatproof.state import RandomState, State, same_bits
from heatproof.undo import undone


@dataclass(frozen=True)
class _Setting:
    what: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]


_SETTINGS = (
    _Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    *(_Setting(one.what, one.read, one.write) for one in SETTINGS),
    *(
        _Setting(
            f"autocast on {device}",
            partial(torch.is_autocast_enabled, device),
            partial(torch.set_autocast_enabled, device),
        )
        for device in ("cpu", "cuda")
    ),
)
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_GLOBAL_HOOKS = (
    "_global_forward_pre_hooks",
    "_global_forward_hooks",
    "_global_backward_pre_hooks",
    "_global_backward_hooks",
)
_HELD = ("_parameters", "_buffers", "_modules")


@contextmanager
def none_left(model: nn.Module, seed: int, who: str = "method") -> Iterator[None]:
    """Whatever happens, model, settings and random states are afterwards what they were.

    Meanwhile the global generators of torch, NumPy and Python are seeded by `seed`, so that who draws from them repeats
    himself, and no parameter has a gradient, as a backward pass adds to what it finds.
    Cost: a copy of the model's tensors, and a look at them.

    Raises: InputError that names what was left: no later map could have been trusted. Drawing leaves nothing; seeding
        does, because two runs with one seed look as if there were no noise.
    """
    before = _Before(model)
    drawn = RandomState(torch.device("cpu"))
    left: list[str] = []
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        seeded = torch.initial_seed()

        def put_back() -> None:
            if torch.initial_seed() != seeded:
                left.append("seeded torch's global generator")
            drawn.restore()
            left.extend(before.restored())

        with undone(put_back):
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002  # the one that others draw from
            before.begin()
            yield
    if left:
        about = "the model" if all(said in before.of_model for said in left) else "model and settings"
        raise InputError(
            f"Expected a {who} that leaves {about} as {'it is' if about == 'the model' else 'they are'}, but it "
            f"{', '.join(left[:3])}. It was put back."
        )


@dataclass
class _Before:
    """Everything as it is now; `restored` makes it so again and says what was not."""

    model: nn.Module
    of_model: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = [(one, one.read()) for one in _SETTINGS]
        self.modes = modes.entered()
        self.modules = {name or "the network": module for name, module in self.model.named_modules()}
        self.held = {
            name: {key: dict(getattr(module, key)) for key in (*_HELD, *_HOOKS) if hasattr(module, key)}
            for name, module in self.modules.items()
        }
        self.kinds = {name: type(module) for name, module in self.modules.items()}
        self.training = {name: module.training for name, module in self.modules.items()}
        self.kept = {name: _kept(module) for name, module in self.modules.items()}
        owners: list[Any] = [F, torch, Tensor, *_classes(self.model)]
        self.functions = [(owner, _functions(owner)) for owner in owners]
        self.hooks = {key: dict(getattr(of_all_modules, key)) for key in _GLOBAL_HOOKS if hasattr(of_all_modules, key)}
        self.tensors = _tensors(self.model)
        self.values = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        self.wanted = {name: tensor.requires_grad for name, tensor in self.tensors.items()}
        # All else is nobody's fault, as a model may count its calls; the next method finds it as it was.
        self.rest = State(self.model, without=set(map(id, self.tensors.values())))
        self.gradients = {name: parameter.grad for name, parameter in self.model.named_parameters()}
        self.tensor_hooks = {name: dict(tensor._backward_hooks or {}) for name, tensor in self.tensors.items()}

    def begin(self) -> None:
        """No parameter has a gradient from here on."""
        for parameter in self.model.parameters():
            parameter.grad = None

    def restored(self) -> list[str]:
        """What was changed, in plain words; afterwards it is as it was."""
        changed = self._settings()
        self.of_model += [*self._modules(), *self._values()]
        for key, hooks in self.hooks.items():
            now = getattr(of_all_modules, key)
            if not _alike(now, hooks):
                _refill(now, hooks)
                changed.append("left a hook on all modules")
        self.rest.restore(everything=True)
        return [*self.of_model, *changed]

    def _settings(self) -> list[str]:
        changed = []
        if modes.entered() != self.modes:
            device = torch.get_default_device()
            modes.become(self.modes)
            moved = device != torch.get_default_device()
            changed.append(f"set the default device to {device}" if moved else "left a function mode on")
        for one, value in self.settings:
            if (now := one.read()) != value:
                one.write(value)
                changed.append(f"set {one.what} to {now}")
        for owner, functions in self.functions:
            for name in {**functions, **_functions(owner)}:
                if vars(owner).get(name) is not functions.get(name):
                    if name in functions:
                        setattr(owner, name, functions[name])
                    else:
                        delattr(owner, name)
                    changed.append(f"replaced {owner.__name__}.{name}")
        return changed

    def _modules(self) -> list[str]:
        trained = [name for name, module in self.modules.items() if module.training != self.training[name]]
        for name in trained:
            self.modules[name].training = self.training[name]
        changed = [f"left {_named(trained, 'training mode on')}"] if trained else []
        for key, what in (*((key, "hooks on") for key in _HOOKS), *((key, "other parts in") for key in _HELD)):
            odd = [
                name
                for name, module in self.modules.items()
                if key in self.held[name] and not _alike(getattr(module, key), self.held[name][key])
            ]
            for name in odd:
                _refill(getattr(self.modules[name], key), self.held[name][key])
            changed += [f"left {_named(odd, what)}"] if odd else []
        for name, module in self.modules.items():
            if type(module) is not self.kinds[name]:
                module.__class__ = self.kinds[name]
                changed.append(f"changed the class of {name}")
            if not _alike(now := _kept(module), self.kept[name]):
                for key in now.keys() - self.kept[name].keys():
                    del vars(module)[key]
                vars(module).update(self.kept[name])
                odd = [key for key in {**now, **self.kept[name]} if now.get(key) is not self.kept[name].get(key)]
                changed.append(f"changed {', '.join(sorted(odd)[:3])} of {name}")
        return changed

    def _values(self) -> list[str]:
        changed, hooked, wanted = [], [], []
        for name, tensor in self.tensors.items():
            saved = self.values[name]
            if not same_bits(tensor.detach(), saved):
                changed.append(name)
                _put_back(tensor, saved)
            if tensor.requires_grad != self.wanted[name]:
                wanted.append(name)
                tensor.requires_grad_(self.wanted[name])
            if not _alike(tensor._backward_hooks or {}, self.tensor_hooks[name]):
                hooked.append(name)
                _refill(tensor._backward_hooks, self.tensor_hooks[name])
        for name, parameter in self.model.named_parameters():
            parameter.grad = self.gradients.get(name)
        said = ((changed, "changed "), (wanted, "changed requires_grad of "), (hooked, "left hooks on "))
        return [lead + ", ".join(names[:3]) for names, lead in said if names]


def _named(names: list[str], what: str) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{what} {names[0]}{more}"


def _kept(module: nn.Module) -> dict[str, Any]:
    """What an instance has in the place of its class's methods; of torch's own classes the settings too."""
    kind = type(module)
    settings = kind.__module__.startswith("torch.")
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name != "training"
        and (callable(getattr(kind, name, None)) or (settings and isinstance(value, bool | int | float | str | tuple)))
    }


def _functions(owner: Any) -> dict[str, Any]:
    if owner in (F, torch, Tensor):
        return {name: value for name, value in vars(owner).items() if callable(value)}
    return {name: vars(owner)[name] for name in ("forward", "__call__", "_call_impl") if name in vars(owner)}


def _classes(model: nn.Module) -> list[type]:
    """The classes of a model's modules, and those that they come from."""
    every = (kind for module in model.modules() for kind in type(module).__mro__)
    return [kind for kind in dict.fromkeys(every) if issubclass(kind, nn.Module)]


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    given = {f"given[{name!r}]": value for name, value in model.given.items()} if isinstance(model, Bound) else {}
    return {**dict(model.named_parameters()), **dict(model.named_buffers()), **given}


def _alike(one: "dict[Any, Any]", other: "dict[Any, Any]") -> bool:
    """Whether two dicts hold the very same things."""
    return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)


def _same(one: Any, other: Any) -> bool:
    plain = isinstance(one, bool | int | float | str | tuple) and type(one) is type(other)
    return one is other or (plain and bool(one == other))


def _refill(now: "dict[Any, Any] | None", before: "dict[Any, Any]") -> None:
    if now is not None:
        now.clear()
        now.update(before)


def _put_back(tensor: Tensor, saved: Tensor) -> None:
    with torch.no_grad():
        if (tensor.shape, tensor.dtype, tensor.device) == (saved.shape, saved.dtype, saved.device):
            tensor.copy_(saved)
        else:
            tensor.data = saved
