"""Methods that differentiate within a network: one that overwrites what they need is an error that says what to do."""

import pytest
import torch
from quarters import blobs
from torch import nn

from heatproof.errors import OperationError
from heatproof.methods import MeaningfulPerturbation
from heatproof.methods.bottleneck import PerSampleBottleneck
from heatproof.methods.readout import ReadoutBottleneck


class Overwriting(nn.Module):
    """A gate above `conv` is multiplied in place into what the gate's own derivative needs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.above, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Linear(4, 4)
        self.eval()

    def forward(self, x):
        h = torch.tanh(self.above(self.conv(x)))
        h *= torch.sigmoid(h)
        return self.head(h.mean((2, 3)))


IMAGES, TARGETS = blobs(32)
METHODS = {
    "iba": lambda net: PerSampleBottleneck(layer="conv").fit(net, IMAGES.split(16)),
    "iba-readout": lambda net: ReadoutBottleneck(layer="conv", readouts=("conv",), epochs=1).fit(
        net, list(zip(IMAGES.split(16), TARGETS.split(16), strict=True))
    ),
    "meaningful-perturbation": lambda net: MeaningfulPerturbation(steps=2),
}


@pytest.mark.parametrize("name", METHODS)
def test_an_overwriting_network_is_an_error_that_says_what_to_do(name):
    net = Overwriting()
    with pytest.raises(OperationError, match=r"writes into one of shape .* afterwards.*write `h = h \* gate`"):
        METHODS[name](net)(net, IMAGES[:4], TARGETS[:4])
