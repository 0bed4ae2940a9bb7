"""What is refused or said of a call by values that the device has yet to compute: asked for together, at its end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

# What is still to be asked in the call that is running; None where none is.
_asked: ContextVar[list[tuple[Tensor, Callable[[], None]]] | None] = ContextVar("asked", default=None)


def when(flag: Tensor, say: Callable[[], None]) -> None:
    """Call `say`, which raises or warns, if `flag` is true: at the end of the call, or at once outside of any."""
    asked = _asked.get()
    if asked is not None:
        asked.append((flag, say))
    elif bool(flag):
        say()


@contextmanager
def collected() -> Iterator[list[tuple[Tensor, Callable[[], None]]]]:
    """What is asked inside, for whoever looks at it himself: nothing of it is said."""
    asked: list[tuple[Tensor, Callable[[], None]]] = []
    token = _asked.set(asked)
    try:
        yield asked
    finally:
        _asked.reset(token)


@contextmanager
def together() -> Iterator[None]:
    """While open, what is asked waits; at the end, in its order, with one look at the device. The outermost counts."""
    if _asked.get() is not None:
        yield
        return
    with collected() as asked:
        yield
    if asked:
        flags = torch.stack([flag.detach().reshape(()).to(torch.bool) for flag, _ in asked]).tolist()
        for true, (_, say) in zip(flags, asked, strict=True):
            if true:
                say()
