"""What networks of the generator are made of beside torch's own modules: each leaf is one operation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Add(nn.Module):
    """The sum of two tensors."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Multiply(nn.Module):
    """A signal times its gate."""

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        return x * gate


class Concatenate(nn.Module):
    """Two tensors, channel after channel."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, y], 1)


class Product(nn.Module):
    """The matrix product of two tensors, each sample's own."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.matmul(x, y)


class Mean(nn.Module):
    """The mean over positions: of maps (N, C, …) their last dimensions, of sequences (N, T, E) the tokens."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.dims)


class Grouped(nn.Module):
    """Logits as means over positions and several maps a label."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.labels = labels

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], self.labels, -1).mean(2)


class Scale(nn.Module):
    """One factor a channel, a parameter (C, 1, …)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Place(nn.Module):
    """A parameter of its own added at every position."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.offset


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of maps (N, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)


class Residual(nn.Module):
    """A branch, and its input past it."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.add = body, Add()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.add(self.body(x), x)
        return out


class Concatenated(nn.Module):
    """A branch's channels behind those of its input."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.join = body, Concatenate()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.join(x, self.body(x))
        return out


class Excited(nn.Module):
    """Squeeze and excitation: channels times a gate that is made of their means."""

    def __init__(self, width: int, *, bias: bool) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1, bias=bias), nn.Sigmoid())
        self.multiply = Multiply()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.multiply(x, self.gate(x))
        return out


class Selected(nn.Module):
    """Channels times shares of one: a softmax over what is made of their means."""

    def __init__(self, width: int, *, bias: bool) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1, bias=bias), nn.Softmax(1))
        self.multiply = Multiply()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.multiply(x, self.gate(x))
        return out


class Attention(nn.Module):
    """One head of self-attention over tokens (N, T, E), and its input past it."""

    def __init__(self, width: int, *, bias: bool) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width, bias=bias) for _ in range(3))
        self.compare, self.softmax, self.mix, self.add = Product(), nn.Softmax(-1), Product(), Add()

    def forward(self, x: Tensor) -> Tensor:
        shares = self.softmax(self.compare(self.query(x), self.key(x).transpose(1, 2)))
        out: Tensor = self.add(self.mix(shares, self.value(x)), x)
        return out


class Network(nn.Module):
    """Features, and the head that reads them."""

    def __init__(self, features: nn.Sequential, head: nn.Sequential) -> None:
        super().__init__()
        self.features, self.head = features, head

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.features(x))
        return out
