"""The passes of the plain model that an audit begins with: what it predicts, and how long a pass takes."""

import time

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from heatproof.auditing.plan import Plan
from heatproof.errors import InputError
from heatproof.models import forward


def predict(model: nn.Module, images: Tensor, batch: int, *, show: bool) -> tuple[Tensor, Tensor]:
    """The label that the model predicts (N,), and all labels' probabilities (N, C) in float64, on the CPU."""
    parts = []
    starts = track(
        range(0, len(images), batch),
        description="predictions",
        console=Console(stderr=True),
        transient=True,
        disable=not show,
    )
    with torch.no_grad():
        for start in starts:
            rows = torch.arange(start, min(start + batch, len(images)))
            parts.append(forward(model, images[rows], rows).double().cpu())
    outputs = torch.cat(parts)
    if not bool(torch.isfinite(outputs).all()):
        raise InputError("Expected finite outputs, but the model gives NaN or infinity on some samples.")
    return outputs.argmax(1), outputs.softmax(1)


def seconds_a_pass(plan: Plan) -> float:
    """How long a forward and backward pass of a block takes: three times the fastest of some forward passes."""
    rows = torch.arange(plan.batch)
    seconds = []
    with torch.no_grad():
        for _ in range(4):
            start = time.perf_counter()
            forward(plan.model, plan.samples.inputs[rows], rows)
            seconds.append(time.perf_counter() - start)
    return 3 * min(seconds)
