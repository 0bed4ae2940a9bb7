"""Fields of recipes hold what they are declared to hold: one check for every registered dataclass."""

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, wraps
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from heatproof.errors import HeatproofError, InputError, bounded, shown

C = TypeVar("C")
_MARK = "_fields_are_checked"
# Of a field that a recipe got later: `field(default=…, metadata=ADDED)`. With its default, the recipe is described, and
# cells are identified, as before.
ADDED = {"added": True}


def telling(recipe: Any) -> list[str]:
    """The names of the fields that tell a recipe apart: not those that were added later and are at their default."""
    left_out = [one for one in fields(recipe) if "added" in one.metadata and getattr(recipe, one.name) == one.default]
    return [one.name for one in fields(recipe) if one not in left_out]


def typed(cls: C) -> C:
    """The dataclass, whose constructor refuses values of another type than their field's annotation.

    What the class says itself of a value comes first. Whole numbers are floats too, NumPy's numbers are numbers; a
    class is no value; a list counts as a tuple where the class takes it. Annotations that cannot be read are not
    checked.
    """
    if not isinstance(cls, type) or not is_dataclass(cls) or _MARK in vars(cls):
        return cls
    construct: Callable[..., None] = cls.__init__

    @wraps(construct)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            construct(self, *args, **kwargs)
        except HeatproofError:
            raise
        except Exception:
            if len(args) > sum(one.init and not one.kw_only for one in fields(cls)):
                names = ", ".join(f"{one.name}=…" for one in fields(cls) if one.init)
                raise InputError(
                    f"Expected the fields of {cls.__name__} by name, {cls.__name__}({names}), but got "
                    f"{shown(args[-1])} without one."
                ) from None
            _check(cls, _named(cls, args, kwargs))  # whatever a value of the wrong type led to
            raise
        if args or kwargs:  # as it was kept: a constructor may make a tuple of a list
            _check(cls, {name: getattr(self, name) for name in _named(cls, args, kwargs)}, lists=True)

    cls.__init__ = checked  # type: ignore[method-assign]  # it has the same signature
    setattr(cls, _MARK, True)
    return cls


def _named(cls: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    positional = [one.name for one in fields(cls) if one.init and not one.kw_only]
    return {**dict(zip(positional, args, strict=False)), **kwargs}


def _check(cls: type, values: Mapping[str, Any], *, lists: bool = False) -> None:
    hints = _hints(cls)
    for name, value in values.items():
        as_tuple = lists and isinstance(value, list) and name in hints and _fits(tuple(value), hints[name])
        if name in hints and not as_tuple and not _fits(value, hints[name]):
            raise InputError(
                f"Expected {name} to be {_said(hints[name])}{_bound(value)}, but got {shown(value)}; it is a field of "
                f"{cls.__name__}{_advice(value, hints[name])}."
            )


@cache
def _hints(cls: type) -> dict[str, Any]:
    try:
        return get_type_hints(cls)
    except (NameError, TypeError):  # names that only a type checker imports
        return {}


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if isinstance(value, type):
        return hint is type or origin is type
    if hint in (int, float):
        number = isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
        return number and (not isinstance(value, Integral) or bounded(value))
    if hint is None or hint is type(None):
        return value is None
    if origin is Callable or hint is Callable:
        return callable(value)
    if origin is tuple and inner:
        if not isinstance(value, tuple):
            return False
        every = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        return len(every) == len(value) and all(map(_fits, value, every))
    kind = origin or hint
    try:
        return isinstance(value, kind)
    except TypeError:  # a protocol that is not made for it
        return all(hasattr(value, name) for name in getattr(kind, "__abstractmethods__", ()))


def _bound(value: Any) -> str:
    return " of at most 64 bits" if isinstance(value, Integral) and not bounded(value) else ""


def _said(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_said, inner)))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is Callable:
        return "a callable"
    if hint is None or hint is type(None):
        return "None"
    if origin is tuple and inner:
        return f"a tuple ({', '.join('…' if one is Ellipsis else _said(one).split(' ', 1)[-1] for one in inner)})"
    name = str(getattr(origin or hint, "__name__", hint))
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _advice(value: Any, hint: Any) -> str:
    from heatproof.recipes import NOUNS  # it knows all recipes, and they are made of fields

    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if isinstance(value, type):
        return f": make one, {value.__name__}(…)"
    if str in choices and hasattr(value, "named_modules"):
        return ": give the module's name, as in model.named_modules()"
    nouns = [NOUNS[choice] for choice in choices if choice in NOUNS]
    if not nouns:
        return ""
    names = nouns[0].names()
    if isinstance(value, str):
        if value not in names:
            return f", and {nouns[0].kind}s are {', '.join(names)}"
        made = type(nouns[0].get(value))
        return f": make one, {made.__module__}.{made.__name__}()"
    return f": one of {', '.join(type(nouns[0].get(name)).__name__ + '()' for name in names)}, or a class like them"
