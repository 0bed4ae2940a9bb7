"""Maps inside a network: which layer makes the last one, and how a layer's output reads as positions of the input."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heatproof.errors import HeatproofWarning, InputError, unknown
from heatproof.layouts.reading import Reading, assumed
from heatproof.layouts.seen import Seen, network, seen
from heatproof.undo import hooked

Layout = Literal["channels-first", "channels-last"]
LAYOUTS = ("channels-first", "channels-last")
# By the number of directions: what carries a map to the input's positions.
ENLARGE = {1: "linear", 2: "bilinear", 3: "trilinear"}


def last_map(model: nn.Module, inputs: Tensor, known: Seen | None = None) -> str:
    """The name of the layer whose output is the last map on the way to the outputs, found by running the model.

    The layer runs once, its output has more than one position, and the outputs depend on more than one of them: a
    transformer that reads its class token alone has no such map after its last attention. It is not the output of
    adaptive pooling, nor a class map (each output depends on one channel), nor its own input handed on. Of a module and
    its last child the outer one is named. VGG: `features`, ResNet: `layer4`.

    Which of a layer's axes are positions, and what depends on what, follows from the operations that run, whatever the
    weights, the sample's values and the sizes are: see `heatproof.layouts`. Where the outputs also depend on maps that
    do not pass this layer (a second backbone, a skip connection around it), a HeatproofWarning names them.

    Cost: a forward pass of two rows that is watched: two to six passes' time, once a network and shape of inputs; none
    where what it told is `known`.

    Raises: InputError where there is none.
    """
    known = known or seen(model, inputs)
    if known.last is not None:
        return known.last
    _refuse_scripts(model)
    again = sorted(name for name, count in known.runs.items() if count > 1)
    if again:
        raise InputError(
            f"Expected a layer that makes maps and runs once, but found none: {again[0]!r} and others run "
            f"{known.runs[again[0]]} times in one call. Of a network that is applied to several inputs (siamese) "
            "explain one: compute the others' features beforehand, in a module around it."
        )
    raise InputError(
        f"Expected a layer that makes maps of inputs {tuple(inputs.shape[1:])} with more than one position, but found "
        "none; name a layer, or use larger images."
    )


def say_others(known: Seen) -> None:
    """Warn where other maps lead to the outputs, past the last one."""
    if known.beside:
        names = " and ".join(map(repr, known.beside))
        warnings.warn(
            f"Expected one layer that all maps pass, but beside {known.last!r}, which is shown, the outputs depend on "
            f"maps of {names} that do not pass it; name the layer to show, or put the ways together in one module.",
            HeatproofWarning,
            stacklevel=2,
        )


def check_layout(layout: Layout | None, layer: str | tuple[str, ...] | None) -> None:
    """Refuse a layout of another name, or of no layer."""
    if layout is not None and layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    if layout is not None and layer is None:
        raise InputError("Expected the name of the layer whose layout is given, but got none; pass layer=….")


def reading_of(
    model: nn.Module, layer: str, inputs: Tensor, layout: Layout | None = None, known: Seen | None = None
) -> Reading:
    """How `layer`'s output reads as positions of `inputs`: as the operations tell, or as `layout` says.

    Raises: InputError for a layer that is unknown, runs never or again, gives no map, or one whose axes nothing tells.
    """
    if known is None or layer not in known.runs:
        modules = dict(network(model).named_modules())
        if layer not in modules:
            raise unknown(f"layer of {type(network(model)).__name__}", layer, filter(None, modules))
    _refuse_scripts(model, layer)
    known = known or seen(model, inputs)
    if known.runs.get(layer, 0) != 1:
        raise _runs(model, layer, known.runs)
    reading = known.readings.get(layer)
    shape = known.shapes.get(layer)
    if layout is not None and shape is not None:
        axes = known.positions or tuple(range(2, inputs.dim()))
        reading = assumed(shape, layout, [inputs.shape[axis] for axis in axes], axes)
    if reading is not None:
        return reading
    if shape is None and known.kinds[layer] not in ("Tensor", "Parameter"):
        raise InputError(f"Expected layer {layer!r} to return a tensor, but it returns {known.kinds[layer]}.")
    if shape is None:
        raise InputError(
            f"Expected layer {layer!r} to return a tensor that depends on the inputs, but it does not; name another."
        )
    got = f"{layer!r} gives {(len(inputs), *shape[1:])}"
    if len(shape) < 3 or layout is not None:
        raise InputError(
            f"Expected a layer whose output is a map of {_kind(inputs)} {tuple(inputs.shape)}, but {got}"
            f"{f', which is none with layout={layout!r}' if layout else ''}."
        )
    raise InputError(
        f"Expected operations that tell which dimensions are positions, but {got}, and nothing that made it tells; say "
        "it with layout='channels-first' or layout='channels-last', or name another layer."
    )


@contextmanager
def replacing(model: nn.Module, layer: str, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While open, what `layer` returns goes through `change`; left whole, InputError unless it ran exactly once.

    Raises: InputError for a name that is no layer's, a layer that returns no tensor, one that runs never or again.
    """
    net = network(model)
    try:
        module = net.get_submodule(layer)
    except AttributeError:
        names = [name for name, _ in net.named_modules() if name]
        raise unknown(f"layer of {type(net).__name__}", layer, names) from None
    runs = 0

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Tensor:
        nonlocal runs
        runs += 1
        if not isinstance(output, Tensor):
            raise InputError(f"Expected layer {layer!r} to return a tensor, but it returns {type(output).__name__}.")
        return change(output)

    with hooked((module, hook, {})):
        yield
    if runs != 1:
        raise _runs(model, layer, {layer: runs})


def enlarged(maps: Tensor, reading: Reading, shape: tuple[int, ...], positions: tuple[int, ...]) -> Tensor:
    """Maps (N, *grid) of a layer, interpolated to the input's positions: (N, …), of size 1 along all other axes.

    Linear along each direction (corners not aligned). A direction that the layer has no places along is the same
    everywhere.
    """
    sizes = [shape[axis] for axis in reading.axes]
    if len(sizes) not in ENLARGE:
        raise InputError(f"Expected a map of 1 to 3 directions, but got {len(sizes)}; name another layer.")
    large = F.interpolate(maps[:, None], size=sizes, mode=ENLARGE[len(sizes)], align_corners=False)[:, 0]
    for axis in range(1, len(shape)):
        if axis not in reading.axes:
            large = large.unsqueeze(axis)
    wanted = [shape[axis] if axis in positions or axis in reading.axes else 1 for axis in range(1, len(shape))]
    return large.expand(len(maps), *wanted).contiguous()


def _kind(inputs: Tensor) -> str:
    return {3: "samples", 4: "images", 5: "volumes"}.get(inputs.dim(), "inputs")


def _runs(model: nn.Module, layer: str, runs: dict[str, int]) -> InputError:
    count = runs.get(layer, 0)
    if count == 0:
        return InputError(f"Expected layer {layer!r} to run once, but it ran 0 times; name a layer that runs.")
    parts = layer.split(".")
    around = [".".join(parts[:i]) for i in range(1, len(parts))]
    if any(runs.get(name) == 1 for name in around):
        return InputError(f"Expected layer {layer!r} to run once, but it ran {count} times; name a layer around it.")
    return InputError(
        f"Expected layer {layer!r} to run once, but it ran {count} times, and no layer around it runs once. Where it "
        "is applied to several inputs (siamese), explain one: compute the others' features beforehand, in a module "
        "around the network; where it repeats in one chain, give each run a module of its own."
    )


def _around(net: nn.Module, layer: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules around a layer, the network first."""
    names, module = layer.split("."), net
    for depth, name in enumerate(names):
        yield ".".join(names[:depth]), module
        module = getattr(module, name)


def _refuse_scripts(model: nn.Module, layer: str | None = None) -> None:
    """Refuse layers inside TorchScript, which no hook sees."""
    net = network(model)
    for name, module in net.named_modules() if layer is None else _around(net, layer):
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(
                f"Expected layers whose outputs can be seen, but {name or 'the model'!r} is a TorchScript module, "
                "which hands out none; use the Python module it was made from."
            )
