"""The demo's network, and those of Gupta & Arora 2019 and Adebayo et al. 2018."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from heatproof.errors import MissingExtraError


class DemoCNN(nn.Module):
    """A plain ReLU network for the demo digits: four convolutions, global max-pooling, two dense layers.

    The last pooling takes each feature where it is strongest, so that a digit may stand anywhere; without it the
    network learns places before it learns digits. Weights start as He et al. 2015, biases at 0.

    Inputs (N, 1, 56, 56) in [0, 1], outputs logits (N, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(48, 96, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(1),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 10))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images `x` (N, 1, 56, 56)."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


class MnistCNN(nn.Module):
    """Adebayo et al.'s convolutional network for MNIST: conv 5×5-32, pool, conv 5×5-64, pool, dense 1024, 10; ReLU.

    Inputs (N, 1, 28, 28) in [0, 1], outputs logits (N, 10). Convolutions keep the size, pooling halves it.

    Source: Adebayo et al. 2018, appendix. Deviation: torch's default initialization instead of the authors' normal one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(64 * 7 * 7, 1024), nn.ReLU(), nn.Linear(1024, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images `x` (N, 1, 28, 28)."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


class MnistMLP(nn.Module):
    """Adebayo et al.'s multi-layer perceptron for MNIST: dense 2500, 1500, 500, 10 outputs; ReLU.

    Inputs (N, 1, 28, 28) in [0, 1], outputs logits (N, 10).

    Source: Adebayo et al. 2018, appendix. Deviation: torch's default initialization instead of the authors' normal one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, 2500), nn.ReLU(),
            nn.Linear(2500, 1500), nn.ReLU(),
            nn.Linear(1500, 500), nn.ReLU(),
            nn.Linear(500, 10),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images `x` (N, 1, 28, 28)."""
        logits: Tensor = self.layers(x)
        return logits


class MnistCNNAsPublished(MnistCNN):
    """`MnistCNN` with the first weights of Adebayo et al.'s code: normal, σ 0.1, cut off at 2σ; biases 0.1.

    For memorizing permuted labels: from torch's first weights it begins later.
    """

    def __init__(self) -> None:
        super().__init__()
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                _start(module, std=0.1, bias=0.1)


class MnistMLPAsPublished(MnistMLP):
    """`MnistMLP` with the first weights of Adebayo et al.'s code: normal, σ 2/√inputs, cut off at 2σ; biases 0.

    For memorizing permuted labels: from torch's first weights it begins later.
    """

    def __init__(self) -> None:
        super().__init__()
        for module in self.modules():
            if isinstance(module, nn.Linear):
                _start(module, std=2 / math.sqrt(module.in_features), bias=0.0)


def _start(module: nn.Conv2d | nn.Linear, *, std: float, bias: float) -> None:
    nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
    assert module.bias is not None
    nn.init.constant_(module.bias, bias)


class MnistAlexNet(nn.Module):
    """Gupta & Arora's AlexNet for MNIST: torchvision's, its first convolution for one channel, with 10 outputs.

    Inputs (N, 1, 28, 28) in [0, 1], outputs logits (N, 10). Images are enlarged to 224 × 224, bilinear, within the
    network, so that a pixel of a map is a pixel of the digit; Gupta & Arora do not say how they fit 28 to AlexNet.

    Args:
        dropout: of the two dense layers; 0 for memorizing.

    Source: Gupta and Arora 2019, §4.2; Krizhevsky et al. 2012.
    """

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        try:
            from torchvision.models import AlexNet
        except ImportError as error:
            raise MissingExtraError("torchvision", "vision", "AlexNet") from error
        self.net = AlexNet(num_classes=10, dropout=dropout)
        self.net.features[0] = nn.Conv2d(1, 64, kernel_size=11, stride=4, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images `x` (N, 1, 28, 28)."""
        logits: Tensor = self.net(F.interpolate(x, size=(224, 224), mode="bilinear", align_corners=False))
        return logits
