"""Losses that stand inside a model, as the score of an autoencoder or of an energy does."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from heatproof.propagation.unsupported import UnsupportedCallError

REDUCTIONS = ("none", "mean", "sum")  # what the operators number them
UNSET = (None, False, -100)  # no weights, no old names; −100 is the index of targets to leave out


def _reduced(each: Callable[..., Tensor], *own: str) -> Callable[..., Tensor]:
    """A loss that is `each` over pairs of values; `own` are the settings that change them."""

    def loss(input: Tensor, target: Tensor, *args: Any, reduction: str | int = "mean", **given: Any) -> Tensor:
        settings = {name: given.pop(name) for name in own if name in given}
        others = list(args)
        if others and (isinstance(others[-1], str) or type(others[-1]) is int):
            reduction = others.pop()
        if any(value not in UNSET for value in (*given.values(), *others)):
            raise UnsupportedCallError("with weights, or old names of the reduction, it has no rule")
        reduction = REDUCTIONS[reduction] if isinstance(reduction, int) else reduction
        values = each(input, target, **settings)
        if reduction == "batchmean":
            return values.sum() / len(values)
        return values if reduction == "none" else values.sum() if reduction == "sum" else values.mean()

    return loss


def _huber(input: Tensor, target: Tensor, delta: float = 1.0) -> Tensor:
    distance = (input - target).abs()
    near = distance.clamp(max=delta)
    return near.square() * 0.5 + (distance - near) * delta


def _smooth_l1(input: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    return (input - target).abs() if beta == 0 else _huber(input, target, beta) / beta


def _cross_entropy(input: Tensor, target: Tensor) -> Tensor:
    return _negative_likelihood(F.log_softmax(input, 1 if input.dim() > 1 else 0), target)


def _negative_likelihood(input: Tensor, target: Tensor) -> Tensor:
    if target.is_floating_point() or bool((target < 0).any()):
        raise UnsupportedCallError("only targets that are all labels have a rule")
    dim = 1 if input.dim() > 1 else 0
    return -input.gather(dim, target.unsqueeze(dim)).squeeze(dim)


def _binary(input: Tensor, target: Tensor) -> Tensor:
    least = 1e-43  # torch's own logarithms end at −100
    return -(target * input.clamp(min=least).log() + (1 - target) * (1 - input).clamp(min=least).log())


def _binary_of_logits(input: Tensor, target: Tensor) -> Tensor:
    return F.softplus(input) - target * input


def _divergence(input: Tensor, target: Tensor, log_target: bool = False) -> Tensor:
    if log_target:
        return target.exp() * (target - input)
    constant = target.clamp(min=1e-43).log()
    return target * (constant - input)


BODIES: dict[str, Callable[..., Any]] = {
    "binary_cross_entropy": _reduced(_binary),
    "binary_cross_entropy_with_logits": _reduced(_binary_of_logits),
    "cross_entropy": _reduced(_cross_entropy),
    "huber_loss": _reduced(_huber, "delta"),
    "kl_div": _reduced(_divergence, "log_target"),
    "l1_loss": _reduced(lambda input, target: (input - target).abs()),
    "mse_loss": _reduced(lambda input, target: (input - target).square()),
    "nll_loss": _reduced(_negative_likelihood),
    "smooth_l1_loss": _reduced(_smooth_l1, "beta"),
}
