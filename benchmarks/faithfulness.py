"""Claim: flipping pixels and perturbing regions cost their passes, and less than Quantus takes for the same curves.

The floor is plain torch: as many forward passes of ready-made inputs, at the fastest of some batch sizes. Ours is the
check of an audit for one method, most and least relevant first, its two passes for all methods included; Quantus is
its PixelFlipping or RegionPerturbation on the same maps, in both orders, over batches of all images. They take turns in
one process; figures are ratios of each one's fastest turn. `fast` is ours with weights' channels last, and `half` with
masked inputs in bfloat16 as well, where the processor has it: passes that round otherwise. Without Quantus (the extra
`bench`) its column is empty.
"""

import importlib.util
import time
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from common import Row, interleaved, mnist, parser, report, torchvision
from heatproof import allocator, fast
from heatproof.checks import Degradation
from heatproof.checks.base import TRAINED, Block, Maps
from heatproof.features import Pixels
from heatproof.methods import Random
from heatproof.testing.playing import Labeled

METHOD = Labeled("random", Random())


def lenet(images: int) -> tuple[nn.Module, Tensor]:
    """LeNet-5 with ReLUs, as Quantus's tutorials have it."""
    first = [nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)]
    rest = [nn.Flatten(), nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]
    return nn.Sequential(*first, *rest), torch.randn(images, 1, 28, 28)


def resnet(images: int) -> tuple[nn.Module, Tensor]:
    model, x = torchvision("resnet18")
    return model, x.repeat(images, 1, 1, 1)


# Network, images, tile, steps, batches of the floor; one pixel a tile is pixel flipping.
CASES: dict[str, tuple[Callable[[int], tuple[nn.Module, Tensor]], int, int, int, tuple[int, ...]]] = {
    "LeNet, 32 images, 28 pixels a step": (lenet, 32, 1, 28, (32, 64, 128, 256)),
    "MNIST CNN, 32 images, 28 pixels a step": (mnist, 32, 1, 28, (32, 64, 128, 256)),
    "MNIST CNN, 32 images, regions of 4²": (mnist, 32, 4, 0, (32, 64, 128, 256)),
    "ResNet-18, 2 images, regions of 14², 16 steps": (resnet, 2, 14, 16, (2, 4, 8)),
}


def ours(check: Degradation, block: Block, maps: Tensor, modes: tuple[str, ...] = ()) -> None:
    with allocator.kept(), fast.opened(modes, block.model):
        shared = check.shared(block, TRAINED)
        list(check.network_rows(block, TRAINED, shared))
        list(check.rows(block, TRAINED, METHOD, Maps(maps, {}), {}, shared))


def plain(model: nn.Module, x: Tensor, passes: int) -> None:
    with allocator.kept(), torch.no_grad():
        for start in range(0, passes, len(x)):
            model(x[: min(len(x), passes - start)])


def theirs(model: nn.Module, x: Tensor, y: Tensor, maps: Tensor, tile: int, steps: int) -> None:
    import quantus

    given = {"model": model, "x_batch": x.numpy(), "y_batch": y.numpy(), "a_batch": maps[:, None].numpy()}
    usual = {"normalise": False, "disable_warnings": True}
    with warnings.catch_warnings(action="ignore"):
        for order in ("morf", "lerf"):
            if tile == 1:
                signed = given["a_batch"] if order == "morf" else -given["a_batch"]  # it knows one order
                metric = quantus.PixelFlipping(
                    features_in_step=x[0, 0].numel() // steps, perturb_baseline="black", **usual
                )
                metric(**{**given, "a_batch": signed}, device="cpu", softmax=True, batch_size=len(x))
            else:
                metric = quantus.RegionPerturbation(
                    patch_size=tile, order=order, regions_evaluation=steps or x[0, 0].numel() // tile**2, **usual
                )
                metric(**given, device="cpu", softmax=True, batch_size=len(x))


def measure(case: str, repeats: int, clock: Callable[[], float]) -> Row:
    torch.manual_seed(0)
    build, images, tile, steps, batches = CASES[case]
    model, x = build(images)
    model.eval().requires_grad_(False)
    y, maps = torch.zeros(images, dtype=torch.int64), torch.randn(images, *x.shape[2:])
    names = tuple(str(i) for i in range(images))
    block = Block(model=model, inputs=x, targets=y, samples=names, features=Pixels())
    check = Degradation(tile=tile, steps=steps)
    tiles = x[0, 0].numel() // tile**2
    passes = images * (2 + 2 * len(check.counts(tiles)))
    ready = x.repeat(-(-max(batches) // images), 1, 1, 1)[: max(batches)].clone()
    cases: dict[str, Callable[[], object]] = {f"plain {b}": partial(plain, model, ready[:b], passes) for b in batches}
    cases["ours"] = partial(ours, check, block, maps)
    cases["fast"] = partial(ours, check, block, maps, ("channels-last",))
    if fast.cpu_has_bf16():
        cases["half"] = partial(ours, check, block, maps, ("channels-last", "bf16-masked"))
    if importlib.util.find_spec("quantus") is not None:
        cases["quantus"] = partial(theirs, model, x, y, maps, tile, steps)
    seconds = interleaved(cases, repeats=repeats, clock=clock, of=min)
    best = min(batches, key=lambda b: seconds[f"plain {b}"])
    floor = seconds[f"plain {best}"]
    return {
        "case": case,
        "rows": passes,
        "floor's batch": best,
        **{f"{side} / floor": seconds[side] / floor if side in seconds else "" for side in ("ours", "quantus")},
        **{f"{side} / floor": seconds[side] / floor if side in seconds else "" for side in ("fast", "half")},
    }


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--only", default="", help="cases whose name holds this")
    options.set_defaults(repeats=5)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    report("faithfulness", [measure(case, chosen.repeats, clock) for case in CASES if chosen.only in case], chosen.out)
