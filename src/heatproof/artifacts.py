"""Values that are dear to make and cheap to keep, such as trained weights: made once under a lock, then read."""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock
from safetensors import SafetensorError

from heatproof.errors import StoreError

CACHE_VARIABLE = "HEATPROOF_CACHE"
T = TypeVar("T")


def folder() -> Path:
    """Where they are kept: HEATPROOF_CACHE, or `heatproof` in the platform's folder for caches."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "heatproof"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "heatproof" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heatproof"


def kept(name: str, *, read: Callable[[Path], T | None], make: Callable[[], T], write: Callable[[T, Path], None]) -> T:
    """What the file `name` of the cache folder holds; made and kept if it is not there, or `read` gives None.

    The name must say everything that decides the value, by a digest. One process makes it, others that want it wait and
    read; the file is whole or absent, whoever is killed when. What `make` raises is raised, and nothing is kept.

    Args:
        name: of the file, its ending included.
        read: the value in a file that is there; None if it is damaged, and then it is made again.
        make: the value itself.
        write: puts it into a file.

    Raises: StoreError if the cache folder cannot be written.
    """
    path = folder() / name
    if path.is_file() and (found := read(path)) is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        lock.acquire()
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        if path.is_file() and (found := read(path)) is not None:
            return found
        value = make()
        _write(path, value, write)
        return value
    finally:
        lock.release()


def _write(path: Path, value: T, write: Callable[[T, Path], None]) -> None:
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=f".tmp{path.suffix}")
        os.close(handle)
        try:
            write(value, Path(name))
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"Expected to keep {path.name} in {str(path.parent)!r}, but writing failed ({error}); "
        f"set {CACHE_VARIABLE} to a folder that can be written."
    )
