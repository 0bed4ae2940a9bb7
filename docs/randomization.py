"""Writes docs/randomization.md: what each initializer leaves of torchvision's networks, at every stage of a cascade."""

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from heatproof.models import forward
from heatproof.randomization import INITIALIZERS, Cascading, Default, Initializer, TruncatedNormal
from heatproof.randomization.vitality import ROWS, examine

PAGE = Path(__file__).resolve().parent / "randomization.md"
STAGES = 8
SIZES = {"inception_v3": 96, "alexnet": 96, "maxvit_t": 224, "vit_b_32": 224}
NETWORKS = (
    "alexnet", "vgg11", "vgg19", "vgg16_bn", "squeezenet1_0", "squeezenet1_1", "googlenet", "inception_v3", "resnet18",
    "resnet50", "resnet152", "resnext50_32x4d", "wide_resnet50_2", "regnet_x_400mf", "regnet_y_400mf", "densenet121",
    "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet0_5", "shufflenet_v2_x0_5", "efficientnet_b0",
    "efficientnet_b7", "efficientnet_v2_s", "efficientnet_v2_l", "convnext_tiny", "swin_t", "swin_v2_t", "vit_b_32",
    "maxvit_t",
)  # fmt: skip
DRAWN: dict[str, Initializer] = {
    "he": INITIALIZERS.get("he"),
    "permutation": INITIALIZERS.get("permutation"),
    "default": Default(fallback=TruncatedNormal(std=0.02)),
    "truncated-normal": INITIALIZERS.get("truncated-normal"),
}
HEAD = f"""# What each initializer leaves of a network

Written by `python docs/randomization.py` in half an hour of one core: torchvision's networks with ten labels, weights
as torchvision draws them (heads of zeros drawn too) and batch norms calibrated on the samples, which stands for a
trained network; {ROWS} noisy samples of 64 × 64 (larger where the network needs it), float32, seed 0.

- The first number is how much of the fully random network's outputs depends on the sample: their standard deviation
  over samples by their root mean square, averaged over labels. At 1e-07 only rounding is left. The second is the length
  of the first label's gradient, relative to the trained network's.
- **dead n/m**: of m stages of the cascade, evenly spaced from the last layer to all of them, n are dead as an audit
  finds it: outputs that are the same for every sample, gradients that are zero or not finite. Without it all live.
- `default` is each layer's own way, `Default(fallback=TruncatedNormal(std=0.02))`.

`he` is what a randomization draws from unless told otherwise: it leaves something of every network at every stage.
`permutation` keeps each layer's own values, and grows by far more where a network has gates. `truncated-normal` is
that of Adebayo et al. (std 0.01). Signals also grow under `he` where batch norms were reset, most in EfficientNets,
whose gates multiply; no similarity of maps knows their size, and float32 holds them all. `batch_norm="re-estimate"`
keeps them small.
"""


def trained(name: str) -> tuple[nn.Module, Tensor]:
    """A network that answers to its samples, and they."""
    size = SIZES.get(name, 64)
    torch.manual_seed(0)
    given = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    model = torchvision.models.get_model(name, weights=None, num_classes=10, **given).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1 and not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.02)
    x = torch.randn(ROWS, 3, size, size) / 2 + torch.randn(ROWS, 3, 1, 1) / 2
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        model(x)
    return model.eval(), x


def gradient(model: nn.Module, x: Tensor) -> float:
    """The length of the gradient of the first label over all samples."""
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(forward(model, x)[:, 0].sum(), x)
    return float(found.double().norm())


def cell(model: nn.Module, x: Tensor, initializer: Initializer) -> str:
    """What the initializer leaves."""
    with torch.no_grad():
        plain = forward(model, x)
    whole, stages = gradient(model, x), Cascading(initializer=initializer).stages(model, x)
    places = sorted({round(i * (len(stages) - 1) / (STAGES - 1)) for i in range(STAGES)})
    dead = 0
    for place in places:
        with stages[place]:
            dead += bool(examine(model, x, plain.argmax(1), plain).dead)
    with stages[-1]:
        with torch.no_grad():
            outputs = forward(model, x).double()
        left = gradient(model, x) / whole
    answer = float((outputs.std(0) / outputs.square().mean(0).sqrt().clamp(min=1e-300)).mean())
    return f"{answer:.0e}, {left:.0e}" + (f" **dead {dead}/{len(places)}**" if dead else "")


def main() -> None:
    """Write the page."""
    lines = [HEAD, f"| network | layers | {' | '.join(DRAWN)} |", "| --- " * (len(DRAWN) + 2) + "|"]
    for name in NETWORKS:
        model, x = trained(name)
        layers = len(Cascading().stages(model, x))
        lines.append(f"| {name} | {layers} | {' | '.join(cell(model, x, one) for one in DRAWN.values())} |")
        print(lines[-1], flush=True)
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
