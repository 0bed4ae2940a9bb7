"""A layer's output with its channels before its positions."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.errors import InputError
from heatproof.layouts.reading import Reading
from heatproof.layouts.record import recorded


class _First:
    """Brings an output that reads like this to (N, K, positions), class tokens and registers left out."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    def __call__(self, output: Tensor) -> Tensor:
        return self.reading(output).flatten(1, -2).transpose(1, 2)


def channels_first(
    net: nn.Module, layer: str, inputs: Tensor, run: Callable[[Tensor, Tensor], Any]
) -> Callable[[Tensor], Tensor] | None:
    """What brings the output of a network's layer to (N, K, positions …); None where it is so, or has no positions.

    Raises: InputError where no operation tells which dimensions are positions.
    """
    with torch.no_grad():
        record = recorded(net, inputs, run)
    seen = record.layers.get(layer)
    if seen is None or len(seen.shape) < 3:
        return None
    if seen.reading is None:
        raise InputError(
            f"Expected operations that tell which dimensions are positions, but layer {layer!r} gives "
            f"{(len(inputs), *seen.shape[1:])}, and nothing that made it tells; say it with layout='channels-first' or "
            "layout='channels-last'."
        )
    whole = seen.reading.samples == 0 and seen.reading.channels == (1,) and seen.reading.size == prod(seen.shape[2:])
    return None if whole else _First(seen.reading)
