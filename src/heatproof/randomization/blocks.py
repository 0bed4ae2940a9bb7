"""Layers that are randomized together."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from heatproof.errors import InputError, unknown
from heatproof.randomization.layers import Layer
from heatproof.registry import Registry

BLOCKINGS: "Registry[Blocking]" = Registry("blocking", "heatproof.randomization")


class Block(NamedTuple):
    """One layer, or several, under one name."""

    label: str
    layers: tuple[Layer, ...]


class Blocking(ABC):
    """A frozen dataclass that says which layers of a network are randomized together.

    >>> blocks = hp.randomization.EndingAt(pattern="*.conv1")
    >>> isinstance(blocks, hp.randomization.Blocking)
    True
    """

    @abstractmethod
    def blocks(self, layers: Sequence[Layer]) -> list[Block]:
        """The blocks of a network whose layers are given in execution order; layers in none of them stay trained.

        Raises: InputError if the network is not of the kind that this is made for.
        """


@BLOCKINGS.register("modules")
@dataclass(frozen=True, kw_only=True)
class Modules(Blocking):
    """The layers under each of the modules `names`; a layer under none of them is a block of its own.

    >>> cascade = hp.randomization.Cascading(blocks=hp.randomization.Modules(names=("0", "3")))
    >>> [stage.label for stage in cascade.stages(net, images)]
    ['3', '0']
    """

    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))  # lists come from TOML

    def blocks(self, layers: Sequence[Layer]) -> list[Block]:
        return blocks_of(layers, self.names)


@BLOCKINGS.register("inception-v3")
def inception_v3() -> Modules:
    """Adebayo et al.'s 17 blocks of Inception v3: the logits, eleven Mixed_…, the first five convolutions with norms.

    Under torchvision's and timm's names, where the logits are `fc`.

    Source: Adebayo et al. 2018, Fig. 2 (and `inception_block_names` of its code).
    """
    mixed = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
    first = ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")
    return Modules(names=(*(f"Conv2d_{name}" for name in first), *(f"Mixed_{name}" for name in mixed), "fc"))


@BLOCKINGS.register("ending-at")
@dataclass(frozen=True, kw_only=True)
class EndingAt(Blocking):
    """The last layer, then, from the output down, all layers to the next (or every `every`-th) that `pattern` matches.

    Each block is called by the layer that it ends at. What lies below the last stop stays trained, as in Binder et al.
    2023; `rest` makes it one last block, so that a cascade ends with everything random and can be judged.

    Raises: InputError if fewer than `every` layers match.

    Source: Binder et al. 2023, A.1. Deviation: DenseNet-121 has 58 layers named `.conv1`, not 63, so every third of
    them makes 19 stops and leaves the 58th.

    >>> cascade = hp.randomization.Cascading(blocks=hp.randomization.EndingAt(pattern="0"))
    >>> [stage.layers for stage in cascade.stages(net, images)]
    [('3',), ('3', '0')]
    """

    pattern: str = "*.conv1"
    every: int = 1
    rest: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"Expected every to be at least 1, but got {self.every}.")

    def blocks(self, layers: Sequence[Layer]) -> list[Block]:
        what = f"layers that {self.pattern!r} matches"
        return _ending_at(layers, lambda layer: fnmatchcase(layer.name, self.pattern), self.every, self.rest, what)


@BLOCKINGS.register("resnet-conv1")
def resnet_conv1() -> EndingAt:
    """Binder et al.'s 17 stages of ResNet-50: `fc`, then down to each of the 16 layers `.conv1`."""
    return EndingAt()


@BLOCKINGS.register("densenet-conv1")
def densenet_conv1() -> EndingAt:
    """Binder et al.'s stages of DenseNet-121: `classifier`, then down to every third of the 58 layers `.conv1`."""
    return EndingAt(every=3)


@BLOCKINGS.register("depthwise")
@dataclass(frozen=True, kw_only=True)
class Depthwise(Blocking):
    """The last layer, then, from the output down, all layers to the next depthwise convolution.

    Found by its groups, one a channel and more than one, not by its name. For EfficientNet-B0 these are the
    stages of Binder et al.: its 16 depthwise convolutions (they count 17, which it does not have). Fields as in
    EndingAt.

    Source: Binder et al. 2023, A.1.

    >>> small = nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(2, 2, 1), nn.Flatten(), nn.Linear(72, 3)).eval()
    >>> cascade = hp.randomization.Cascading(blocks=hp.randomization.Depthwise())
    >>> [stage.layers for stage in cascade.stages(small, torch.rand(1, 2, 8, 8))]
    [('3',), ('3', '1', '0')]
    """

    every: int = 1
    rest: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"Expected every to be at least 1, but got {self.every}.")

    def blocks(self, layers: Sequence[Layer]) -> list[Block]:
        return _ending_at(layers, _is_depthwise, self.every, self.rest, "depthwise convolutions")


def blocks_of(layers: Sequence[Layer], names: Sequence[str]) -> list[Block]:
    """`layers` by the modules of `names` that they are under; a layer under none of them is a block of its own.

    Raises: InputError if no layer is under a name, or if one is under two of them.
    """
    members: dict[str, list[Layer]] = {name: [] for name in names}
    for layer in layers:
        over = [name for name in names if f"{layer.name}.".startswith(f"{name}.")]
        if len(over) > 1:
            raise InputError(
                f"Expected blocks that share no layer, but {layer.name!r} is under {' and '.join(over)}; drop one."
            )
        members.setdefault(over[0] if over else layer.name, []).append(layer)
    for name in names:
        if not members[name]:
            raise unknown("module with parameters in use", name, _modules_over(layers))
    return [Block(name, tuple(found)) for name, found in members.items()]


def from_the_top(layers: Sequence[Layer]) -> list[Layer]:
    """Layers by their last use, the one nearest the output first."""
    return sorted(layers, key=lambda layer: layer.last, reverse=True)


def _ending_at(
    layers: Sequence[Layer], stops: Callable[[Layer], bool], every: int, rest: bool, what: str
) -> list[Block]:
    down = from_the_top(layers)
    places = [place for place, layer in enumerate(down) if place > 0 and stops(layer)][every - 1 :: every]
    if not places:
        raise InputError(f"Expected a network with at least {every} {what} below the last layer, but it has fewer.")
    ends = [0, *places] + ([len(down) - 1] if rest and places[-1] < len(down) - 1 else [])
    starts = [0, *(end + 1 for end in ends)]
    return [Block(down[end].name, tuple(down[start : end + 1])) for start, end in zip(starts, ends, strict=False)]


def _is_depthwise(layer: Layer) -> bool:
    groups = getattr(layer.module, "groups", 1)
    return groups > 1 and groups == getattr(layer.module, "in_channels", None)


def _modules_over(layers: Sequence[Layer]) -> set[str]:
    parts = [layer.name.split(".") for layer in layers]
    return {".".join(path[:depth]) for path in parts for depth in range(1, len(path) + 1)}
