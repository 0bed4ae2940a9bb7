"""Small networks that methods of other packages are tried on, and the same explained by hand."""

import torch
from torch import Tensor, nn

import heatproof as hp


def cnn(*, inplace: bool = False) -> nn.Module:
    """Two convolutions, of which the second halves the positions."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace), nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU(inplace),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
        ).eval()  # fmt: skip


class Residual(nn.Module):
    """A module that is no container, with a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.relu(self.conv(x))
        return out


class Gained(nn.Module):
    """A network whose samples have a gain each, among its side inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.net = cnn()

    def forward(self, x: Tensor, gain: Tensor) -> Tensor:
        out: Tensor = self.net(x * gain[:, None, None, None])
        return out


GAINS = torch.tensor([1.0, 2.0, -1.0])
X = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([2, 0, 1])


def bound() -> hp.Bound:
    """The network with a gain of its own for each of three samples."""
    return hp.Bound(Gained().eval(), given={"gain": GAINS})


def with_gain(row: int) -> nn.Module:
    """What the bound network is for one sample: a function of its input alone."""

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Gained().eval()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.inner(x, GAINS[row].expand(len(x)))
            return out

    return One().eval()
