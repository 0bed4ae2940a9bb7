"""Cheaper passes that round otherwise: asked for by name, held against float64, and undone afterwards.

Nothing of it is on by default: rounding may flip a ReLU or a maximum, and a map then differs there by what that is
worth.
"""

import copy
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from heatproof.devices import PRECISIONS
from heatproof.errors import InputError, unknown
from heatproof.models import forward
from heatproof.propagation.trees import tensors_in
from heatproof.refusals import half_meant
from heatproof.undo import Undoing

ROWS = 2  # samples that deviations are measured on
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


class Mode(NamedTuple):
    """What it does, in a line; why it cannot be had of a network on such inputs, if so; and how it is opened."""

    text: str
    misfit: Callable[[nn.Module, Tensor], str | None]
    open: Callable[[nn.Module], AbstractContextManager[Any]]


class Deviation(NamedTuple):
    """How far float32 is from float64, relative to the largest value there, with and without what is fast."""

    outputs: float
    outputs_exact: float
    gradient: float
    gradient_exact: float
    masked: float  # outputs of inputs with features removed, as checks of faithfulness evaluate them


@contextmanager
def opened(names: Iterable[str], model: nn.Module) -> Iterator[None]:
    """In here the model's passes are cheaper by these modes; afterwards all is as before, bit for bit."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(FAST[name].open(model))
        yield


def check(names: Iterable[str], model: nn.Module, inputs: Tensor) -> None:
    """Refuse an unknown mode, and one that cannot be had here. Raises: InputError."""
    for name in names:
        if name not in FAST:
            raise unknown("fast mode", name, FAST)
        if (misfit := FAST[name].misfit(model, inputs)) is not None:
            raise InputError(f"Expected {misfit} for fast mode {name!r}, but there is none; leave it out.")


def deviation(names: Sequence[str], model: nn.Module, inputs: Tensor, targets: Tensor) -> Deviation | None:
    """What the modes change, on the first samples; None where the model cannot be had in float64, or is in it.

    Cost: a copy of the model in float64, and three passes of two rows.
    """
    x, y = inputs[:ROWS], targets[:ROWS]
    rows = torch.arange(len(x), device=x.device)
    try:
        exact = copy.deepcopy(model).double()
        truth = _passes(exact, x.double(), y, rows)
    except Exception:  # somebody's own copying, an operation that knows no float64, a device without it
        return None
    plain = _passes(model, x, y, rows)
    with opened(names, model):
        fast = _passes(model, x, y, rows)
    (outputs, gradient, masked), (outputs_exact, gradient_exact, _) = (
        [_far(one, other) for one, other in zip(found, truth, strict=True)] for found in (fast, plain)
    )
    return Deviation(outputs, outputs_exact, gradient, gradient_exact, masked)


def _passes(model: nn.Module, x: Tensor, targets: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, the gradient of the targets' scores, and outputs with every second feature of the last dimension 0."""
    leaf = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        outputs = forward(model, leaf, rows)
    (gradient,) = torch.autograd.grad(outputs.gather(1, targets[:, None]).sum(), leaf)
    without = x.detach().clone()
    without[..., ::2] = 0
    with torch.no_grad(), masked(x.device):
        removed = forward(model, without, rows)
    return outputs.detach(), gradient, removed


def _far(found: Tensor, truth: Tensor) -> float:
    return float((found.double() - truth).abs().max() / truth.abs().max().clamp_min(torch.finfo(torch.float64).tiny))


class channels_last(Undoing):  # noqa: N801  # reads like contextlib's own
    """Weights of convolutions lie with their channels last: so do activations, from the first convolution on.

    On a CPU max-pooling and elementwise steps are faster so, on a GPU with tensor cores convolutions. A weight whose
    memory something else shares is left alone.
    """

    def __init__(self, model: nn.Module) -> None:
        self._own = [(tensor, tensor.data) for tensor in _convertible(model)]

    def _change(self) -> None:
        for tensor, data in self._own:
            self._put(tensor, data.contiguous(memory_format=_FORMATS[data.dim()]))

    def _undo(self) -> None:
        for tensor, data in self._own:
            if tensor.data_ptr() != data.data_ptr():
                self._put(tensor, data)

    def _put(self, tensor: Tensor, data: Tensor) -> None:
        tensor.data = data
        torch.autograd.graph.increment_version(tensor)  # what was prepared of it is prepared anew


def _convertible(model: nn.Module) -> list[Tensor]:
    held = [value for module in model.modules() for value in tensors_in(_held(module))]
    tensors = {id(one): one for one in held if one.layout == torch.strided and one.numel()}.values()
    sharing = Counter(one.untyped_storage().data_ptr() for one in tensors)
    return [
        one
        for one in tensors
        if one.dim() in _FORMATS
        and one.is_floating_point()
        and isinstance(one, nn.Parameter)
        and sharing[one.untyped_storage().data_ptr()] == 1
        and one.is_contiguous()
        and not one.is_contiguous(memory_format=_FORMATS[one.dim()])
    ]


def _held(module: nn.Module) -> list[Any]:
    own = {name: value for name, value in vars(module).items() if name not in ("_parameters", "_buffers", "_modules")}
    return [dict(module._parameters), dict(module._buffers), own]


class tf32(Undoing):  # noqa: N801  # as above
    """Products and convolutions of float32 on a GPU keep 10 bits of each factor."""

    def __init__(self, model: nn.Module) -> None:
        self._before = [owner.fp32_precision for owner in PRECISIONS]

    def _change(self) -> None:
        for owner in PRECISIONS:
            owner.fp32_precision = "tf32"

    def _undo(self) -> None:
        for owner, before in zip(PRECISIONS, self._before, strict=True):
            owner.fp32_precision = before


_halved: ContextVar[bool] = ContextVar("masked outputs in bfloat16", default=False)


class _bf16_masked(Undoing):  # noqa: N801  # as above
    """Outputs of masked inputs are computed in bfloat16; see `masked`."""

    def __init__(self, model: nn.Module) -> None:
        self._before = _halved.get()

    def _change(self) -> None:
        _halved.set(True)

    def _undo(self) -> None:
        _halved.set(self._before)


@contextmanager
def masked(device: torch.device) -> Iterator[None]:
    """Around passes of inputs with features removed, without a graph: in bfloat16 where that was asked for."""
    if not _halved.get():
        yield
        return
    with half_meant(), torch.autocast(device.type, torch.bfloat16):
        yield


def rounding(dtype: torch.dtype) -> float:
    """The relative rounding of masked outputs of inputs of this dtype."""
    return torch.finfo(torch.bfloat16 if _halved.get() else dtype).eps


def _no_convolution(model: nn.Module, _inputs: Tensor) -> str | None:
    return None if _convertible(model) else "weights of convolutions, in memory of their own and of several channels,"


def _no_gpu(_model: nn.Module, inputs: Tensor) -> str | None:
    return None if inputs.is_cuda else f"a GPU (the samples are on {inputs.device})"


def _no_bf16(_model: nn.Module, inputs: Tensor) -> str | None:
    if inputs.dtype != torch.float32:
        return f"float32 (samples are {inputs.dtype})"
    if inputs.is_cuda:
        return None if torch.cuda.is_bf16_supported() else "a GPU with bfloat16"
    return None if cpu_has_bf16() else f"a processor with bfloat16 ({platform.machine()} has to emulate it)"


def cpu_has_bf16() -> bool:
    """Whether products of bfloat16 are instructions here: emulated they take three times as long as float32."""
    asked = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(one is not None and bool(one()) for one in asked)


FAST: Mapping[str, Mode] = {
    "channels-last": Mode("weights of convolutions with channels last", _no_convolution, channels_last),
    "tf32": Mode("products on a GPU in TF32", _no_gpu, tf32),
    "bf16-masked": Mode("outputs of masked inputs in bfloat16", _no_bf16, _bf16_masked),
}
