"""Methods and checks as a caller lists them, under the labels that they have in the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from heatproof.checks import Check
from heatproof.errors import InputError
from heatproof.methods.base import Method
from heatproof.registry import Registry


def named(entries: Any, registry: Registry[Any], kind: type[Any]) -> dict[str, tuple[str, Any]]:
    """Label → (registered name or the label, recipe)."""
    if isinstance(entries, str) or not isinstance(entries, Sequence | Mapping):
        raise InputError(f"Expected a list of {registry.kind}s, or a mapping from labels to them, but got {entries!r}.")
    pairs = list(entries.items()) if isinstance(entries, Mapping) else [(None, entry) for entry in entries]
    found: dict[str, tuple[str, Any]] = {}
    for given, entry in pairs:
        recipe = registry.get(entry) if isinstance(entry, str) else entry
        foreign = kind is Method and callable(recipe) and not isinstance(recipe, Check | type)
        if not isinstance(recipe, kind) and not foreign:
            hint = _two_lines(entry) if kind is Method and not isinstance(entry, Check) else ""
            raise InputError(f"Expected a {registry.kind} or the name of one, but got {entry!r}.{hint}")
        name = entry if isinstance(entry, str) else registry.name_of(recipe)
        label = _label(recipe, name, registry) if given is None else given
        if not isinstance(label, str) or not label:
            raise InputError(f"Expected labels to be text, but got {label!r}.")
        if label in found:
            raise InputError(f"Expected every label once, but got {label!r} twice; map labels to recipes instead.")
        found[label] = (name or label, recipe)
    return found


def _two_lines(entry: Any) -> str:
    """How an explainer that is an object, or a class, becomes a method."""
    name = entry.__name__ if isinstance(entry, type) else type(entry).__name__
    if isinstance(entry, type) and issubclass(entry, Method):
        return f" Make one of it: {name}()."
    if not any(callable(getattr(entry, verb, None)) for verb in ("attribute", "explain", "shap_values")):
        return ""
    verb = next(verb for verb in ("attribute", "explain", "shap_values") if callable(getattr(entry, verb, None)))
    return (
        f" A method is a function of model, inputs and targets; wrap {name} in two lines:\n"
        "def method(model, inputs, targets):\n"
        f"    return {name}(model).{verb}(inputs, target=targets)"
    )


def _label(recipe: Any, name: str | None, registry: Registry[Any]) -> str:
    """The registered name for a recipe with its defaults, else the recipe itself as text."""
    if name is not None and registry.get(name) == recipe:
        return name
    return repr(recipe) if is_dataclass(recipe) else getattr(recipe, "__name__", type(recipe).__name__)
