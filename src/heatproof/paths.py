"""Paths that somebody gave: what `~` and variables stand for, and whether a file lies there that ends."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from heatproof.errors import InputError, shown

CACHE_VARIABLE = "HEATPROOF_CACHE"
_beside: ContextVar[Path | None] = ContextVar("beside", default=None)


_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):/{1,2}([^/].*)").fullmatch  # one letter is a drive


def given_path(path: str | os.PathLike[str]) -> Path:
    """The path, `~` being the user's own folder. Raises: InputError for what is no path."""
    text = os.fspath(path)
    if not isinstance(text, str) or "\0" in text:
        raise InputError(f"Expected a path, but got {shown(text)}.")
    try:
        return Path(text).expanduser()
    except RuntimeError:  # nobody has a folder of that name
        raise InputError(f"Expected a path whose `~` is somebody's folder, but got {shown(text)}.") from None


def located(path: str, folder: Path | None = None) -> Path:
    """A path of a spec: `$NAME` is an environment variable, `~` the user's folder; what is relative is to `folder`.

    Without one to that of the spec which is being read (`beside`), if one is, or else as the process sees it.

    Raises: InputError if the variable is not set.
    """
    full = os.path.expandvars(path)
    if "$" in full:
        raise InputError(f"Expected the environment variables in {path!r} to be set, but got {full!r}.")
    return (folder or _beside.get() or Path()) / given_path(full)


@contextmanager
def beside(folder: Path | None) -> Iterator[None]:
    """In here files that a recipe names are found relative to a spec's folder."""
    token = _beside.set(folder)
    try:
        yield
    finally:
        _beside.reset(token)


def regular(path: Path, what: str) -> Path:
    """The path, where a file lies there, or nothing: no pipe and no device, which would be waited for, and no folder.

    Raises: InputError
    """
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "no file that ends"
        raise InputError(f"Expected {what} in {str(path)!r}, but it is {kind}.")
    return path


def cache_folder() -> Path:
    """Where what is dear to make is kept: HEATPROOF_CACHE, or `heatproof` in the platform's folder for caches."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return given_path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "heatproof"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "heatproof" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heatproof"


def url_of(path: "os.PathLike[str] | str") -> str | None:
    """The URL that a path was made of, whose two slashes a Path makes one; None for a path of this machine."""
    found = _URL(os.fspath(path))
    return None if found is None else f"{found[1]}://{found[2]}"
