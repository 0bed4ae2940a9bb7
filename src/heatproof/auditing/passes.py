"""The passes of the plain model that an audit begins with: what it predicts, and how long a pass takes."""

import time
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from heatproof.auditing.plan import Plan
from heatproof.errors import InputError
from heatproof.models import forward


def predict(model: nn.Module, images: Tensor, batch: int, *, show: bool) -> tuple[Tensor, Tensor]:
    """The label with the largest output (N,), and all outputs (N, C) in float64, on the CPU."""
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
    # Minus infinity is a label that the network itself leaves out, as masked actions are.
    if bool((outputs.isnan() | (outputs == torch.inf)).any()):
        raise InputError("Expected finite outputs, but the model gives NaN or infinity on some samples.")
    return outputs.argmax(1), outputs


def check_explained(outputs: Tensor, targets: Tensor, ids: Sequence[str]) -> None:
    """Refuse to explain an output that is minus infinity: it has no derivative, and nothing sums to it."""
    out = outputs.gather(1, targets[:, None].cpu())[:, 0] == -torch.inf
    if bool(out.any()):
        names = [ids[i] for i in out.nonzero().flatten().tolist()]
        raise InputError(
            f"Expected to explain outputs that are finite, but that of sample {names[0]!r} (label "
            f"{int(targets[out.to(targets.device)][0])}) is minus infinity, {len(names)} in all: the model leaves the "
            "label out there. Explain another label, or the predicted one."
        )


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
