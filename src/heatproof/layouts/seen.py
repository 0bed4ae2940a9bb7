"""What is known of a network for inputs of one shape: found out once, kept as long as the network."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from heatproof.errors import HeatproofError, InputError
from heatproof.layouts.reading import Reading
from heatproof.layouts.record import Layer, Record, recorded
from heatproof.layouts.told import Meaning
from heatproof.models import Bound, forward
from heatproof.modules import modules_of

TRIES = 16  # maps that are looked at for one that all others pass
WAYS = 8  # ways to the outputs that are told apart
MOST = 16  # shapes of inputs that are kept a network

_kept = WeakIdKeyDictionary()  # by network: what was seen, by the shape of a sample and the network's structure


class Seen(NamedTuple):
    """What one watched run told: see `heatproof.layouts.record`.

    `last` is the last map on the way to the outputs that all other maps pass; where none of its size is one, the last
    map of all, and `beside` are the maps of other ways, which do not lead through it.
    """

    axes: tuple[Meaning | None, ...]  # of a sample's axes 1, 2, …
    readings: dict[str, Reading | None]  # of the layers that ran once and gave a tensor that depends on the input
    shapes: dict[str, tuple[int, ...]]  # of the same outputs, with two rows
    kinds: dict[str, str]  # what each layer that ran returned last: Tensor, tuple, …
    runs: dict[str, int]
    last: str | None
    beside: tuple[str, ...]

    @property
    def positions(self) -> tuple[int, ...]:
        """The axes of the input that are positions."""
        return tuple(axis for axis, meaning in enumerate(self.axes, start=1) if meaning == "position")


def network(model: nn.Module) -> nn.Module:
    """The network whose layers have names: the one inside a Bound."""
    while isinstance(model, Bound):
        model = model.net
    return model


def record_of(model: nn.Module, inputs: Tensor) -> Record:
    """A watched run of a model on the first sample.

    Raises: InputError for a model that does not run on it twice.
    """
    try:
        return recorded(network(model), inputs, lambda pair, rows: forward(model, pair, rows))
    except HeatproofError:
        raise
    except Exception as error:  # whatever the model does not like about two rows
        raise InputError(
            f"Expected a network that runs on a batch of two such samples {tuple(inputs.shape[1:])}, but it raised "
            f"{type(error).__name__}: {error}."
        ) from error


def seen(model: nn.Module, inputs: Tensor) -> Seen:
    """What is known of a model for such inputs. Cost: a watched run of two rows, once a network and shape."""
    origin = vars(model).get("origin", model)
    own: dict[Any, Seen] = _kept.setdefault(origin, {})  # type: ignore[no-untyped-call]
    key = (tuple(inputs.shape[1:]), _structure(model))
    if key not in own:
        if len(own) >= MOST:
            own.clear()
        own[key] = _summary(record_of(model, inputs))
    return own[key]


def already_seen(model: nn.Module, inputs: Tensor) -> Seen | None:
    """What is known of a model for such inputs, if anything is; the model does not run."""
    known: dict[Any, Seen] = _kept.get(vars(model).get("origin", model), {})  # type: ignore[no-untyped-call]
    return known.get((tuple(inputs.shape[1:]), _structure(model)))


def candidates(record: Record) -> list[Layer]:
    """The layers that make maps of more than one position, the last first."""
    return [one for one in reversed(record.layers.values()) if one.new and one.reading and one.reading.size > 1]


def in_both_halves(reading: Reading, read: Tensor) -> bool:
    """Whether elements that are read lie in the map's first half and in its second, along its longest side."""
    at = reading(read).any(-1).any(0)
    along = max(range(at.dim()), key=lambda axis: at.shape[axis])
    first, second = at.tensor_split((at.shape[along] // 2,), along)
    return bool(first.any() and second.any())


def _summary(record: Record) -> Seen:
    found, beside = _last(record)
    axes = tuple(record.told.meaning(axis) for axis in range(1, len(record.shape)))
    readings = {name: layer.reading for name, layer in record.layers.items()}
    shapes = {name: layer.shape for name, layer in record.layers.items()}
    return Seen(axes, readings, shapes, record.kinds, record.runs, found, beside)


def _last(record: Record) -> tuple[str | None, tuple[str, ...]]:
    """The last map, and those beside it.

    Queries, keys and values of an attention, or the branch and the skip connection of a block, are several last maps;
    what they are made from is one, of the same size.
    """
    maps = candidates(record)
    reads = record.depended_on(maps)
    read = (i for i, (one, at) in enumerate(zip(maps, reads, strict=True)) if _read(one, at))
    places = [i for i in islice(read, TRIES) if not record.is_class_map(maps[i])]
    first: tuple[str | None, tuple[str, ...]] = (None, ())
    for i in (i for i in places if _grid(maps[i]) == _grid(maps[places[0]])):
        beside = _beside(record, maps[i], maps[:i], maps[i + 1 :])
        if not beside:
            return maps[i].name, ()
        if first[0] is None:
            first = (maps[i].name, beside)
    return first


def _grid(layer: Layer) -> tuple[int, ...]:
    return () if layer.reading is None else layer.reading.grid


def _read(layer: Layer, read: Tensor) -> bool:
    return layer.reading is not None and in_both_halves(layer.reading, read)


def _beside(record: Record, last: Layer, later: Sequence[Layer], earlier: Sequence[Layer]) -> tuple[str, ...]:
    """Maps on ways to the outputs that do not lead through a layer, the last of each way.

    A way that hands on no positions of the map that it passes last (a transformer's class token, past the attention in
    its last block) is none of maps.
    """
    behind: set[str] = set()  # what is made from the layer itself
    names, blocked = [], [last]
    for _ in range(WAYS):
        left = [one for one in (*later, *earlier) if one.name not in behind]
        left = [one for one in left if not any(one.fact is other.fact for other in blocked)]
        reads, more = record.left(left, without=blocked)
        carrier = None
        for one, read in zip(left, reads, strict=True) if more else ():
            if not bool(read.any()) or record.is_class_map(one):
                continue
            if any(one is other for other in later) and bool(record.depended_on([last], of=one.fact)[0].any()):
                behind.add(one.name)
                continue
            carrier = one
            if _read(one, read):
                names.append(one.name)
            break
        if carrier is None:
            break
        blocked.append(carrier)
    return tuple(names)


def _structure(model: nn.Module) -> tuple[Any, ...]:
    bound = []
    while isinstance(model, Bound):
        of_outputs = (str(model.output), getattr(model, "reads", ""))  # which target reads them
        bound.append((model.at, model.layer, model.reduction, of_outputs, id(model.preprocessing)))
        model = model.net
    built: list[Any] = []
    for module in modules_of(model):
        own = module.__dict__
        built += [type(module), *own.get("_modules", {}).keys()]  # TorchScript's iterate by number
        built += [None if parameter is None else parameter.shape for parameter in own.get("_parameters", {}).values()]
    return (*bound, tuple(built), torch.get_default_dtype())
