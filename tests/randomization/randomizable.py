"""Networks in which finding, drawing or restoring parameters can go wrong."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Shuffled(nn.Module):
    """Registers its layers in the order c, a, b and runs them a, b, c."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x).relu()).relu())


class Bare(nn.Module):
    """A class token, a functional linear map, a shift that only `.data` reaches, and a weight kept as a transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.token = nn.Parameter(torch.randn(4))
        self.inner = nn.Module()
        self.inner.weight = nn.Parameter(torch.randn(4, 4))
        self.shift = nn.Parameter(torch.randn(4))
        self.kept = nn.Module()
        self.kept.weight = nn.Parameter(torch.randn(4, 4))
        self.transposed = self.kept.weight.detach().t()
        self.dead = nn.Linear(4, 4)
        self.anchor = nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        x = (x + self.token).to(self.anchor.device, self.anchor.dtype)
        x = F.linear(x, self.inner.weight).relu() + self.shift.data
        return self.head(x @ self.transposed)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, (2, 4))
        return self.head(self.norm(self.attention(x, x, x, need_weights=False)[0]).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.unflatten(1, (2, 4)))[0][:, -1])


class Tied(nn.Module):
    """The first matrix is the last one as well, transposed through memory that two parameters share."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.middle, self.decode = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.decode.weight = self.encode.weight
        self.last = nn.Linear(4, 4, bias=False)
        self.last.weight = nn.Parameter(self.middle.weight.detach().t())

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.decode(self.middle(self.encode(x).relu()).relu()))


class Reused(nn.Module):
    """`a` runs before and after `b`."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(self.b(self.a(x).relu()).relu())


class Normed(nn.Module):
    """Two batch norms as modules and one by function, with statistics under names of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
        self.scale, self.offset = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4))
        self.register_buffer("mu", torch.randn(4))
        self.register_buffer("spread", torch.rand(4) + 0.5)
        self.head = nn.Linear(4, 3)
        for bn in (self.bn1, self.bn2):
            nn.init.normal_(bn.weight)
            nn.init.normal_(bn.bias)
            nn.init.normal_(bn.running_mean)
            nn.init.uniform_(bn.running_var, 0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        x = F.batch_norm(x, self.mu, self.spread, self.scale, self.offset, training=False)
        return self.head(x.mean((2, 3)))


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)).eval()


# What builds each, and the shape of its samples.
NETWORKS = {
    "shuffled": (Shuffled, (4,)),
    "bare": (Bare, (4,)),
    "attending": (Attending, (8,)),
    "recurrent": (Recurrent, (8,)),
    "tied": (Tied, (4,)),
    "reused": (Reused, (4,)),
    "normed": (Normed, (2, 8, 8)),
}


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter and buffer, also of those that no state dict holds."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


def changed(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """Names of the parameters and buffers whose bits differ from the snapshot `before`."""
    now = snapshot(model)
    assert now.keys() == before.keys()
    return {name for name, tensor in now.items() if not torch.equal(tensor, before[name])}
