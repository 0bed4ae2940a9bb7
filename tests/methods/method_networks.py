"""Networks that can be solved by hand, or that are just small."""

import torch
from torch import nn


def cnn(outputs=5, *, bias=True, dtype=torch.float64, seed=0):
    """A CNN for images (N, 2, 8, 8), whose units switch on between 0 and the image."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [
            nn.Conv2d(2, 4, 3, bias=bias),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(36, outputs, bias=bias),
        ]
    if bias:
        with torch.no_grad():
            layers[0].bias.fill_(-0.3)
    return nn.Sequential(*layers).to(dtype).eval()


def images(count=3, *, seed=0, dtype=torch.float64):
    return torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def linear(weight):
    """S = Wx."""
    weight = torch.as_tensor(weight, dtype=torch.float64)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).double().eval()
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


class Quadratic(nn.Module):
    """S_c = xᵀ A_c x + b_c·x with symmetric A_c (C, D, D)."""

    def __init__(self, A, b):
        super().__init__()
        self.A, self.b = nn.Parameter((A + A.mT) / 2), nn.Parameter(b)
        self.eval()

    def forward(self, x):
        return torch.einsum("nd,cde,ne->nc", x, self.A, x) + x @ self.b.T


def quadratic(outputs=3, size=4, seed=0):
    stream = torch.Generator().manual_seed(seed)
    A = torch.randn(outputs, size, size, generator=stream, dtype=torch.float64)
    return Quadratic(A, torch.randn(outputs, size, generator=stream, dtype=torch.float64))


class Watched(nn.Module):
    """Counts the calls of a network and their rows."""

    def __init__(self, net):
        super().__init__()
        self.net, self.rows = net, []
        self.eval()

    def forward(self, x):
        self.rows.append(len(x))
        return self.net(x)
