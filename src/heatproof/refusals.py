"""What is refused of a model, inputs and targets before anything runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from heatproof.errors import InputError, bounded, shown

FULL = (torch.float32, torch.float64)
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
Like = tuple[torch.dtype, torch.device]


def check_model(model: nn.Module) -> None:
    """Refuse what cannot be explained: no module, a module in training mode, parameters in half precision or without
    values, or made under inference_mode."""
    if not isinstance(model, nn.Module):
        raise InputError(f"Expected the model to be a torch.nn.Module, but got {type(model).__name__}.")
    exported = [module for module in model.modules() if is_exported(module)]
    modeless = {id(module) for one in exported for module in one.modules()}
    for name, module in model.named_modules():
        if module.training and id(module) not in modeless:
            where = f"its submodule {name!r}" if name else "it"
            raise InputError(f"Expected a model in eval mode, but {where} is in training mode; call model.eval().")
    check_lazy(model)
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.dtype not in FULL:
            raise InputError(
                f"Expected parameters in float32 or float64, but {name!r} is {parameter.dtype}; call model.float()."
            )
        if parameter.is_inference():
            raise InputError(
                f"Expected parameters that derivatives can be computed with, but {name!r} was made under "
                "torch.inference_mode; make the model outside of it, or take a copy.deepcopy of it there."
            )


def check_lazy(model: nn.Module) -> None:
    """Refuse lazy modules that have met no input: their parameters and buffers have no values."""
    for name in [name for name, module in model.named_modules() if isinstance(module, LazyModuleMixin)]:
        module = model.get_submodule(name)
        for own, value in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            if nn.parameter.is_lazy(value):
                kind = "parameters" if isinstance(value, nn.Parameter) else "buffers"
                where = f"{name}.{own}" if name else own
                raise InputError(f"Expected {kind} with values, but {where!r} has none yet; run the model once before.")


def is_exported(module: nn.Module) -> bool:
    """Whether a module comes from `torch.export`: what it does was settled then, and its mode says nothing."""
    return "eval" in vars(module)  # it is made to raise there


_half_meant: ContextVar[bool] = ContextVar("half precision is meant", default=False)


@contextmanager
def half_meant() -> Iterator[None]:
    """In here autocast is what was asked for."""
    token = _half_meant.set(True)
    try:
        yield
    finally:
        _half_meant.reset(token)


def check_precision(device: torch.device) -> None:
    """Refuse to work under autocast: half of the digits of every product would be lost in silence."""
    if torch.is_autocast_enabled(device.type) and not _half_meant.get():
        raise InputError(
            "Expected full precision, but autocast is active: values and derivatives would be rounded to half "
            "precision; leave the autocast."
        )


def check_inputs(model: nn.Module, inputs: Tensor) -> None:
    """Refuse inputs that are not finite float samples (N, …) on the model's device and in its dtype."""
    check_samples(inputs, parameters_like(model))


def parameters_like(model: nn.Module) -> Like | None:
    """Dtype and device of the model's floating parameters, by the first."""
    return next(((p.dtype, p.device) for p in model.parameters() if p.is_floating_point()), None)


def check_samples(inputs: Tensor, like: Like | None) -> None:
    """Refuse inputs that are not finite float samples (N, …), `like` a model's parameters."""
    check_form(inputs, like)
    look(inputs)


def check_form(inputs: Tensor, like: Like | None) -> None:
    """Refuse inputs that are not float samples (N, …), `like` a model's parameters; their values are not looked at."""
    if not isinstance(inputs, Tensor):
        raise InputError(
            f"Expected inputs to be a tensor (N, …) with at least one sample, but got "
            f"{_kind(inputs)}{_instead(inputs)}."
        )
    check_dense(inputs, "inputs")
    if inputs.dim() < 2 or inputs.shape[0] == 0:
        hint = "; one sample alone is inputs[None]" if inputs.dim() == 1 and len(inputs) else ""
        raise InputError(
            f"Expected inputs to be a tensor (N, …) with at least one sample, but got {tuple(inputs.shape)}{hint}."
        )
    if inputs.dtype not in FULL:
        raise InputError(f"Expected inputs in float32 or float64, but got {inputs.dtype}; {_to_float(inputs)}.")
    if like is not None and (like[0] != inputs.dtype or like[1].type != inputs.device.type):
        raise InputError(
            f"Expected inputs like the model's parameters ({like[0]} on {like[1]}), but got {inputs.dtype} on "
            f"{inputs.device}; use inputs.to(device, dtype)."
        )


def check_dense(tensor: Tensor, what: str) -> None:
    """Refuse a tensor without values of its own in its memory: nested, sparse, of MKL-DNN's layout, or on no device."""
    if tensor.is_nested or tensor.layout != torch.strided:
        kind = "nested" if tensor.is_nested else str(tensor.layout)
        dense = f"torch.nested.to_padded_tensor({what}, 0)" if tensor.is_nested else f"{what}.to_dense()"
        raise InputError(f"Expected dense {what}, but got a {kind} tensor; use {dense}.")
    if tensor.is_meta or type(tensor).__name__ == "FakeTensor":
        raise InputError(f"Expected {what} with values, but got a tensor on the meta device, which has none.")


def check_targets(inputs: Tensor, targets: Tensor, outputs: int | None = None) -> None:
    """Refuse targets that are not one label (N,) in int64 a sample, within the model's outputs where they are known."""
    check_labels(inputs, targets)
    known = [one.high for one in _looks.get() if one.high is not None and _shared(targets, one.targets)]
    high = known[-1] if known else _highest(*_ends(targets))
    if outputs is not None and high >= outputs:
        raise InputError(f"Expected targets between 0 and {outputs - 1}, the model's last output, but got {high}.")


def check_labels(inputs: Tensor, targets: Tensor) -> None:
    """Refuse targets that are not (N,) in int64; their values are not looked at."""
    if isinstance(targets, Tensor):
        check_dense(targets, "targets")
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.shape != inputs.shape[:1]:
        got = f"{tuple(targets.shape)} of {targets.dtype}" if isinstance(targets, Tensor) else _kind(targets)
        raise InputError(
            f"Expected targets ({len(inputs)},) of torch.int64, one label a sample, but got {got}"
            f"{_as_targets(inputs, targets)}."
        )


class Look(NamedTuple):
    """Inputs that were found finite, and labels, the highest of which is known, in the call that is running."""

    inputs: Tensor
    targets: Tensor | None = None
    high: int | None = None


# Of this call and those around it, the innermost last.
_looks: ContextVar[tuple[Look, ...]] = ContextVar("looks", default=())


def look(inputs: Tensor, targets: Tensor | None = None) -> int | None:
    """The highest of the labels, after a look at all values, which a device is asked for once.

    What a call around this one has looked at is not asked for again.
    Raises: InputError for inputs that are not finite, and labels below 0.
    """
    finite = any(inputs is one.inputs for one in _looks.get())
    for one in reversed(_looks.get()):
        if finite and one.high is not None and targets is not None and _shared(targets, one.targets):
            return one.high
    if finite and targets is None:
        return None
    # A finite sum has finite terms; one that is not may only be too large.
    total = inputs.detach().sum(dtype=torch.float64)
    if targets is None:
        ends, everything = None, float(total)
    elif targets.device == total.device:
        everything, *ends = torch.stack((total, *targets.double().aminmax())).tolist()  # exact up to 2⁵³
    else:
        ends, everything = list(_ends(targets)), float(total)
    if not isfinite(everything) and not bool(torch.isfinite(inputs).all()):
        bad = (~torch.isfinite(inputs)).flatten(1).any(1).nonzero().flatten().tolist()
        raise InputError(f"Expected finite inputs, but samples {bad[:8]} hold NaN or infinity.")
    return None if ends is None else _highest(*ends)


@contextmanager
def looked(inputs: Tensor, targets: Tensor | None = None, high: int | None = None) -> Iterator[None]:
    """While open, these inputs are finite, and these labels lie between 0 and `high`, or the highest of the call's.

    For who made them of a call's: noisy copies of its inputs, and its labels repeated.
    """
    around = _looks.get()
    if targets is not None and high is None:
        high = next((one.high for one in reversed(around) if one.high is not None), None)
    token = _looks.set((*around, Look(inputs, targets, high)))
    try:
        yield
    finally:
        _looks.reset(token)


def _ends(targets: Tensor) -> tuple[float, float]:
    labels = targets.tolist()
    return min(labels), max(labels)


def _highest(low: float, high: float) -> int:
    if low < 0:
        raise InputError(f"Expected targets of 0 or more, the number of an output, but got {int(low)}.")
    return int(high)


def _shared(one: Tensor, other: Tensor | None) -> bool:
    """Whether these are the same labels, or some of them."""
    if one is other or other is None:
        return other is not None
    place = one.untyped_storage().data_ptr()
    return place != 0 and place == other.untyped_storage().data_ptr()


def as_labels(inputs: Any, labels: Any) -> Any:
    """Labels (N,) in int64 from one for all samples, a list, an array, or any integers.

    What cannot be read so is left as it is, for `check_targets` to refuse.
    """
    if isinstance(labels, Tensor) and labels.dtype == torch.int64 and labels.dim() == 1:
        return labels
    if isinstance(labels, np.ndarray | np.generic) and labels.dtype.kind in "iu":
        labels = torch.from_numpy(np.asarray(labels).astype(np.int64))
    elif isinstance(labels, int) and not isinstance(labels, bool) and bounded(labels):
        labels = torch.tensor(labels)
    elif isinstance(labels, list | tuple) and labels and all(_is_whole(label) for label in labels):
        labels = torch.tensor([int(label) for label in labels])
    if not isinstance(labels, Tensor) or labels.dtype not in WHOLE:
        return labels
    labels = labels.to(torch.int64)
    return labels.expand(len(inputs)).clone() if labels.dim() == 0 and isinstance(inputs, Tensor) else labels


def _is_whole(label: Any) -> bool:
    of_tensor = isinstance(label, Tensor) and label.dim() == 0 and label.dtype in WHOLE
    return of_tensor or (isinstance(label, int | np.integer) and not isinstance(label, bool) and bounded(label))


def plain(tensor: Tensor) -> Tensor:
    """The tensor without a graph; a copy of one made under inference_mode, for which nothing could be saved."""
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        return tensor.clone()
    return tensor.detach()


def _kind(value: Any) -> str:
    return shown(value) if isinstance(value, int | float) else type(value).__name__


def _instead(inputs: Any) -> str:
    if hasattr(inputs, "__array__"):
        return "; use torch.from_numpy(inputs), in float32"
    if hasattr(inputs, "items"):
        return (
            "; explain one float tensor, such as an embedding's output, and give the rest as "
            "heatproof.models.Bound(model, at=…, given=…)"
        )
    if isinstance(inputs, list | tuple) and any(isinstance(one, Tensor) for one in inputs):
        return "; stack samples, torch.stack(inputs); of several arguments one is explained, and the others are `given`"
    return ""


def _to_float(inputs: Tensor) -> str:
    if inputs.is_complex():
        return "give real and imaginary parts as channels, torch.view_as_real(inputs), and join them in the model"
    if inputs.is_floating_point():
        return "call .float() on inputs and model"
    if inputs.is_quantized:
        return "use inputs.dequantize() and the float model"
    if inputs.dtype == torch.uint8:
        return "scale integer images as in training, for example images.float() / 255"
    if inputs.dtype == torch.bool:
        return "use inputs.float()"
    return (
        "token ids have no derivative: explain what an embedding makes of them, heatproof.models.Bound(model, "
        "at='the embedding', given={'the ids': ids}); scale integer images as in training"
    )


def _as_targets(inputs: Tensor, targets: Any) -> str:
    if isinstance(targets, int) and bounded(targets):
        return f"; use torch.full(({len(inputs)},), {targets})"
    if isinstance(targets, list | tuple):
        return "; use torch.tensor(targets)"
    if not isinstance(targets, Tensor):
        return ""
    if targets.dtype == torch.int64 and targets.numel() == 1 and inputs.dim() in (2, 3):
        return "; if the inputs are one sample alone, use inputs[None]"
    if targets.is_floating_point() and targets.dim() == 2:
        return "; of one-hot rows or scores use targets.argmax(1)"
    if targets.shape == inputs.shape[:1]:
        return "; use targets.long()"
    return ""
