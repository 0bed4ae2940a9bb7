"""The same operations as `torch.ops.aten` has them: as exported programs call them, and as decompositions do."""

from typing import Any

import torch
from torch import Tensor, nn

from heatproof.testing.relations import parts
from heatproof.testing.relations.names import Spellings

aten = torch.ops.aten


def _square(size: Any) -> list[int]:
    return list(size) if isinstance(size, tuple) else [size, size]


def _convolution(m: Any, x: Tensor) -> Any:
    return aten.convolution.default(
        x, m.weight, m.bias, m.stride, m.padding, m.dilation, m.transposed, m.output_padding, m.groups
    )


def _addmm(m: Any, x: Tensor) -> Any:
    if m.bias is None or x.dim() != 2:
        return aten.linear.default(x, m.weight, m.bias)
    return aten.addmm.default(m.bias, x, aten.t.default(m.weight))


def _native_group_norm(m: Any, x: Tensor) -> Any:
    count, width = x.shape[:2]
    x = x.contiguous()
    return aten.native_group_norm.default(
        x, m.weight, m.bias, count, width, x[0, 0].numel(), m.num_groups, m.eps
    )[0]  # fmt: skip


ATEN: Spellings = {
    nn.Conv2d: lambda m, x: aten.conv2d.default(x, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups),
    nn.ConvTranspose2d: lambda m, x: aten.conv_transpose2d.input(
        x, m.weight, m.bias, m.stride, m.padding, m.output_padding, m.groups, m.dilation
    ),
    nn.Linear: lambda m, x: aten.linear.default(x, m.weight, m.bias),
    nn.BatchNorm2d: lambda m, x: aten.batch_norm.default(
        x, m.weight, m.bias, m.running_mean, m.running_var, False, 0.1, m.eps, False
    ),
    nn.InstanceNorm2d: lambda m, x: aten.instance_norm.default(
        x, m.weight, m.bias, None, None, True, 0.1, m.eps, False
    ),
    nn.GroupNorm: lambda m, x: aten.group_norm.default(x, m.num_groups, m.weight, m.bias, m.eps, False),
    nn.LayerNorm: lambda m, x: aten.layer_norm.default(x, m.normalized_shape, m.weight, m.bias, m.eps),
    parts.ChannelNorm: lambda m, x: aten.permute.default(
        aten.layer_norm.default(aten.permute.default(x, [0, 2, 3, 1]), m.normalized_shape, m.weight, m.bias, m.eps),
        [0, 3, 1, 2],
    ),
    nn.ReLU: lambda m, x: aten.relu.default(x),
    nn.LeakyReLU: lambda m, x: aten.leaky_relu.default(x, m.negative_slope),
    nn.GELU: lambda m, x: aten.gelu.default(x, approximate=m.approximate),
    nn.SiLU: lambda m, x: aten.silu.default(x),
    nn.Tanh: lambda m, x: aten.tanh.default(x),
    nn.Sigmoid: lambda m, x: aten.sigmoid.default(x),
    nn.ELU: lambda m, x: aten.elu.default(x, m.alpha),
    nn.Softplus: lambda m, x: aten.softplus.default(x, m.beta, m.threshold),
    nn.Hardswish: lambda m, x: aten.hardswish.default(x),
    nn.MaxPool2d: lambda m, x: aten.max_pool2d.default(x, _square(m.kernel_size), _square(m.stride)),
    nn.AvgPool2d: lambda m, x: aten.avg_pool2d.default(x, _square(m.kernel_size), _square(m.stride)),
    nn.AdaptiveAvgPool2d: lambda m, x: aten.adaptive_avg_pool2d.default(x, _square(m.output_size)),
    nn.Flatten: lambda m, x: aten.reshape.default(x, [x.shape[0], -1]),
    nn.Softmax: lambda m, x: aten.softmax.int(x, m.dim),
    parts.Add: lambda m, x, y: aten.add.Tensor(x, y),
    parts.Multiply: lambda m, x, y: aten.mul.Tensor(x, y),
    parts.Concatenate: lambda m, x, y: aten.cat.default([x, y], 1),
    parts.Product: lambda m, x, y: aten.matmul.default(x, y),
    parts.Mean: lambda m, x: aten.mean.dim(x, list(m.dims)),
    parts.Scale: lambda m, x: aten.mul.Tensor(x, m.factor),
    parts.Place: lambda m, x: aten.add.Tensor(x, m.offset),
}
# What `run_decompositions` leaves, tuples among it.
LOWERED: Spellings = {
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _convolution,
    nn.Linear: _addmm,
    nn.BatchNorm2d: lambda m, x: aten._native_batch_norm_legit_no_training.default(
        x, m.weight, m.bias, m.running_mean, m.running_var, 0.1, m.eps
    )[0],
    nn.GroupNorm: _native_group_norm,
    nn.LayerNorm: lambda m, x: aten.native_layer_norm.default(x, m.normalized_shape, m.weight, m.bias, m.eps)[0],
    nn.MaxPool2d: lambda m, x: aten.max_pool2d_with_indices.default(x, _square(m.kernel_size), _square(m.stride))[0],
    nn.AdaptiveAvgPool2d: lambda m, x: aten.mean.dim(x, [-1, -2], True),
    nn.Softmax: lambda m, x: aten._softmax.default(x, m.dim, False),
    parts.Product: lambda m, x, y: aten.bmm.default(x, y),
}
