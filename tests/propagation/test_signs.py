"""Which tensors are known to have no value below 0: wherever it is said, it is so."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from heatproof.methods import LRP
from heatproof.propagation.relevance import Relevance
from heatproof.propagation.signs import Signs

# A function of images (N, 2, 6, 6) of any sign, and whether its value is known to be at least 0.
TOLD = {
    "relu": (torch.relu, True),
    "relu in place": (lambda x: F.relu_(x + 0.0), True),
    "relu6": (F.relu6, True),
    "abs": (torch.abs, True),
    "sigmoid": (torch.sigmoid, True),
    "softmax": (lambda x: x.softmax(1), True),
    "clamp": (lambda x: x.clamp(0, 1), True),
    "clamp_min": (lambda x: torch.clamp_min(x, 0.5), True),
    "hardtanh": (lambda x: F.hardtanh(x, 0.0, 6.0), True),
    "pooled": (lambda x: F.max_pool2d(torch.relu(x), 2), True),
    "averaged": (lambda x: F.adaptive_avg_pool2d(torch.relu(x), 1).flatten(1), True),
    "both": (lambda x: torch.relu(x) + x.abs(), True),
    "added in place": (lambda x: x.square().add_(x.abs()), True),
    "joined": (lambda x: torch.cat([torch.relu(x), x.square()], 1), True),
    "a part": (lambda x: torch.relu(x)[:, :1].permute(0, 2, 3, 1), True),
    "enlarged": (lambda x: F.interpolate(torch.relu(x), scale_factor=2, mode="bilinear"), True),
    "squeezed": (lambda x: torch.relu(x) * torch.sigmoid(x.mean((2, 3), keepdim=True)), True),
    "padded": (lambda x: F.pad(torch.relu(x), (1, 1)), True),
    "itself": (lambda x: x, False),
    "tanh": (torch.tanh, False),
    "gelu": (F.gelu, False),
    "log_softmax": (lambda x: x.log_softmax(1), False),
    "clamped above": (lambda x: x.clamp(max=1), False),
    "hardtanh below": (F.hardtanh, False),
    "a difference": (lambda x: torch.relu(x) - x.abs(), False),
    "a negative share": (lambda x: torch.add(torch.relu(x), x.abs(), alpha=-1), False),
    "a constant": (lambda x: torch.relu(x) - 1, False),
    "filled": (lambda x: torch.relu(x).masked_fill(torch.eye(6).bool(), -1.0), False),
    "chosen": (lambda x: torch.where(torch.eye(6).bool(), torch.relu(x), -1.0), False),
    "padded below": (lambda x: F.pad(torch.relu(x), (1, 1), value=-1.0), False),
    "bicubic": (lambda x: F.interpolate(torch.relu(x), scale_factor=2, mode="bicubic"), False),
    "one of both": (lambda x: torch.cat([torch.relu(x), x], 1), False),
    "written into": (lambda x: x.square().sub_(1), False),
}


class Then(nn.Module):
    """A function, and a linear layer on what it gives."""

    def __init__(self, function, width):
        super().__init__()
        self.function, self.layer = function, nn.Linear(width, 3)

    def forward(self, x):
        return self.layer(self.function(x).flatten(1))


@pytest.mark.parametrize("name", TOLD)
def test_what_is_said_to_be_above_is(name, monkeypatch):
    function, above = TOLD[name]
    x = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    said = []
    asked = Signs.above

    def noted(self, tensor):
        said.append((bool((tensor >= 0).all()), asked(self, tensor)))
        return said[-1][1]

    monkeypatch.setattr(Relevance, "_linear", _noting(noted))
    LRP()(Then(function, function(x)[0].numel()).eval(), x, torch.tensor([0, 2]))
    assert said == [(said[0][0], above)]
    assert said[0][0] or not above


def _noting(noted):
    plain = Relevance._linear

    def linear(self, linear, call):
        noted(self._signs, linear.x)
        return plain(self, linear, call)

    return linear


def test_maps_are_those_of_a_network_that_tells_nothing(monkeypatch):
    """Half of the work is left out where a ReLU comes before; the relevance is the same to the bit."""
    stream = torch.Generator().manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    ).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5, generator=stream)
    x, y = torch.randn(3, 2, 6, 6, generator=stream), torch.tensor([0, 1, 2])
    for composite in ("epsilon-plus", "epsilon-alpha2-beta1", "epsilon-gamma-box", "adaptive-beta"):
        told = LRP(composite=composite)(model, x, y)
        with monkeypatch.context() as patch:
            patch.setattr(Signs, "above", lambda *_: False)
            assert torch.equal(LRP(composite=composite)(model, x, y), told)
