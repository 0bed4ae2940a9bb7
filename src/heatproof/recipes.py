"""Frozen dataclasses to and from plain data: what a spec file says, and what a cell's identity is made of."""

import functools
import hashlib
import inspect
import json
import operator
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor, nn

from heatproof.adapters.base import ADAPTERS
from heatproof.baselines import BASELINES, Baseline, as_baseline
from heatproof.errors import InputError, bounded, shown, unknown
from heatproof.features import FEATURES, Features
from heatproof.fields import telling
from heatproof.fingerprint import network_fingerprint
from heatproof.frozen import Frozen
from heatproof.identity import identity
from heatproof.methods.base import METHODS, Method
from heatproof.methods.fitted import Fitted
from heatproof.methods.given import Maps
from heatproof.propagation.composites import BY_NAME, Composite
from heatproof.propagation.first_rules import FIRST_RULES, FirstRule
from heatproof.propagation.rules import RULES, Rule
from heatproof.randomization import BLOCKINGS, INITIALIZERS, RANDOMIZATIONS, Blocking, Initializer, Randomization
from heatproof.registry import Registry, with_fields
from heatproof.similarity import SIMILARITIES, Similarity
from heatproof.targets.base import TARGETS, Target

NOUNS: dict[Any, Registry[Any]] = {
    Method: METHODS,
    Baseline: BASELINES,
    Features: FEATURES,
    Blocking: BLOCKINGS,
    Initializer: INITIALIZERS,
    Randomization: RANDOMIZATIONS,
    Similarity: SIMILARITIES,
    Target: TARGETS,
    Rule: RULES,
    FirstRule: FIRST_RULES,
}


def build(registry: Registry[Any], entry: str | Mapping[str, Any]) -> Any:
    """What a spec entry describes: a registered name, or a table with `name` and the fields that differ.

    Raises: InputError for a table without a name, a field that does not exist, or a value of the wrong type.
    """
    if isinstance(entry, str):
        return _holder(registry, entry).get(entry)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise InputError(f"Expected a {registry.kind} as a name or a table with a `name`, but got {shown(entry)}.")
    given = {key: value for key, value in entry.items() if key != "name"}
    registry = _holder(registry, entry["name"])
    return _with_given(registry.get(entry["name"]), given, f"{registry.kind} {entry['name']!r}")


def _holder(registry: Registry[Any], name: str) -> Registry[Any]:
    """Where a name is looked up: what is no method of ours may be an adapter to one of others."""
    return ADAPTERS if registry is METHODS and name in ADAPTERS.names() else registry


def _with_given(default: Any, given: Mapping[str, Any], what: str) -> Any:
    """`default` with the given plain values in place of its own.

    A field that holds a dataclass which is registered nowhere takes a table of the fields that differ.
    """
    known = [field.name for field in fields(default) if field.init] if is_dataclass(default) else []
    hints = get_type_hints(type(default))
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise unknown(f"field of {what}", name, known)
        inner, said = getattr(default, name), f"field {name!r} of {what}"
        plain = is_dataclass(inner) and hints[name] is type(inner)
        nested = plain and isinstance(value, Mapping)
        values[name] = _with_given(inner, value, said) if nested else coerced(value, hints[name], said)
    return with_fields(default, values, what)


def describe(recipe: Any) -> Any:
    """Plain data that identifies a recipe: its class, version and every field, numbers in their field's type.

    A callable that is no dataclass is identified by its code and what it closes over; one whose state cannot be read
    that way is refused.
    """
    if isinstance(recipe, Fitted | Frozen | Maps):
        return {"class": _qualified(type(recipe)), "digest": recipe.digest}
    if is_dataclass(recipe) and not isinstance(recipe, type):
        hints = get_type_hints(type(recipe))
        data: dict[str, Any] = {"class": _qualified(type(recipe))}
        if hasattr(recipe, "version"):
            data["version"] = recipe.version
        for name in telling(recipe):
            value = getattr(recipe, name)
            data[name] = describe(float(value) if _is_float(hints.get(name), value) else value)
        return data
    if recipe is None or isinstance(recipe, str | bool | int | float):
        return recipe
    if isinstance(recipe, slice):
        return {"slice": [recipe.start, recipe.stop, recipe.step]}
    if isinstance(recipe, Mapping):
        return {str(key): describe(value) for key, value in recipe.items()}
    if isinstance(recipe, Sequence):
        return [describe(value) for value in recipe]
    if isinstance(recipe, Tensor):
        return {"tensor": digest([str(recipe.dtype), recipe.detach().cpu().tolist()])}
    if isinstance(recipe, nn.Module):
        return {"network": network_fingerprint(recipe)}
    if callable(recipe):
        return _describe_callable(recipe)
    if type(recipe).__module__ not in ("builtins", "_thread") and hasattr(recipe, "__dict__"):
        return {"class": _qualified(type(recipe)), "state": describe(vars(recipe))}
    raise InputError(
        f"Expected a recipe of numbers, names and dataclasses, but it holds {shown(recipe)}; "
        "make it a frozen dataclass whose fields are its configuration."
    )


def digest(data: Any) -> str:
    """SHA-256 of plain data, independent of the order of keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, allow_nan=True).encode()).hexdigest()


def differences(recipe: Any, other: Any) -> str:
    """The fields of a dataclass that differ from another of its class, as `epochs 40, initializer He()`."""
    said = []
    for field in fields(recipe):
        ours, theirs = getattr(recipe, field.name), getattr(other, field.name)
        if is_dataclass(ours) and type(ours) is type(theirs):
            said += [differences(ours, theirs)]
        elif ours != theirs:
            said += [f"{field.name} {ours}"]
    return ", ".join(filter(None, said))


def text(recipe: Any) -> str:
    """A recipe's one line of meaning: the first line of its docstring."""
    owner = recipe if isinstance(recipe, types.FunctionType) else type(recipe)
    return (inspect.getdoc(owner) or "").strip().split("\n")[0]


def coerced(value: Any, hint: Any, what: str) -> Any:
    """A plain value as the type that a field is declared with; names and tables become recipes.

    Raises: InputError that says what the field takes.
    """
    if hint in NOUNS and isinstance(value, str | Mapping):
        return build(NOUNS[hint], value)
    if hint is Composite and isinstance(value, Mapping):  # a name alone stays one
        return build(BY_NAME, value)
    if hint is Baseline and isinstance(value, int | float | list) and not isinstance(value, bool):
        return as_baseline(value)
    if hint is Frozen and isinstance(value, int | float | list | str) and not isinstance(value, bool):
        return Frozen(value)
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin is Mapping and isinstance(value, Mapping):
        return {key: coerced(one, get_args(hint)[1], f"{key!r} of {what}") for key, one in value.items()}
    if origin in (Union, types.UnionType):
        several = functools.reduce(operator.or_, (one for one in get_args(hint) if one is not type(None)))
        if several in NOUNS and isinstance(value, str | Mapping):  # a noun that is one of several classes
            return build(NOUNS[several], value)
        return _first_fit(value, get_args(hint), what)
    if origin is Literal:
        if value in get_args(hint):
            return value
        raise InputError(
            f"Expected {what} to be one of {', '.join(map(repr, get_args(hint)))}, but got {shown(value)}."
        )
    if origin is tuple and isinstance(value, list | tuple):
        inner = get_args(hint)
        kinds = [inner[0]] * len(value) if len(inner) == 2 and inner[1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            raise InputError(f"Expected {what} to have {len(kinds)} items, but got {len(value)}.")
        return tuple(coerced(item, kind, what) for item, kind in zip(value, kinds, strict=True))
    if isinstance(value, int) and not bounded(value):
        raise InputError(f"Expected {what} to be a number of at most 64 bits, but got {shown(value)}.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, float, str, bool) and type(value) is hint:
        return value
    if hint is type(None) and value is None:
        return None
    if isinstance(hint, type) and not isinstance(value, bool) and hint not in (int, float) and isinstance(value, hint):
        return value
    name = getattr(hint, "__name__", str(hint))
    kind = f" ({type(value).__name__})" if isinstance(value, str | bool) else ""
    raise InputError(f"Expected {what} to be {name}, but got {shown(value)}{kind}.")


def _first_fit(value: Any, hints: Sequence[Any], what: str) -> Any:
    """The first alternative of a union that takes the value; a noun wins over a bare string, a file over none."""
    meant = {Composite: Mapping, Frozen: str}  # of several problems, the one of what was meant is told
    problem: InputError | None = None
    for hint in sorted(hints, key=lambda one: not (one in NOUNS or isinstance(value, meant.get(one, ())))):
        try:
            return coerced(value, hint, what)
        except InputError as error:
            problem = problem or error
    raise problem or InputError(f"Expected {what}, but got {shown(value)}.")


def _is_float(hint: Any, value: Any) -> bool:
    takes_float = hint is float or float in get_args(hint)
    return takes_float and isinstance(value, int) and not isinstance(value, bool)


def _qualified(owner: Any) -> str:
    return f"{owner.__module__}.{owner.__qualname__}"


def _describe_callable(function: Callable[..., Any]) -> dict[str, Any]:
    if isinstance(function, functools.partial):
        return {
            "partial": describe(function.func),
            "arguments": describe(function.args),
            "keywords": describe(function.keywords),
        }
    if isinstance(function, types.MethodType):
        return {"method": _describe_callable(function.__func__), "of": describe(function.__self__)}
    plain = isinstance(function, types.FunctionType)
    owner = function if plain else type(function)
    try:
        state = inspect.getclosurevars(function).nonlocals if plain else vars(function)
    except TypeError:
        raise InputError(
            f"Expected a recipe whose code and state can be read, but got {shown(function)}; "
            "make it a frozen dataclass whose fields are its configuration."
        ) from None
    return {"callable": _qualified(owner), "code": identity(owner), "state": describe(dict(state))}
