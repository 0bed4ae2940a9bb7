"""Claim: a per-sample bottleneck costs little more than the passes that its mathematics needs.

The floor is written by hand in plain torch: one pass of the part below the layer, then steps × samples forward and
backward passes of the part above it, cut out of the network as modules, to the layer's output only, at the fastest of
the batch sizes tried; it draws no noise. They take turns in one process; time is the ratio of medians. Weights and
statistics are random: the time does not depend on them. `whole network` is the same loop without the cut, as one would
write it with a hook.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common import Row, interleaved, parser, report
from heatproof.methods.bottleneck import PerSampleBottleneck


class Case(NamedTuple):
    model: nn.Module
    layer: str
    below: nn.Module
    above: nn.Module
    inputs: Tensor


def resnet(name: str) -> Case:
    from torchvision.models import get_model

    model = get_model(name, weights=None).eval()
    below = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool, model.layer1, model.layer2)
    above = nn.Sequential(model.layer3, model.layer4, model.avgpool, nn.Flatten(), model.fc)
    return Case(model, "layer2", below, above, torch.randn(1, 3, 224, 224))


def vgg() -> Case:
    from torchvision.models import vgg16

    model = vgg16(weights=None).eval()
    model.features[18].inplace = False  # the floor's own leaf is what it reads
    above = nn.Sequential(model.features[18:], model.avgpool, nn.Flatten(), model.classifier)
    return Case(model, "features.17", model.features[:18], above, torch.randn(1, 3, 224, 224))


def mnist() -> Case:
    """The CNN of Adebayo et al., cut at its second convolution."""
    first = [nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5, padding=2)]
    rest = [nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 49, 1024), nn.ReLU(), nn.Linear(1024, 10)]
    model = nn.Sequential(*first, *rest).eval()
    return Case(model, "3", model[:4], model[4:], torch.randn(25, 1, 28, 28))


CASES: dict[str, Callable[[], Case]] = {
    "MNIST CNN, second convolution, 25 images": mnist,
    "ResNet-18, layer2, 1 image": lambda: resnet("resnet18"),
    "ResNet-50, layer2, 1 image": lambda: resnet("resnet50"),
    "VGG-16, features.17, 1 image": vgg,
}


def floor(case: Case, y: Tensor, passes: int, batch: int, network: nn.Module, at: Tensor) -> None:
    """`passes` forward and backward passes of `network` a sample, `batch` rows at a time, from `at`."""
    with torch.no_grad():
        case.below(case.inputs)
    rows = torch.arange(len(at)).repeat(passes)
    for part in rows.split(batch):
        leaf = at[part].requires_grad_()
        torch.autograd.grad(F.cross_entropy(network(leaf), y[part], reduction="sum"), leaf)


def measure(name: str, steps: int, repeats: int, clock: Callable[[], float]) -> Row:
    torch.manual_seed(0)
    case = CASES[name]()
    case.model.requires_grad_(False)
    y = torch.arange(len(case.inputs)) % 10
    method = PerSampleBottleneck(layer=case.layer, steps=steps).fit(
        case.model, [torch.randn(2, *case.inputs.shape[1:])]
    )
    z = case.below(case.inputs)
    tried = (2, 5, 10) if len(case.inputs) == 1 else (64, 125, 250)
    cases = {"ours": partial(method, case.model, case.inputs, y)}
    cases |= {f"floor {b}": partial(floor, case, y, 10 * steps, b, case.above, z) for b in tried}
    cases["whole"] = partial(floor, case, y, 10 * steps, tried[-1], case.model, case.inputs)
    replace(method, steps=1)(case.model, case.inputs, y)  # which warms everything up
    floor(case, y, 1, tried[-1], case.above, z)
    seconds = interleaved(cases, repeats=repeats, warmup=0, clock=clock)
    best = min(tried, key=lambda b: seconds[f"floor {b}"])
    base = seconds[f"floor {best}"]
    return {
        "case": name,
        "steps": steps,
        "time / floor": seconds["ours"] / base,
        "whole network / floor": seconds["whole"] / base,
        "floor's batch": best,
        "floor, s": base,
    }


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--only", default="", help="cases whose name holds this")
    options.add_argument("--steps", type=int, default=10, help="of the optimization")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    rows = [measure(case, chosen.steps, chosen.repeats, clock) for case in CASES if chosen.only in case]
    report("bottlenecks", rows, chosen.out)
