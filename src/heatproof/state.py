"""What a network keeps between calls, at one moment: to say what changed, and to put it back bit for bit."""

import random
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from heatproof.undo import Undoing

# Parameters are copied up to this size, since a network may clamp its own; beyond, only a new tensor in the place of
# the old one is noticed and put back.
COPIED = 2**28  # bytes
_NOTHING = object()


@dataclass(frozen=True)
class _Tensor:
    """A tensor, where it lies in memory, and a copy of its values."""

    name: str
    tensor: Tensor
    data: Tensor
    copy: Tensor | None

    def changed(self) -> bool:
        moved = self.tensor.data_ptr() != self.data.data_ptr() or self.tensor.shape != self.data.shape
        return moved or (self.copy is not None and not same_bits(self.data, self.copy))

    def restore(self) -> None:
        if not self.changed():
            return
        with torch.inference_mode(self.data.is_inference()), torch.no_grad():
            if self.copy is not None:
                self.data.copy_(self.copy)
            if self.tensor.data_ptr() != self.data.data_ptr() or self.tensor.shape != self.data.shape:
                self.tensor.data = self.data


@dataclass(frozen=True)
class _Container:
    """A dictionary, list, deque or set, and what it held."""

    name: str
    container: Any
    held: Any

    def changes(self, names: dict[int, str], everything: bool) -> Iterator[str]:
        """Names of the items that are not what they were: those with tensors, or everything."""
        if not isinstance(self.container, dict):
            if not _alike(list(self.container), self.held) and (everything or self._has_tensors()):
                yield f"attribute {self.name!r}"
            return
        for key in dict.fromkeys([*self.container, *self.held]):
            now, then = self.container.get(key, _NOTHING), self.held.get(key, _NOTHING)
            if not _alike(now, then) and (everything or _holds_tensors(now) or _holds_tensors(then)):
                yield names.get(id(then)) or f"attribute {_join(self.name, key)!r}"

    def restore(self, everything: bool) -> None:
        """Put back the items with tensors, or everything."""
        if not isinstance(self.container, dict):
            if [*map(id, self.container)] != [*map(id, self.held)] and (everything or self._has_tensors()):
                self.container.clear()
                (self.container.update if isinstance(self.container, set) else self.container.extend)(self.held)
            return
        for key in [*self.container]:
            if key not in self.held and (everything or _holds_tensors(self.container[key])):
                del self.container[key]
        for key, then in self.held.items():
            now = self.container.get(key, _NOTHING)
            if now is not then and (everything or _holds_tensors(now) or _holds_tensors(then)):
                self.container[key] = then

    def _has_tensors(self) -> bool:
        return _holds_tensors(self.container) or _holds_tensors(self.held)


class State:
    """Parameters, buffers and plain attributes of every module of `model`.

    With the lists, dictionaries, random generators and objects of the model's own packages in them, but `without`
    tensors of these ids. Cost: a copy of every buffer and attribute, and of parameters up to 256 MiB.
    """

    def __init__(self, model: nn.Module, *, without: Collection[int] = ()) -> None:
        self._tensors: list[_Tensor] = []
        self._containers: list[_Container] = []
        self._generators: list[tuple[torch.Generator, Tensor]] = []
        self._names: dict[int, str] = {}
        self._packages = {type(module).__module__.partition(".")[0] for module in model.modules()} - {"torch"}
        size = sum(p.numel() * p.element_size() for p in model.parameters() if not nn.parameter.is_lazy(p))
        self._copies_parameters = size <= COPIED
        seen = set(without)
        for name, module in model.named_modules():
            self._keep(module, name, seen)
        for name, buffer in model.named_buffers():  # those of scripted modules lie in no attribute
            self._keep(buffer, name, seen)

    def changes(self, *, everything: bool = False) -> list[str]:
        """The tensors that are not as they were, such as `buffer 'norm.running_mean'`, with `everything` all else, too.

        In no order that means anything.
        """
        found = [self._names[id(one.tensor)] for one in self._tensors if one.changed()]
        found += [name for one in self._containers for name in one.changes(self._names, everything)]
        return list(dict.fromkeys(found))

    def uncopied(self) -> list[tuple[str, Tensor]]:
        """Tensors of which no copy is kept, by name: parameters, where they are large."""
        return [(self._names[id(one.tensor)], one.tensor) for one in self._tensors if one.copy is None]

    def restore(self, *, everything: bool = False) -> None:
        """Put tensors back, and with `everything` all else, too: numbers, names, what lists hold."""
        for container in self._containers:
            container.restore(everything)
        for tensor in self._tensors:
            tensor.restore()
        for generator, drawn in self._generators:
            generator.set_state(drawn)

    def _keep(self, value: Any, name: str, seen: set[int]) -> None:
        if isinstance(value, str | int | float | bool | None) or id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, Tensor):
            self._keep_tensor(value, name)
        elif isinstance(value, torch.Generator):
            self._generators.append((value, value.get_state()))
        elif isinstance(value, nn.Module) and _is_lazy(value):
            return  # its first run makes another module of it, for good
        elif isinstance(value, nn.Module):
            own = {key: each for key, each in vars(value).items() if key not in ("_parameters", "_buffers", "_modules")}
            self._containers.append(_Container(name, vars(value), dict(vars(value))))
            for kind in ("parameter", "buffer", "module"):
                held = vars(value).get(f"_{kind}s")
                if isinstance(held, dict):  # a scripted module has none
                    self._containers.append(_Container(name, held, dict(held)))
                    for key, each in held.items():
                        self._keep(each, _join(name, key), seen)
                        if isinstance(each, Tensor):
                            self._names[id(each)] = f"{kind} {_join(name, key)!r}"
            for key, each in own.items():
                self._keep(each, _join(name, key), seen)
        elif isinstance(value, dict):
            self._containers.append(_Container(name, value, dict(value)))
            for key, each in list(value.items()):
                self._keep(each, _join(name, key), seen)
        elif isinstance(value, list | deque | set | tuple):
            if not isinstance(value, tuple):
                self._containers.append(_Container(name, value, list(value)))
            for i, each in enumerate(list(value)):
                self._keep(each, f"{name}[{i}]", seen)
        elif type(value).__module__.partition(".")[0] in self._packages and isinstance(vars_of(value), dict):
            self._keep(vars_of(value), name, seen)

    def _keep_tensor(self, tensor: Tensor, name: str) -> None:
        plain = type(tensor) in (Tensor, nn.Parameter)
        if not plain or tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_nested:
            return
        copied = self._copies_parameters or not isinstance(tensor, nn.Parameter)
        data = tensor.detach()
        self._tensors.append(_Tensor(name, tensor, data, data.clone() if copied else None))
        self._names.setdefault(id(tensor), f"attribute {name!r}")


class RandomState:
    """The states of torch's, NumPy's and Python's global generators."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._torch = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self._numpy: Any = np.random.get_state()  # noqa: NPY002  # what a network may draw from
        self._python = random.getstate()

    def moved(self) -> bool:
        """Whether anything was drawn since."""
        numpy: Any = np.random.get_state()  # noqa: NPY002  # as above
        return (
            not torch.equal(torch.get_rng_state(), self._torch)
            or (self._cuda is not None and not torch.equal(torch.cuda.get_rng_state(self._device), self._cuda))
            or numpy[2:] != self._numpy[2:]
            or not np.array_equal(numpy[1], self._numpy[1])
            or random.getstate() != self._python
        )

    def restore(self) -> None:
        """Put all of them back."""
        torch.set_rng_state(self._torch)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)
        np.random.set_state(self._numpy)  # noqa: NPY002  # as above
        random.setstate(self._python)


class unchanged(Undoing):  # noqa: N801  # reads like contextlib's own
    """Whatever happens inside, the network's tensors and the global generators are afterwards what they were.

    With `everything` all else that the network keeps, too: numbers, names, what lists hold.
    """

    def __init__(self, model: nn.Module, device: torch.device, *, everything: bool = False) -> None:
        self._state, self._drawn, self._everything = State(model), RandomState(device), everything

    def _undo(self) -> None:
        self._state.restore(everything=self._everything)
        self._drawn.restore()


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two dense tensors have the same device, shape, type and values, NaN equal to NaN."""
    if one.device != other.device or one.shape != other.shape or one.dtype != other.dtype:
        return False
    if torch.equal(one, other):
        return True
    numbers = one.is_floating_point() or one.is_complex()
    return numbers and bool(((one == other) | ((one != one) & (other != other))).all())


def vars_of(value: Any) -> Any:
    """The attributes of an object, if it keeps any."""
    return None if isinstance(value, type) else getattr(value, "__dict__", None)


def _is_lazy(module: nn.Module) -> bool:
    return any(map(nn.parameter.is_lazy, [*module.parameters(recurse=False), *module.buffers(recurse=False)]))


def _alike(now: Any, then: Any) -> bool:
    if now is then:
        return True
    if isinstance(now, Tensor) and isinstance(then, Tensor):
        return now.layout == then.layout == torch.strided and same_bits(now, then)
    if type(now) is not type(then):
        return False
    if isinstance(now, list | tuple):
        return len(now) == len(then) and all(map(_alike, now, then))
    return isinstance(now, str | int | float) and (now == then or now != now != then)


def _holds_tensors(value: Any, depth: int = 3) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | deque | set) and depth:
        return any(_holds_tensors(each, depth - 1) for each in value)
    return isinstance(value, Tensor)


def _join(prefix: str, key: Any) -> str:
    return f"{prefix}.{key}" if prefix else str(key)
