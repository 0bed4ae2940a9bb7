"""Where bottlenecks stand: where Schulz et al. put them in networks that they name, and a rule for all others."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from torch import Tensor, nn

from heatproof.errors import InputError
from heatproof.layouts.record import Layer, Record
from heatproof.layouts.seen import candidates, in_both_halves, network, record_of, seen

FEWEST = 7  # places along a side, if there is a layer with as many: 28 pixels by 4


def layer_of(layer: str | None, model: nn.Module) -> str | None:
    """The layer's name, or Schulz et al.'s for the per-sample bottleneck (Table 2); None for a network unknown."""
    if layer is not None:
        return layer
    known = _resnet(network(model))[1:2] or _vgg(network(model))[1:2]
    return known[0] if known else None


def readout_layers_of(
    layer: str | None, readouts: tuple[str, ...], model: nn.Module
) -> tuple[str | None, tuple[str, ...]]:
    """The bottleneck's layer and those read out, or Schulz et al.'s (Table 3); nothing for a network unknown to it."""
    known = _resnet(network(model)) or _vgg(network(model))
    return layer or (known[0] if known else None), readouts or known


def found_layer(model: nn.Module, inputs: Tensor, *, share: int = 8) -> str:
    """The deepest layer whose map is no coarser than 1/`share` of the image along each side, nor than 7 places.

    An eighth is where Schulz et al.'s per-sample bottlenecks stand in ResNet-50 and VGG-16. The layer is one through
    which everything passes that the outputs know of the image: no skip connection leads around it. Where all maps are
    coarser it is the deepest of the finest. Class maps are left out. Ours: Schulz et al. say nothing of other networks.

    Cost: a forward pass of two rows that is watched: two to six passes' time.

    Raises: InputError where there is none.
    """
    return _found(_Ways.of(model, inputs), model, inputs, share)


def found_readouts(model: nn.Module, inputs: Tensor, layer: str | None) -> tuple[str, tuple[str, ...]]:
    """A bottleneck's layer, as `found_layer` finds it at a quarter of the image, and the layers to read out.

    These are the deepest map of every size, from that layer on, that everything passes through, and the layer that
    gives the outputs, if there is one: Schulz et al.'s choice in ResNet and VGG, by a rule.
    """
    ways = _Ways.of(model, inputs)
    start = _found(ways, model, inputs, 4) if layer is None else layer
    names = [one.name for one in ways.maps]
    later = ways.maps[: names.index(start) + 1] if start in names else ways.maps
    sizes = [list(same) for _, same in groupby(later, key=lambda one: one.shape[2:])]
    deepest = [next((one.name for one in same if ways.everything_passes(one)), None) for same in sizes]
    return start, (*filter(None, reversed(deepest)), *ways.outputs)


def check_maps(model: nn.Module, layers: Iterable[str], inputs: Tensor) -> None:
    """Refuse layers whose output is a map in another layout than (N, C, h, w): its statistics would be of rows.

    Raises: InputError.
    """
    readings = seen(model, inputs).readings
    for layer in layers:
        reading = readings.get(layer)
        if reading is not None and not reading.leading:
            raise InputError(
                f"Expected feature maps (N, C, h, w) for a bottleneck, but {layer!r} gives "
                f"{(len(inputs), *reading.shape[1:])}, whose dimensions {reading.positions} are positions; name a "
                "layer that keeps channels first."
            )


@dataclass(frozen=True)
class _Ways:
    """The layers that make feature maps (N, C, h, w) and no class maps, the deepest first, in a watched run."""

    record: Record
    maps: list[Layer]

    @classmethod
    def of(cls, model: nn.Module, inputs: Tensor) -> "_Ways":
        if inputs.dim() != 4:
            raise InputError(f"Expected images (N, C, H, W) for a bottleneck, but got {tuple(inputs.shape)}.")
        record = record_of(model, inputs)
        maps = [one for one in candidates(record) if one.reading and one.reading.leading and len(one.shape) == 4]
        return cls(record, [one for one in maps if not record.is_class_map(one)])

    def everything_passes(self, layer: Layer) -> bool:
        """Whether all that the outputs know of the image comes through the layer, and from both of its halves."""
        (read,) = self.record.depended_on([layer])
        assert layer.reading is not None  # by `of`
        return in_both_halves(layer.reading, read) and not self.record.passes_by(layer)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The last layer that gives as many numbers a sample as there are outputs, the outer of nested ones."""
        wanted = None if self.record.outputs is None else self.record.outputs.flow.shape
        return tuple(layer.name for layer in self.record.layers.values() if layer.shape == wanted)[-1:]


def _found(ways: _Ways, model: nn.Module, inputs: Tensor, share: int) -> str:
    sides = inputs.shape[2:]
    fine = [one for one in ways.maps if all(_fine(*pair, share) for pair in zip(one.shape[2:], sides, strict=True))]
    coarse = sorted((one for one in ways.maps if one not in fine), key=lambda one: -one.shape[2] * one.shape[3])
    for one in (*fine, *coarse):
        if ways.everything_passes(one):
            return one.name
    raise InputError(
        f"Expected a layer of {type(network(model)).__name__} with feature maps (N, C, h, w) that everything passes "
        f"through on images {tuple(inputs.shape[1:])}, but found none; name a layer."
    )


def _fine(places: int, pixels: int, share: int) -> bool:
    return places >= FEWEST and round(pixels / places) <= share  # 27 places of 224 pixels are an eighth


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
