"""What every part is given: where it runs, how small, how much time is left, and a clock that waits for the device."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Row = Mapping[str, Any]


class Timing(NamedTuple):
    """The fastest of some calls: seconds on the wall and of this process, and MiB of the device beyond the start."""

    seconds: float
    cpu: float
    peak: float
    calls: int


@dataclass(frozen=True)
class Bench:
    device: torch.device
    tiny: bool
    seconds: float
    start: float = field(default_factory=time.perf_counter)

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def left(self) -> float:
        """Seconds until everything has to be done."""
        return self.seconds - (time.perf_counter() - self.start)

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def once(self, call: Callable[[], object]) -> tuple[float, float]:
        self.wait()
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        self.wait()
        return time.perf_counter() - wall, time.process_time() - cpu

    def timed(self, call: Callable[[], object], *, budget: float = 3.0, most: int = 5) -> Timing:
        """One call to warm up, then as many as `budget` seconds allow; a call longer than that counts itself."""
        base = 0
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            base = torch.cuda.memory_allocated()
        first = self.once(call)
        count = max(1, min(most, int(budget / max(first[0], 1e-6)))) if first[0] < budget else 0
        found = [self.once(call) for _ in range(count)] or [first]
        peak = (torch.cuda.max_memory_allocated() - base) / 2**20 if self.cuda else float("nan")
        return Timing(*min(found), peak, len(found))

    def images(self, count: int, side: int) -> tuple[Tensor, Tensor]:
        """So many images and labels, the same on every device."""
        drawn = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(count))
        return drawn.to(self.device), torch.zeros(count, dtype=torch.int64, device=self.device)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Convolutions and matrix products with or without TF32, as it was afterwards."""
    kept = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = kept


def plain_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The floor of everything that is derived: one forward pass, and one back to the input."""
    leaf = x.detach().requires_grad_()
    return torch.autograd.grad(model(leaf).gather(1, y[:, None]).sum(), leaf)[0]


@torch.no_grad()
def plain_outputs(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    out: Tensor = model(x)
    return out


@dataclass(frozen=True)
class Floor:
    """Images a second of plain passes at each batch size."""

    forward: Mapping[int, float]
    derived: Mapping[int, float]

    @classmethod
    def of(cls, bench: Bench, model: nn.Module, side: int, sizes: Sequence[int]) -> "Floor":
        def rates(call: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> dict[int, float]:
            found = {}
            for size in sizes:
                x, y = bench.images(size, side)
                run = lambda x=x, y=y: call(model, x, y)  # noqa: E731
                found[size] = size / bench.timed(run, budget=0.6, most=3).seconds
            return found

        return cls(rates(plain_outputs), rates(plain_gradient))

    def seconds(self, *, derived: float = 0.0, forward: float = 0.0, batch: int | None = None) -> float:
        """What so many passes of one image take, at the fastest batch size, or at one that was measured."""
        if batch is not None:
            return derived / self.derived[batch] + forward / self.forward[batch]
        return derived / max(self.derived.values()) + forward / max(self.forward.values())
