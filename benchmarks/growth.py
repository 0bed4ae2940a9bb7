"""Claim: an audit takes time in proportion to images, labels, stages times depth, methods and pixels.

Each is grown by itself, all else the same; sizes take turns, and each one's fastest turn counts. `exponent` is the
slope of log time over log size by least squares, `last step` that of the two largest sizes alone: 1 is proportional,
less means that something is paid once. Times are of whole calls of `heatproof.audit`, for labels of one method. The
points are drawn with the fitted lines.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import heatproof as hp
from common import Row, interleaved, parser, report
from heatproof.checks import Degradation, ParameterRandomization
from heatproof.methods import SmoothGrad

Grown = Callable[[int], Callable[[], object]]


def network(side: int = 28, labels: int = 10, depth: int = 2) -> nn.Module:
    """Convolutions of 16 channels, and a linear layer on what is left of 7² positions."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AvgPool2d(side // 7), nn.Flatten(), nn.Linear(784, labels)).eval()


def audited(model: nn.Module, images: int, methods: dict[str, Any], checks: dict[str, Any], side: int = 28) -> None:
    x = torch.randn(images, 1, side, side, generator=torch.Generator().manual_seed(1))
    hp.audit(model, x, methods=methods, checks=checks, batch=8, threads=1, progress=False)


def of_images(images: int) -> Callable[[], object]:
    return partial(audited, network(), images, {"gradient": "gradient"}, {"degradation": Degradation(tile=4)})


def of_labels(labels: int) -> Callable[[], object]:
    model, x = network(labels=labels), torch.randn(8, 1, 28, 28)
    return partial(hp.methods.get("cgi"), model, x, torch.zeros(8, dtype=torch.int64))


def of_depth(depth: int) -> Callable[[], object]:
    check = ParameterRandomization(similarities=("spearman",), complete_seeds=1)
    return partial(audited, network(depth=depth), 8, {"gradient": "gradient"}, {"randomization": check})


def of_methods(methods: int) -> Callable[[], object]:
    several = {f"smoothgrad {k}": SmoothGrad(samples=20, noise=0.1 + k / 100) for k in range(methods)}
    check = ParameterRandomization(similarities=("spearman",), complete_seeds=1)
    return partial(audited, network(), 8, several, {"randomization": check})


def of_pixels(pixels: int) -> Callable[[], object]:
    side = round(pixels**0.5)
    check = ParameterRandomization(complete_seeds=1)
    methods = {"gradient": "gradient", "smoothgrad": SmoothGrad(samples=10)}
    return partial(audited, network(side), 8, methods, {"randomization": check}, side)


# What grows, the sizes, and what to call a size of: stages times depth are as the square of the layers.
CASES: dict[str, tuple[Grown, tuple[int, ...], Callable[[int], int]]] = {
    "images": (of_images, (16, 32, 64, 128), lambda n: n),
    "labels": (of_labels, (20, 40, 80, 160), lambda n: n),
    "stages × depth": (of_depth, (4, 8, 16, 24), lambda n: (n + 1) * (n + 1)),
    "methods": (of_methods, (2, 4, 8, 16), lambda n: n),
    "pixels": (of_pixels, (28**2, 56**2, 112**2, 168**2), lambda n: n),
}


def slope(sizes: list[int], seconds: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def draw(found: dict[str, tuple[list[int], list[float]]], out: Path) -> None:
    """One panel a case, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(3 * len(found), 3), layout="constrained")
    for axis, (what, (sizes, seconds)) in zip(np.atleast_1d(axes), found.items(), strict=True):
        exponent, offset = np.polyfit(np.log(sizes), np.log(seconds), 1)
        axis.loglog(sizes, np.exp(offset) * np.array(sizes, float) ** exponent, "-", color="0.7")
        axis.loglog(sizes, seconds, "o", color="black")
        axis.set(title=f"{what}: exponent {exponent:.2f}", xlabel=what)
    np.atleast_1d(axes)[0].set_ylabel("seconds")
    figure.savefig(out / "growth.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    options = parser((__doc__ or "").splitlines()[0])
    options.add_argument("--only", default="", help="cases whose name holds this")
    options.add_argument("--sizes", type=int, default=4, help="how many sizes of each")
    options.set_defaults(repeats=3)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    rows: list[Row] = []
    found = {}
    for what, (grown, every, size_of) in CASES.items():
        if chosen.only not in what:
            continue
        counts = every[: chosen.sizes]
        cases, warmup = {str(n): grown(n) for n in counts}, min(1, chosen.repeats - 1)
        turns = interleaved(cases, repeats=chosen.repeats, warmup=warmup, clock=clock, of=min)
        sizes, seconds = [size_of(n) for n in counts], [turns[str(n)] for n in counts]
        found[what] = sizes, seconds
        rows.append(
            {
                "grows": what,
                "sizes": ", ".join(map(str, sizes)),
                "seconds": ", ".join(f"{value:.3g}" for value in seconds),
                "exponent": slope(sizes, seconds),
                "last step": slope(sizes[-2:], seconds[-2:]),
            }
        )
    report("growth", rows, chosen.out)
    if chosen.out is not None:
        draw(found, chosen.out)
        with (chosen.out / "growth.md").open("a") as file:
            file.write("\n![time over size, with the fitted lines](growth.svg)\n")


if __name__ == "__main__":
    main()
