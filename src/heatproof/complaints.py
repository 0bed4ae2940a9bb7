"""What a model raises on its inputs, as one sentence: what was expected, what came, what to do."""

import inspect
import re
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from heatproof.errors import ModelError


class _Place(NamedTuple):
    """A module of the model that was running when it raised, the innermost first, and the tensors that it was given."""

    name: str
    module: nn.Module
    tensors: list[Tensor]


def complaint(model: nn.Module, inputs: Tensor, error: Exception) -> ModelError:
    """The sentence for `error`, which `model` raised when it was run on `inputs` (N, …)."""
    places = list(_places(model, error.__traceback__))
    inner = next((place for place in places if place.name), None)
    where = f" in module {inner.name!r} ({type(inner.module).__name__})" if inner else ""
    said = str(error).strip().split("\n")[0].rstrip(".") or "nothing else"
    return ModelError(
        f"Expected inputs that the model runs on, but on {tuple(inputs.shape)} of {inputs.dtype} it raised "
        f"{type(error).__name__}{where}: {said}. {_advice(model, inputs, error, places)}"
    )


def _advice(model: nn.Module, inputs: Tensor, error: Exception, places: list[_Place]) -> str:
    missing = re.search(r"missing \d+ required (?:positional|keyword-only) arguments?: (.*)", str(error))
    if missing and isinstance(error, TypeError):
        names = ", ".join(f"{name!r}: …" for name in re.findall(r"'(\w+)'", missing[1]))
        return f"Give its other arguments: heatproof.models.Bound(model, given={{{names}}})."
    if "cannot register a hook" in str(error):
        return (
            "Passes without a graph have no gradients to hook: remove the hook (its handle's .remove()), or register "
            "it where out.requires_grad only."
        )
    module = places[0].module if places else model
    given = places[0].tensors[0] if places and places[0].tensors else inputs
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        name = places[0].name if places else "…"
        return (
            "It takes token ids, which have no derivative: explain what its embedding makes of them, "
            f"heatproof.models.Bound(model, at={name!r}, given={{{_first_argument(model)!r}: ids}})."
        )
    if isinstance(module, nn.modules.conv._ConvNd):
        return _of_channels(module.in_channels, len(module.kernel_size), inputs, given)
    if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.modules.instancenorm._InstanceNorm):
        channels = module.num_channels if isinstance(module, nn.GroupNorm) else module.num_features
        if given.dim() == inputs.dim() and given.shape == inputs.shape:
            return _of_channels(channels, max(inputs.dim() - 2, 0), inputs, given)
    if isinstance(module, nn.Linear) and given.shape[-1:] != (module.in_features,):
        if given.shape == inputs.shape and inputs.dim() > 2 and inputs[0].numel() == module.in_features:
            return f"Give each sample as one row: inputs.flatten(1), {(len(inputs), module.in_features)}."
        unbatched = " One sample alone is inputs[None]." if inputs.dim() == 3 else ""
        return (
            f"Its layer takes {module.in_features} features, but these inputs make {given.shape[-1]}: give inputs of "
            f"the size that it was trained on.{unbatched}"
        )
    if "does not require grad" in str(error):
        return "It derives inside: let it do so under torch.enable_grad(), for inputs that require a gradient."
    if isinstance(error, RuntimeError) and "device" in str(error):
        return "Move the network's own tensors and the inputs to one device."
    if isinstance(error, RuntimeError) and "dtype" in str(error):
        return "Give the inputs and the network's own tensors one dtype."
    return "Give inputs (N, …) of the size that it was trained on."


def _of_channels(channels: int, positions: int, inputs: Tensor, given: Tensor) -> str:
    """What to do about inputs of a layer that takes (N, channels, positions …)."""
    if given.shape != inputs.shape:
        return f"Its layer takes {channels} channels, but got {tuple(given.shape)}; give the size it was trained on."
    order = ", ".join(map(str, (0, positions + 1, *range(1, positions + 1))))
    if inputs.dim() == positions + 2 and inputs.shape[-1] == channels != inputs.shape[1]:
        return f"Channels stand before positions, (N, {channels}, …), and here last: inputs.permute({order})."
    if inputs.dim() == positions + 1:
        first = inputs.shape[0] == channels
        last = "" if first else ", and channels stand first: (C, …)"
        return f"Inputs have a dimension of samples, (N, C, …): for one sample inputs[None]{last}."
    if inputs.dim() == positions + 2:
        gray = inputs.shape[1] == 1 and channels > 1
        hint = f": repeat a gray one, inputs.expand(-1, {channels}{', -1' * positions})" if gray else ""
        return f"It takes {channels} channels, but these inputs (N, C, …) have {inputs.shape[1]}{hint}."
    return f"It takes (N, {channels}{', …' * bool(positions)}) with {positions} dimensions of positions."


def _places(model: nn.Module, trace: TracebackType | None) -> Iterator[_Place]:
    names = {id(module): name for name, module in model.named_modules()}
    frames = []
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    for frame in reversed(frames):
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and id(owner) in names:
            tensors = [value for value in frame.f_locals.values() if isinstance(value, Tensor)]
            yield _Place(names[id(owner)], owner, tensors)


def _first_argument(model: nn.Module) -> str:
    try:
        return next(iter(inspect.signature(model.forward).parameters))
    except (StopIteration, TypeError, ValueError):
        return "input_ids"


def shown_outputs(returned: Any, samples: int) -> tuple[str, str]:
    """What a model returned, in words, and how a Bound picks logits (N, C) from it: `output=…`."""
    items: list[tuple[Any, Any]] = []
    if hasattr(returned, "items"):
        items = list(returned.items())
    elif isinstance(returned, tuple | list):
        names = getattr(returned, "_fields", range(len(returned)))
        items = list(zip(names, returned, strict=True))
    elif hasattr(returned, "__dict__"):
        items = [(key, value) for key, value in vars(returned).items() if not key.startswith("_")]

    def is_logits(value: Any) -> bool:
        return isinstance(value, Tensor) and value.is_floating_point() and value.shape[:1] == (samples,)

    fitting = [key for key, value in items if is_logits(value) and value.dim() == 2]
    fitting = [key for key in fitting if key == "logits"] or fitting
    fitting = fitting or [key for key, value in items if is_logits(value)]
    there = ", ".join(f"{key!r}: {_kind(value)}" for key, value in items[:12]) or "nothing that has a name"
    return there, f"output={fitting[0]!r}" if fitting else "output=lambda out: …"


def _kind(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__
