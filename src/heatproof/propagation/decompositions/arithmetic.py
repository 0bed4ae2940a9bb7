"""Elementwise operations of several tensors."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from heatproof.propagation.decompositions.distances import vector_norm
from heatproof.propagation.unsupported import UnsupportedCallError


def _times(tensor: Tensor, factor: float) -> Tensor:
    return tensor if factor == 1 else tensor * factor


if TYPE_CHECKING:
    from heatproof.propagation.calls import Call


def _pairs(a: Tensor, b: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(a.shape, b.shape)  # type: ignore[no-untyped-call]
    return torch.stack([a.expand(shape), b.expand(shape)], -1)


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value · tensor1 · tensor2."""
    return input + _times(tensor1 * tensor2, value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value · tensor1 / tensor2."""
    return input + _times(tensor1 / tensor2, value)


def lerp(input: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """input + weight · (end − input)."""
    return input + weight * (end - input)


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(eᵃ + eᵇ)."""
    return _pairs(input, other).logsumexp(-1)


def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log₂(2ᵃ + 2ᵇ)."""
    return logaddexp(input * math.log(2), other * math.log(2)) / math.log(2)


def hypot(input: Tensor, other: Tensor) -> Tensor:
    """√(a² + b²), the Euclidean norm of the two."""
    return vector_norm(_pairs(input, other), dim=-1)


def xlogy(input: Tensor | float, other: Tensor | float) -> Any:
    """a · log b, and 0 where a = 0."""
    if not isinstance(other, Tensor):
        return input * math.log(other)
    return input * torch.log(other.clamp(min=torch.finfo(other.dtype).tiny))


def xlog1py(input: Tensor | float, other: Tensor | float) -> Any:
    """a · log(1 + b)."""
    return input * (torch.log1p(other) if isinstance(other, Tensor) else math.log1p(other))


def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """a · 2ᵇ."""
    return input * torch.exp2(other if other.is_floating_point() else other.to(input.dtype))


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """min(max(x, low), high) with bounds that depend on the input."""
    if min is not None:
        input = torch.maximum(input, min) if isinstance(min, Tensor) else input.clamp(min=min)
    if max is not None:
        input = torch.minimum(input, max) if isinstance(max, Tensor) else input.clamp(max=max)
    return input


def power(input: Tensor, exponent: Tensor) -> Tensor:
    """xʸ = exp(y log x) for x > 0."""
    if not bool((input > 0).all()):
        raise UnsupportedCallError("base and exponent depend on the input, and the base is not positive")
    return torch.exp(exponent * torch.log(input))


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """ReLU(x) − a · ReLU(−x) with a slope that depends on the input."""
    if weight.dim() == 1 and input.dim() > 1:
        weight = weight.view(1, -1, *[1] * (input.dim() - 2))
    return torch.relu(input) - weight * torch.relu(-input)


def spread(call: "Call") -> Callable[..., Any] | None:
    """The call with its tensor expanded to the shape that its constants give the result; None where that is its own.

    Each value of x then has one result of its own, as a function of one value: xᵏ for several exponents is several
    powers of several copies of x.
    """
    if call.name in OF_CHANNELS:
        return None
    (x,) = call.inputs
    shape = torch.broadcast_shapes(x.shape, *(c.shape for c in call.constants))  # type: ignore[no-untyped-call]
    if shape == x.shape:
        return None

    def body(*args: Any, **kwargs: Any) -> Any:
        copies = x.expand(shape)
        given = {name: copies if value is x else value for name, value in kwargs.items()}
        return call.function(*[copies if arg is x else arg for arg in args], **given)

    return body


OF_CHANNELS = frozenset(("prelu", "fake_quantize_per_channel_affine"))  # their constants go with one dimension of x
BODIES: dict[str, Callable[..., Any]] = {
    "addcmul": addcmul,
    "addcdiv": addcdiv,
    "lerp": lerp,
    "logaddexp": logaddexp,
    "logaddexp2": logaddexp2,
    "hypot": hypot,
    "xlogy": xlogy,
    "xlog1py": xlog1py,
    "ldexp": ldexp,
}
OF_SEVERAL: dict[str, Callable[..., Any]] = {
    "clamp": clamp,
    "clamp_min": clamp,
    "clamp_max": lambda input, max: clamp(input, None, max),
    "pow": power,
    "float_power": power,
    "rpow": lambda exponent, base: power(base, exponent),
    "prelu": prelu,
}
