"""What a run's bits depend on beside its question: samples a block, and CPU threads. Settled once, and kept."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from heatproof.arithmetic import pinned
from heatproof.auditing.asked import MEASURED, Asked
from heatproof.auditing.samples import Portion, Source, filled, taken
from heatproof.auditing.shrinking import out_of_memory
from heatproof.auditing.ways import Way
from heatproof.errors import StoreError
from heatproof.intact import intact
from heatproof.models import forward, rows_per_pass, select

MOST_ROWS = 64  # samples a block at most: more would only make progress coarse
TURNS = 3  # of which the fastest counts
SECONDS = 1.0  # that a measurement takes, or SHARE of the time of a pass of every sample, if that is longer
SHARE = 0.05
ALIKE = 0.9  # of the best rate: sizes from there on are as good, and the usual one, or the nearest to it, is taken


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Samples a block and threads; `rates` are samples a second by the size of passes, where that was measured."""

    batch: int
    threads: int
    rates: Mapping[int, float] = field(default_factory=dict)


def settings_of(
    before: Mapping[str, Any] | None, asked: Asked, model: nn.Module, source: Source, way: Way | None = None
) -> Settings:
    """Batch and threads: those of the run so far, if there is one, because its bits depend on them.

    A block has as many samples as one of their size fills a pass (`rows_per_pass`), the same number on every machine
    of a kind; or with batch = "measured" as many as go through the network fastest here and now.

    Raises: StoreError where the run began with others than are asked for.
    """
    if before is not None:
        return _kept(before["settings"], asked, len(source))
    threads = asked.threads or _share(way or Way())
    if isinstance(asked.batch, int):
        return Settings(batch=min(asked.batch, len(source)), threads=threads)
    _, first = some(model, source, 4)
    usual = min(rows_per_pass(first.inputs), MOST_ROWS, len(source))
    if asked.batch != MEASURED or len(source) <= usual:  # in one block there is nothing to choose
        return Settings(batch=usual, threads=threads)
    with intact(model), pinned(threads, first.inputs.dtype):
        rates = measured(model, source, usual)
    return Settings(batch=chosen(rates, usual), threads=threads, rates=rates)


def _kept(then: Mapping[str, Any], asked: Asked, samples: int) -> Settings:
    batch = None if asked.batch == MEASURED else asked.batch
    for name, said, now, past in (
        ("batch", batch, min(batch or 1, samples), then["compute_batch"]),
        ("threads", asked.threads, asked.threads, then["threads"]),
    ):
        if said is not None and now != past:
            raise StoreError(
                f"Expected {name} = {past}, as this run began with, but got {said}; "
                "the rows' bits depend on it. Leave it out, or choose another folder."
            )
    rates = {int(size): rate for size, rate in then.get("rates", {}).items()}
    return Settings(batch=then["compute_batch"], threads=then["threads"], rates=rates)


def _share(way: Way) -> int:
    """The threads of a worker of this machine: all of them together are no more than there are cores."""
    if way.actors is not None:
        return way.actors.threads
    return max(1, torch.get_num_threads() // max(1, len(way.devices)))


def some(model: nn.Module, source: Source, count: int) -> tuple[nn.Module, Portion]:
    """The first samples that can be used, so many at most, and the model of them."""
    for start in range(0, min(64, len(source)), count):
        portion = source.read(start, min(start + count, len(source)))
        if portion.ids:
            return taken(model, portion, start)
    return model, portion


# How fast ------------------------------------------------------------------------------------------------------------


def measured(
    model: nn.Module, source: Source, usual: int, clock: Callable[[], float] = time.perf_counter
) -> dict[int, float]:
    """Samples a second of a forward and backward pass, by the size of passes: powers of two, and the usual size.

    Sizes take turns, the fastest turn counts, and larger ones are left out once time is up or memory runs out.
    Cost: about a second, or 5 % of the time of one pass of every sample.
    """
    most = min(MOST_ROWS, len(source))
    bound, portion = some(model, source, most)
    sizes = sorted({usual, *(2**k for k in range(most.bit_length()) if 2**k <= most)})
    seconds: dict[int, float] = {}
    began, alone = clock(), _pass(bound, portion, 1, clock)
    for _ in range(TURNS):
        for size in sizes:
            if clock() - began > max(SECONDS, SHARE * alone * len(source)):
                return _rates(seconds)
            try:
                took = _pass(bound, portion, size, clock)
            except Exception as error:
                if size == 1 or not out_of_memory(error):
                    raise
                sizes = [one for one in sizes if one < size]
                break
            seconds[size] = min(seconds.get(size, math.inf), took)
            alone = min(alone, seconds[1])
    return _rates(seconds)


def _pass(bound: nn.Module, portion: Portion, size: int, clock: Callable[[], float]) -> float:
    """Seconds of a forward and backward pass of so many rows."""
    rows = filled(len(portion.ids), size)
    x = portion.inputs[rows].requires_grad_()
    start = clock()
    with torch.enable_grad():
        outputs = forward(select(bound, rows), x, torch.arange(size))
        if outputs.requires_grad:
            torch.autograd.grad(outputs.sum(), x)
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)
    return clock() - start


def _rates(seconds: Mapping[int, float]) -> dict[int, float]:
    return {size: round(size / took, 1) for size, took in sorted(seconds.items())}


def chosen(rates: Mapping[int, float], usual: int) -> int:
    """The size of passes to be used: the usual one, unless it was measured and another is surely faster."""
    if usual not in rates:
        return usual
    good = [size for size, rate in rates.items() if rate >= ALIKE * max(rates.values())]
    return min(good, key=lambda size: (abs(math.log2(size / usual)), size))
