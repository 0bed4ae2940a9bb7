"""A small network to try methods on."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn


class ContractNet(nn.Module):
    """A CNN in float64 for images (N, 3, 16, 16) with 5 outputs; weights depend on nothing but this class.

    `gain` (N,), where given, multiplies the images: an argument with one row a sample.

    >>> hp.testing.ContractNet()(torch.zeros(2, 3, 16, 16, dtype=torch.float64)).shape
    torch.Size([2, 5])
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, padding=1), nn.ReLU()
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(512, 12), nn.ReLU(), nn.Linear(12, 5))
        stream = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in self.parameters():
                spread = 1 / max(1, parameter[0].numel()) ** 0.5
                parameter.copy_(torch.empty_like(parameter).normal_(0, spread, generator=stream))
        self.double().eval()

    def forward(self, x: Tensor, gain: Tensor | None = None) -> Tensor:
        x = x if gain is None else x * gain[:, None, None, None]
        logits: Tensor = self.classifier(self.features(x))
        return logits


def linear_model(inputs: Tensor) -> nn.Module:
    """Samples like `inputs` (N, …) → 3 outputs, by one dense layer without biases."""
    layer = nn.Linear(inputs[0].numel(), 3, bias=False)
    stream = torch.Generator().manual_seed(4)
    with torch.no_grad():
        layer.weight.normal_(0, 1 / inputs[0].numel() ** 0.5, generator=stream)
    return nn.Sequential(nn.Flatten(), layer).to(inputs).eval()


def rectified(model: nn.Module, *, inplace: bool) -> nn.Module:
    """A copy of `model` whose first operation is a ReLU of its input; that one and all its others are `inplace`.

    In place or not, the function is the same. The ReLU is a hook, so that modules keep their names.
    """
    twin = deepcopy(model)
    for module in twin.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = inplace
    change: Callable[[Tensor], Tensor] = torch.relu_ if inplace else torch.relu
    twin.register_forward_pre_hook(lambda _, arguments: (change(arguments[0]), *arguments[1:]))
    return twin
