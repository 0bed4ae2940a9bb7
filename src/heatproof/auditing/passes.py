"""The passes of the plain model beside an audit's own: what it predicts, and how long a pass takes."""

import time

import torch
from torch import Tensor, nn

from heatproof.auditing.plan import Plan
from heatproof.auditing.samples import check_finite, filled
from heatproof.models import forward

LONG = 0.1  # seconds of a pass, beside which what a first one costs more is little


def predict(model: nn.Module, images: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """The label with the largest output (N,), and all outputs (N, C) in float64, on the CPU."""
    parts = []
    with torch.no_grad():
        for rows in torch.split(torch.arange(len(images)), batch):
            parts.append(forward(model, images[rows], rows).double().cpu())
    outputs = torch.cat(parts)
    check_finite(outputs)
    return outputs.argmax(1), outputs


def seconds_a_pass(plan: Plan) -> float:
    """How long a forward and backward pass of a block takes: three times a forward pass.

    Where the plan's own took long it is known; else it is the fastest of some, which are quick.
    """
    if plan.seconds > LONG:
        return 3 * plan.seconds
    model = plan.bound(plan.first, plan.example)
    inputs = plan.example.inputs[filled(len(plan.example.ids), plan.batch)]
    seconds = []
    with torch.no_grad():
        for _ in range(4):
            start = time.perf_counter()
            float(forward(model, inputs, torch.arange(plan.batch)).sum())  # which waits for a GPU
            seconds.append(time.perf_counter() - start)
    return 3 * min(seconds)
