"""Claim: Grad-CAM takes no longer than a forward pass and a backward pass through the part above its layer.

The floor is plain torch on the network cut in two: the part up to the layer without a graph, the part above it with
one, and its gradient. Finding the layer costs a fixed number of rows more a call: shown for one image and for eight.
All cases take turns in one process; times are ratios of medians. Weights are random: no time depends on them.
"""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import get_model

from common import Row, interleaved, parser, report
from heatproof.methods import GradCAM

# A torchvision network, the layer, and how it is cut behind it.
CASES: dict[str, tuple[str, Callable[[nn.Module], tuple[nn.Module, nn.Module]]]] = {
    "resnet18": ("layer4", lambda net: (nn.Sequential(*list(net.children())[:-2]), head(net.avgpool, net.fc))),
    "vgg16": ("features", lambda net: (net.features, head(net.avgpool, net.classifier))),
    "squeezenet1_1": ("features", lambda net: (net.features, nn.Sequential(net.classifier, nn.Flatten()))),
}


def head(pool: nn.Module, classifier: nn.Module) -> nn.Module:
    return nn.Sequential(pool, nn.Flatten(), classifier)


def plain(below: nn.Module, above: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        activation = below(x)
    activation.requires_grad_()
    score = above(activation).gather(1, y[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, activation)
    combined = (gradient.mean((2, 3), keepdim=True) * activation.detach()).sum(1, keepdim=True).relu()
    return nn.functional.interpolate(combined, size=x.shape[2:], mode="bilinear")


def measure(case: str, images: int, repeats: int, clock: Callable[[], float]) -> Row:
    torch.manual_seed(0)
    layer, cut = CASES[case]
    net = get_model(case, weights=None).eval().requires_grad_(False)
    x, y = torch.randn(images, 3, 224, 224), torch.arange(images)
    cases: dict[str, Callable[[], object]] = {
        "floor": partial(plain, *cut(net), x, y),
        "named": partial(GradCAM(layer=layer), net, x, y),
        "found": partial(GradCAM(), net, x, y),
    }
    seconds = interleaved(cases, repeats=repeats, clock=clock)
    expected, got = plain(*cut(net), x, y), GradCAM()(net, x, y)
    return {
        "case": case,
        "images": images,
        "layer named / floor": seconds["named"] / seconds["floor"],
        "layer found / floor": seconds["found"] / seconds["floor"],
        "largest difference": float((got - expected).abs().max() / expected.abs().max().clamp_min(1e-30)),
    }


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    rows = [measure(case, images, chosen.repeats, clock) for case in CASES for images in (1, 8)]
    report("cam", rows, chosen.out)
