"""The papers' networks, and the demo's."""

from torch import Tensor, nn


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
    """001's convolutional network for MNIST: conv 5×5-32, pool, conv 5×5-64, pool, dense 1024, 10 outputs; ReLU.

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
