"""A spec as a module: deterministic, in float64, in eval mode."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from heatproof.testing.relations import parts
from heatproof.testing.relations.specs import NetworkSpec, Step

# What a step gives for maps or sequences of a shape (without N); None where it does not fit.
Maker = Callable[[Step, Sequence[int], bool], nn.Module | None]


def build(spec: NetworkSpec) -> nn.Module:
    """The network of a spec: the same weights and names every time, whatever the global random state."""
    features, shape = _sequence(spec.steps, spec.shape, spec.biases)
    network = parts.Network(features, _head(spec, shape)).double().eval()
    stream = torch.Generator().manual_seed(spec.seed)
    with torch.no_grad():
        for module in network.modules():
            _fill(module, stream, biases=spec.biases)
    return network


def samples(spec: NetworkSpec, count: int, *, seed: int = 0) -> Tensor:
    """Inputs (count, *shape) for a network, in float64: normal, of one sample's own size."""
    stream = torch.Generator().manual_seed(1000 + spec.seed + seed)
    return torch.randn(count, *spec.shape, generator=stream, dtype=torch.float64)


def _sequence(steps: Sequence[Step], shape: Sequence[int], biases: bool) -> tuple[nn.Sequential, tuple[int, ...]]:
    modules: list[nn.Module] = []
    for step in steps:
        module = _made(step, shape, biases)
        if module is not None:
            modules.append(module)
            shape = _shape(module, shape)
    return nn.Sequential(*modules), tuple(shape)


def _made(step: Step, shape: Sequence[int], biases: bool) -> nn.Module | None:
    if step.inner and len(shape) == 3:
        inner = tuple(Step(s.kind, s.width or shape[0], s.size, s.stride, s.inner) for s in step.inner)
        body, made = _sequence(inner, shape, biases)
        if step.kind == "concatenated" and made[1:] == tuple(shape[1:]):
            return parts.Concatenated(body)
        return parts.Residual(body) if step.kind == "residual" and made == tuple(shape) else None
    maker = MAKERS.get(step.kind)
    return None if maker is None else maker(step, shape, biases)


def _shape(module: nn.Module, shape: Sequence[int]) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(module.eval()(torch.zeros(1, *shape)).shape[1:])


def _conv(step: Step, shape: Sequence[int], biases: bool) -> nn.Module | None:
    if len(shape) != 3:
        return None
    height, width = ((step.size, step.stride) if size > 2 else (1, 1) for size in shape[1:])  # one row stays one
    kernel, stride = zip(height, width, strict=True)
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Conv2d(shape[0], step.width, kernel, stride, padding, bias=biases)


def _depthwise(step: Step, shape: Sequence[int], biases: bool) -> nn.Module | None:
    return nn.Conv2d(shape[0], shape[0], 3, padding=1, groups=shape[0], bias=biases) if len(shape) == 3 else None


def _deconvolve(step: Step, shape: Sequence[int], biases: bool) -> nn.Module | None:
    fits = len(shape) == 3 and max(shape[1:]) <= 8
    return nn.ConvTranspose2d(shape[0], shape[0], 2, 2, bias=biases) if fits else None


def _linear(step: Step, shape: Sequence[int], biases: bool) -> nn.Module | None:
    return nn.Linear(shape[-1], step.width, bias=biases) if len(shape) < 3 else None


def _pool(kind: type[nn.MaxPool2d] | type[nn.AvgPool2d]) -> Maker:
    def make(step: Step, shape: Sequence[int], biases: bool) -> nn.Module | None:
        if len(shape) != 3 or max(shape[1:]) < 4:
            return None
        window = (step.size if shape[1] > 3 else 1, step.size if shape[2] > 3 else 1)
        return kind(window, window)

    return make


def _maps(make: Callable[[Sequence[int]], nn.Module]) -> Maker:
    """A module for maps (C, h, w) alone."""
    return lambda step, shape, biases: make(shape) if len(shape) == 3 else None


def _norm(step: Step, shape: Sequence[int], biases: bool) -> nn.Module | None:
    if len(shape) == 1 or shape[0 if len(shape) == 3 else -1] < 2:
        return None  # of one number nothing is left
    return parts.ChannelNorm(shape[0]) if len(shape) == 3 else nn.LayerNorm(shape[-1])


def _over_positions(make: Callable[[int], nn.Module]) -> Maker:
    """A norm of maps, where they have a few positions."""
    return lambda step, shape, biases: make(shape[0]) if len(shape) == 3 and shape[1] * shape[2] > 3 else None


def _activation(make: Callable[[], nn.Module]) -> Maker:
    return lambda step, shape, biases: make()


def _place(step: Step, shape: Sequence[int], biases: bool) -> nn.Module | None:
    return parts.Place(tuple(shape)) if biases else None


MAKERS: Mapping[str, Maker] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "deconvolve": _deconvolve,
    "linear": _linear,
    "batch_norm": _maps(lambda shape: nn.BatchNorm2d(shape[0])),
    "group_norm": _over_positions(lambda width: nn.GroupNorm(2 if width % 2 == 0 else 1, width)),
    "instance_norm": _over_positions(lambda width: nn.InstanceNorm2d(width, affine=True)),
    "layer_norm": _norm,
    "relu": _activation(nn.ReLU),
    "leaky_relu": _activation(lambda: nn.LeakyReLU(0.1)),
    "gelu": _activation(nn.GELU),
    "silu": _activation(nn.SiLU),
    "tanh": _activation(nn.Tanh),
    "sigmoid": _activation(nn.Sigmoid),
    "elu": _activation(nn.ELU),
    "softplus": _activation(nn.Softplus),
    "hardswish": _activation(nn.Hardswish),
    "max_pool": _pool(nn.MaxPool2d),
    "avg_pool": _pool(nn.AvgPool2d),
    "pad": _maps(lambda shape: nn.ZeroPad2d((0, 1, 1, 0))),
    "upsample": _maps(lambda shape: nn.Upsample(scale_factor=2)),
    "dropout": _activation(lambda: nn.Dropout(0.5)),
    "scale": _maps(lambda shape: parts.Scale((shape[0], 1, 1))),
    "place": _place,
    "excited": lambda step, shape, biases: parts.Excited(shape[0], bias=biases) if len(shape) == 3 else None,
    "selected": lambda step, shape, biases: parts.Selected(shape[0], bias=biases) if len(shape) == 3 else None,
    "attention": lambda step, shape, biases: parts.Attention(shape[-1], bias=biases) if len(shape) == 2 else None,
}


def _head(spec: NetworkSpec, shape: Sequence[int]) -> nn.Sequential:
    """Logits from features: by means over positions, from all of them, or as the mean of a class map."""
    width, bias = spec.outputs, spec.biases
    if len(shape) == 1:
        return nn.Sequential(nn.Linear(shape[0], width, bias=bias))
    if len(shape) == 2:
        return nn.Sequential(parts.Mean((1,)), nn.Linear(shape[1], width, bias=bias))
    flat = shape[0] * shape[1] * shape[2]
    if spec.head == "flat":
        return nn.Sequential(nn.Flatten(), nn.Linear(flat, width, bias=bias))
    if spec.head == "dense":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(flat, 10, bias=bias), nn.ReLU(), nn.Dropout(), nn.Linear(10, width, bias=bias)
        )
    if spec.head == "class_map":
        return nn.Sequential(nn.Conv2d(shape[0], width, 1, bias=bias), parts.Mean((2, 3)))
    if spec.head == "grouped":
        return nn.Sequential(nn.Conv2d(shape[0], 2 * width, 1, bias=bias), parts.Grouped(width))
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(shape[0], width, bias=bias))


def _fill(module: nn.Module, stream: torch.Generator, *, biases: bool) -> None:
    """Weights of one module, so that the signal keeps its size; norms with statistics as after training."""
    own = dict(module.named_parameters(recurse=False))
    for name, value in own.items():
        if value.dim() > 1 and name == "weight":
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=stream)
        elif name in ("weight", "factor"):
            value.uniform_(0.5, 1.5, generator=stream)
        elif biases:
            value.normal_(0, 0.3, generator=stream)
        else:
            value.zero_()
    if isinstance(module, _BatchNorm) and module.running_mean is not None and module.running_var is not None:
        module.running_mean.normal_(0, 0.3, generator=stream)
        module.running_var.uniform_(0.5, 2, generator=stream)
        if not biases:
            module.running_mean.zero_()
