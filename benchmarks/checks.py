"""Claim: a check costs its forward passes and little else, and what methods share is computed once for all of them.

`of its passes` is the time of a check on one block, attributions aside, over that of the same number of plain forward
passes of ready-made inputs at the same batch. Sensitivity-n is timed for one method and for twelve, whose maps are
there beforehand: `12 methods` is the latter over the former. The cases take turns in one process; ratios are of
medians.
"""

import time

import torch
from torch import Tensor, nn

from common import interleaved, mnist, parser, report, torchvision
from heatproof.checks import BlurredPatch, Check, Degradation, SensitivityN
from heatproof.checks.base import TRAINED, Block, Maps, Study
from heatproof.features import Pixels
from heatproof.methods import Random
from heatproof.methods.base import passes
from heatproof.testing.playing import Labeled

METHOD = Labeled("random", Random())


def block_of(model: nn.Module, images: Tensor) -> Block:
    names = tuple(str(i) for i in range(len(images)))
    targets = torch.zeros(len(images), dtype=torch.int64)
    return Block(model=model, inputs=images, targets=targets, samples=names, features=Pixels())


def run(check: Check, block: Block, maps: list[Tensor]) -> None:
    """The check on a block, for as many methods as there are maps."""
    shared = check.shared(block, TRAINED)
    list(check.network_rows(block, TRAINED, shared))
    for values in maps:
        list(check.rows(block, TRAINED, METHOD, Maps(values, {}), {}, shared))


def forwards(block: Block, ready: Tensor, count: int) -> None:
    """So many plain forward passes a sample of inputs that are there, at the batch that a check takes."""
    with torch.no_grad():
        for samples, ranges in passes(block.inputs, count):
            for numbers in ranges:
                block.model(ready[: (samples.stop - samples.start) * len(numbers)])


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--images", type=int, default=32, help="digits in the block")
    options.add_argument("--large", action="store_true", help="also ResNet-18 on two 224² images: minutes")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    model, images = mnist(chosen.images)
    digits = f"MNIST CNN, {chosen.images} images"
    cases: list[tuple[str, nn.Module, Tensor, Check]] = [
        (digits, model, images, SensitivityN(sets=20)),
        (digits, model, images, Degradation(tile=2)),
        (digits, model, images, Degradation(tile=1, steps=100)),
        (digits, model, images, BlurredPatch(size=4)),
    ]
    if chosen.large:
        model, image = torchvision("resnet18")
        images = image.repeat(2, 1, 1, 1)
        cases += [
            ("ResNet-18, 2 images", model, images, SensitivityN(sets=5, sizes=8, tile=8)),
            ("ResNet-18, 2 images", model, images, Degradation(tile=14, steps=16)),
            ("ResNet-18, 2 images", model, images, BlurredPatch(size=15, regions=15)),
        ]
    rows = []
    for name, net, inputs, check in cases:
        net = net.eval().requires_grad_(False)
        block = block_of(net, inputs)
        study = Study(model=net, example=inputs, outputs=10, features=Pixels())
        shared, each = (check.passes(study, TRAINED, method) for method in (None, METHOD))
        ready = inputs.repeat(128, 1, 1, 1)[:128].clone()
        maps = [torch.randn(len(inputs), *inputs.shape[2:]) for _ in range(12)]
        timed = {
            "passes": lambda: forwards(block, ready, round(shared + each)),  # noqa: B023  # timed at once
            "one": lambda: run(check, block, maps[:1]),  # noqa: B023
        }
        if not each:
            timed["twelve"] = lambda: run(check, block, maps)  # noqa: B023
        clock = time.process_time if chosen.cpu_time else time.perf_counter
        seconds = interleaved(timed, repeats=chosen.repeats, clock=clock)
        rows.append(
            {
                "network": name,
                "check": repr(check).replace("baseline=Zero(), ", "").replace(", seed=0", ""),
                "passes a sample": round(shared + each),
                "of its passes": seconds["one"] / seconds["passes"],
                "12 methods": f"{seconds['twelve'] / seconds['one']:.3g}" if "twelve" in seconds else "",
            }
        )
    report("checks", rows, chosen.out)


if __name__ == "__main__":
    main()
