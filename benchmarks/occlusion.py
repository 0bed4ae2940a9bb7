"""Claim: occlusion takes no longer than its forward passes at the best batch size, and less time than Captum's.

The floor is plain torch: one forward pass a window and one for the image, on batches of the size that is best for the
network here. Captum runs as it does by default, one window a pass, and with as many windows a pass as we take. All
cases take turns in one process; times are ratios of medians. Weights are random: no time depends on them.
"""

import time
from collections.abc import Callable
from functools import partial

import captum.attr
import torch
from torch import Tensor, nn

from common import Row, interleaved, mnist, parser, report, torchvision
from heatproof.methods import Occlusion
from heatproof.models import rows_per_pass

CASES: dict[str, tuple[Callable[[], tuple[nn.Module, Tensor]], int, int]] = {  # network, window, stride
    "MNIST CNN, 4 images, window 1": (partial(mnist, 4), 1, 1),
    "MNIST CNN, 4 images, window 8, stride 2": (partial(mnist, 4), 8, 2),
    "ResNet-18, 1 image, window 32": (lambda: torchvision("resnet18"), 32, 32),
    "SqueezeNet, 1 image, window 32, stride 16": (lambda: torchvision("squeezenet1_1"), 32, 16),
}


def plain(model: nn.Module, x: Tensor, passes: int) -> None:
    """`passes` rows through the network, in batches like `x`."""
    with torch.no_grad():
        for start in range(0, passes, len(x)):
            model(x[: min(len(x), passes - start)])


def theirs(model: nn.Module, x: Tensor, y: Tensor, window: int, stride: int, together: int) -> Tensor:
    channels = x.shape[1]
    return captum.attr.Occlusion(model).attribute(
        x,
        sliding_window_shapes=(channels, window, window),
        strides=(channels, stride, stride),
        target=y,
        perturbations_per_eval=together,
    )


def measure(case: str, repeats: int, clock: Callable[[], float]) -> Row:
    torch.manual_seed(0)
    build, window, stride = CASES[case]
    model, x = build()
    model.eval().requires_grad_(False)
    y = torch.arange(len(x)) % 10
    side = 1 + -(-(x.shape[2] - window) // stride)
    rows = len(x) * (side**2 + 1)
    ours = partial(Occlusion(window=window, stride=stride), model, x, y)
    most = rows_per_pass(x)
    sizes = [size for size in (1, 2, 4, 8, 16, 32, 64, 128, 256) if size <= 2 * most and size >= most // 8]
    cases: dict[str, Callable[[], object]] = {"ours": ours}
    cases |= {f"plain {size}": partial(plain, model, torch.randn(size, *x.shape[1:]), rows) for size in sizes}
    together = max(1, most // len(x))
    cases |= {f"captum {size}": partial(theirs, model, x, y, window, stride, size) for size in (1, together)}
    seconds = interleaved(cases, repeats=repeats, clock=clock)
    best = min(sizes, key=lambda size: seconds[f"plain {size}"])
    floor = seconds[f"plain {best}"]
    expected = cases["captum 1"]()
    return {
        "case": case,
        "rows": rows,
        "rows a pass": most,
        "best batch": best,
        "ours / floor": seconds["ours"] / floor,
        "Captum / floor": seconds["captum 1"] / floor,
        "Captum, our batch / floor": seconds[f"captum {together}"] / floor,
        "ours / fastest Captum": seconds["ours"] / min(seconds["captum 1"], seconds[f"captum {together}"]),
        "largest difference": float((ours() - expected).abs().max() / expected.abs().max()),
    }


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--only", default="", help="cases whose name holds this")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    rows = [measure(case, chosen.repeats, clock) for case in CASES if chosen.only in case]
    report("occlusion", rows, chosen.out)
