"""Maps inside a network: which layer makes the last one, and how its output reads as positions of the image."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from heatproof.errors import InputError, unknown
from heatproof.models import Bound, forward

ADAPTIVE = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
LEADING = 8  # class, distillation and register tokens that may stand before the patches


class Made(NamedTuple):
    """A layer that makes a map in one run of the network: its channels, and the map's size."""

    layer: str
    channels: int
    height: int
    width: int
    leading: bool  # whether it is (N, K, h, w)


def positions(output: Tensor, image: Sequence[int]) -> Tensor | None:
    """A layer's output as a view (N, h, w, K) for images (…, H, W), or None where it has no positions.

    (N, K, h, w) or (N, h, w, K): the reading whose h : w is nearer to H : W, the first where both are as near.
    (N, T, K): tokens in rows, with h : w = H : W and as many of them as there are; up to 8 that are left over stand
    first (class tokens and registers) and are no positions.
    """
    height, width = image[-2:]
    if output.dim() == 4:
        first, last = (_slant(size, image) for size in (output.shape[2:], output.shape[1:3]))
        return output.permute(0, 2, 3, 1) if first <= last else output
    if output.dim() != 3:
        return None
    shared = math.gcd(height, width)
    rows, columns = height // shared, width // shared
    times = math.isqrt(output.shape[1] // (rows * columns))
    leading = output.shape[1] - times**2 * rows * columns
    if times == 0 or leading > LEADING:
        return None
    return output[:, leading:].view(len(output), times * rows, times * columns, output.shape[2])


def last_map(model: nn.Module, inputs: Tensor) -> str:
    """The name of the layer whose output is the last map on the way to the outputs, found by running the model.

    The layer runs once, its output has more than one position (see `positions`), and the outputs depend on more than
    one of them: a transformer that reads its class token alone has no such map after its last attention. It is not the
    output of adaptive pooling, nor a class map (as many channels as outputs), nor its own input handed on. Of a module
    and its last child the outer one is named. VGG: `features`, ResNet: `layer4`.

    Cost: two forward passes of two rows, and one more for each layer that is found to be read in one place only.

    Raises: InputError where there is none.
    """
    image = inputs.shape[1:]
    made, outputs = maps_made(model, inputs)
    for one in reversed(made):
        if one.channels != outputs and read_in_both_halves(model, one.layer, inputs):
            return one.layer
    raise InputError(
        f"Expected a layer that makes maps of images {tuple(image)} with more than one position, but found none; "
        "name a layer, or use larger images."
    )


def network(model: nn.Module) -> nn.Module:
    """The network whose layers have names: the one inside a Bound."""
    while isinstance(model, Bound):
        model = model.net
    return model


@contextmanager
def replacing(model: nn.Module, layer: str, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While open, what `layer` returns goes through `change`; left whole, InputError unless it ran exactly once.

    Raises: InputError for a name that is no layer's, a layer that returns no tensor, one that runs never or again.
    """
    modules = dict(network(model).named_modules())
    if layer not in modules:
        raise unknown(f"layer of {type(network(model)).__name__}", layer, filter(None, modules))
    runs = 0

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Tensor:
        nonlocal runs
        runs += 1
        if not isinstance(output, Tensor):
            raise InputError(f"Expected layer {layer!r} to return a tensor, but it returns {type(output).__name__}.")
        return change(output)

    handle = modules[layer].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
    if runs != 1:
        raise InputError(f"Expected layer {layer!r} to run once, but it ran {runs} times; name a layer around it.")


def _slant(size: Sequence[int], image: Sequence[int]) -> float:
    """How far a map's h : w is from the image's H : W."""
    return abs(math.log(size[0] * image[-1] / (size[1] * image[-2])))


def maps_made(model: nn.Module, inputs: Tensor) -> tuple[list[Made], int]:
    """The layers that make maps and run once, in the order in which they are done; and the outputs' number."""
    pair = _pair(inputs)
    made: list[Made] = []
    runs: dict[str, int] = {}
    received: dict[str, tuple[int, int] | None] = {}

    def before(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_module: nn.Module, arguments: Any) -> None:
            first = arguments[0] if arguments else None
            received[name] = (id(first), first._version) if isinstance(first, Tensor) else None

        return hook

    def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, _arguments: Any, output: Any) -> None:
            runs[name] = runs.get(name, 0) + 1
            if not isinstance(output, Tensor) or len(output) != len(pair) or isinstance(module, ADAPTIVE):
                return
            if received[name] == (id(output), output._version):
                return
            at = positions(output, pair.shape[1:])
            if at is not None and at.shape[1] * at.shape[2] > 1:
                height, width, channels = at.shape[1:]
                leading = tuple(output.shape[1:]) == (channels, height, width)
                made.append(Made(name, channels, height, width, leading))

        return hook

    with ExitStack() as hooks, torch.no_grad():
        for name, module in network(model).named_modules():
            if name:
                hooks.callback(module.register_forward_pre_hook(before(name)).remove)
                hooks.callback(module.register_forward_hook(after(name)).remove)
        outputs = forward(model, pair, torch.zeros(2, dtype=torch.int64, device=pair.device)).shape[1]
    return [one for one in made if runs[one.layer] == 1], outputs


def read_in_both_halves(model: nn.Module, layer: str, inputs: Tensor) -> bool:
    """Whether the outputs depend on the layer's map in its first and in its second half.

    Shown by NaN, which passes through weights and ReLUs of any value: neither the sample nor randomized or dead layers
    change the answer.
    """
    pair = _pair(inputs)

    def spoil(output: Tensor) -> Tensor:
        spoilt = output.clone()
        at = positions(spoilt, pair.shape[1:])
        assert at is not None  # or it would not be a candidate
        along = 0 if at.shape[1] >= at.shape[2] else 1
        half = at.shape[1 + along] // 2
        at[0].narrow(along, 0, half).fill_(torch.nan)
        at[1].narrow(along, half, at.shape[1 + along] - half).fill_(torch.nan)
        return spoilt

    with replacing(model, layer, spoil), torch.no_grad():
        outputs = forward(model, pair, torch.zeros(2, dtype=torch.int64, device=pair.device))
    return bool(outputs.isnan().any(1).all())


def is_only_way(model: nn.Module, layer: str, inputs: Tensor) -> bool:
    """Whether everything that the outputs know of the input comes through `layer`.

    Shown by an input of NaN and a layer without: what goes past the layer would carry the NaN along.
    """
    pair = torch.full_like(_pair(inputs), torch.nan)
    with replacing(model, layer, torch.zeros_like), torch.no_grad():
        outputs = forward(model, pair, torch.zeros(2, dtype=torch.int64, device=pair.device))
    return bool(outputs.isfinite().all())


def _pair(inputs: Tensor) -> Tensor:
    """The first sample, twice."""
    return inputs[:1].expand(2, *inputs.shape[1:])
