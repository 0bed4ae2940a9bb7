"""Where a call makes the host wait for the device: each such place costs what the device still had to do.

On a CUDA device torch tells itself (`set_sync_debug_mode`). Elsewhere what would wait is counted: numbers that are read
(`item`, `bool`, `tolist`, `equal`), shapes that depend on values (`nonzero`, masks as indices), copies to NumPy and to
the CPU, and tensors that are made of Python's numbers or of arrays, which wait for their way to the device.
"""

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode  # torch documents it, and has it nowhere else

_READS = {"_local_scalar_dense", "equal", "nonzero", "is_nonzero", "masked_select"}
_READS |= {"_unique2", "unique_dim", "unique_consecutive", "repeat_interleave.Tensor"}  # their shapes are values


@contextmanager
def waits() -> Iterator[Counter[str]]:
    """Counts the waits of what runs inside, by the line of heatproof that made them (`file.py:12`)."""
    seen: Counter[str] = Counter()
    if torch.cuda.is_available():
        with _told(seen):
            yield seen
    else:
        with _Reads(seen), _patched(seen):
            yield seen


def _here() -> str:
    """The line of heatproof that is running, or `?`."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if "/heatproof/" in name and "/heatproof/testing/" not in name:
            return f"{name.rsplit('/heatproof/', 1)[1]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]  # None ends it
    return "?"


@contextmanager
def _told(seen: Counter[str]) -> Iterator[None]:
    def note(message: Warning | str, *_: Any, **__: Any) -> None:
        if "synchroniz" in str(message):
            seen[_here()] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


class _Reads(TorchDispatchMode):
    def __init__(self, seen: Counter[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._seen = seen

    def __torch_dispatch__(
        self, function: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = str(function).removeprefix("aten.")
        masked = name.startswith(("index.", "index_put")) and any(
            isinstance(one, Tensor) and one.dtype == torch.bool for one in args[1]
        )
        if masked or name.partition(".")[0] in _READS or name in _READS:
            self._seen[_here()] += 1
        return function(*args, **(kwargs or {}))


@contextmanager
def _patched(seen: Counter[str]) -> Iterator[None]:
    """Counts what no dispatch shows on a CPU, as nothing is copied there."""

    def counted(real: Callable[..., Any], waiting: Callable[..., bool]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            place = _here()
            if place != "?" and waiting(*args, **kwargs):
                seen[place] += 1
            return real(*args, **kwargs)

        return call

    def moved_to_host(_: Any, *args: Any, **kwargs: Any) -> bool:
        return "cpu" in [one for one in [*args, *kwargs.values()] if isinstance(one, str)]  # on purpose, by name

    def of_the_host(value: Any, *_: Any, **__: Any) -> bool:
        return not isinstance(value, Tensor)

    waiting: dict[tuple[Any, str], Callable[..., bool]] = {
        **{(Tensor, name): lambda *_, **__: True for name in ("tolist", "numpy", "cpu", "__array__", "new_tensor")},
        (Tensor, "to"): moved_to_host,
        **{(torch, name): of_the_host for name in ("tensor", "as_tensor", "from_numpy")},
    }
    own = {(owner, name): vars(owner).get(name) for owner, name in waiting}  # most are inherited
    for (owner, name), test in waiting.items():
        setattr(owner, name, counted(getattr(owner, name), test))
    try:
        yield
    finally:
        for (owner, name), real in own.items():
            if real is None:
                delattr(owner, name)
            else:
                setattr(owner, name, real)
