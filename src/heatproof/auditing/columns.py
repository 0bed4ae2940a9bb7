"""The features of a table's rows and their names, as the data tell them, whichever way the network takes the rows."""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.auditing.samples import Portion
from heatproof.data.table import NUMBERS
from heatproof.features import Features
from heatproof.layouts.inputs import features_of
from heatproof.models import Bound
from heatproof.packing import Parts
from heatproof.undo import hooked


def features_told(model: nn.Module, portion: Portion) -> Features:
    """What counts as one feature: as the data say, or what the network tells of the explained tensor."""
    if portion.features is None:
        return features_of(model, portion.inputs)
    if not isinstance(model, Bound) or model.at is None:
        return portion.features
    if model.several:
        own = [name for name in _parts(model) if model.named.get(name) == NUMBERS]
        return model.features(**dict.fromkeys(own, portion.features))
    return portion.features if model.named.get(str(model.at)) == NUMBERS else features_of(model, portion.inputs)


def columns_told(model: nn.Module, portion: Portion, features: Features) -> tuple[str, ...] | None:
    """The name of each feature of a table's rows; None where they are no columns, or nothing tells which.

    What a network of several inputs makes of a category is told by the integers that go into its embedding: where they
    are those of one column, it is that one, else it keeps the name that it has in the network.
    """
    names = portion.names.columns if portion.names is not None else ()
    if not names:
        return None
    if not isinstance(model, Bound) or model.at is None:
        count = prod(features.grid(portion.inputs.shape[1:]))
        return names if count == len(names) else None
    if not isinstance(features, Parts):
        at = str(model.at)
        count = prod(features.grid(portion.inputs.shape[1:]))
        return tuple(_of_part(model, portion, at, count, _integers_into(model)))
    into = _integers_into(model)
    each = zip(features.names, features.shapes, features.each, strict=True)
    return tuple(
        name for part, shape, one in each for name in _of_part(model, portion, part, prod(one.grid(shape)), into)
    )


def cells_told(portion: Portion, columns: Sequence[str]) -> dict[str, list[str]] | None:
    """What stands in each of these columns of each row, in words, by the sample's id; None where nothing tells."""
    if portion.cells is None or portion.names is None:
        if portion.inputs.dim() != 2 or portion.inputs.shape[1] != len(columns):
            return None
        rows = zip(portion.ids, portion.inputs.tolist(), strict=True)
        return {one: [f"{value:.3g}" for value in values] for one, values in rows}
    at = {name: place for place, name in enumerate(portion.names.columns)}
    words = zip(portion.ids, portion.cells, strict=True)
    return {one: [cells[at[name]] if name in at else "" for name in columns] for one, cells in words}


def _parts(model: Bound) -> list[str]:
    return [model.at] if isinstance(model.at, str) else list(model.at or ())


def _of_part(model: Bound, portion: Portion, part: str, count: int, into: dict[str, Tensor]) -> list[str]:
    """The names of the features of one explained tensor."""
    assert portion.names is not None  # by who asks
    sides = dict(portion.sides or {})
    places = {one: at for at, one in enumerate(portion.names.columns)}
    categories = [name for name in sides if name in places]
    numbers = [name for name in portion.names.columns if name not in categories]
    if model.named.get(part) == NUMBERS and count == len(numbers):
        return numbers
    ids = into.get(part)
    if ids is not None and ids.dim() == 2 and ids.shape[1] == count:
        found = [_column(ids[:, k], sides, categories) for k in range(count)]
        return [name or f"{part} {k}" for k, name in enumerate(found)]
    if ids is not None and ids.dim() == 1 and count == 1:
        return [_column(ids, sides, categories) or part]
    return [part] if count == 1 else [f"{part} {k}" for k in range(count)]


def _column(ids: Tensor, sides: dict[str, Tensor], categories: Sequence[str]) -> str | None:
    """The one column that holds these integers, if it is one."""
    same = [name for name in categories if torch.equal(sides[name].to(ids.device), ids)]
    return same[0] if len(same) == 1 else None


def _integers_into(model: Bound) -> dict[str, Tensor]:
    """The integers that went into each submodule that is explained, by the name of its place. Cost: a run."""
    seen: dict[str, Tensor] = {}
    hooks = [
        (model.net.get_submodule(place.module), partial(_note, seen, place.text), {"before": True})
        for place in model.places[0]
        if place.run is None and place.argument is None
    ]
    with hooked(*hooks):
        model.inputs()
    return seen


def _note(seen: dict[str, Tensor], name: str, _module: nn.Module, args: tuple[Any, ...]) -> None:
    if args and isinstance(args[0], Tensor) and not args[0].is_floating_point():
        seen[name] = args[0].detach()
