"""Operations written out by arithmetic: the same values from other calls."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def clamp(m: Any, x: Tensor) -> Tensor:
    """A ReLU."""
    return x.clamp(min=0)


def threshold(m: Any, x: Tensor) -> Tensor:
    """A ReLU."""
    return F.threshold(x, 0.0, 0.0)


def maximum(m: Any, x: Tensor) -> Tensor:
    """A ReLU."""
    return torch.maximum(x, x.new_zeros(()))


def masked(m: Any, x: Tensor) -> Tensor:
    """A ReLU."""
    return x * (x > 0)


def where(m: Any, x: Tensor) -> Tensor:
    """A ReLU."""
    return torch.where(x > 0, x, 0.0)


def matmul(m: Any, x: Tensor) -> Tensor:
    """A linear layer."""
    y: Tensor = x @ m.weight.mT
    return y if m.bias is None else y + m.bias


def einsum(m: Any, x: Tensor) -> Tensor:
    """A linear layer."""
    y = torch.einsum("...i,oi->...o", x, m.weight)
    return y if m.bias is None else y + m.bias


def addmm(m: Any, x: Tensor) -> Tensor:
    """A linear layer, where it reads a matrix and has a bias."""
    return F.linear(x, m.weight, m.bias) if m.bias is None or x.dim() != 2 else torch.addmm(m.bias, x, m.weight.mT)


def bias_apart(m: Any, x: Tensor) -> Tensor:
    """A convolution."""
    y = F.conv2d(x, m.weight, None, m.stride, m.padding, m.dilation, m.groups)
    return y if m.bias is None else y + m.bias.view(-1, 1, 1)


def scale_and_shift(m: Any, x: Tensor) -> Tensor:
    """A batch norm in eval mode."""
    scale = m.weight / (m.running_var + m.eps).sqrt()
    shift = m.bias - m.running_mean * scale
    out: Tensor = x * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)
    return out


def standardized(m: Any, x: Tensor) -> Tensor:
    """A batch norm in eval mode."""
    mean, variance, weight, bias = (t.view(-1, 1, 1) for t in (m.running_mean, m.running_var, m.weight, m.bias))
    out: Tensor = (x - mean) / torch.sqrt(variance + m.eps) * weight + bias
    return out


def exponentials(m: Any, x: Tensor) -> Tensor:
    """A softmax."""
    powers = torch.exp(x)
    return powers / powers.sum(m.dim, keepdim=True)


def centered(m: Any, x: Tensor) -> Tensor:
    """A layer norm."""
    rest = x - x.mean(-1, keepdim=True)
    out: Tensor = rest * torch.rsqrt(rest.pow(2).mean(-1, keepdim=True) + m.eps) * m.weight + m.bias
    return out


def centered_channels(m: Any, x: Tensor) -> Tensor:
    """A layer norm over channels."""
    return centered(m, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def average(m: Any, x: Tensor) -> Tensor:
    """The mean over positions."""
    return x.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3])


def gated(m: Any, x: Tensor) -> Tensor:
    """SiLU."""
    return x * torch.sigmoid(x)
