"""Code by its name, `module:function`, and where such code may come from."""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple

from heatproof.errors import InputError, unknown
from heatproof.paths import beside

_OURS = "heatproof"


class _Allowed(NamedTuple):
    """Where a spec's code may come from: its own folder, and packages that whoever runs it named."""

    folder: Path
    trusted: tuple[str, ...]


# None outside of a spec: who calls from Python runs his own code anyway.
_beside: dict[str, str] = {}  # in which spec's folder a package was looked for
_allowed: ContextVar[_Allowed | None] = ContextVar("allowed", default=None)


@contextmanager
def code_beside(folder: Path, trusted: Sequence[str] = ()) -> Iterator[None]:
    """In here, names are code in modules of `folder`, of heatproof, and of packages that are `trusted`; no other."""
    before = _allowed.set(_Allowed(Path(folder).resolve(), tuple(trusted)))
    try:
        yield
    finally:
        _allowed.reset(before)


def named_code(name: str, what: str, *, folder: Path | None = None) -> Callable[..., Any]:
    """The callable `module:function`, its module found in `folder` or where Python finds modules.

    Refused before anything is imported: a module of Python's standard library, and what `code_beside` does not allow.

    Raises: InputError for a module that may not be run, that there is not or that raises, and for a name that it does
        not have.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise InputError(f"Expected the {what} as module:function, but got {name!r}.")
    allowed = _allowed.get()
    folder = folder if folder is not None or allowed is None else allowed.folder
    with found_in(folder):
        _forget_other(module.partition(".")[0], folder)
        _check(module, name, what)
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise broken(f"the module {module!r}", what, error) from error  # it imports what there is not
            raise InputError(f"Expected a module {module!r} with the {what}, but there is none: {error}.") from None
        except Exception as error:  # whatever it raises
            raise broken(f"the module {module!r}", what, error) from error
    call = getattr(found, attribute, None)
    if not callable(call):
        raise unknown(f"function in {module}", attribute, [one for one, v in vars(found).items() if callable(v)])
    if _of_python(str(getattr(inspect.unwrap(call), "__module__", ""))):
        raise InputError(
            f"Expected the {what} to be somebody's own code, but {name!r} is Python's own {attribute}; write a "
            "function that calls it, if that is what is meant."
        )
    made: Callable[..., Any] = call
    return made


def broken(name: str, what: str, error: Exception, said: str = "") -> InputError:
    """The error for code of the user's that raised `error`: what, and in which line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return InputError(
        f"Expected {name} to make the {what}, but{said} it raised {type(error).__name__}: {error} "
        f"({Path(frame.filename).name}, line {frame.lineno})."
    )


def _check(module: str, name: str, what: str) -> None:
    package = module.partition(".")[0]
    if _of_python(package):
        raise InputError(
            f"Expected the {what} in a module of somebody's own, but {name!r} is Python's standard library, of which "
            "nothing is run; rename a module of yours that is called alike."
        )
    allowed = _allowed.get()
    if allowed is None or package in (_OURS, *allowed.trusted):
        return
    try:
        spec = getattr(sys.modules.get(package), "__spec__", None) or importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):  # no name of a module, or one that was made by hand
        spec = None
    if spec is None:
        return  # there is none: importing will say so
    places = [spec.origin, *(spec.submodule_search_locations or ())]
    if not any(place and Path(place).resolve().is_relative_to(allowed.folder) for place in places):
        raise InputError(
            f"Expected the {what} in a module beside the spec, in {str(allowed.folder)!r}, but {name!r} is installed "
            f"elsewhere ({spec.origin or places[-1]}), and a spec runs only code that it comes with; allow it with "
            f"--trust {package}, if you know what it does."
        )


def _forget_other(package: str, folder: Path | None) -> None:
    """Two specs may each have a `net.py` beside them: the other's is no longer what is meant."""
    if folder is None:
        return
    own = str(Path(folder).resolve())
    if _beside.setdefault(package, own) != own and PathFinder.find_spec(package, [own]) is not None:
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        _beside[package] = own


def _of_python(package: str) -> bool:
    return package.partition(".")[0] in sys.stdlib_module_names


@contextmanager
def found_in(folder: Path | None) -> Iterator[None]:
    """In here modules and files beside a spec are found."""
    if folder is None:
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        with beside(folder):
            yield
    finally:
        sys.path.remove(str(folder))
