"""Claims: LRP ε-plus is at least 1.6 times as fast as Zennit, DeepLIFT twice as fast as Captum; a rule costs its k.

The floor is plain torch: one forward pass and the gradient to the input, parameters frozen. Zennit and Captum explain
the same images on copies of the same network (Zennit with its canonizer, Captum with a ReLU module a call, since it
refuses reused ones), as their documentation shows. All cases of a network take turns in one process; the figures are
ratios of medians. Weights are random: no time depends on them.

A rule with k evaluations of its linear map is held against those k evaluations and their backward pass, on one
convolution, with the pull alone timed: the forward pass runs the plain operation. Both are run once before they are
timed, so that both find warm caches.

Saved memory is what torch has allocated and not freed when the forward pass is done, parameters apart, against the
plain network's, for one image.
"""

import collections
import copy
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from common import Row, interleaved, mnist, parser, report
from heatproof.methods import LRP, DeepLIFT, GuidedBackprop
from heatproof.propagation.composites import COMPOSITES, Composite
from heatproof.propagation.rules import AdaptiveBeta, AlphaBeta, Epsilon, Gamma, Rule, z_plus

NETWORKS = {"mnist": "", "vgg16": "VGGCanonizer", "resnet18": "ResNetCanonizer", "resnet50": "ResNetCanonizer"}


def floor(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient, nothing else."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).gather(1, y[:, None]).sum(), x)[0]


def zennit(
    model: nn.Module, x: Tensor, y: Tensor, name: str, canonizer: str, *, labels: int = 1000
) -> Callable[[], object]:
    """Zennit's attributor, its canonizer and composite put in anew at each call, as its examples do."""
    from zennit import attribution, canonizers, composites, torchvision

    ones = torch.ones_like(x[:1, :, :1, :1]) if "Box" in name else None
    box = {} if ones is None else {"low": -3 * ones, "high": 3 * ones}
    twin, one_hot = copy.deepcopy(model), torch.eye(labels)[y]
    kind = getattr(torchvision, canonizer, None) or getattr(canonizers, canonizer, None)

    def explain() -> object:
        composite = getattr(composites, name)(canonizers=[kind()] if kind else [], **box)
        with attribution.Gradient(twin, composite) as attributor:
            return attributor(x, one_hot)

    return explain


class Turns(nn.Module):
    """As many ReLU modules as a block calls its one, each in its turn."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.each, self.turn = nn.ModuleList(nn.ReLU() for _ in range(calls)), 0

    def forward(self, x: Tensor) -> Tensor:
        self.turn = (self.turn + 1) % len(self.each)
        out: Tensor = self.each[self.turn](x)
        return out


def with_modules(model: nn.Module, x: Tensor) -> nn.Module:
    """A copy in which every ReLU module is called once, as Captum needs it."""
    twin = copy.deepcopy(model)
    calls: collections.Counter[nn.Module] = collections.Counter()
    relus = [module for module in twin.modules() if isinstance(module, nn.ReLU)]
    handles = [relu.register_forward_hook(lambda module, *_: calls.update([module])) for relu in relus]
    twin(x)
    for handle in handles:
        handle.remove()
    for module in list(twin.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, Turns(calls[child]))
    return twin


def of_networks(repeats: int, clock: Callable[[], float]) -> list[Row]:
    import torchvision
    from captum.attr import DeepLift

    rows: list[Row] = []
    for name, canonizer in NETWORKS.items():
        torch.manual_seed(0)
        if name == "mnist":
            model, x = mnist(64)
        else:
            model, x = getattr(torchvision.models, name)(weights=None), torch.randn(2, 3, 224, 224).clamp(-3, 3)
        model.eval().requires_grad_(False)
        y = 1 + torch.arange(len(x)) % 2
        one_hot = torch.eye(model(x).shape[1])[y]
        plus, box = LRP(), LRP(composite="epsilon-gamma-box")
        cases: dict[str, Callable[[], object]] = {
            "floor": lambda model=model, x=x, y=y: floor(model, x, y),
            "guided backprop": lambda model=model, x=x, y=y: GuidedBackprop()(model, x, y),
            "LRP epsilon-plus": lambda model=model, x=x, y=y, plus=plus: plus(model, x, y),
            "LRP epsilon-plus, Zennit": zennit(model, x, y, "EpsilonPlus", canonizer, labels=len(one_hot[0])),
            "LRP epsilon-gamma-box": lambda model=model, x=x, y=y, box=box: box(model, x, y),
            "LRP epsilon-gamma-box, Zennit": zennit(model, x, y, "EpsilonGammaBox", canonizer, labels=len(one_hot[0])),
            "DeepLIFT": lambda model=model, x=x, y=y: DeepLIFT()(model, x, y),
        }
        lift = DeepLift(with_modules(model, x))
        cases["DeepLIFT, Captum"] = lambda lift=lift, x=x, y=y: lift.attribute(x, target=y)
        seconds = interleaved(cases, repeats=repeats, clock=clock)
        for case, value in seconds.items():
            peer = seconds.get(f"{case}, Zennit", seconds.get(f"{case}, Captum"))
            faster = "" if peer is None else f"{peer / value:.2f}"
            rows.append({"network": name, "case": case, "× floor": value / seconds["floor"], "peer / ours": faster})
    return rows


RULES: dict[str, tuple[Rule, int, bool]] = {
    "epsilon": (Epsilon(), 0, False),  # its evaluation is the forward pass
    "z+, inputs ≥ 0": (z_plus(), 1, True),
    "z+, signed inputs": (z_plus(), 2, False),
    "gamma, inputs ≥ 0": (Gamma(), 2, True),
    "alpha2 beta1, inputs ≥ 0": (AlphaBeta(), 2, True),
    "alpha2 beta1, signed inputs": (AlphaBeta(), 4, False),
    "adaptive beta, inputs ≥ 0": (AdaptiveBeta(), 2, True),
}
LAYERS = {"64 at 56²": (64, 56), "256 at 14²": (256, 14)}  # channels in and out, side; four images


def of_rules(repeats: int, clock: Callable[[], float]) -> list[Row]:
    rows: list[Row] = []
    for shape, (width, side) in LAYERS.items():
        torch.manual_seed(0)
        layer = nn.Conv2d(width, width, 3, padding=1).eval().requires_grad_(False)
        for name, (rule, k, positive) in RULES.items():
            x = torch.randn(4, width, side, side)
            x = x.abs() if positive else x
            # Behind a ReLU, as nothing else tells that inputs are at least 0.
            model = nn.Sequential(*[nn.ReLU()] * positive, layer, nn.Flatten()).eval()
            method = LRP(composite=Composite(convolution=rule, dense=rule))
            g = torch.rand(4, width, side, side)
            cotangent = g.flatten(1)

            def evaluations(
                x: Tensor = x, k: int = max(k, 1), g: Tensor = g, layer: Callable[[Tensor], Tensor] = layer
            ) -> None:
                leaf = x.detach().requires_grad_()
                torch.autograd.grad([layer(leaf) for _ in range(k)], leaf, [g] * k)

            costs: dict[str, list[float]] = {"rule": [], "evaluations": []}
            for _ in range(repeats + 1):  # linearized anew: from the third pull on a node keeps its graph
                pull = method.linearize(model, x).pull
                cases = {"rule": lambda pull=pull, c=cotangent: pull(c), "evaluations": evaluations}
                for key, case in cases.items():
                    case()
                    costs[key].extend(interleaved({key: case}, repeats=1, warmup=0, clock=clock).values())
            ours, theirs = (statistics.median(values[1:]) for values in costs.values())
            rows.append({"layer": shape, "rule": name, "k": k, "pull / k evaluations and backward": ours / theirs})
    return rows


def held(run: Callable[[], object]) -> int:
    """Bytes that are still allocated when `run` is done and its result alive."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        kept = run()
    total = sum(event.self_cpu_memory_usage for event in profiler.key_averages())
    del kept
    return int(total)


def of_memory() -> list[Row]:
    import torchvision

    methods = {
        "guided backprop": GuidedBackprop(),
        **{f"LRP {name}": LRP(composite=name) for name in COMPOSITES},
        "DeepLIFT": DeepLIFT(),
        "DeepLIFT, RevealCancel": DeepLIFT(rule="reveal-cancel"),
    }
    rows: list[Row] = []
    for network in ("vgg16", "resnet50"):
        torch.manual_seed(0)
        model = getattr(torchvision.models, network)(weights=None).eval().requires_grad_(False)
        x = torch.randn(1, 3, 224, 224)

        def plain(model: nn.Module = model, x: Tensor = x) -> Tensor:
            out: Tensor = model(x.clone().requires_grad_())
            return out

        held(plain)  # the first call makes buffers that stay
        base = held(plain)
        for name, method in methods.items():
            saved = held(lambda method=method, model=model, x=x: method.linearize(model, x))
            rows.append({"network": network, "method": name, "MiB": saved / 2**20, "× plain": saved / base})
    return rows


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    clock = time.process_time if options.cpu_time else time.perf_counter
    report("propagation-memory", of_memory(), options.out)
    report("propagation-rules", of_rules(options.repeats, clock), options.out)
    report("propagation", of_networks(options.repeats, clock), options.out)


if __name__ == "__main__":
    main()
