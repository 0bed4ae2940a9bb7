"""The network that experiments on networks use: the demo's, trained."""

import torch
from torch import Tensor, nn

from heatproof.models import forward

BLOCK = 25


def demo_images(samples: int) -> tuple[nn.Module, Tensor]:
    """The demo's network, and some images."""
    from heatproof.zoo import demo

    net, data = demo()
    return net, data.inputs[:samples]


def predicted(net: nn.Module, inputs: Tensor) -> Tensor:
    """The labels that a network predicts."""
    with torch.no_grad():
        return torch.cat([forward(net, part).argmax(1) for part in torch.split(inputs, BLOCK)])
