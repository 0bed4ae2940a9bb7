"""No trace: a method leaves the network as it was, whatever the network keeps, and also after an error."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from heatproof.errors import HeatproofError
from heatproof.testing.relations.base import Known, Outcome, Relation, Subject, called, fitted
from heatproof.testing.relations.traits import Traits
from heatproof.testing.snapshots import Before, leaf_calls, raising, same_bits


class Running(nn.Module):
    """A network that keeps a running mean of its inputs, also in eval mode, and makes nothing of it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.mean: Tensor = 0.9 * self.mean + 0.1 * x.mean()
        out: Tensor = self.net(x)
        return out


class Noted(nn.Module):
    """A network that keeps its last input in a plain attribute."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.last = torch.zeros(1, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        self.last = x.detach().clone()
        out: Tensor = self.net(x)
        return out


class Written(nn.Module):
    """A network that writes the range of what it saw into a buffer, in place, as an observer does."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.range: Tensor
        self.register_buffer("range", torch.zeros(2, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.range[0].copy_(torch.minimum(self.range[0], x.min()))
            self.range[1].copy_(torch.maximum(self.range[1], x.max()))
        out: Tensor = self.net(x)
        return out


class Streaming(nn.Module):
    """A network that adds a share of what it saw before: no function of its input."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("carried", torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        carried = self.carried
        with torch.no_grad():
            self.carried: Tensor = 0.5 * carried + x.mean()
        out: Tensor = self.net(x + 0.1 * carried)
        return out


def observed(net: nn.Module) -> nn.Module:
    """The network behind an observer of quantization-aware training, which learns its range in eval mode, too."""
    from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver

    make: Any = FakeQuantize
    quantize = make(observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255)
    return nn.Sequential(quantize, net).double()


@dataclass(frozen=True, kw_only=True)
class NoTrace(Relation):
    """The network, its state and its outputs are as before, bit for bit.

    Args:
        wrap: the network with what it keeps.
        fails: the network raises midway in its first, second and third pass.
    """

    family: ClassVar[str] = "no trace"
    wrap: Callable[[nn.Module], nn.Module] = deepcopy
    fails: bool = False

    def outcome(self, known: Known, subject: Subject, traits: Traits, prepared: Any) -> Outcome:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's quantization says that it will move
            model = self.wrap(deepcopy(subject.model)).eval()
        subject = subject._replace(model=model)
        whole = deepcopy(model)
        for index in range(3) if self.fails else (None,):
            before = _Everything(model)
            spoiling: AbstractContextManager[Any] = nullcontext()
            if index is not None:
                calls = leaf_calls(deepcopy(model), subject.inputs)
                spoiling = raising(model, subject.inputs, index * calls + calls // 2)
            try:
                method = known.method if index is not None else fitted(known.method, subject)
                with spoiling:
                    called(method, subject)
            except (HeatproofError, RuntimeError) as error:
                if not self.fails and not isinstance(error, HeatproofError):
                    return Outcome("fails", torch.inf, f"raises {type(error).__name__}: {error}")
            for change in before.changes():
                return Outcome("fails", torch.inf, change)
        with torch.no_grad():
            if not same_bits(deepcopy(model)(subject.inputs), whole(subject.inputs)):
                return Outcome("fails", torch.inf, "the outputs changed")
        return Outcome("holds")


class _Everything:
    """A model at one moment: what the contract looks at, and every plain tensor attribute besides."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.before = model, Before(model)
        self.tensors = {key: value.detach().clone() for key, value in _plain_tensors(model).items()}
        self.buffers = {name: value.detach().clone() for name, value in model.named_buffers()}

    def changes(self) -> list[str]:
        found = [change for change in self.before.changes() if "was replaced by another tensor" not in change]
        now = _plain_tensors(self.model)
        if now.keys() != self.tensors.keys():
            found.append(f"tensor attributes are {sorted(now)}, not {sorted(self.tensors)}")
        found += [f"attribute {k!r} changed" for k, v in self.tensors.items() if k in now and not same_bits(now[k], v)]
        kept = dict(self.model.named_buffers())
        found += [f"buffer {k!r} changed" for k, v in self.buffers.items() if not same_bits(kept.get(k), v)]
        return found


def _plain_tensors(model: nn.Module) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, Tensor)
    }


TRACE = (
    NoTrace(name="stateless", says="a network without state"),
    NoTrace(name="after-error", says="a network that raises midway", fails=True),
    NoTrace(name="running-statistics", says="a network that keeps a running mean in eval mode", wrap=Running),
    NoTrace(name="last-input", says="a network that keeps its last input as a plain attribute", wrap=Noted),
    NoTrace(name="range-observer", says="a network that writes the range of its inputs into a buffer", wrap=Written),
    NoTrace(name="fake-quantization", says="an observer of quantization-aware training before it", wrap=observed),
    NoTrace(name="streaming", says="a network that carries a share of its last inputs along", wrap=Streaming),
)
