"""Layers that are randomized together."""

from collections.abc import Sequence
from typing import NamedTuple

from heatproof.errors import InputError, unknown
from heatproof.randomization.layers import Layer


class Block(NamedTuple):
    """One layer, or the layers under a module, called by its name."""

    label: str
    layers: tuple[Layer, ...]


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


def _modules_over(layers: Sequence[Layer]) -> set[str]:
    parts = [layer.name.split(".") for layer in layers]
    return {".".join(path[:depth]) for path in parts for depth in range(1, len(path) + 1)}
