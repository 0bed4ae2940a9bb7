"""A model -> the same model, partly random, restored bit for bit on exit."""

from typing import Any

from heatproof.randomization.blocks import BLOCKINGS, Blocking, Depthwise, EndingAt, Modules
from heatproof.randomization.initializers import (
    INITIALIZERS,
    Default,
    He,
    Initializer,
    Permutation,
    TruncatedNormal,
    Uniform,
    WeightByWeight,
)
from heatproof.randomization.layers import Layer, Weight
from heatproof.randomization.orders import RANDOMIZATIONS, BottomUp, Cascading, Independent, Randomization
from heatproof.randomization.stages import Stage, Stages


def get(name: str, **fields: Any) -> Randomization:
    """The randomization registered under `name` with its default fields, or with the given ones instead."""
    return RANDOMIZATIONS.get(name, **fields)


def names() -> list[str]:
    """Every registered randomization name."""
    return RANDOMIZATIONS.names()


__all__ = [
    "BLOCKINGS",
    "INITIALIZERS",
    "RANDOMIZATIONS",
    "Blocking",
    "BottomUp",
    "Cascading",
    "Default",
    "Depthwise",
    "EndingAt",
    "He",
    "Independent",
    "Initializer",
    "Layer",
    "Modules",
    "Permutation",
    "Randomization",
    "Stage",
    "Stages",
    "TruncatedNormal",
    "Uniform",
    "Weight",
    "WeightByWeight",
    "get",
    "names",
]
