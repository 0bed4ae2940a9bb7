"""Freed memory is kept for the next pass: glibc hands activations back to the kernel, which then zeroes pages anew.

A check of many small passes takes 1.4 times as long with that, and no bit of a result hangs on it.
"""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

# As <malloc.h> numbers them.
_TRIM, _MMAP = -1, -3
# What glibc's own adjustment comes to, once a block of its largest threshold was freed: what is set on leaving.
_USUAL = {_MMAP: 32 * 2**20, _TRIM: 64 * 2**20}
_KEPT = {_MMAP: 32 * 2**20, _TRIM: 2**31 - 1}
_open = 0


@contextmanager
def kept() -> Iterator[None]:
    """While open, freed memory stays with the process; afterwards it goes back. Nothing where it is not glibc's."""
    global _open
    library = _glibc()
    if library is None:
        yield
        return
    _open += 1
    _set(library, _KEPT)
    try:
        yield
    finally:
        _open -= 1
        if _open == 0:
            _set(library, _USUAL)
            library.malloc_trim(0)


def _set(library: Any, thresholds: dict[int, int]) -> None:
    for which, size in thresholds.items():
        library.mallopt(which, size)


@cache
def _glibc() -> Any:
    """The C library, if it is glibc; another allocator put in its place takes no notice."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    needed: list[Callable[..., Any] | None] = [
        getattr(library, name, None) for name in ("gnu_get_libc_version", "mallopt", "malloc_trim")
    ]
    return None if None in needed else library
