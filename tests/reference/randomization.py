"""Slow twins of heatproof.randomization: execution order by hooks, and the inverse of a cut normal by bisection."""

import math

from torch import Tensor, nn


def order_by_hooks(model: nn.Module, inputs: Tensor) -> list[str]:
    """Names of modules with parameters of their own, in the order in which their forwards begin.

    Right only where every parameter is used by the forward of the module that owns it, and each runs once.
    """
    order: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda _m, _x, name=name: order.append(name))
        for name, module in model.named_modules()
        if list(module.parameters(recurse=False))
    ]
    model(inputs)
    for handle in handles:
        handle.remove()
    return order


def cut_normal_quantile(p: float, std: float) -> float:
    """x with P(X ≤ x) = p for X ~ N(0, std²) given |X| ≤ 2·std, by bisection of the distribution function."""

    def normal(z: float) -> float:
        return (1 + math.erf(z / math.sqrt(2))) / 2

    low, high = -2.0, 2.0
    for _ in range(100):
        middle = (low + high) / 2
        below = (normal(middle) - normal(-2)) / (normal(2) - normal(-2))
        low, high = (middle, high) if below < p else (low, middle)
    return std * (low + high) / 2
