"""Seeing which known tensors each operation of a running network receives, and which of them serve a batch norm."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from heatproof.errors import InputError

Role = Literal["gamma", "beta", "mean", "variance"]

_STATISTICS_FIRST = ("input", "running_mean", "running_var", "weight", "bias")
_STATISTICS_LAST = ("input", "weight", "bias", "running_mean", "running_var")
_NORMS: dict[Callable[..., Any], tuple[str, ...]] = {
    F.batch_norm: _STATISTICS_FIRST,
    F.instance_norm: _STATISTICS_FIRST,
    torch.batch_norm: _STATISTICS_LAST,
    torch.native_batch_norm: _STATISTICS_LAST,
}
ROLES: dict[str, Role] = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}

# Functions that look at a tensor's frame, never at its numbers.
_FRAME_FUNCTIONS = """
    __hash__ __len__ __repr__ __format__ size dim ndimension numel nelement stride storage_offset
    element_size get_device is_contiguous is_floating_point is_complex is_shared is_pinned data_ptr untyped_storage
    storage register_hook requires_grad_ retain_grad is_same_size result_type
    new_empty new_zeros new_ones new_full empty_like zeros_like ones_like full_like rand_like randn_like
"""
_FRAME = frozenset(_FRAME_FUNCTIONS.split())


class Region(NamedTuple):
    """The stretch of memory that a tensor occupies: its storage, and its first and last element there."""

    storage: int
    start: int
    stop: int


def region(tensor: Tensor) -> Region | None:
    """Where `tensor` lies; None for a tensor without elements or without memory of its own (fake, wrapped)."""
    if tensor.numel() == 0:
        return None
    try:
        storage = tensor.untyped_storage().data_ptr()
        start = int(tensor.storage_offset())
        steps = zip(tensor.shape, tensor.stride(), strict=True)
        return Region(storage, start, start + 1 + sum(int((size - 1) * stride) for size, stride in steps))
    except (RuntimeError, NotImplementedError):
        return None


def quiet(inputs: Tensor) -> AbstractContextManager[None]:
    """A context that puts the global generators back: a network may draw numbers even in eval mode."""
    devices = [inputs.device] if inputs.device.type == "cuda" else []
    return torch.random.fork_rng(devices=devices)


class Watch(TorchFunctionMode):
    """Notes the first and the last operation that receives each of `tensors`, and its role in a batch norm.

    A tensor is recognized by its memory, so that a view, a transpose or `.data` of it counts as the tensor itself.
    Looking at a shape, a dtype or a device is no use.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        super().__init__()
        self.first: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self.roles: dict[int, Role] = {}
        self.paused = False
        self._clock = 0
        self._places: dict[int, list[tuple[Region, int]]] = {}
        for index, tensor in enumerate(tensors):
            if (place := region(tensor)) is not None:
                self._places.setdefault(place.storage, []).append((place, index))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        for tensor, role in norm_arguments(func, args, kwargs):
            for index in self._find(tensor):
                if self.roles.setdefault(index, role) != role:
                    raise InputError(
                        f"Expected a tensor with one role in a batch norm, but one of shape {tuple(tensor.shape)} is "
                        f"both {self.roles[index]} and {role}; keep the two in tensors of their own."
                    )
        seen = [index for tensor in _tensors((args, kwargs)) for index in self._find(tensor)]
        result = func(*args, **kwargs)
        if seen and not _looks_at_frame(func, result):
            # Within an operation in the order of its arguments: attention takes its output projection last.
            for index in seen:
                self._clock += 1
                self.first.setdefault(index, self._clock)
                self.last[index] = self._clock
        return result

    def _find(self, tensor: Tensor) -> Iterator[int]:
        place = region(tensor)
        if place is not None:
            for known, index in self._places.get(place.storage, ()):
                if place.start < known.stop and known.start < place.stop:
                    yield index


def norm_arguments(
    func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[tuple[Tensor, Role]]:
    """The tensors that a call of a batch norm receives, with their roles; none for any other call.

    Instance norm with moving statistics is a batch norm in eval mode; without them it is a norm like layer norm, whose
    scale and shift are ordinary parameters.
    """
    named = named_arguments(func, args, kwargs)
    if func is F.instance_norm and (named.get("running_mean") is None or named.get("use_input_stats") is True):
        return []
    return [(named[name], role) for name, role in ROLES.items() if isinstance(named.get(name), Tensor)]


def named_arguments(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call of a batch norm by name; empty for any other call."""
    if func not in _NORMS:
        return {}
    return dict(zip(_NORMS[func], args, strict=False)) | dict(kwargs)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)


def _looks_at_frame(func: Callable[..., Any], result: Any) -> bool:
    name = getattr(func, "__name__", "")
    return name in _FRAME or (name == "__get__" and not isinstance(result, Tensor))
