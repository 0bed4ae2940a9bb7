"""Other weights in a network's place, for a while."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and every buffer of a model by name, each tensor once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@contextmanager
def swapped(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """`model` with other values in its parameters and buffers, in place; afterwards as it was, bit for bit."""
    own = tensors_of(model)
    before = {name: tensor.detach().clone() for name, tensor in own.items()}
    try:
        _put(own, weights)
        yield model
    finally:
        _put(own, before)


def _put(own: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    # copy_, not .data: it counts the tensors' versions up, so that nothing computed from other values passes as fresh.
    # What is equal already is left alone: a buffer may be a view that cannot be written to.
    with torch.no_grad():
        for name, tensor in own.items():
            value = values[name].to(tensor.device)
            if not torch.equal(tensor, value):
                tensor.copy_(value)
