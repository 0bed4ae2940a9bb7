"""Methods and checks as a caller lists them, under the labels that they have in the rows."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from types import MethodType
from typing import Any

from heatproof.checks import Check
from heatproof.errors import InputError, shown
from heatproof.methods.base import Method
from heatproof.registry import Registry

VERBS = ("attribute", "explain", "shap_values")  # what explainers of other packages are called by
INPUTS = ("inputs", "input", "input_tensor", "images", "image")  # what they take first


def named(entries: Any, registry: Registry[Any], kind: type[Any]) -> dict[str, tuple[str, Any]]:
    """Label → (registered name or the label, recipe)."""
    if isinstance(entries, str) or not isinstance(entries, Sequence | Mapping):
        raise InputError(
            f"Expected a list of {registry.kind}s, or a mapping from labels to them, but got {shown(entries)}."
        )
    pairs = list(entries.items()) if isinstance(entries, Mapping) else [(None, entry) for entry in entries]
    found: dict[str, tuple[str, Any]] = {}
    for given, entry in pairs:
        recipe = registry.get(entry) if isinstance(entry, str) else entry
        foreign = kind is Method and callable(recipe) and not isinstance(recipe, Check | type)
        if not isinstance(recipe, kind) and not foreign:
            hint = _two_lines(entry) if kind is Method and not isinstance(entry, Check) else ""
            raise InputError(f"Expected a {registry.kind} or the name of one, but got {shown(entry)}.{hint}")
        if foreign and not isinstance(recipe, Method) and (first := _first_argument(recipe)) in INPUTS:
            raise InputError(
                f"Expected a method of (model, inputs, targets), but {entry!r} takes {first!r} first."
                f"{_two_lines(recipe)}"
            )
        name = entry if isinstance(entry, str) else registry.name_of(recipe)
        label = _label(recipe, name, registry) if given is None else given
        if not isinstance(label, str) or not label:
            raise InputError(f"Expected labels to be text, but got {label!r}.")
        if label in found:
            raise InputError(f"Expected every label once, but got {label!r} twice; map labels to recipes instead.")
        found[label] = (name or label, recipe)
    return found


def _two_lines(entry: Any) -> str:
    """How an explainer that is a class, an object or what it is called by becomes a method."""
    if isinstance(entry, type) and issubclass(entry, Method):
        return f" Make one of it: {entry.__name__}()."
    owner = entry.__self__ if isinstance(entry, MethodType) else entry
    kind = owner if isinstance(owner, type) else type(owner)
    verbs = [entry.__name__] if isinstance(entry, MethodType) else [verb for verb in VERBS if hasattr(kind, verb)]
    if not verbs and not callable(owner):
        return ""
    call = f".{verbs[0]}" if verbs else ""
    return (
        f" A method is a function of model, inputs and targets; wrap {kind.__name__} in two lines:\n"
        "def method(model, inputs, targets):\n"
        f"    return {kind.__name__}(model){call}(inputs, target=targets)"
    )


def _first_argument(function: Any) -> str:
    """The name of what a callable takes first; empty where that cannot be told."""
    try:
        return next(iter(inspect.signature(function).parameters), "")
    except (TypeError, ValueError):  # of some functions in C
        return ""


def _label(recipe: Any, name: str | None, registry: Registry[Any]) -> str:
    """The registered name for a recipe with its defaults, else the recipe itself as text."""
    if name is not None and registry.get(name) == recipe:
        return name
    return repr(recipe) if is_dataclass(recipe) else getattr(recipe, "__name__", type(recipe).__name__)
