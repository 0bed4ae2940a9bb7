"""Names for things that a user chooses by name: methods, checks, similarities, initializers."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass, replace
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from heatproof.errors import InputError, unknown

T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])


class Registry(Generic[T]):
    """A table from names in kebab case to factories of frozen dataclasses.

    A package adds names of its own through the entry point group `heatproof.<kind>s`: each entry is a module that
    registers on import.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._factories: dict[str, Callable[[], T]] = {}
        self._plugins_loaded = False

    def register(self, name: str) -> Callable[[C], C]:
        """Enter a class or a factory without arguments under `name`; its result is the default under that name."""

        def enter(factory: C) -> C:
            if name in self._factories and self._factories[name] is not factory:
                raise InputError(f"Expected a new name for a {self.kind}, but {name!r} is registered already.")
            self._factories[name] = factory
            return factory

        return enter

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        self._load_plugins()
        return sorted(self._factories)

    def get(self, name: str, **overrides: Any) -> T:
        """What is registered under `name`, with its defaults, or with the given fields instead."""
        self._load_plugins()
        if name not in self._factories:
            raise unknown(self.kind, name, self._factories)
        return with_fields(self._factories[name](), overrides, f"{self.kind} {name!r}")

    def name_of(self, value: object) -> str | None:
        """The name of the default that equals `value`, or that it is with other hyper-parameters; None for a stranger.

        Other hyper-parameters are other values of the same class, but not another recipe of this registry inside: a
        smoothed gradient with more samples keeps its name, one of another method does not. Where several defaults are
        of the same class (the LRP composites), the one with the most equal fields counts, and none if two are even.
        """
        self._load_plugins()
        defaults = {name: factory() for name, factory in self._factories.items()}
        for name, default in defaults.items():
            if default == value:
                return name
        kinds = {type(default) for default in defaults.values()}
        shared = {name: _equal_fields(d, value) for name, d in defaults.items() if _alike(d, value, kinds)}
        best = [name for name, count in shared.items() if count == max(shared.values())]
        return best[0] if len(best) == 1 else None

    def _load_plugins(self) -> None:
        if not self._plugins_loaded:
            self._plugins_loaded = True
            for entry in entry_points(group=f"heatproof.{self.kind}s"):
                entry.load()


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
