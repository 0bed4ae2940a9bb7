"""What a network's Python reaches, at one moment: to tell later whether it is what it was."""

import dis
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from heatproof.by_tensor import writes

MOST = 10_000  # what a longer list or dictionary holds is data, and not looked at
_PLAIN = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
_LIBRARY = frozenset((*sys.stdlib_module_names, "torch", "numpy")) - {"__main__"}
_OURS = __name__.partition(".")[0]
_KEPT = ("_parameters", "_buffers", "_modules")
# What else torch keeps in every module: hooks are part of a model's structure.
_OWN = frozenset(vars(nn.Module())) - {*_KEPT, "training"}


class _Place(NamedTuple):
    """Where something may be put in place of something else."""

    where: str
    read: Callable[[], Iterable[Any]]  # what is there now
    names: Callable[[], Iterable[Any]] = tuple  # of which

    def name_of(self, number: int) -> str:
        """What is said of one of them."""
        names = [*self.names()]
        return f"{names[number]!r} of {self.where}" if number < len(names) else f"what is in {self.where}"


class Seen:
    """All that the code of `roots` may see by names, attributes and items, and what was written into its tensors.

    Looked at are attributes of modules and other objects, what lists, tuples, dictionaries and sets hold, classes, and
    of functions the closures and global names, those of functions that they name included, however deep; of what is
    installed only objects and the classes of modules, and nothing inside torch, NumPy and Python's library. Numbers and
    names are compared by value, all else by identity, tensors by memory and version besides. Cost: a walk now, and at
    `changed` one look at each place where something was found.
    """

    def __init__(self, *roots: Any) -> None:
        self._roots = roots
        self._walk()

    def changed(self) -> str | None:
        """What is not as it was, in words; None if all is."""
        if [*map(type, self._modules)] != self._classes:
            return "the class of a module"
        same = [[*map(id, place.read())] for place in self._places] == self._numbers
        if not same:
            for place, then in zip(self._places, self._held, strict=True):
                now = [*place.read()]
                for number, (one, other) in enumerate(zip(now, then, strict=False)):
                    if not _alike(one, other):
                        return place.name_of(number)
                if len(now) != len(then):
                    return place.name_of(sys.maxsize)
        for tensor, _, state in self._tensors:
            if _state(tensor) != state:
                return f"a tensor {tuple(tensor.shape)}"
        if not same:
            self._walk()  # other objects, equal to those that were there
        return None

    def _walk(self) -> None:
        self._places: list[_Place] = []
        self._kept: dict[int, Any] = {}  # so that no number is given twice
        todo: list[Any] = [*self._roots]
        while todo:
            value = todo.pop()
            if isinstance(value, _PLAIN) or id(value) in self._kept:
                continue
            self._kept[id(value)] = value
            if isinstance(value, nn.Module):
                self._kept.update((id(own), own) for name, own in vars(value).items() if name in _OWN or name in _KEPT)
            for place in _places(value):
                self._places.append(place)
                todo += place.read()
            todo += _parts(value)
        self._modules = [value for value in self._kept.values() if isinstance(value, nn.Module)]
        self._classes = [*map(type, self._modules)]
        self._held = [[*place.read()] for place in self._places]
        self._numbers = [[*map(id, values)] for values in self._held]
        # With its memory, so that no other can come to lie there.
        tensors = [value for value in self._kept.values() if isinstance(value, Tensor)]
        self._tensors = [(one, one.detach(), _state(one)) for one in tensors]


def _places(value: Any) -> Iterator[_Place]:
    kind = type(value).__name__
    if isinstance(value, ModuleType):
        return
    if isinstance(value, nn.Module):
        own = vars(value)
        yield _Place(kind, own.values, own.keys)
        for held in map(own.get, _KEPT):
            if isinstance(held, dict):
                yield _Place(kind, held.values, held.keys)
    elif isinstance(value, type):
        if value is not nn.Module and (issubclass(value, nn.Module) or not _stays(_package(value))):
            yield _Place(f"class {value.__name__}", vars(value).values, vars(value).keys)
    elif isinstance(value, FunctionType):
        if not _stays(_package(value)):
            names, scope = _names(value.__code__, "LOAD_GLOBAL"), value.__globals__
            yield _Place("the globals", partial(_items, scope, names), names.__iter__)
            for one in map(scope.get, names):
                if isinstance(one, ModuleType) and not _stays(one.__name__.partition(".")[0]):
                    names = _names(value.__code__, "LOAD_ATTR", "LOAD_METHOD")
                    yield _Place(one.__name__, partial(_items, vars(one), names), names.__iter__)
    elif isinstance(value, CellType):
        yield _Place("a closure", partial(_content, value))
    else:
        if isinstance(value, dict | list | set | deque) and len(value) <= MOST:
            yield _Place(f"a {kind}", value.__iter__)
        if isinstance(value, dict) and len(value) <= MOST:
            yield _Place(f"a {kind}", value.values, value.keys)
        if isinstance(value, SimpleNamespace | Namespace) or _package(type(value)) not in _LIBRARY:
            if isinstance(kept := getattr(value, "__dict__", None), dict):
                yield _Place(kind, kept.values, kept.keys)
            if slots := [name for one in type(value).__mro__ for name in _slots(one)]:
                yield _Place(kind, lambda: [getattr(value, name, None) for name in slots], slots.__iter__)


def _slots(kind: type) -> Sequence[str]:
    named = vars(kind).get("__slots__", ())
    return (named,) if isinstance(named, str) else tuple(named)


def _parts(value: Any) -> list[Any]:
    """What belongs to a value for good."""
    match value:
        case FunctionType() if _stays(_package(value)):
            return []
        case FunctionType():
            return [*(value.__closure__ or ()), value.__defaults__, value.__kwdefaults__]
        case MethodType():
            return [value.__self__, value.__func__]
        case partial():
            return [value.func, value.args, value.keywords]
        case staticmethod() | classmethod():
            return [value.__func__]
        case tuple() if len(value) <= MOST:
            return [*value]
        case property():
            return [value.fget]
        case type():
            return [*value.__bases__]
        case _:
            return [type(value)]


def _names(code: CodeType, *ways: str) -> list[str]:
    """The names that a function's code asks for in these ways, and the functions inside it."""
    names = [str(one.argval) for one in dis.get_instructions(code) if one.opname in ways]
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            names += _names(inner, *ways)
    return list(dict.fromkeys(names))


def _items(scope: dict[str, Any], names: list[str]) -> list[Any]:
    return [scope.get(name) for name in names]


def _content(cell: CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # nothing yet
        return []


def _package(value: Any) -> str:
    return str(getattr(value, "__module__", None)).partition(".")[0]


@cache
def _stays(package: str) -> bool:
    """Whether the package's code stays as it is: Python's own, torch, this one, and whatever is installed."""
    there = str(getattr(sys.modules.get(package), "__path__", ""))
    there += str(getattr(sys.modules.get(package), "__file__", ""))
    return package in _LIBRARY or package == _OURS or "site-packages" in there or "dist-packages" in there


def _alike(now: Any, then: Any) -> bool:
    if now is then:
        return True
    if type(now) is not type(then):
        return False
    if isinstance(now, list | tuple):
        return len(now) == len(then) and all(map(_alike, now, then))
    return isinstance(now, _PLAIN) and (now == then or (now != now and then != then))


def _state(tensor: Tensor) -> tuple[Any, ...]:
    version = writes(tensor)
    if tensor.layout != torch.strided or tensor.is_nested:
        return version, tensor.shape
    return version, tensor.shape, tensor.data_ptr(), tensor.stride(), tensor.dtype
