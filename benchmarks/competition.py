"""Claim: competition among labels costs no more than a loop over labels, half of it where labels outnumber features.

Each case is timed against what a user writes today: `autograd.grad` label by label, every map kept, then stacked and
compared with the maximum and the minimum. They take turns in one process; time is the ratio of medians. Memory is the
growth of a fresh process's peak over what it held with the network loaded, after a forward and a backward pass. Weights
are random: neither time depends on them.
"""

import gc
import multiprocessing
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from common import Row, interleaved, mnist, parser, report, torchvision
from heatproof.methods import get

MIB = 2**20


CASES: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "MNIST CNN, 10 labels, 64 images": partial(mnist, 64),
    "ResNet-18, 1000 labels, 1 image": lambda: torchvision("resnet18"),
    "SqueezeNet, 1000 labels, 1 image": lambda: torchvision("squeezenet1_0"),
}


def prepared(case: str) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model, x = CASES[case]()
    model.eval().requires_grad_(False)
    return model, x, torch.arange(len(x)) % 10


def loop(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """What a user writes today."""
    x = x.clone().requires_grad_()
    logits = model(x)
    labels = range(logits.shape[1])
    maps = torch.stack([x.detach() * torch.autograd.grad(logits[:, i].sum(), x, retain_graph=True)[0] for i in labels])
    own = maps[y, torch.arange(len(y))]
    wins = ((own > 0) & (own >= maps.max(0).values)) | ((own < 0) & (own <= maps.min(0).values))
    return own * wins


def ours(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return get("cgi")(model, x, y)


def by_labels(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return get("cgi", rank="off")(model, x, y)


WAYS = {"loop": loop, "cgi": ours, "cgi, rank off": by_labels}


def held() -> int:
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak() -> int:
    """The most that it has held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def growth(case: str, way: str, threads: int) -> float:
    """MiB by which a run raises the peak of this fresh process."""
    torch.set_num_threads(threads)
    model, x, y = prepared(case)
    get("gradient")(model, x, y)
    gc.collect()
    with suppress(OSError):  # a process begins with the peak of the one that started it
        Path("/proc/self/clear_refs").write_text("5")
    before = held()
    WAYS[way](model, x, y)
    return (peak() - before) / MIB


def measure(case: str, repeats: int, threads: int, clock: Callable[[], float]) -> Row:
    model, x, y = prepared(case)
    expected, got = loop(model, x, y), ours(model, x, y)  # which warms both up
    ways = [way for way in WAYS if way != "cgi, rank off" or "ResNet" in case]
    cases = {way: partial(WAYS[way], model, x, y) for way in ways}
    seconds = interleaved(cases, repeats=repeats, warmup=0, clock=clock)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        memory = {way: pool.apply(growth, (case, way, threads)) for way in ways}
    return {
        "case": case,
        "time / loop": seconds["cgi"] / seconds["loop"],
        "rank off / loop": seconds.get("cgi, rank off", seconds["cgi"]) / seconds["loop"],
        "MiB": memory["cgi"],
        "loop MiB": memory["loop"],
        "same support": float(((expected != 0) == (got != 0)).float().mean()),
        "largest difference": float((expected - got)[(expected != 0) == (got != 0)].abs().max() / expected.abs().max()),
    }


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--only", default="", help="cases whose name holds this")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    rows = [measure(case, chosen.repeats, chosen.threads, clock) for case in CASES if chosen.only in case]
    report("competition", rows, chosen.out)
