"""Edges are those of the axes that the network says are positions, whatever was called before."""

import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof.layouts.seen import seen


class Last(nn.Module):
    """A network whose inputs have their channels last."""

    def __init__(self, channels):
        super().__init__()
        self.conv, self.last = nn.Conv2d(channels, 3, 1), nn.Linear(3, 2)
        self.double().eval()

    def forward(self, x):
        return self.last(self.conv(x.movedim(-1, 1)).relu().mean((2, 3)))


@pytest.mark.parametrize("name", ["edge-detector", "input-x-edges"])
@pytest.mark.parametrize("shape", [(7, 7, 16), (16, 2, 3)])
def test_what_was_called_before_decides_no_map(name, shape):
    x, targets = torch.rand(2, *shape, dtype=torch.float64), torch.tensor([0, 1])
    unasked, asked = Last(shape[-1]), Last(shape[-1])
    seen(asked, x)
    first = hp.methods.get(name)(unasked, x, targets)
    assert torch.equal(first, hp.methods.get(name)(asked, x, targets))
    assert torch.equal(first, hp.methods.get(name, layout="channels-last")(unasked, x, targets))


def test_an_image_narrower_than_its_channels_is_one():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 32, 2)).double().eval()
    x, targets = torch.rand(2, 3, 16, 2, dtype=torch.float64), torch.tensor([0, 1])
    found = hp.methods.get("edge-detector")(network, x, targets)
    assert torch.equal(found, hp.methods.get("edge-detector", layout="channels-first")(network, x, targets))
