"""One operation under the names that `torch.nn.functional`, `torch` and tensors have for it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from heatproof.testing.relations import parts

# From a module, with its parameters and settings, and its inputs to its output.
Spelling = Callable[..., Any]
Spellings = Mapping[type[nn.Module], Spelling]

FUNCTIONAL: Spellings = {
    nn.Conv2d: lambda m, x: F.conv2d(x, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups),
    nn.ConvTranspose2d: lambda m, x: F.conv_transpose2d(
        x, m.weight, m.bias, m.stride, m.padding, m.output_padding, m.groups, m.dilation
    ),
    nn.Linear: lambda m, x: F.linear(x, m.weight, m.bias),
    nn.BatchNorm2d: lambda m, x: F.batch_norm(x, m.running_mean, m.running_var, m.weight, m.bias, False, 0.1, m.eps),
    nn.InstanceNorm2d: lambda m, x: F.instance_norm(x, weight=m.weight, bias=m.bias, eps=m.eps),
    nn.GroupNorm: lambda m, x: F.group_norm(x, m.num_groups, m.weight, m.bias, m.eps),
    nn.LayerNorm: lambda m, x: F.layer_norm(x, m.normalized_shape, m.weight, m.bias, m.eps),
    parts.ChannelNorm: lambda m, x: F.layer_norm(x.movedim(1, -1), m.normalized_shape, m.weight, m.bias, m.eps).movedim(
        -1, 1
    ),
    nn.ReLU: lambda m, x: F.relu(x),
    nn.LeakyReLU: lambda m, x: F.leaky_relu(x, m.negative_slope),
    nn.GELU: lambda m, x: F.gelu(x, approximate=m.approximate),
    nn.SiLU: lambda m, x: F.silu(x),
    nn.Tanh: lambda m, x: F.tanh(x),
    nn.Sigmoid: lambda m, x: F.sigmoid(x),
    nn.ELU: lambda m, x: F.elu(x, m.alpha),
    nn.Softplus: lambda m, x: F.softplus(x, m.beta, m.threshold),
    nn.Hardswish: lambda m, x: F.hardswish(x),
    nn.MaxPool2d: lambda m, x: F.max_pool2d(x, m.kernel_size, m.stride, m.padding),
    nn.AvgPool2d: lambda m, x: F.avg_pool2d(x, m.kernel_size, m.stride, m.padding),
    nn.AdaptiveAvgPool2d: lambda m, x: F.adaptive_avg_pool2d(x, m.output_size),
    nn.Softmax: lambda m, x: F.softmax(x, m.dim),
    nn.Dropout: lambda m, x: F.dropout(x, m.p, training=False),
    nn.ZeroPad2d: lambda m, x: F.pad(x, m.padding),
    nn.Upsample: lambda m, x: F.interpolate(x, scale_factor=m.scale_factor),
}
TORCH: Spellings = {
    nn.Conv2d: lambda m, x: torch.conv2d(x, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups),
    nn.ConvTranspose2d: lambda m, x: torch.conv_transpose2d(
        x, m.weight, m.bias, m.stride, m.padding, m.output_padding, m.groups, m.dilation
    ),
    nn.BatchNorm2d: lambda m, x: torch.batch_norm(
        x, m.weight, m.bias, m.running_mean, m.running_var, False, 0.1, m.eps, False
    ),
    nn.InstanceNorm2d: lambda m, x: torch.instance_norm(x, m.weight, m.bias, None, None, True, 0.1, m.eps, False),
    nn.GroupNorm: lambda m, x: torch.group_norm(x, m.num_groups, m.weight, m.bias, m.eps),
    nn.LayerNorm: lambda m, x: torch.layer_norm(x, m.normalized_shape, m.weight, m.bias, m.eps),
    parts.ChannelNorm: lambda m, x: torch.layer_norm(
        torch.movedim(x, 1, -1), m.normalized_shape, m.weight, m.bias, m.eps
    ).movedim(-1, 1),
    nn.ReLU: lambda m, x: torch.relu(x),
    nn.Tanh: lambda m, x: torch.tanh(x),
    nn.Sigmoid: lambda m, x: torch.sigmoid(x),
    nn.MaxPool2d: lambda m, x: torch.max_pool2d(x, m.kernel_size, m.stride, m.padding),
    nn.AdaptiveAvgPool2d: lambda m, x: torch.mean(x, (2, 3), keepdim=True),
    nn.Flatten: lambda m, x: torch.flatten(x, 1),
    nn.Softmax: lambda m, x: torch.softmax(x, m.dim),
    nn.Dropout: lambda m, x: torch.dropout(x, m.p, False),
    parts.Add: lambda m, x, y: torch.add(x, y),
    parts.Multiply: lambda m, x, y: torch.mul(x, y),
    parts.Concatenate: lambda m, x, y: torch.concat([x, y], dim=1),
    parts.Product: lambda m, x, y: torch.bmm(x, y),
    parts.Mean: lambda m, x: torch.mean(x, dim=m.dims),
}
RARE: Spellings = {
    nn.Conv2d: lambda m, x: torch.convolution(
        x, m.weight, m.bias, m.stride, m.padding, m.dilation, False, [0, 0], m.groups
    ),
    nn.Sigmoid: lambda m, x: torch.special.expit(x),
    nn.Softmax: lambda m, x: torch.special.softmax(x, m.dim),
    nn.ReLU: lambda m, x: torch.clip(x, min=0),
    parts.Product: lambda m, x, y: torch.einsum("nij,njk->nik", x, y),
    parts.Multiply: lambda m, x, y: torch.multiply(y, x),
    parts.Concatenate: lambda m, x, y: torch.hstack([x, y]),
}
METHODS: Spellings = {
    nn.ReLU: lambda m, x: x.relu(),
    nn.Tanh: lambda m, x: x.tanh(),
    nn.Sigmoid: lambda m, x: x.sigmoid(),
    nn.Softmax: lambda m, x: x.softmax(m.dim),
    nn.Flatten: lambda m, x: x.reshape(x.shape[0], -1),
    nn.AdaptiveAvgPool2d: lambda m, x: x.mean(dim=[-2, -1], keepdim=True),
    parts.Add: lambda m, x, y: x.add(y),
    parts.Multiply: lambda m, x, y: y.mul(x),
    parts.Product: lambda m, x, y: x @ y,
    parts.Scale: lambda m, x: x.multiply(m.factor),
    parts.Place: lambda m, x: m.offset.add(x),
}
# Written into what the module before made: only where nothing else reads that, and torch's derivative does not need it.
IN_PLACE: Spellings = {
    nn.ReLU: lambda m, x: F.relu(x, inplace=True),
    nn.LeakyReLU: lambda m, x: F.leaky_relu_(x, m.negative_slope),
    nn.Tanh: lambda m, x: x.tanh_(),
    nn.Sigmoid: lambda m, x: x.sigmoid_(),
    nn.ELU: lambda m, x: F.elu(x, m.alpha, inplace=True),
    nn.SiLU: lambda m, x: F.silu(x, inplace=True),
    nn.Hardswish: lambda m, x: F.hardswish(x, inplace=True),
    parts.Add: lambda m, x, y: x.add_(y),
}
