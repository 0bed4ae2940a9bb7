"""What is asked: a network, samples, stages and settings, the same for everybody who answers."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from common import mnist as mnist_cnn

METHODS = (
    "gradient", "saliency", "gradient-x-input", "integrated-gradients", "smoothgrad", "guided-backprop", "grad-cam",
    "guided-grad-cam", "deeplift", "lrp-epsilon-plus", "lrp-epsilon-gamma-box", "occlusion",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Job:
    """Twelve methods under four checks; `chunk` and `together` are the batches that are best for who loops by hand."""

    name: str
    images: int
    stages: tuple[str, ...]  # layers, from the output down; the last one has everything random
    layer: str  # of Grad-CAM, where it is named
    steps: int  # nodes of Integrated Gradients, samples of SmoothGrad
    window: int  # of occlusion, as its stride
    sets: int  # Sensitivity-n: sets of each of so many sizes, of features of so many pixels a side
    sizes: int
    set_tile: int
    tile: int  # degradation: pixels a side of a tile; so many steps, 0 for one a tile
    degradations: int
    cell: int  # of HOG
    chunk: int
    together: int

    @property
    def has_blocks(self) -> bool:
        return self.name == "ResNet-18"


MNIST = Job(
    name="MNIST CNN", images=16, stages=("9", "7", "3", "0"), layer="4", steps=20, window=8, sets=50, sizes=8,
    set_tile=1, tile=4, degradations=0, cell=8, chunk=256, together=4,
)  # fmt: skip
RESNET = Job(
    name="ResNet-18", images=2, stages=("fc", "layer4", "conv1"), layer="layer4", steps=10, window=56, sets=20, sizes=4,
    set_tile=16, tile=14, degradations=16, cell=16, chunk=8, together=8,
)  # fmt: skip
TINY = replace(MNIST, images=2, steps=2, window=14, sets=4, sizes=2, tile=14)
JOBS = {"mnist": MNIST, "resnet18": RESNET, "tiny": TINY}


@dataclass
class Asked:
    """The network, its samples and their boxes, and what went through it so far."""

    job: Job
    model: nn.Module
    images: Tensor
    labels: Tensor
    boxes: list[list[tuple[float, float, float, float]]]
    rows: Counter[str]  # through the network, with and without a graph


def prepared(job: Job) -> Asked:
    """The same network and samples at each call, with a hook that counts rows."""
    torch.manual_seed(0)
    if job.has_blocks:
        from torchvision.models import resnet18

        model: nn.Module = resnet18(weights=None)
        images = torch.randn(job.images, 3, 224, 224).clamp(-3, 3)
    else:
        model, images = mnist_cnn(job.images)
    model.eval().requires_grad_(False)
    with torch.no_grad():
        labels = model(images).argmax(1)
    side = images.shape[2]
    boxes = [[(side * 0.25, side * 0.25, side * 0.75, side * 0.75)] for _ in range(job.images)]
    rows: Counter[str] = Counter()
    model.register_forward_pre_hook(_Seen(rows))
    return Asked(job, model, images, labels, boxes, rows)


class _Seen:
    """Counts what goes in; a deep copy of the network counts with it."""

    def __init__(self, rows: Counter[str]) -> None:
        self.rows = rows

    def __deepcopy__(self, memo: Any) -> "_Seen":
        return self

    def __call__(self, _module: nn.Module, given: Any) -> None:
        while isinstance(given, tuple):  # Captum's DeepLift hands over a tuple in a tuple
            given = given[0]
        self.rows["graph" if torch.is_grad_enabled() and given.requires_grad else "plain"] += len(given)
