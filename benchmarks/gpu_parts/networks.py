"""Networks to compare devices on, and short recipes of every registered method."""

from typing import Any

import torch
from torch import Tensor, nn

from heatproof.methods import IntegratedGradients, Method, SmoothGrad, VarGrad, get

LABELS = 10


class Small(nn.Module):
    """Convolutions with biases, batch norm, max-pooling, a skip, functional ReLU and two dense layers, for 32² images.

    Without `norms` it is a plain chain of convolutions, as pattern methods know them.
    """

    def __init__(self, *, norms: bool = True, labels: int = LABELS) -> None:
        super().__init__()
        self.norms, self.bn = norms, nn.BatchNorm2d(16) if norms else nn.Identity()
        self.first, self.relu, self.pool = nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        self.second, self.third = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.flat, self.fc1, self.fc2 = nn.Flatten(), nn.Linear(32 * 64, 64), nn.Linear(64, labels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.bn(self.first(x))))
        rest = torch.relu(self.second(x))
        x = x + rest if self.norms else rest
        x = self.pool(self.relu(self.third(x)))
        out: Tensor = self.fc2(torch.relu(self.fc1(self.flat(x))))
        return out


def small(name: str = "", labels: int = LABELS) -> nn.Module:
    """The small network that the method of this name is tried on; the same weights each time."""
    torch.manual_seed(0)
    model = Small(norms=not name.startswith("pattern"), labels=labels).eval().requires_grad_(False)
    if isinstance(model.bn, nn.BatchNorm2d) and model.bn.running_mean is not None and model.bn.running_var is not None:
        model.bn.running_mean.normal_(0, 0.1)
        model.bn.running_var.uniform_(0.5, 2)
    return model


def torchvision(name: str, device: torch.device) -> nn.Module:
    """A network of torchvision with random weights, on a device."""
    from torchvision.models import get_model

    torch.manual_seed(0)
    model: nn.Module = get_model(name, weights=None).eval().requires_grad_(False).to(device)
    return model


_SHORT: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"steps": 8},
    "smoothgrad": {"samples": 8},
    "vargrad": {"samples": 8},
    "meaningful-perturbation": {"steps": 10},
    "occlusion": {"window": 8},
    "iba": {"layer": "second", "steps": 4, "samples": 4},
    "iba-readout": {"layer": "second", "readouts": ("second", "third")},
}


def recipe(name: str) -> Method:
    """A registered method, with few passes."""
    if name.startswith("integrated-gradients-"):
        around = SmoothGrad if name.endswith("smoothgrad") else VarGrad
        return around(IntegratedGradients(steps=4), samples=4)
    return get(name, **_SHORT.get(name, {}))


def fitted(method: Method, model: nn.Module, x: Tensor) -> Method:
    """The method, fitted on `x` where it learns."""
    fit = getattr(method, "fit", None)
    if fit is None:
        return method
    learned: Method = fit(model, [(x, torch.arange(len(x), device=x.device) % LABELS)])
    return learned
