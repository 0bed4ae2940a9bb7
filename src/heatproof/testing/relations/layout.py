"""Layout: how an image lies in memory, which way it is turned, and in which order its channels come."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from heatproof.testing.relations import parts
from heatproof.testing.relations.base import Change
from heatproof.testing.relations.editing import edited, first_linear
from heatproof.testing.relations.traits import Traits

KEYED = "its draws are keyed by the sample's values, and these are others"
DIRECTED = "it takes differences towards one side, and a mirror image has them on the other"
TIES = "max-pooling's winner among equal values is the first in order, and it asks winners whatever their value"


@dataclass(frozen=True, kw_only=True)
class Laid(Change):
    """A relation of this family."""

    family: ClassVar[str] = "layout"


class Turned(nn.Module):
    """A map turned back, then what followed."""

    def __init__(self, module: nn.Module, turn: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module, self.turn = module, turn

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(self.turn(x))
        return out


def transposed(x: Tensor) -> Tensor:
    """Height and width of images exchanged; anything else as it is."""
    return x.transpose(-1, -2) if x.dim() == 4 else x


def mirrored(x: Tensor) -> Tensor:
    """Images from left to right."""
    return x.flip(-1) if x.dim() == 4 else x


def upside_down(x: Tensor) -> Tensor:
    """Images from top to bottom."""
    return x.flip(-2) if x.dim() == 4 else x


def _swapped(value: object) -> object:
    return (value[1], value[0]) if isinstance(value, tuple) and len(value) == 2 else value


def _sides(sides: tuple[int, int, int, int], turn: Callable[[Tensor], Tensor]) -> tuple[int, int, int, int]:
    left, right, top, bottom = sides
    if turn is transposed:
        return top, bottom, left, right
    return (right, left, top, bottom) if turn is mirrored else (left, right, bottom, top)


def _turned(turn: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Tensor], nn.Module | str]:
    """Kernels, windows and places turned as the image is; before a flattening the map is turned back."""

    def edit(module: nn.Module, before: nn.Module | None) -> nn.Module | None:
        with torch.no_grad():
            if isinstance(module, nn.Flatten):
                return Turned(module, turn)
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.weight.copy_(turn(module.weight).clone()) if turn is not transposed else _transpose(module)
            elif isinstance(module, parts.Place) and module.offset.dim() == 3:
                module.offset = nn.Parameter(turn(module.offset[None])[0].clone())
            elif isinstance(module, nn.ZeroPad2d):
                module.padding = _sides(module.padding, turn)
            elif turn is transposed and isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
                for name in ("kernel_size", "stride", "padding"):
                    setattr(module, name, _swapped(getattr(module, name)))
            else:
                return None
        return module

    def change(model: nn.Module, inputs: Tensor) -> nn.Module | str:
        if inputs.dim() != 4:
            return "inputs are no images"
        twin = edited(model, edit)
        return model if isinstance(twin, str) else twin

    return change


def _transpose(module: nn.Conv2d | nn.ConvTranspose2d) -> None:
    module.weight = nn.Parameter(module.weight.transpose(-1, -2).clone())
    for name in ("kernel_size", "stride", "padding", "dilation", "output_padding"):
        setattr(module, name, _swapped(getattr(module, name)))


def _slanted(change: Callable[[nn.Module, Tensor], nn.Module | str]) -> Callable[[nn.Module, Tensor], nn.Module | str]:
    """The same for inputs that are not square."""

    def only(model: nn.Module, inputs: Tensor) -> nn.Module | str:
        square = inputs.dim() == 4 and inputs.shape[2] == inputs.shape[3]
        return "inputs are square" if square else change(model, inputs)

    return only


def _keyed(traits: Traits) -> str:
    return KEYED if traits.draws else ""


def _of_winners(traits: Traits) -> str:
    return KEYED if traits.draws else TIES if traits.clamps and not traits.masked else ""


def _of_direction(traits: Traits) -> str:
    return DIRECTED if traits.direction and not traits.draws else _of_winners(traits)


def _reversed_channels(model: nn.Module, inputs: Tensor) -> nn.Module | str:
    """The first layer's weights in the inverse order of channels."""
    name = first_linear(model, inputs)
    if name is None:
        return "no linear operation alone reads the input"

    def edit(module: nn.Module, before: nn.Module | None) -> nn.Module | None:
        if not isinstance(module, nn.Linear | nn.Conv2d) or getattr(module, "groups", 1) != 1:
            return None
        module.weight = nn.Parameter(module.weight.flip(1).clone())
        return module

    return edited(model, edit, only=name)


def _flip_channels(x: Tensor) -> Tensor:
    return x.flip(_channels(x))


def _channels(x: Tensor) -> int:
    return 2 if x.dim() == 3 else 1


def channels_last(x: Tensor) -> Tensor:
    """The same values, channels innermost in memory."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def strided(x: Tensor) -> Tensor:
    """The same values with gaps between them, as a slice of something larger."""
    wide = torch.zeros(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype, device=x.device)
    wide[..., ::2] = x
    return wide[..., ::2]


def backwards(x: Tensor) -> Tensor:
    """The same values, dimensions in inverse order in memory."""
    order = list(range(x.dim()))[::-1]
    return x.permute(order).contiguous().permute(order)


LAYOUT = (
    Laid(
        name="transposed",
        says="height and width of inputs and kernels exchanged",
        network=_turned(transposed),
        inputs=transposed,
        undo=lambda maps, traits: transposed(maps),
        excuse=_of_winners,
    ),
    Laid(
        name="transposed-slanted",
        says="the same on inputs that are not square, from 1 × T to 8 : 1",
        network=_slanted(_turned(transposed)),
        inputs=transposed,
        undo=lambda maps, traits: transposed(maps),
        excuse=_of_winners,
    ),
    Laid(
        name="mirrored",
        says="inputs and kernels from left to right",
        network=_turned(mirrored),
        inputs=mirrored,
        undo=lambda maps, traits: mirrored(maps),
        excuse=_of_direction,
    ),
    Laid(
        name="upside-down",
        says="inputs and kernels from top to bottom",
        network=_turned(upside_down),
        inputs=upside_down,
        undo=lambda maps, traits: upside_down(maps),
        excuse=_of_direction,
    ),
    Laid(
        name="channels-permuted",
        says="channels of the input, and of the first layer's weights, in inverse order",
        network=_reversed_channels,
        inputs=_flip_channels,
        undo=lambda maps, traits: _flip_channels(maps),
        excuse=_keyed,
    ),
    Laid(name="channels-last", says="inputs and network in torch's channels-last memory format", inputs=channels_last),
    Laid(name="non-contiguous", says="inputs with gaps between their values in memory", inputs=strided, refits=False),
    Laid(name="strides-inverse", says="inputs with dimensions in inverse order in memory", inputs=backwards),
)
