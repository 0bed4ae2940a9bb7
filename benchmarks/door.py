"""Claim: what is checked of a model is paid once a model; a call in a loop costs little more than its arithmetic.

The floor is plain autograd: one forward pass, one backward pass towards the input, for the same labels. `first call` is
one on a model that was never seen, `later calls` those on a model that was; all cases take turns in one process, and
times are ratios of medians. The last column counts the rows forward that an audit runs before it has its plan: three
passes of five rows, one of two that is watched for what the dimensions of inputs mean, and two of a block.
"""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from common import Row, interleaved, mnist, parser, report, torchvision
from heatproof.auditing.planning import make
from heatproof.auditing.samples import Tensors
from heatproof.checks import Completeness
from heatproof.methods import Gradient
from heatproof.propagation import independence


def mlp() -> tuple[nn.Module, Tensor]:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), torch.randn(4, 8)


CASES: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "MLP of 3 layers, 4 rows": mlp,
    "MNIST CNN, 4 images": partial(mnist, 4),
    "ResNet-18, 1 image": partial(torchvision, "resnet18"),
}


def plain(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    outputs = model(leaf)
    cotangent = torch.zeros_like(outputs).scatter_(1, y[:, None], 1.0)
    (gradient,) = torch.autograd.grad(outputs, leaf, cotangent)
    return gradient


def first(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    independence.forget(model)
    return Gradient()(model, x, y)


def rows_of_an_audits_door(model: nn.Module, x: Tensor, y: Tensor) -> int:
    """Rows that are run forward until an audit has its plan."""
    rows: list[int] = []
    handle = model.register_forward_hook(lambda _module, arguments, _out: rows.append(len(arguments[0])))
    samples = Tensors(inputs=x, targets=y)
    checks = {"completeness": ("completeness", Completeness())}
    independence.forget(model)
    try:
        make(model, samples, {"gradient": Gradient()}, checks, features=None, batch=len(x))
    finally:
        handle.remove()
    return sum(rows)


def measure(case: str, repeats: int, clock: Callable[[], float]) -> Row:
    torch.manual_seed(0)
    model, x = CASES[case]()
    model.eval()
    y = torch.arange(len(x)) % 3
    cases: dict[str, Callable[[], object]] = {
        "plain": partial(plain, model, x, y),
        "first": partial(first, model, x, y),
        "later": partial(Gradient(), model, x, y),
    }
    inner = 50 if x[0].numel() < 100 else 1
    repeated = {name: partial(_times, one, inner) for name, one in cases.items()}
    seconds = interleaved(repeated, repeats=repeats, clock=clock)
    return {
        "case": case,
        "plain, µs": 1e6 * seconds["plain"] / inner,
        "first call / plain": seconds["first"] / seconds["plain"],
        "later calls / plain": seconds["later"] / seconds["plain"],
        "later calls − plain, µs": 1e6 * (seconds["later"] - seconds["plain"]) / inner,
        "an audit's door, rows": rows_of_an_audits_door(model, x, y),
    }


def _times(call: Callable[[], object], count: int) -> None:
    for _ in range(count):
        call()


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--only", default="", help="cases whose name holds this")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    report("door", [measure(case, chosen.repeats, clock) for case in CASES if chosen.only in case], chosen.out)
