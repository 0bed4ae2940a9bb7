"""Names for things that a user chooses by name: methods, checks, similarities, initializers."""

import warnings
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from heatproof.errors import HeatproofError, HeatproofWarning, InputError, unknown
from heatproof.fields import typed

T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])


class Registry(Generic[T]):
    """A table from names in kebab case to factories of frozen dataclasses, whose fields are checked (`fields.typed`).

    A package adds names of its own through the entry points of `group`: each is a class or a factory, which is entered
    under the entry's name, or a module that registers on import. One that cannot be loaded is named in a warning where
    names are listed, and raises where its name is chosen.

    Args:
        kind: what it holds, in words.
        home: the package that registers what is ours on import. It is imported before the first name is looked up, and
            again where an import was interrupted.
        group: of entry points; `heatproof.<kind>s` by default.
    """

    def __init__(self, kind: str, home: str = "", *, group: str = "") -> None:
        self.kind, self.home, self.group = kind, home, group or f"heatproof.{kind}s"
        self._factories: dict[str, Callable[[], T]] = {}
        self._broken: dict[str, str] = {}
        self._complete = False

    def register(self, name: str) -> Callable[[C], C]:
        """Enter a class or a factory without arguments under `name`; its result is the default under that name."""

        def enter(factory: C) -> C:
            known = self._factories.get(name)
            # A module whose import was interrupted runs again, and makes the same thing anew.
            if known is not None and known is not factory and _origin(known) != _origin(factory):
                raise InputError(f"Expected a new name for a {self.kind}, but {name!r} is registered already.")
            typed(factory.func if isinstance(factory, partial) else factory)
            self._factories[name] = factory
            return factory

        return enter

    def names(self) -> list[str]:
        """Every registered name, sorted. A plug-in that cannot be imported is named in a HeatproofWarning."""
        self._load()
        for plugin, problem in self._broken.items():
            warnings.warn(
                f"Expected plug-in {plugin} to add its {self.kind}s, but its import raised {problem}; they are missing "
                "here: mend or uninstall it.",
                HeatproofWarning,
                stacklevel=2,
            )
        return sorted(self._factories)

    def get(self, name: str, **overrides: Any) -> T:
        """What is registered under `name`, with its defaults, or with the given fields instead."""
        self._load()
        if not isinstance(name, str) or name not in self._factories:
            problem = unknown(self.kind, name, self._factories)
            if self._broken and isinstance(name, str):
                broken = "; ".join(f"{plugin} ({said})" for plugin, said in self._broken.items())
                raise type(problem)(f"{problem} It may be one of a plug-in that could not be imported: {broken}.")
            raise problem
        return with_fields(self._default(name), overrides, f"{self.kind} {name!r}")

    def name_of(self, value: object) -> str | None:
        """The name of the default that equals `value`, or that it is with other hyper-parameters; None for a stranger.

        Other hyper-parameters are other values of the same class, but not another recipe of this registry inside: a
        smoothed gradient with more samples keeps its name, one of another method does not. Where several defaults are
        of the same class (the LRP composites), the one with the most equal fields counts, and none if two are even.
        """
        self._load()
        defaults = {}
        for name in self._factories:
            with suppress(InputError):  # one that cannot be made equals nothing
                defaults[name] = self._default(name)
        for name, default in defaults.items():
            if default == value:
                return name
        kinds = {type(default) for default in defaults.values()}
        shared = {name: _equal_fields(d, value) for name, d in defaults.items() if _alike(d, value, kinds)}
        best = [name for name, count in shared.items() if count == max(shared.values())]
        return best[0] if len(best) == 1 else None

    def id_of(self, kind: type) -> str | None:
        """The name under which a class is registered, or the nearest of those that it derives from; None if none is."""
        self._load()
        names = {factory: name for name, factory in self._factories.items()}
        return next((names[base] for base in kind.__mro__ if base in names), None)

    def _default(self, name: str) -> T:
        try:
            return self._factories[name]()
        except HeatproofError:
            raise
        except Exception as error:  # whatever somebody else's class raises
            raise InputError(
                f"Expected {self.kind} {name!r} to have defaults, but making it raised {type(error).__name__}: {error}."
            ) from error

    def _load(self) -> None:
        """Register everything that there is. Interrupted, the next call does it again; what is entered twice is one."""
        if self._complete:
            return
        home = import_module(self.home) if self.home else None
        broken: dict[str, str] = {}
        for entry in entry_points(group=self.group):
            before = dict(self._factories)
            try:
                found = entry.load()
                if callable(found) and found not in self._factories.values():
                    self.register(entry.name)(found)
            except Exception as error:  # whatever somebody else's package raises
                self._factories = before
                broken[_called(entry)] = f"{type(error).__name__}: {error}"
        self._broken = broken
        self._complete = not getattr(getattr(home, "__spec__", None), "_initializing", False)


def _called(entry: EntryPoint) -> str:
    return f"{getattr(entry, 'name', '?')!r} ({getattr(entry, 'value', '?')})"


def _origin(factory: Any) -> tuple[str, str, str]:
    """Where a factory was written: its module and name, and what a partial fills in."""
    function = factory.func if isinstance(factory, partial) else factory
    filled = repr(sorted(factory.keywords.items())) if isinstance(factory, partial) else ""
    return (getattr(function, "__module__", ""), getattr(function, "__qualname__", repr(function)), filled)


def _alike(default: object, value: object, kinds: Collection[type]) -> bool:
    """Whether both are of one class, and so are the recipes in their fields: what is of one of `kinds`."""
    if type(default) is not type(value):
        return False
    pairs = [(getattr(default, name), getattr(value, name)) for name in _field_names(default)]
    inner = [(ours, theirs) for ours, theirs in pairs if type(ours) in kinds or type(theirs) in kinds]
    return all(_alike(ours, theirs, kinds) for ours, theirs in inner)


def _equal_fields(default: object, value: object) -> int:
    return sum(getattr(default, name) == getattr(value, name) for name in _field_names(default))


def _field_names(value: object) -> list[str]:
    return [field.name for field in fields(value)] if is_dataclass(value) else []


def with_fields(value: T, overrides: Mapping[str, Any], what: str) -> T:
    """`value` with some of its dataclass fields replaced; an unknown field is an error with the nearest known one."""
    if not overrides:
        return value
    known = [field.name for field in fields(value) if field.init] if is_dataclass(value) else []
    for name in overrides:
        if name not in known:
            raise unknown(f"field of {what}", name, known)
    changed: T = replace(value, **overrides)  # type: ignore[type-var]  # a dataclass, by the check above
    return changed
