"""Other weights in a network's place, for a while."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from heatproof.undo import Undoing


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and every buffer of a model by name, each tensor once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The values of tensors, by name."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


class swapped(Undoing):  # noqa: N801  # reads like contextlib's own
    """Other values in a model's parameters and buffers, in place; afterwards as they were, bit for bit.

    `before` are copies of the values that it has, where there are some already.
    """

    def __init__(
        self, model: nn.Module, weights: Mapping[str, Tensor], before: Mapping[str, Tensor] | None = None
    ) -> None:
        self._model, self._weights, self._own = model, weights, tensors_of(model)
        self._before = copies(self._own) if before is None else before

    def __enter__(self) -> nn.Module:
        super().__enter__()
        return self._model

    def _change(self) -> None:
        _put(self._own, self._weights)

    def _undo(self) -> None:
        _put(self._own, self._before)


def _put(own: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    # copy_, not .data: it counts the tensors' versions up, so that nothing computed from other values passes as fresh.
    # What cannot be written to is left alone where it is equal already; asked of every tensor, a device would be waited
    # for at each.
    with torch.no_grad():
        for name, tensor in own.items():
            value = values[name].to(tensor.device)
            if _is_writable(tensor) or not torch.equal(tensor, value):
                tensor.copy_(value)


def _is_writable(tensor: Tensor) -> bool:
    """Not so a view that holds one number in several places, nor what was made under inference mode."""
    repeated = any(size > 1 and step == 0 for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return not repeated and not tensor.is_inference()
