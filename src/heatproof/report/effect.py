"""A published effect, and what a run says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatproof.reading.values import Values, difference

Names = list[tuple[str | None, str]]
SOME = 0.005  # shares below are written as 0 %


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A published effect and what this run says of it: `shows` is "shows", "does not show" or "cannot be told"."""

    title: str
    shows: str
    sentence: str


def registered_names(manifest: Mapping[str, Any]) -> Names:
    """Each method's registered name and label."""
    return [(_registered(m), m["label"]) for m in manifest["methods"]]


def labels_of(registered: Names, name: str) -> list[str]:
    """The labels of the methods of that name."""
    return [label for known, label in registered if known == name]


def word(low: float, high: float) -> str:
    """Whether a difference that the papers expect to be positive is: told by its whole interval, and by no less."""
    if not np.isfinite(low) or low == high or low <= 0 < high:
        return "cannot be told"
    return "shows" if low > 0 else "does not show"


def compared(first: Values, second: Values) -> str:
    """Whether the first is surely above the second, sample by sample."""
    found = difference(first, second).estimate(0)
    return word(found.low, found.high)


def _registered(method: Mapping[str, Any]) -> str | None:
    """A method's registered name; "cgi" for competition among maps of gradient × input, never among another's."""
    outer, inner = method["recipe"], method["recipe"].get("method")
    if not str(outer.get("class", "")).endswith(".Competitive"):
        name: str | None = method["name"]
        return name
    return "cgi" if isinstance(inner, Mapping) and str(inner["class"]).endswith(".GradientXInput") else None
