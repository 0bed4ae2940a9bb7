"""Writes docs/global_state.md: what each part of torch's global state does to an audit, by setting it around one."""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

import heatproof as hp
from heatproof.arithmetic import SETTINGS
from heatproof.errors import InputError
from heatproof.modes import entered

PAGE = Path(__file__).resolve().parent / "global_state.md"
HEAD = """# torch's global state

Written by `python docs/global_state.py`, and checked by a test: each part is set to another value than torch's own
around a small audit.

- **neutralized**: the rows are those of an audit without it, bit for bit. It is torch's own inside, named in the
  manifest's `environment.neutralized`, and exactly as it was afterwards.
- **kept**: no row depends on it.
- **refused**: an error that says what to do, before anything runs.

Methods and randomizations that are called by themselves leave all of it alone and compute with what they find: autocast
is refused by all of them, inference mode by those that derive.

| state | set by | in an audit |
| --- | --- | --- |
"""


@contextmanager
def called(change: Callable[[Any], object], value: Any, before: Any) -> Iterator[None]:
    """`change(value)`, and `change(before)` afterwards."""
    change(value)
    try:
        yield
    finally:
        change(before)


def _attribute(owner: Any, name: str, value: Any, before: Any) -> AbstractContextManager[None]:
    return called(lambda one: setattr(owner, name, one), value, before)


backends = torch.backends
STATES: dict[str, tuple[str, Callable[[], AbstractContextManager[Any]]]] = {
    "threads": ("torch.set_num_threads(2)", lambda: called(torch.set_num_threads, 2, torch.get_num_threads())),
    "default dtype": (
        "torch.set_default_dtype(torch.float64)",
        lambda: called(torch.set_default_dtype, torch.float64, torch.float32),
    ),
    "default device": ('torch.set_default_device("meta")', lambda: called(torch.set_default_device, "meta", None)),
    "device context": ('with torch.device("meta")', lambda: torch.device("meta")),
    "gradients off": ("with torch.no_grad()", torch.no_grad),
    "inference mode": ("with torch.inference_mode()", torch.inference_mode),
    "autocast": ('with torch.autocast("cpu")', lambda: torch.autocast("cpu", torch.bfloat16)),
    "anomaly detection": ("with torch.autograd.detect_anomaly()", lambda: torch.autograd.detect_anomaly(True)),
    "deterministic algorithms": (
        "torch.use_deterministic_algorithms(True)",
        lambda: called(torch.use_deterministic_algorithms, True, False),
    ),
    "denormal numbers": ("torch.set_flush_denormal(True)", lambda: called(torch.set_flush_denormal, True, False)),
    "float32 products, old interface": (
        'torch.set_float32_matmul_precision("medium")',
        lambda: called(torch.set_float32_matmul_precision, "medium", "highest"),
    ),
    "float32 products, new interface": (
        'torch.backends.fp32_precision = "tf32"',
        lambda: _attribute(backends, "fp32_precision", "tf32", "none"),
    ),
    "float32 convolutions": (
        "torch.backends.cudnn.allow_tf32 = False",
        lambda: _attribute(backends.cudnn, "allow_tf32", False, True),
    ),
    "cuDNN": (
        "torch.backends.cudnn.enabled = False",
        lambda: _attribute(backends.cudnn, "enabled", False, True),
    ),
    "cuDNN, deterministic": (
        "torch.backends.cudnn.deterministic = True",
        lambda: _attribute(backends.cudnn, "deterministic", True, False),
    ),
    "cuDNN, benchmark": (
        "torch.backends.cudnn.benchmark = True",
        lambda: _attribute(backends.cudnn, "benchmark", True, False),
    ),
    "oneDNN": (
        "torch.backends.mkldnn.enabled = False",
        lambda: _attribute(backends.mkldnn, "enabled", False, True),
    ),
    "oneDNN, deterministic": (
        "torch.backends.mkldnn.deterministic = True",
        lambda: _attribute(backends.mkldnn, "deterministic", True, False),
    ),
    "NNPACK": (
        "torch.backends.nnpack.set_flags(False)",
        lambda: called(backends.nnpack.set_flags, False, True),
    ),
    "attention kernels": (
        "with torch.nn.attention.sdpa_kernel(MATH)",
        lambda: torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ),
    "fused transformer layers": (
        "torch.backends.mha.set_fastpath_enabled(False)",
        lambda: called(backends.mha.set_fastpath_enabled, False, True),
    ),
    "global generator": ("torch.manual_seed(1)", lambda: called(torch.manual_seed, 1, 0)),
    "printing": (
        "torch.set_printoptions(precision=2)",
        lambda: called(lambda digits: torch.set_printoptions(precision=digits), 2, 4),
    ),
}


class Attending(nn.Module):
    """Convolution, attention and linear layers, and a tensor of the default dtype made on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.attention = nn.Conv2d(1, 8, 3, stride=2), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv(x).flatten(2).transpose(1, 2)
        h = h + self.attention(h, h, h, need_weights=False)[0]
        return self.head((h * torch.linspace(0.1, 1, 8)).mean(1))


def network() -> nn.Module:
    """The network that is audited."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Attending().eval()


def everything() -> tuple[Any, ...]:
    """torch's global state as it is."""
    return (
        [one.read() for one in SETTINGS], torch.get_num_threads(), torch.get_default_device(), entered(),
        torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), backends.mha.get_fastpath_enabled(),
        torch.get_rng_state().tolist(),
    )  # fmt: skip


def audited(model: nn.Module, images: torch.Tensor) -> tuple[str, dict[str, str]]:
    """The rows of a small audit, as text, and what it says that it neutralized."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        run = hp.audit(
            model, images, methods=["gradient-x-input", "grad-cam"],
            checks=["completeness", "input-controls"], out=Path(folder) / "run", threads=1, progress=False,
        )  # fmt: skip
        return run.rows().to_csv(float_format="%a"), run.manifest["environment"]["neutralized"]


def treatment(name: str, expected: str, model: nn.Module, images: torch.Tensor) -> str:
    """What an audit does with this state; `expected` are the rows of an audit without it."""
    with STATES[name][1]():
        before = everything()
        try:
            rows, said = audited(model, images)
        except InputError:
            return "refused"
        assert rows == expected, f"{name} changes the rows"
        assert everything() == before, f"{name} is not as it was"
    return "neutralized" if said or name == "threads" else "kept"  # the audit's own threads are always named


def table() -> dict[str, str]:
    """By state, what an audit does with it."""
    model, images = network(), torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    expected, said = audited(model, images)
    assert not said, f"not torch's own to begin with: {said}"
    return {name: treatment(name, expected, model, images) for name in STATES}


def page() -> str:
    """The page's text."""
    return HEAD + "".join(f"| {name} | `{STATES[name][0]}` | {what} |\n" for name, what in table().items())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
