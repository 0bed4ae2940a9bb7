"""The network that predicts a readout bottleneck's mask: three 1×1 convolutions over feature maps of several depths."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heatproof import draws
from heatproof.errors import InputError
from heatproof.methods.split import find_layer
from heatproof.models import forward
from heatproof.undo import hooked

# Weight and bias of the three convolutions, in their order, as a fit names them.
WEIGHTS = tuple(f"readout.{i}.{kind}" for i in range(3) for kind in ("weight", "bias"))


def collected(
    model: nn.Module, layer: str, readouts: Sequence[str], x: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The logits of one pass, the output of `layer`, and the feature maps (N, C, h, w) of `readouts`."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> None:
        if name in seen or not isinstance(output, Tensor) or output.dim() not in (2, 4):
            what = "more than once" if name in seen else getattr(output, "shape", type(output).__name__)
            raise InputError(f"Expected layer {name!r} to give (N, C) or (N, C, h, w) once a pass, but got {what}.")
        # A copy, because the next submodule may change it in place; a vector is a map of one place.
        seen[name] = output.detach().clone() if output.dim() == 4 else output.detach().clone()[:, :, None, None]

    def hook(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: keep(name, output)

    names = dict.fromkeys([layer, *readouts])
    with hooked(*((find_layer(model, name), hook(name), {}) for name in names)), torch.no_grad():
        logits = forward(model, x, rows)
    missing = [name for name in (layer, *readouts) if name not in seen]
    if missing:
        raise InputError(f"Expected layer {missing[0]!r} to run when the network is called, but it does not.")
    return logits, seen[layer], [seen[name] for name in readouts]


def initial(inputs: int, outputs: int, start: float, seed: int) -> list[Tensor]:
    """First weights, float32: uniform within 1/√fan-in; the last layer's weights 1e-3 of that, its bias `start`."""
    widths = [inputs, max(1, inputs // 2), 2 * outputs, outputs]
    weights = []
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        stream = draws.generator(seed, "readout-weights", i)
        bound = 1 / math.sqrt(fan_in)
        weight, bias = (
            (torch.rand(shape, generator=stream, dtype=torch.float32) * 2 - 1) * bound
            for shape in ((fan_out, fan_in, 1, 1), (fan_out,))
        )
        last = i == len(widths) - 2
        weights += [weight * 1e-3 if last else weight, torch.full_like(bias, start) if last else bias]
    return weights


def predicted(weights: Sequence[Tensor], features: Sequence[Tensor], signal: Tensor) -> Tensor:
    """α, of the shape of `signal` (N, C, h, w), from feature maps of any sizes."""
    size = signal.shape[-2:]
    resized = [F.interpolate(one, size=size, mode="bilinear", align_corners=False) for one in features]
    hidden = torch.cat(resized, 1)
    for i in (0, 2):
        hidden = F.relu(F.conv2d(hidden, weights[i], weights[i + 1]))
    return F.conv2d(hidden, weights[4], weights[5])
