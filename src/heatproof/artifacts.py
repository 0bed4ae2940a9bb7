"""Values that are dear to make and cheap to keep, such as trained weights: made once under a lock, then read.

Tensors are kept as safetensors, with facts about them, and with a digest of both that every reading checks.
"""

import errno
import hashlib
import json
import tempfile
import uuid
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from heatproof.errors import DamagedError, HeatproofWarning, StoreError
from heatproof.paths import CACHE_VARIABLE, cache_folder

FACTS, DIGEST, NAME = "heatproof", "digest", "name"  # keys of a file's metadata
FACTS_BEFORE = "facts"  # the key of some files that were written before there were digests
T = TypeVar("T")
folder = cache_folder


class Elsewhere(Protocol):
    """Where values are handed on to machines that have another cache folder, as the content of their files by name."""

    def has(self, name: str) -> bool:
        """Whether it is there."""

    def read(self, name: str) -> bytes | None:
        """The content, if it is there."""

    def write(self, name: str, content: bytes, *, anew: bool = False) -> None:
        """Put it there; in the place of what is there, if `anew`."""

    def alone(self, name: str) -> AbstractContextManager[None]:
        """While nobody else makes it; waits for who does."""


_elsewhere: ContextVar[Elsewhere | None] = ContextVar("elsewhere", default=None)
_unkept: dict[Path, Any] = {}  # what was made where it could not be kept


class Stored(NamedTuple):
    """Tensors by name, and what there is to say of them, in values that JSON knows."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


@contextmanager
def handed_on(place: Elsewhere | None) -> Iterator[None]:
    """In here what is kept is kept in this place, too, and taken from there where the cache folder lacks it."""
    token = _elsewhere.set(place)
    try:
        yield
    finally:
        _elsewhere.reset(token)


def is_handed_on() -> bool:
    """Whether it is, here."""
    return _elsewhere.get() is not None


def kept(name: str, *, read: Callable[[Path], T | None], make: Callable[[], T], write: Callable[[T, Path], None]) -> T:
    """What the file `name` of the cache folder holds; made and kept if it is not there, or `read` gives None.

    The name must say everything that decides the value, by a digest. One process makes it, others that want it wait and
    read; the file is whole or absent, whoever is killed when. What `make` raises is raised, and nothing is kept. A
    damaged file counts as absent, and a warning names it.

    Args:
        name: of the file, its ending included.
        read: the value in a file that is there; None if it has to be made again. Raises DamagedError.
        make: the value itself.
        write: puts it into a file.

    In a folder that may only be read, such as one that several share, what is not there is made, kept in memory, and a
    warning says so.

    Raises: StoreError if the cache folder cannot be written for another reason.
    """
    path, elsewhere = folder() / name, _elsewhere.get()
    with suppress(DamagedError):  # who has the lock will say so
        if path.is_file() and (found := read(path)) is not None:
            if elsewhere is not None and not elsewhere.has(name):
                elsewhere.write(name, path.read_bytes())
            return found
    if path in _unkept:
        return cast("T", _unkept[path])
    with _alone(path), nullcontext() if elsewhere is None else elsewhere.alone(name):
        if (found := undamaged(path, read)) is not None:
            return found
        if elsewhere is not None and (found := _fetched(elsewhere, path, read)) is not None:
            return found
        value = make()
        try:
            with whole(path) as unfinished:
                write(value, unfinished)
        except (OSError, SafetensorError) as error:
            if not _forbidden(error):
                raise _unwritable(path, error) from error
            _unkept[path] = value
            warnings.warn(
                f"Expected to keep {path.name} in {str(path.parent)!r}, but it may only be read ({error}), so each "
                f"process makes it. Set {CACHE_VARIABLE} to a folder that can be written.",
                HeatproofWarning,
                stacklevel=3,
            )
        if elsewhere is not None and path.is_file():
            elsewhere.write(name, path.read_bytes(), anew=True)
        return value


def _fetched(elsewhere: Elsewhere, path: Path, read: Callable[[Path], T | None]) -> T | None:
    """What somebody else has made of it, which is kept here, too, where the cache folder can be written."""
    content = elsewhere.read(path.name)
    if content is None:
        return None
    try:
        with whole(path) as unfinished:
            unfinished.write_bytes(content)
        return undamaged(path, read)
    except OSError:
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / path.name
            copy.write_bytes(content)
            return undamaged(copy, read)


def kept_tensors(
    name: str, *, read: Callable[[Stored], T | None], make: Callable[[], T], parts: Callable[[T], Stored]
) -> T:
    """`kept`, of a value that consists of tensors and facts: `parts` takes it apart, `read` puts it together.

    `read` gives None, or raises DamagedError, for what it cannot use.
    """
    return kept(
        name,
        read=lambda path: read(read_tensors(path, name=name)),
        make=make,
        write=lambda value, path: write_tensors(path, parts(value), name=name),
    )


def found_tensors(name: str, read: Callable[[Stored], T | None]) -> T | None:
    """What `kept_tensors` would give without making it: None if it is not there, or damaged."""
    return undamaged(folder() / name, lambda path: read(read_tensors(path, name=name)))


def write_tensors(path: Path, stored: Stored, *, name: str = "") -> None:
    """Put tensors and facts into a file, with their digest; `name` is the one that the file is kept under, if any."""
    about = {FACTS: json.dumps(dict(stored.facts)), DIGEST: digest(stored.tensors, [name, dict(stored.facts)])}
    tensors = {key: tensor.contiguous() for key, tensor in stored.tensors.items()}
    save_file(tensors, path, metadata={**about, NAME: name})


def read_tensors(path: Path, *, name: str = "") -> Stored:
    """What `write_tensors` put into a file; `name` is the one that it must have been written under, if any.

    A file without a digest is read as it is: it was written before there were any.

    Raises: DamagedError for a file that cannot be read, has other content than was written, or belongs elsewhere.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # no mapping
        facts = json.loads(about[FACTS] if FACTS in about else about[FACTS_BEFORE])
        if not isinstance(facts, dict):
            raise TypeError(f"facts are {facts!r}")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"it cannot be read as tensors with facts ({type(error).__name__}: {error})") from error
    if DIGEST in about:
        if about[DIGEST] != digest(tensors, [about.get(NAME), facts]):
            raise DamagedError("its content has changed since it was written")
        if name and about[NAME] != name:
            raise DamagedError(f"it was written as {about[NAME]!r}")
    return Stored(tensors, facts)


def matching(stored: Stored, like: Mapping[str, Tensor], facts: Collection[str]) -> Stored:
    """`stored`, where it has tensors with the names and shapes of `like`, and these facts.

    Raises: DamagedError where it has others.
    """
    shapes, expected = ({key: tuple(value.shape) for key, value in part.items()} for part in (stored.tensors, like))
    if shapes != expected or set(stored.facts) != set(facts):
        odd = sorted({key for key, _ in shapes.items() ^ expected.items()} | set(stored.facts) ^ set(facts))
        raise DamagedError(f"it holds something else: {', '.join(odd[:3])} differ")
    return stored


def digest(tensors: Mapping[str, Tensor], about: Any) -> str:
    """SHA-256 of tensors, by name, and of something that JSON knows, about them."""
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        found.update(f"{name}:{tensor.dtype}{tuple(tensor.shape)}".encode())
        found.update(bytes_of(tensor))
    return found.hexdigest()


def bytes_of(tensor: Tensor) -> memoryview:
    """The values of a tensor as they lie in memory, in the order of its indices."""
    if tensor.numel() == 0:
        return memoryview(b"")
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return memoryview(values.numpy())  # type: ignore[arg-type]  # an array is a buffer


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to: the file there takes the place of `path` at the end, and is gone if anything is raised."""
    unfinished = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.tmp{path.suffix}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While nobody else makes the file, where that can be told; a hint, as whoever makes it makes the same."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        if not _forbidden(error):
            raise _unwritable(path, error) from error
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # who waits for it looks again for the file
                Path(lock.lock_file).unlink()
            lock.release()


def _forbidden(error: Exception) -> bool:
    """Whether a folder may only be read: by its owner's wish, or as all of its disk."""
    return isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)


def undamaged(path: Path, read: Callable[[Path], T | None]) -> T | None:
    """What `read` makes of a file; None if there is none or, with a warning that names it, if it is damaged."""
    try:
        return read(path) if path.is_file() else None
    except DamagedError as error:
        said = f"Expected {str(path)!r} as it was kept, but {error}. It counts as absent, and is made anew."
        warnings.warn(said, HeatproofWarning, stacklevel=4)
        return None


def _unwritable(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"Expected to keep {path.name} in {str(path.parent)!r}, but writing failed ({error}); "
        f"set {CACHE_VARIABLE} to a folder that can be written."
    )
