"""A network, data and an audit that take milliseconds."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.auditing import Run
from heatproof.errors import FailureWarning

METHODS = ("gradient-x-input", "cgi", "edge-detector", "random")
CHECKS = ("parameter-randomization", "input-controls", "calibration")


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(3 * 12 * 12, 6),
            nn.ReLU(),
            nn.Linear(6, 4),
        ).eval()


def images(count: int = 7) -> Tensor:
    return torch.rand(count, 1, 12, 12, generator=torch.Generator().manual_seed(1))


def run(out: Path, **changes: Any) -> Run:
    settings: dict[str, Any] = {"methods": METHODS, "checks": CHECKS, "batch": 3, "threads": 1, "progress": False}
    model, inputs = changes.pop("model", None) or network(), changes.pop("inputs", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FailureWarning)  # tests look into the manifest
        return hp.audit(model, images() if inputs is None else inputs, out=out, **{**settings, **changes})


def broken(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    raise ValueError("no luck")
