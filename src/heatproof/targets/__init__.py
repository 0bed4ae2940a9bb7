"""What is explained of a model's answer: each target is a frozen recipe that makes outputs (N, C) and labels of it."""

from typing import Any

from heatproof.targets.base import TARGETS, Aim, Target, as_target
from heatproof.targets.boxes import Box
from heatproof.targets.functions import Difference, Function
from heatproof.targets.labels import Complement, Label, LabelSet, Scalar
from heatproof.targets.positions import Index, Region


def names() -> list[str]:
    """Every registered name of a target."""
    return TARGETS.names()


def get(name: str, **fields: Any) -> Target:
    """The target registered under `name`, with its defaults or with the given fields instead."""
    return TARGETS.get(name, **fields)


__all__ = [
    "TARGETS",
    "Aim",
    "Box",
    "Complement",
    "Difference",
    "Function",
    "Index",
    "Label",
    "LabelSet",
    "Region",
    "Scalar",
    "Target",
    "as_target",
    "get",
    "names",
]
