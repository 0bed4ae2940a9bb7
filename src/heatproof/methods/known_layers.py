"""Where bottlenecks stand: where 004 puts them in networks that it names, and a rule for all others."""

from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.errors import InputError
from heatproof.methods.spatial import Made, is_only_way, maps_made, network, read_in_both_halves
from heatproof.models import forward

FEWEST = 7  # places along a side, if there is a layer with as many: 28 pixels by 4


def layer_of(layer: str | None, model: nn.Module) -> str | None:
    """The layer's name, or 004's choice for the per-sample bottleneck (Table 2); None for a network unknown to it."""
    if layer is not None:
        return layer
    known = _resnet(network(model))[1:2] or _vgg(network(model))[1:2]
    return known[0] if known else None


def readout_layers_of(
    layer: str | None, readouts: tuple[str, ...], model: nn.Module
) -> tuple[str | None, tuple[str, ...]]:
    """The bottleneck's layer and those read out, or 004's choice (Table 3); nothing for a network unknown to it."""
    known = _resnet(network(model)) or _vgg(network(model))
    return layer or (known[0] if known else None), readouts or known


def found_layer(model: nn.Module, inputs: Tensor, *, share: int = 8) -> str:
    """The deepest layer whose map is no coarser than 1/`share` of the image along each side, nor than 7 places.

    An eighth is where 004's per-sample bottlenecks stand in ResNet-50 and VGG-16. The layer is one through which
    everything passes that the outputs know of the image: no skip connection leads around it. Where all maps are coarser
    it is the deepest of the finest. Class maps are left out. Ours: 004 says nothing of other networks.

    Cost: two forward passes of two rows, and two or three for each layer that is looked at.

    Raises: InputError where there is none.
    """
    ways = _ways(model, inputs)
    height, width = inputs.shape[2:]
    fine = [one for one in ways if _fine(one.height, height, share) and _fine(one.width, width, share)]
    coarse = sorted((one for one in ways if one not in fine), key=lambda one: -one.height * one.width)
    for one in (*fine, *coarse):
        if _everything_passes(model, one.layer, inputs):
            return one.layer
    raise InputError(
        f"Expected a layer of {type(network(model)).__name__} with feature maps (N, C, h, w) that everything passes "
        f"through on images {tuple(inputs.shape[1:])}, but found none; name a layer."
    )


def found_readouts(model: nn.Module, inputs: Tensor, layer: str | None) -> tuple[str, tuple[str, ...]]:
    """A bottleneck's layer, as `found_layer` finds it at a quarter of the image, and the layers to read out.

    These are the deepest map of every size, from that layer on, that everything passes through, and the layer that
    gives the outputs, if there is one: 004's choice in ResNet and VGG, by a rule.
    """
    start = found_layer(model, inputs, share=4) if layer is None else layer
    ways = _ways(model, inputs)
    names = [one.layer for one in ways]
    later = ways[: names.index(start) + 1] if start in names else ways
    sizes = [[one.layer for one in same] for _, same in groupby(later, key=lambda one: (one.height, one.width))]
    deepest = [next((name for name in same if _everything_passes(model, name, inputs)), None) for same in sizes]
    return start, (*filter(None, reversed(deepest)), *_outputs_layer(model, inputs))


def _fine(places: int, pixels: int, share: int) -> bool:
    return places >= FEWEST and round(pixels / places) <= share  # 27 places of 224 pixels are an eighth


def _ways(model: nn.Module, inputs: Tensor) -> list[Made]:
    """The layers that make feature maps (N, C, h, w) and no class maps, the deepest first."""
    if inputs.dim() != 4:
        raise InputError(f"Expected images (N, C, H, W) for a bottleneck, but got {tuple(inputs.shape)}.")
    made, outputs = maps_made(model, inputs)
    return [one for one in reversed(made) if one.leading and one.channels != outputs]


def _everything_passes(model: nn.Module, layer: str, inputs: Tensor) -> bool:
    return is_only_way(model, layer, inputs) and read_in_both_halves(model, layer, inputs)


def _outputs_layer(model: nn.Module, inputs: Tensor) -> tuple[str, ...]:
    """The last layer that gives as many numbers a sample as there are outputs, the outer of nested ones."""
    seen: list[tuple[str, int]] = []

    def hook(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 2:
            seen.append((name, output.shape[1]))

    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: hook(name, output))
        for name, module in network(model).named_modules()
        if name
    ]
    try:
        with torch.no_grad():
            outputs = forward(model, inputs[:1], torch.zeros(1, dtype=torch.int64, device=inputs.device)).shape[1]
    finally:
        for handle in handles:
            handle.remove()
    return tuple(name for name, width in seen if width == outputs)[-1:]


def _resnet(network: nn.Module) -> tuple[str, ...]:
    """conv2_x … conv5_x and the output of a torchvision ResNet."""
    if type(network).__name__ != "ResNet" or not hasattr(network, "layer2"):
        return ()
    return ("layer1", "layer2", "layer3", "layer4", "fc")


def _vgg(network: nn.Module) -> tuple[str, ...]:
    """conv3_1, conv4_1, conv5_1, the last convolution and the output of a torchvision VGG."""
    features = getattr(network, "features", None)
    if type(network).__name__ != "VGG" or not isinstance(features, nn.Sequential):
        return ()
    kinds = [type(module) for module in features]
    maps = [i for i, kind in enumerate(kinds) if kind is nn.Conv2d]
    pools = [i for i, kind in enumerate(kinds) if kind is nn.MaxPool2d]
    firsts = [min(i for i in maps if i > pool) for pool in pools[1:4]]
    return (*(f"features.{i}" for i in (*firsts, maps[-1])), "classifier")
