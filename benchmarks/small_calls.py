"""Claim: a call on a small network, as in a loop of a researcher, costs little beside its arithmetic.

Times are those of a call, divided by plain autograd's (one forward pass, the gradient of the labels' scores towards the
input), the least of many turns in which all cases take theirs; once by the process's own work and once by the clock.
Captum and Zennit explain the same inputs with the same network: Captum with a ReLU module a call, Zennit with its
canonizer and composite put in anew at each call, as their documentation shows. Grad-CAM is held against the pass up to
its layer and the part above, with its gradient. `recorded` is the same method as a `heatproof.Recorded`, whose calls
are replayed. The last column counts what no other work on the machine disturbs: how many Python functions a call runs,
a recorded one, and a plain pass.
"""

import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from common import Row, interleaved, parser, report
from heatproof import Recorded
from heatproof.methods import LRP, GradCAM, IntegratedGradients, get
from heatproof.testing.begun import functions_begun
from propagation import floor, with_modules, zennit

SHAPES = {
    "MLP of 3 layers, 8 rows": (8, 10),
    "CNN of 2 blocks, 4 images": (4, 1, 16, 16),
    "ResNet-18, 1 image of 32²": (1, 3, 32, 32),
}
SECONDS = 0.02  # of a turn: what is shorter is run several times


class Subject(NamedTuple):
    """A network, what is explained, Zennit's canonizer for it, and its last maps' layer with the parts around it."""

    net: nn.Module
    x: Tensor
    y: Tensor
    canonizer: str
    layer: str
    cut: tuple[nn.Module, nn.Module] | None


def subject(name: str) -> Subject:
    torch.manual_seed(0)
    x = torch.randn(SHAPES[name])
    y = torch.arange(len(x)) % 4
    if name.startswith("MLP"):
        layers = [nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)]
        return Subject(nn.Sequential(*layers).eval(), x, y, "", "", None)
    if name.startswith("CNN"):
        first = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        second = [nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
        net = nn.Sequential(*first, *second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)).eval()
        return Subject(net, x, y, "SequentialMergeBatchNorm", "5", (net[:6], net[6:]))
    from torchvision.models import resnet18

    net = resnet18(weights=None).eval().requires_grad_(False)
    parts = list(net.children())  # of which layer4 gives one position
    above = nn.Sequential(*parts[-3:-1], nn.Flatten(), net.fc)
    return Subject(net, x, y, "ResNetCanonizer", "layer3", (nn.Sequential(*parts[:-3]), above))


def up_to_the_layer_and_above(below: nn.Module, above: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """What Grad-CAM takes in plain torch, without its weights and its map."""
    with torch.no_grad():
        maps = below(x)
    maps.requires_grad_()
    (gradient,) = torch.autograd.grad(above(maps).gather(1, y[:, None]).sum(), maps)
    return gradient


def ours(one: Subject) -> dict[str, Callable[..., Any]]:
    cams = {"Grad-CAM": GradCAM(), "Grad-CAM, layer named": GradCAM(layer=one.layer)} if one.cut else {}
    return {
        "gradient": get("gradient"),
        "gradient × input": get("gradient-x-input"),
        "guided backprop": get("guided-backprop"),
        "LRP ε": LRP(composite="epsilon"),
        "LRP z⁺": LRP(composite="alpha1-beta0"),
        "LRP ε-plus": LRP(),
        "DeepLIFT": get("deeplift"),
        "IG, 8 steps": IntegratedGradients(steps=8),
        **cams,
    }


def peers(one: Subject) -> dict[str, tuple[str, Callable[[], object]]]:
    """By method: whose, and the call."""
    from captum import attr

    net, x, y = one.net, one.x, one.y
    apart = with_modules(net, x)
    saliency, times, guided = attr.Saliency(net), attr.InputXGradient(net), attr.GuidedBackprop(apart)
    lift, path = attr.DeepLift(apart), attr.IntegratedGradients(net)
    found: dict[str, tuple[str, Callable[[], object]]] = {
        "gradient": ("Captum", partial(saliency.attribute, x, target=y, abs=False)),
        "gradient × input": ("Captum", partial(times.attribute, x, target=y)),
        "guided backprop": ("Captum", partial(guided.attribute, x, target=y)),
        "DeepLIFT": ("Captum", partial(lift.attribute, x, target=y)),
        "IG, 8 steps": ("Captum", partial(path.attribute, x, target=y, n_steps=8)),
        "LRP ε-plus": ("Zennit", zennit(net, x, y, "EpsilonPlus", one.canonizer, labels=len(net(x)[0]))),
    }
    if one.cut is not None:
        layer = dict(deepcopy(net).named_modules())  # its hooks stay off the network of the others
        cam = attr.LayerGradCam(layer[""], layer[one.layer])
        found["Grad-CAM, layer named"] = ("Captum", partial(cam.attribute, x, target=y))
    return found


def python_calls(run: Callable[[], object]) -> int:
    """How many Python functions begin inside the one that is run."""
    return functions_begun(run) - 1


def measure(name: str, repeats: int) -> list[Row]:
    one = subject(name)
    plain = partial(floor, one.net, one.x, one.y)
    floors: dict[str, Callable[[], object]] = {"plain": plain}
    if one.cut is not None:
        floors["two parts"] = partial(up_to_the_layer_and_above, *one.cut, one.x, one.y)
    methods = {method: partial(call, one.net, one.x, one.y) for method, call in ours(one).items()}
    replayed = {method: partial(Recorded(call, one.net), one.x, one.y) for method, call in ours(one).items()}
    others = peers(one)
    cases = {**floors, **methods, **{f"{method}, recorded": call for method, call in replayed.items()}}
    cases |= {f"{method}, peer": call for method, (_, call) in others.items()}
    inner = {}
    for case, call in cases.items():
        call()
        begun = time.perf_counter()
        call()
        inner[case] = max(1, min(50, int(SECONDS / (time.perf_counter() - begun)))) if repeats > 1 else 1
    turns = {case: partial(_times, call, inner[case]) for case, call in cases.items()}
    both = [
        interleaved(turns, repeats=repeats, clock=clock, of=min) for clock in (time.process_time, time.perf_counter)
    ]
    own, wall = ({case: seconds / inner[case] for case, seconds in each.items()} for each in both)
    begun_by_plain, begun = python_calls(plain), {method: python_calls(call) for method, call in replayed.items()}
    rows: list[Row] = []
    for method, call in methods.items():
        of = "two parts" if method.startswith("Grad-CAM") else "plain"
        whose, _ = others.get(method, ("", None))
        peer = own[f"{method}, peer"] / own[of] if whose else ""
        rows.append(
            {
                "network": name,
                "method": method,
                "× plain, own work": own[method] / own[of],
                "× plain, clock": wall[method] / wall[of],
                "recorded × plain, own work": own[f"{method}, recorded"] / own[of],
                "peer": whose,
                "peer × plain, own work": peer,
                "Python calls (recorded, plain)": f"{python_calls(call)} ({begun[method]}, {begun_by_plain})",
            }
        )
    return rows


def _times(call: Callable[[], object], count: int) -> None:
    for _ in range(count):
        call()


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--only", default="", help="networks whose name holds this")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    warnings.simplefilter("ignore")
    names = [name for name in SHAPES if chosen.only in name]
    report("small_calls", [row for name in names for row in measure(name, chosen.repeats)], chosen.out)
