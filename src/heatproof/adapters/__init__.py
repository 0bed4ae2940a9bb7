"""Methods of other packages, as recipes: made for the model at hand, called with inputs and targets as ours are."""

from typing import Any

from heatproof.adapters.base import ADAPTERS, Adapter
from heatproof.adapters.cams import PytorchGradCAM, TorchCAM
from heatproof.adapters.captum import Captum
from heatproof.adapters.python import Python
from heatproof.adapters.shap import Shap
from heatproof.adapters.zennit import Zennit
from heatproof.frozen import Settings
from heatproof.methods.given import Given

ADAPTERS.register("given")(Given)


def names() -> list[str]:
    """Every registered name of an adapter."""
    return ADAPTERS.names()


def get(name: str, **fields: Any) -> Any:
    """The adapter registered under `name`, with the given fields."""
    return ADAPTERS.get(name, **fields)


__all__ = [
    "ADAPTERS",
    "Adapter",
    "Captum",
    "Given",
    "Python",
    "PytorchGradCAM",
    "Settings",
    "Shap",
    "TorchCAM",
    "Zennit",
    "get",
    "names",
]
