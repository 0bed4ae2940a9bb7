"""Labels that nobody may choose, masked by −∞: their outputs hand nothing on, and no map is NaN."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import heatproof as hp

METHODS = (
    "lrp-epsilon",
    "lrp-epsilon-plus",
    "lrp-alpha1-beta0",
    "lrp-adaptive-beta",
    "lrp-epsilon-gamma-box",
    "deeplift",
)
X = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = torch.tensor([0, 1, 3])


class Masked(nn.Module):
    """Four labels, the third of them masked as `way` says."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.last, self.way = nn.Conv2d(3, 4, 3), nn.Linear(64, 4), way
        self.register_buffer("allowed", torch.tensor([True, True, False, True]))
        self.double().eval()

    def forward(self, x):
        h = F.relu(self.conv(x)).flatten(1)
        mask = torch.where(self.allowed, 0.0, -torch.inf).to(h)
        match self.way:
            case "none":
                return self.last(h)
            case "added":
                return self.last(h) + mask
            case "logarithm":
                return self.last(h) + torch.log(self.allowed.to(h))
            case "bias":
                return F.linear(h, self.last.weight, self.last.bias + mask)
            case "addmm":
                return torch.addmm(self.last.bias + mask, h, self.last.weight.T)
            case "one a sample":
                return self.last(h) + mask.expand(len(h), -1)
            case "filled":
                return self.last(h).masked_fill(~self.allowed, -torch.inf)
            case "log-softmax":
                return (self.last(h) + mask).log_softmax(1) + 0 * self.last(h)[:, :1]
            case _:
                bias = self.last.bias + (0 * self.allowed if "without" in self.way else mask)
                return F.conv1d(h[:, :, None], self.last.weight[:, :, None], bias).flatten(1)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("way", ["added", "logarithm", "bias", "addmm", "one a sample", "filled", "convolution"])
def test_a_masked_label_changes_no_map_of_the_others(way, name):
    method = hp.methods.get(name)
    plain = "convolution without" if way == "convolution" else "none"  # composites have a rule of their own for each
    expected, found = (method(Masked(w), X, TARGETS) for w in (plain, way))
    # ε is a share of the outputs' mean magnitude, and one output less has a say in it.
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("name", METHODS[:4])
def test_behind_a_mask_all_is_finite(name):
    assert hp.methods.get(name)(Masked("log-softmax"), X, TARGETS).isfinite().all()
