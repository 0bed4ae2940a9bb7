"""Claim: a check costs its forward passes and little else, and what methods share is computed once for all of them.

`of its passes` is the time of a check on one block, attributions aside, over that of the same number of plain forward
passes of ready-made inputs at the same batch. Sensitivity-n is timed for one method and for twelve, whose maps are
there beforehand: `12 methods` is the latter over the former. Parameter randomization is a block of an audit with the
gradient, its attributions included: its passes are those of plain torch in the same states, a forward and a backward
one for each map and a forward one for each row of scores; `of maps alone` counts the maps' passes only. The cases take
turns in one process; ratios are of each one's fastest turn.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from common import Row, interleaved, mnist, parser, report, torchvision
from heatproof.auditing.block import run_block
from heatproof.auditing.learning import Learned
from heatproof.auditing.planning import make
from heatproof.auditing.samples import Tensors
from heatproof.checks import BlurredPatch, Check, Degradation, ParameterRandomization, SensitivityN
from heatproof.checks.base import TRAINED, Block, Maps, Study
from heatproof.features import Pixels
from heatproof.methods import Gradient, Random
from heatproof.methods.base import passes
from heatproof.randomization import Cascading
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


def cascade(
    title: str,
    model: nn.Module,
    images: Tensor,
    clock: Callable[[], float],
    repeats: int,
    similarity: str = "spearman",
    blocks: tuple[str, ...] = (),
) -> Row:
    """A block of parameter randomization, against plain gradients in the same states."""
    check = ParameterRandomization(randomization=Cascading(blocks=blocks), similarities=(similarity,), complete_seeds=1)
    targets = torch.zeros(len(images), dtype=torch.int64)
    samples = Tensors(inputs=images, targets=targets)
    checks = {"randomization": ("parameter-randomization", check)}
    plan = make(model, samples, {"gradient": Gradient()}, checks, features=None, batch=len(images))
    states = [condition.state for condition in plan.conditions if condition.state.kind != "replicate"]

    def plain(*, scores: bool) -> None:
        for state in states:
            with state.open(model):
                x = images.clone().requires_grad_()
                torch.autograd.grad(model(x).gather(1, targets[:, None]).sum(), x)
                if scores and check.passes(plan.study, state, None):
                    with torch.no_grad():
                        model(images)

    def audited() -> None:
        for _ in run_block(plan, 0, plan.example, Learned(), plan.questions, lambda *_: None):
            pass

    timed = {"maps": lambda: plain(scores=False), "passes": lambda: plain(scores=True), "one": audited}
    seconds = interleaved(timed, repeats=repeats, clock=clock, of=min)
    return {
        "network": title,
        "check": f"ParameterRandomization, {len(states)} states, {similarity}",
        "passes a sample": len(states) * 3 + len(states) - 1,
        "of its passes": seconds["one"] / seconds["passes"],
        "12 methods": "",
        "of maps alone": f"{seconds['one'] / seconds['maps']:.3g}",
    }


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--images", type=int, default=32, help="digits in the block")
    options.add_argument("--large", action="store_true", help="also ResNet-18 on two 224² images: minutes")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    model, images = mnist(chosen.images)
    digits = f"MNIST CNN, {chosen.images} images"
    more, title = mnist(2 * chosen.images)[1], f"MNIST CNN, {2 * chosen.images} images"
    model.eval().requires_grad_(False)
    rows = [cascade(title, model, more, clock, chosen.repeats, similarity) for similarity in ("spearman", "ssim")]
    cases: list[tuple[str, nn.Module, Tensor, Check]] = [
        (digits, model, images, SensitivityN(sets=20)),
        (digits, model, images, Degradation(tile=2)),
        (digits, model, images, Degradation(tile=1, steps=100)),
        (digits, model, images, BlurredPatch(size=4)),
    ]
    if chosen.large:
        model, image = torchvision("resnet18")
        model.eval().requires_grad_(False)
        title, images = "ResNet-18, 2 images", image.repeat(2, 1, 1, 1)
        stages = tuple(f"layer{i}.{j}" for i in range(1, 5) for j in range(2))
        rows.append(cascade(title, model, images, clock, max(1, chosen.repeats // 3), blocks=stages))
        cases += [
            (title, model, images, SensitivityN(sets=5, sizes=8, tile=8)),
            (title, model, images, Degradation(tile=14, steps=16)),
            (title, model, images, BlurredPatch(size=15, regions=15)),
        ]
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
        seconds = interleaved(timed, repeats=chosen.repeats, clock=clock, of=min)
        rows.append(
            {
                "network": name,
                "check": repr(check).replace("baseline=Zero(), ", "").replace(", seed=0", ""),
                "passes a sample": round(shared + each),
                "of its passes": seconds["one"] / seconds["passes"],
                "12 methods": f"{seconds['twelve'] / seconds['one']:.3g}" if "twelve" in seconds else "",
                "of maps alone": "",
            }
        )
    report("checks", rows, chosen.out)


if __name__ == "__main__":
    main()
