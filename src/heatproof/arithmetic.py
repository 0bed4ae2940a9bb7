"""How arithmetic is pinned down, so that the same numbers come out bit for bit: torch's global state."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.utils._device import DeviceContext

from heatproof import modes
from heatproof.undo import Undoing, undone


class Setting(NamedTuple):
    """A part of torch's global state: what it is, how it is read and written, and its value in what is pinned.

    `usual` are the values that torch begins with, where these are others.
    """

    what: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    inside: Any
    usual: tuple[Any, ...] = ()


def _flag(owner: Any, name: str, inside: bool | str, usual: bool | str | None = None) -> Setting:
    said = f"{owner.__name__.removeprefix('torch.backends.')}.{name}"
    begins = () if usual is None else (usual,)
    return Setting(said, partial(getattr, owner, name), partial(setattr, owner, name), inside, begins)


def _kernel(name: str) -> Setting:
    cuda = torch.backends.cuda
    return Setting(f"the {name} kernel", getattr(cuda, f"{name}_enabled"), getattr(cuda, f"enable_{name}"), True)


def _denormal_flushed() -> bool:
    return float(torch.tensor([1e-40], dtype=torch.float32, device="cpu") * 1) == 0  # torch does not tell


def _nnpack() -> bool:
    (before,) = torch.backends.nnpack.set_flags(True)  # type: ignore[no-untyped-call]  # torch does not tell otherwise
    torch.backends.nnpack.set_flags(before)  # type: ignore[no-untyped-call]
    return bool(before)


def _mkldnn_precision(value: str) -> None:
    torch.backends.mkldnn.set_flags(_fp32_precision=value)  # type: ignore[no-untyped-call]  # the property sets another


class _Precision(NamedTuple):
    """How many digits float32 products have: by the old interface, where torch still answers there, and by the new."""

    matmul: str | None
    convolutions: bool | None
    by_backend: tuple[str, ...]


# Backends before their operations: those that say "none" answer with the value of what they belong to.
_ANSWERS: tuple[tuple[Any, Callable[[str], object] | None], ...] = (
    (torch.backends, None),
    (torch.backends.cudnn, None),
    (torch.backends.mkldnn, _mkldnn_precision),
    (torch.backends.cuda.matmul, None),
    (torch.backends.cudnn.conv, None),  # type: ignore[attr-defined]  # a property of the module
    (torch.backends.cudnn.rnn, None),
    (torch.backends.mkldnn.matmul, None),  # type: ignore[attr-defined]
    (torch.backends.mkldnn.conv, None),  # type: ignore[attr-defined]
    (torch.backends.mkldnn.rnn, None),  # type: ignore[attr-defined]
)
_FULL = _Precision("highest", False, ("none",) * 3 + ("ieee",) * 6)
# "highest" may have been said, or not.
_USUAL = tuple(
    _Precision("highest", True, ("none", "none", "none", said, "tf32", "tf32", said, "none", "none"))
    for said in ("none", "ieee")
)


def _set_precision(place: int, value: str) -> None:
    owner, write = _ANSWERS[place]
    if write is None:
        owner.fp32_precision = value
    else:
        write(value)


def _read_precision() -> _Precision:
    matmul = convolutions = None
    with suppress(RuntimeError):  # torch refuses to answer here who has used the new interface
        matmul = torch.get_float32_matmul_precision()
    with suppress(RuntimeError):
        convolutions = torch.backends.cudnn.allow_tf32
    said: list[str] = []

    def put_back() -> None:
        for place, value in enumerate(said):
            _set_precision(place, value)

    with undone(put_back):
        for place, (owner, _) in enumerate(_ANSWERS):
            said.append(owner.fp32_precision)
            _set_precision(place, "none")
    return _Precision(matmul, convolutions, tuple(said))


def _write_precision(precision: _Precision) -> None:
    if precision.matmul is not None:
        torch.set_float32_matmul_precision(precision.matmul)
    if precision.convolutions is not None:
        torch.backends.cudnn.allow_tf32 = precision.convolutions
    for place, value in enumerate(precision.by_backend):  # these decide, and the old ones wrote into them
        _set_precision(place, value)


_einsum = torch.backends.opt_einsum
# torch's own values, but for what costs digits and for what makes a result depend on the moment. What a process was
# told elsewhere decides no row: another process, which goes on with the run, was told nothing.
SETTINGS = (
    Setting("the default dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    Setting("whether gradients are recorded", torch.is_grad_enabled, torch.set_grad_enabled, True),
    Setting("anomaly detection", torch.is_anomaly_enabled, torch.set_anomaly_enabled, False),
    Setting(
        "whether algorithms are deterministic",
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
        0,
    ),
    Setting("whether denormal numbers are 0", _denormal_flushed, torch.set_flush_denormal, False),
    Setting("the precision of float32 products", _read_precision, _write_precision, _FULL, _USUAL),
    _flag(torch.backends.cudnn, "enabled", True),
    _flag(torch.backends.cudnn, "deterministic", True, False),
    _flag(torch.backends.cudnn, "benchmark", False),
    _flag(torch.backends.mkldnn, "enabled", True),
    _flag(torch.backends.mkldnn, "deterministic", False),
    Setting("nnpack.enabled", _nnpack, torch.backends.nnpack.set_flags, True),
    *map(_kernel, ("flash_sdp", "mem_efficient_sdp", "math_sdp", "cudnn_sdp")),
    *((_flag(_einsum, "enabled", True), _flag(_einsum, "strategy", "auto")) if _einsum.is_available() else ()),
)
_found: list[dict[str, str]] = []


class pinned(Undoing):  # noqa: N801  # reads like contextlib's own
    """This many threads, torch's own global state, deterministic kernels and no TF32; everything as before afterwards.

    Sums on two threads differ from those on one in their last bits. Neutralized are `SETTINGS`, the default device
    (`torch.device` as a context, too) and inference mode. Autocast is refused by who runs the model.

    Args:
        threads: CPU threads inside.
        dtype: what new tensors have by default: the inputs', so that a model which makes some is the one that its
            owner runs.
    """

    def __init__(self, threads: int, dtype: torch.dtype = torch.float32) -> None:
        self._threads, self._dtype = threads, dtype
        self._number, self._modes = torch.get_num_threads(), modes.entered()
        self._own: list[tuple[Setting, Any]] = []
        self._found: dict[str, str] = {}
        self._inference: torch.inference_mode | None = None

    def _change(self) -> None:
        if torch.is_inference_mode_enabled():
            self._found["inference mode"] = "True"
            self._inference = torch.inference_mode(False)
            self._inference.__enter__()
        if torch.get_default_device().type != "cpu":
            self._found["the default device"] = str(torch.get_default_device())
        modes.become([mode for mode in self._modes if not isinstance(mode, DeviceContext)])
        for one in SETTINGS:
            inside, now = self._dtype if one.read is torch.get_default_dtype else one.inside, one.read()
            if now not in (inside, *one.usual):
                self._found[one.what] = str(now.by_backend if isinstance(now, _Precision) else now)
            if now != inside:
                self._own.append((one, now))
                one.write(inside)
        torch.set_num_threads(self._threads)
        _found.append(self._found)

    def _undo(self) -> None:
        _found[:] = [each for each in _found if each is not self._found]
        torch.set_num_threads(self._number)
        for one, before in reversed(self._own):
            one.write(before)
        modes.become(self._modes)
        if self._inference is not None:
            inference, self._inference = self._inference, None
            inference.__exit__(None, None, None)


def neutralized() -> dict[str, str]:
    """What torch's global state was, where it was another one than in what is pinned now."""
    return dict(_found[-1]) if _found else {}
