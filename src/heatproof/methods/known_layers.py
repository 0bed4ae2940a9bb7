"""Where 004 puts its bottlenecks in networks that it names."""

from torch import nn

from heatproof.errors import InputError
from heatproof.models import Bound


def layer_of(layer: str | None, model: nn.Module) -> str:
    """The layer's name, or where there is none 004's choice for the per-sample bottleneck (Table 2)."""
    if layer is not None:
        return layer
    network = model.net if isinstance(model, Bound) else model
    known = _resnet(network)[1:2] or _vgg(network)[1:2]
    return known[0] if known else _unknown(network)


def readout_layers_of(layer: str | None, readouts: tuple[str, ...], model: nn.Module) -> tuple[str, tuple[str, ...]]:
    """The bottleneck's layer and those read out, or where none are named 004's choice (Table 3)."""
    network = model.net if isinstance(model, Bound) else model
    known = _resnet(network) or _vgg(network)
    if not known and (layer is None or not readouts):
        _unknown(network)
    return layer or known[0], readouts or known


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


def _unknown(network: nn.Module) -> str:
    maps = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    raise InputError(
        f"Expected the name of a layer, as {type(network).__name__} has no usual one; give layer=…, for example "
        f"{maps[len(maps) // 2] if maps else 'one with spatial extent'!r}: deep enough to tell labels apart, and not "
        "yet pooled to a few places."
    )
