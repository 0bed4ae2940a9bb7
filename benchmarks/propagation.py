"""Claim: LRP ε-plus is at least 1.6 times as fast as Zennit, DeepLIFT twice as fast as Captum; a rule costs its k.

The floor is plain torch: one forward pass and the gradient to the input, parameters frozen. Zennit and Captum explain
the same images on copies of the same network (Zennit with its canonizer), as their documentation shows. All cases of a
network take turns in one process; the figures are ratios of medians. Weights are random: no time depends on them.

A rule with k evaluations of its linear map is held against those k evaluations and their backward pass, on one
convolution, with the pull alone timed: the forward pass runs the plain operation.
"""

import copy
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from common import Row, interleaved, parser, report
from heatproof.methods import LRP, DeepLIFT, GuidedBackprop
from heatproof.propagation.composites import Composite
from heatproof.propagation.rules import AlphaBeta, Epsilon, Gamma, Rule, z_plus

NETWORKS = {"vgg16": "VGGCanonizer", "resnet18": "ResNetCanonizer", "resnet50": "ResNetCanonizer"}


def floor(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient, nothing else."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).gather(1, y[:, None]).sum(), x)[0]


def zennit(model: nn.Module, x: Tensor, y: Tensor, name: str, canonizer: str) -> Callable[[], object]:
    """Zennit's attributor, its canonizer and composite put in anew at each call, as its examples do."""
    from zennit import attribution, composites, torchvision

    box = {"low": -3 * torch.ones(1, 3, 1, 1), "high": 3 * torch.ones(1, 3, 1, 1)} if "Box" in name else {}
    twin, one_hot = copy.deepcopy(model), torch.eye(1000)[y]

    def explain() -> object:
        composite = getattr(composites, name)(canonizers=[getattr(torchvision, canonizer)()], **box)
        with attribution.Gradient(twin, composite) as attributor:
            return attributor(x, one_hot)

    return explain


def with_modules(name: str, model: nn.Module) -> nn.Module:
    """A copy without reused ReLUs, which Captum refuses."""
    twin = copy.deepcopy(model)
    for module in twin.modules():
        for child_name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, child_name, nn.ReLU())
    return twin


def of_networks(repeats: int, clock: Callable[[], float]) -> list[Row]:
    import torchvision
    from captum.attr import DeepLift

    rows: list[Row] = []
    for name, canonizer in NETWORKS.items():
        torch.manual_seed(0)
        model = getattr(torchvision.models, name)(weights=None).eval().requires_grad_(False)
        x, y = torch.randn(2, 3, 224, 224).clamp(-3, 3), torch.tensor([1, 2])
        plus, box = LRP(), LRP(composite="epsilon-gamma-box")
        cases: dict[str, Callable[[], object]] = {
            "floor": lambda model=model, x=x, y=y: floor(model, x, y),
            "guided backprop": lambda model=model, x=x, y=y: GuidedBackprop()(model, x, y),
            "LRP epsilon-plus": lambda model=model, x=x, y=y, plus=plus: plus(model, x, y),
            "LRP epsilon-plus, Zennit": zennit(model, x, y, "EpsilonPlus", canonizer),
            "LRP epsilon-gamma-box": lambda model=model, x=x, y=y, box=box: box(model, x, y),
            "LRP epsilon-gamma-box, Zennit": zennit(model, x, y, "EpsilonGammaBox", canonizer),
            "DeepLIFT": lambda model=model, x=x, y=y: DeepLIFT().linearize(model, x).pull(torch.eye(1000)[y]),
        }
        if name == "vgg16":  # a residual network reuses its ReLUs, which Captum refuses
            lift = DeepLift(with_modules(name, model))
            cases["DeepLIFT, Captum"] = lambda lift=lift, x=x, y=y: lift.attribute(x, target=y)
        seconds = interleaved(cases, repeats=repeats, clock=clock)
        for case, value in seconds.items():
            peer = seconds.get(f"{case}, Zennit", seconds.get(f"{case}, Captum"))
            faster = "" if peer is None else f"{peer / value:.2f}"
            rows.append({"network": name, "case": case, "× floor": value / seconds["floor"], "peer / ours": faster})
    return rows


def of_rules(repeats: int, clock: Callable[[], float]) -> list[Row]:
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 64, 3, padding=1).eval().requires_grad_(False)
    model = nn.Sequential(layer, nn.Flatten()).eval()
    rows: list[Row] = []
    rules: dict[str, tuple[Rule, int, bool]] = {
        "epsilon": (Epsilon(), 0, False),  # its evaluation is the forward pass
        "z+, inputs ≥ 0": (z_plus(), 1, True),
        "z+, signed inputs": (z_plus(), 2, False),
        "gamma, inputs ≥ 0": (Gamma(), 2, True),
        "alpha2 beta1, signed inputs": (AlphaBeta(), 4, False),
    }
    for name, (rule, k, positive) in rules.items():
        x = torch.randn(4, 64, 56, 56)
        x = x.abs() if positive else x
        method = LRP(composite=Composite(convolution=rule, dense=rule))
        g = torch.rand(4, 64, 56, 56)
        cotangent = g.flatten(1)

        def evaluations(x: Tensor = x, k: int = k, g: Tensor = g) -> None:
            leaf = x.detach().requires_grad_()
            torch.autograd.grad([layer(leaf) for _ in range(max(k, 1))], leaf, [g] * max(k, 1))

        costs: dict[str, list[float]] = {"rule": [], "evaluations": []}
        for _ in range(repeats + 1):  # linearized anew: from the third pull on a node keeps its graph
            pull = method.linearize(model, x).pull
            cases = {"rule": lambda pull=pull, c=cotangent: pull(c), "evaluations": evaluations}
            for key, case in cases.items():
                case()  # once untimed: both find memory that the process owns, and warm caches
                costs[key].extend(interleaved({key: case}, repeats=1, warmup=0, clock=clock).values())
        ours, theirs = (statistics.median(values[1:]) for values in costs.values())
        rows.append({"rule": name, "k": k, "pull / k evaluations and backward": ours / theirs})
    return rows


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    clock = time.process_time if options.cpu_time else time.perf_counter
    report("propagation-rules", of_rules(options.repeats, clock), options.out)
    report("propagation", of_networks(options.repeats, clock), options.out)


if __name__ == "__main__":
    main()
