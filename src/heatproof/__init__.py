"""heatproof: attribution heatmaps for any PyTorch model, and the proof of which ones to trust."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from heatproof import (
        adapters,
        baselines,
        checks,
        data,
        errors,
        features,
        methods,
        models,
        outputs,
        pretrained,
        progress,
        randomization,
        similarity,
        targets,
        zoo,
    )
    from heatproof import reading as readings
    from heatproof.auditing import audit
    from heatproof.auditing.run import opened as open  # what it is to a user: heatproof.open
    from heatproof.errors import InputError
    from heatproof.models import Bound
    from heatproof.recorded import Recorded

_HOMES = {
    "audit": "heatproof.auditing",
    "Bound": "heatproof.models",
    "InputError": "heatproof.errors",
    "Recorded": "heatproof.recorded",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that the report and the command line start without torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "open":
        return import_module("heatproof.auditing.run").opened
    if name == "readings":
        return import_module("heatproof.reading")
    if name in __all__:
        return import_module(f"heatproof.{name}")
    raise AttributeError(f"module 'heatproof' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Public names, also those that were not imported yet: what a notebook completes."""
    return sorted(__all__)


__all__ = [
    "Bound",
    "InputError",
    "Recorded",
    "__version__",
    "adapters",
    "audit",
    "baselines",
    "checks",
    "data",
    "errors",
    "features",
    "methods",
    "models",
    "open",
    "outputs",
    "pretrained",
    "progress",
    "randomization",
    "readings",
    "similarity",
    "targets",
    "zoo",
]
