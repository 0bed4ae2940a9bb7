"""Claim: a whole audit is mostly its passes, and takes a fraction of what others take for the same question.

Twelve methods under randomization of the parameters, Sensitivity-n, degradation and bounding boxes, by four hands that
take turns in one process: one call of `heatproof.audit`; the same with each method computed by itself, whose rows are
compared bit for bit; the script that a user of Captum, Zennit, SciPy, scikit-image and Quantus writes (`peers`); and
that of an expert, who evaluates what no method influences once for all of them. Ours computes more than the scripts:
another random network and another draw of noise as yardsticks, and rows with provenance on disk.

`× its passes` is the time over that of the rows that went through the network, each at the speed of plain torch at its
best batch: a forward pass without a graph, or one with its backward pass. Two sides are ours by passes that round
otherwise, which an audit can be asked for. Memory is the peak over what the process held
before. Times are each one's fastest turn. Without Quantus (the extra `bench`) the two scripts are left out.
"""

import ctypes
import gc
import importlib.util
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from common import Row, interleaved, parser, report
from heatproof.fast import cpu_has_bf16
from whole.jobs import JOBS, TINY, Asked, prepared
from whole.ours import ours, without_sharing
from whole.theirs import expert, peers

OURS, ALONE = "heatproof", "heatproof, nothing shared"
QUICK, HALF = "heatproof, channels-last", "heatproof, channels-last, bf16-masked"
SIDES: dict[str, Callable[[Asked], pd.DataFrame]] = {
    OURS: ours,
    ALONE: without_sharing,
    QUICK: partial(ours, fast=("channels-last",)),
    HALF: partial(ours, fast=("channels-last", "bf16-masked")),
    "peers": peers,
    "expert": expert,
}


def same_bits(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two audits gave the same rows, NaN equal to NaN."""
    return bool(one.equals(other))


def plain_forward(model: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        model(x)


def plain_gradient(model: nn.Module, x: Tensor) -> None:
    leaf = x.clone().requires_grad_()
    torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)


def seconds_a_row(asked: Asked, clock: Callable[[], float], repeats: int) -> dict[str, float]:
    """Of a pass with and without a graph, at the best of some batches."""
    sizes = (1, 2, 4, 8) if asked.job.has_blocks else (16, 64, 128, 256)
    x = asked.images.repeat(-(-max(sizes) // len(asked.images)), 1, 1, 1)
    best = {}
    for kind, one in (("plain", plain_forward), ("graph", plain_gradient)):
        cases = {str(size): partial(one, asked.model, x[:size]) for size in sizes}
        found = interleaved(cases, repeats=repeats, clock=clock, of=min)
        best[kind] = min(found[str(size)] / size for size in sizes)
    return best


class Peak:
    """The most memory that a case held, over what the process held before it; 0 where the system does not tell."""

    def __init__(self) -> None:
        self.mib = 0.0

    def __call__(self, case: Callable[[], object]) -> object:
        gc.collect()
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)  # what an earlier case left in the heap is no memory of this one
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        before = _status("VmRSS")
        found = case()
        self.mib = max(self.mib, _status("VmHWM") - before)
        return found


def _status(field: str) -> float:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    return 0.0


def measure(name: str, sides: list[str], repeats: int, clock: Callable[[], float]) -> list[Row]:
    for side in sides if JOBS[name] is not TINY else []:
        SIDES[side](prepared(TINY))  # what libraries load when first called
    asked = {side: prepared(JOBS[name]) for side in sides}
    frames: dict[str, pd.DataFrame] = {}
    peaks = {side: Peak() for side in sides}
    rows: dict[str, dict[str, int]] = {}

    def turn(side: str) -> None:
        asked[side].rows.clear()
        frames[side] = peaks[side](partial(SIDES[side], asked[side]))
        rows[side] = dict(asked[side].rows)

    seconds = interleaved({side: partial(turn, side) for side in sides}, repeats=repeats, warmup=0, clock=clock, of=min)
    per_row = seconds_a_row(prepared(JOBS[name]), clock, 5)
    found = []
    for side in sides:
        passes = sum(rows[side].get(kind, 0) * per_row[kind] for kind in ("plain", "graph"))
        equal = same_bits(frames[OURS], frames[side]) if side == ALONE else None
        found.append(
            {
                "network": f"{asked[side].job.name}, {asked[side].job.images} images",
                "side": side,
                "time / ours": seconds[side] / seconds[OURS],
                "× its passes": seconds[side] / passes,
                "rows forward": rows[side].get("plain", 0),
                "rows with a graph": rows[side].get("graph", 0),
                "peak, MiB": round(peaks[side].mib),
                "rows": len(frames[side]),
                "same bits": {None: "", True: "yes", False: "no"}[equal],
            }
        )
    return found


def main() -> None:
    options = parser((__doc__ or "").splitlines()[0])
    options.add_argument("--jobs", nargs="+", choices=list(JOBS), default=["mnist", "resnet18"])
    options.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    options.set_defaults(repeats=2)  # of a job; one where a turn takes minutes
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    unable = [] if importlib.util.find_spec("quantus") is not None else ["peers", "expert"]
    unable += [] if cpu_has_bf16() else [HALF]
    sides = [side for side in chosen.sides if side not in unable]
    for job in chosen.jobs:  # a page each: one that takes long is measured by itself
        report(f"whole_audit_{job}", measure(job, sides, chosen.repeats, clock), chosen.out)


if __name__ == "__main__":
    main()
