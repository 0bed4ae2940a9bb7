"""What a value is that code is made with: a digest of what a function does, of a class, of settings and tensors.

Code counts by its bytecode, which is what runs: a source file may have been edited since, and what was typed into an
interpreter has none. So comments do not count, and another minor version of Python is other code.
"""

import functools
import hashlib
import sys
import sysconfig
import types
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.Size, Enum, PurePath)
_OF_EVERY_MODULE = set(vars(nn.Module()))
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def identity(value: Any) -> str:
    """SHA-256 of what decides `value`, the same in every process and for every copy.

    A network by its modules' classes, settings and hooks, and by all tensors.

    Functions by bytecode, defaults, what they close over, and the functions, classes and constants of their own module
    that they name, and so on; those of installed packages by name and bytecode. Objects by class and attributes,
    tensors by shape and values, whatever device and dtype they are in.
    """
    return _Reader().of(value)


def tensor_identity(tensor: Tensor) -> str:
    """SHA-256 of shape and values; float64 that float32 holds exactly counts as float32."""
    digest = hashlib.sha256(str(tuple(tensor.shape)).encode())
    digest.update(_bytes(tensor))
    return digest.hexdigest()


@dataclass(frozen=True)
class _Reader:
    """Reads values, each object once. What refers to itself is not followed round."""

    found: dict[tuple[int, bool], str] = field(default_factory=dict)
    alive: list[Any] = field(default_factory=list)  # an id is free for others once its object is gone
    names: dict[int, str] = field(default_factory=dict)  # of the modules of the networks that are being read

    def of(self, value: Any, *, lasting: bool = False) -> str:
        """The digest of a value; `lasting` leaves out what lists, dicts and objects hold, as code may count in them."""
        if isinstance(value, PLAIN):
            return combined(type(value).__name__, str(value) if isinstance(value, str | PurePath) else repr(value))
        if id(value) in self.names:
            return f"module {self.names[id(value)]}"
        key = (id(value), lasting)
        if key not in self.found:
            self.alive.append(value)
            self.found[key] = "itself"
            self.found[key] = combined(*self._parts(value, lasting))
        return self.found[key]

    def _parts(self, value: Any, lasting: bool) -> Iterable[str]:
        if isinstance(value, Tensor):
            return "tensor", tensor_identity(value)
        if isinstance(value, np.ndarray | np.generic):
            return "array", str(value.dtype), str(value.shape), value.tobytes().hex() if value.dtype != object else ""
        if isinstance(value, functools.partial):
            parts = (value.func, value.args, value.keywords)
            return "partial", *(self.of(part, lasting=lasting and part is value.func) for part in parts)
        if isinstance(value, types.MethodType):
            return "method", self.of(value.__func__, lasting=lasting), self.of(value.__self__, lasting=lasting)
        if isinstance(value, types.FunctionType):
            return "function", *self._function(value, lasting)
        if isinstance(value, type):
            return "class", *self._class(value)
        if isinstance(value, tuple | frozenset):
            items = [self.of(item, lasting=lasting) for item in value]
            return type(value).__name__, *(items if isinstance(value, tuple) else sorted(items))
        if isinstance(value, nn.Module):
            return "network", *self.network(value)
        if isinstance(value, types.ModuleType | types.BuiltinFunctionType) or type(value).__module__ == "builtins":
            if isinstance(value, list | set | Mapping) and not lasting:
                return type(value).__name__, *self._container(value)
            return "named", type(value).__name__, str(getattr(value, "__qualname__", getattr(value, "__name__", "")))
        return "object", *self._object(value, lasting)

    def network(self, net: nn.Module) -> Iterable[str]:
        """Each module's class, settings and hooks, and all tensors, under their names in the network."""
        modules = dict(net.named_modules())
        self.names.update({id(module): name for name, module in modules.items()})
        for name, module in modules.items():
            yield from (name, self.of(type(module)), *self._settings(module), *self._hooks(module))
            if isinstance(module, torch.jit.ScriptModule):
                with suppress(RuntimeError, AttributeError):  # one without a method of its own
                    yield str(module.code)
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
            yield f"{name}={tensor_identity(tensor)}"

    def _settings(self, module: nn.Module) -> Iterable[str]:
        """What a module keeps beside its tensors; whether it works in place is none, nor is its mode."""
        of_torch = _of_torch(type(module))
        for name, value in sorted(vars(module).items()):
            left_out = name in _OF_EVERY_MODULE or (of_torch and name.startswith("_")) or name == "inplace"
            if not left_out and not isinstance(value, torch.device):
                yield f"{name}={self.of(value)}"

    def _hooks(self, module: nn.Module) -> Iterable[str]:
        """The hooks that somebody has put on a module and left there."""
        for kind in _HOOKS:
            for hook in getattr(module, kind, {}).values():
                if not str(getattr(hook, "__module__", "")).startswith("heatproof."):
                    yield f"{kind}={self.of(hook, lasting=True)}"

    def _container(self, value: "list[Any] | set[Any] | Mapping[Any, Any]") -> Iterable[str]:
        if isinstance(value, Mapping):
            return sorted(f"{self.of(key)}={self.of(item)}" for key, item in value.items())
        items = [self.of(item) for item in value]
        return items if isinstance(value, list) else sorted(items)

    def _function(self, function: types.FunctionType, lasting: bool) -> Iterable[str]:
        installed = _installed(str(function.__globals__.get("__name__")))
        yield from _code(function.__code__)
        yield self.of(function.__defaults__, lasting=True)
        yield self.of(tuple(sorted((function.__kwdefaults__ or {}).items())), lasting=True)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):  # a cell that is still empty
                content = cell.cell_contents
                # torch's parametrized classes remember the module that they were made for, which a copy is not.
                told = type(content) if installed and isinstance(content, nn.Module) else content
                yield f"{name}={self.of(told, lasting=lasting)}"
        if installed:
            return
        names = sorted(_names(function.__code__))
        for name in names:
            if name in function.__globals__:
                yield f"{name}={self._global(function.__globals__[name], names)}"

    def _global(self, value: Any, names: Iterable[str]) -> str:
        """What a function calls by a name of its module; of another module of the user's, what it may take from it."""
        if isinstance(value, types.ModuleType) and not _installed(value.__name__):
            used = [name for name in names if name in vars(value)]
            return combined(*(f"{name}={self.of(vars(value)[name], lasting=True)}" for name in used))
        if isinstance(value, type | types.FunctionType) and _installed(value.__module__):
            return f"{value.__module__}.{value.__qualname__}"
        return self.of(value, lasting=True)

    def _class(self, kind: type) -> Iterable[str]:
        for one in kind.__mro__:
            yield f"{one.__module__}.{one.__qualname__}"
            if _of_torch(one) or one.__module__ == "builtins":
                continue
            ours = not _installed(one.__module__)
            for name, member in sorted(vars(one).items()):
                inner = _unwrapped(member)
                constant = ours and not name.startswith("__")
                if isinstance(inner, types.FunctionType) or constant:
                    yield f"{name}={self.of(inner, lasting=True)}"

    def _object(self, value: Any, lasting: bool) -> Iterable[str]:
        kind = type(value)
        yield f"{kind.__module__}.{kind.__qualname__}" if _installed(kind.__module__) else self.of(kind)
        code = getattr(value, "code", None)
        if isinstance(value, torch.jit.ScriptFunction) and isinstance(code, str):
            yield code
        if lasting and not _frozen(value):
            return
        for name, attribute in sorted(getattr(value, "__dict__", {}).items()):
            settled = isinstance(attribute, (*PLAIN, tuple, list, dict, Tensor, np.ndarray))
            if not name.startswith("_") and (settled or not _installed(kind.__module__)):
                yield f"{name}={self.of(attribute, lasting=lasting)}"


def _frozen(value: Any) -> bool:
    return bool(getattr(getattr(type(value), "__dataclass_params__", None), "frozen", False))


def _unwrapped(member: Any) -> Any:
    """The function inside a static method, a class method, a property or a decorator that says what it wraps."""
    if isinstance(member, property):
        return member.fget
    if isinstance(member, functools.cached_property):
        return member.func
    return member.__func__ if isinstance(member, staticmethod | classmethod) else member


def _code(code: types.CodeType) -> Iterable[str]:
    yield code.co_code.hex()
    yield " ".join([*code.co_names, "|", *code.co_varnames, "|", *code.co_freevars, *code.co_cellvars])
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield combined(*_code(constant))
        elif isinstance(constant, frozenset):
            yield repr(sorted(map(repr, constant)))
        else:
            yield repr(constant)


def _names(code: types.CodeType) -> set[str]:
    """The names that some code, and the code inside it, looks up."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)


@functools.cache
def _homes() -> tuple[Path, ...]:
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(Path(path).resolve() for path in paths)


@functools.cache
def _installed(module: str | None) -> bool:
    """Whether a module belongs to Python, an installed package or heatproof: no code of the user's.

    What was made by `exec` outside of any module is the user's.
    """
    if module is None:
        return False
    if module.partition(".")[0] in ("torch", "heatproof", "builtins"):
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module in sys.builtin_module_names
    return any(home in Path(file).resolve().parents for home in _homes())


def _of_torch(kind: type) -> bool:
    """Whether torch ships a class; those of traced graphs are made on the way, each with code of its own."""
    shipped = getattr(sys.modules.get(kind.__module__), kind.__qualname__.partition(".")[0], None)
    return kind.__module__.partition(".")[0] == "torch" and "<locals>" not in kind.__qualname__ and shipped is not None


def combined(*parts: str) -> str:
    """SHA-256 of some texts in this order."""
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()


def _bytes(tensor: Tensor) -> bytes | memoryview:
    """The values of a tensor as they lie in memory, in the order of its indices."""
    values = tensor.detach()
    if values.is_meta:
        return b""
    if values.layout != torch.strided:
        values = values.to_dense()
    if values.is_quantized:
        values = values.dequantize()
    values = values.resolve_conj().resolve_neg().cpu().contiguous()
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    if values.dtype == torch.float64:
        short = values.float()
        values = short if torch.equal(short.double().nan_to_num(), values.nan_to_num()) else values
    return memoryview(values.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]  # an array is a buffer
