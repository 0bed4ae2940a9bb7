"""Losses that stand inside a model, as the score of an autoencoder does."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from heatproof.propagation.unsupported import UnsupportedCallError


def _reduced(each: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def loss(
        input: Tensor,
        target: Tensor,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        *args: Any,
        weight: Any = None,
        **kwargs: Any,
    ) -> Tensor:
        if not (size_average is None and reduce is None and weight is None) or reduction == "batchmean":
            raise UnsupportedCallError("with weights or old names of the reduction it has no rule")
        values = each(input, target, *args, **kwargs)
        return values if reduction == "none" else values.sum() if reduction == "sum" else values.mean()

    return loss


def _huber(input: Tensor, target: Tensor, delta: float = 1.0) -> Tensor:
    distance = (input - target).abs()
    near = distance.clamp(max=delta)
    return near.square() * 0.5 + (distance - near) * delta


def _smooth_l1(input: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    return (input - target).abs() if beta == 0 else _huber(input, target, beta) / beta


BODIES: dict[str, Callable[..., Any]] = {
    "mse_loss": _reduced(lambda input, target: (input - target).square()),
    "l1_loss": _reduced(lambda input, target: (input - target).abs()),
    "huber_loss": lambda input, target, reduction="mean", delta=1.0, weight=None: _reduced(_huber)(
        input, target, reduction=reduction, delta=delta, weight=weight
    ),
    "smooth_l1_loss": _reduced(_smooth_l1),
}
