"""The networks of Ancona et al. 2018, appendix C, with the first weights that Keras gives: Glorot, biases 0."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from heatproof.errors import unknown

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
}


class AnconaMLP(nn.Module):
    """Ancona et al.'s perceptron for MNIST: dense 512, 512, 10 outputs.

    Inputs (N, 1, 28, 28) in [−1, 1], outputs logits (N, 10).

    Args:
        activation: relu, tanh, sigmoid or softplus, after the hidden layers.

    Source: Ancona et al. 2018, C.1.
    """

    def __init__(self, activation: str = "relu") -> None:
        super().__init__()
        act = _activation(activation)
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(28 * 28, 512), act(), nn.Linear(512, 512), act(), nn.Linear(512, 10)
        )
        _glorot(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images `x` (N, 1, 28, 28)."""
        logits: Tensor = self.layers(x)
        return logits


class AnconaCNN(nn.Module):
    """Ancona et al.'s convolutional network for MNIST: conv 3×3-32, conv 3×3-64, pool, dense 128, 10 outputs.

    Inputs (N, 1, 28, 28) in [−1, 1], outputs logits (N, 10). Convolutions are unpadded, as Keras has them by default.

    Args:
        activation: relu, tanh, sigmoid or softplus, after the hidden layers.

    Source: Ancona et al. 2018, C.1. Deviation: with sigmoids the first weights are made for them, because from Glorot's
    the loss stayed at log 10 for 400 steps.
    """

    def __init__(self, activation: str = "relu") -> None:
        super().__init__()
        act = _activation(activation)
        self.features = nn.Sequential(nn.Conv2d(1, 32, 3), act(), nn.Conv2d(32, 64, 3), act(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(64 * 12 * 12, 128), act(), nn.Linear(128, 10))
        _glorot(self)
        if activation == "sigmoid":
            _for_sigmoids(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images `x` (N, 1, 28, 28)."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


class AnconaCifarCNN(nn.Module):
    """Ancona et al.'s network for CIFAR-10: twice (conv 3×3, conv 3×3, pool, dropout) 32 and 64 kernels, dense 256, 10.

    Inputs (N, 3, 32, 32) in [−1, 1], outputs logits (N, 10). The first convolution of a pair is padded and the second
    is not, as in the Keras example that has these layers; Ancona et al. do not say. Dropout 0.25, 0.25 and 0.5.

    Source: Ancona et al. 2018, C.2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Dropout(0.25),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Dropout(0.25),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(64 * 6 * 6, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10)
        )
        _glorot(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images `x` (N, 3, 32, 32)."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


class ImdbMLP(nn.Module):
    """Ancona et al.'s shallow network for film reviews: an embedding 5000 × 32 of 500 words, dense 250, ONE output.

    Inputs token ids (N, 500), int64, outputs the logit (N, 1) of a positive review. Explained from the output of
    `embedding` on.

    Source: Ancona et al. 2018, C.4.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = _embedding()
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(500 * 32, 250), nn.ReLU(), nn.Linear(250, 1))
        _glorot(self)

    def forward(self, ids: Tensor) -> Tensor:
        """Logit (N, 1) of the texts `ids` (N, 500)."""
        logit: Tensor = self.classifier(self.embedding(ids))
        return logit


class ImdbLSTM(nn.Module):
    """Ancona et al.'s recurrent network for film reviews: an embedding 5000 × 32, LSTM with 64 units, ONE output.

    Inputs token ids (N, T), int64, outputs the logit (N, 1) of a positive review, from the last hidden state: padding
    belongs before the text. Explained from the output of `embedding` on. Recurrent weights start orthogonal, the forget
    gate's bias at 1, as in Keras.

    Source: Ancona et al. 2018, C.4.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = _embedding()
        self.lstm = nn.LSTM(32, 64, batch_first=True)
        self.head = nn.Linear(64, 1)
        _glorot(self)
        first = dict(self.lstm.named_parameters())
        nn.init.xavier_uniform_(first["weight_ih_l0"])
        nn.init.orthogonal_(first["weight_hh_l0"])
        nn.init.zeros_(first["bias_hh_l0"])
        nn.init.zeros_(first["bias_ih_l0"])
        nn.init.ones_(first["bias_ih_l0"].data[64:128])  # torch's order: input, forget, cell, output

    def forward(self, ids: Tensor) -> Tensor:
        """Logit (N, 1) of the texts `ids` (N, T)."""
        hidden, _ = self.lstm(self.embedding(ids))
        logit: Tensor = self.head(hidden[:, -1])
        return logit


def _activation(name: str) -> Callable[[], nn.Module]:
    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


def _embedding() -> nn.Embedding:
    embedding = nn.Embedding(5000, 32)
    # Keras's first weights. With torch's, of variance 1, few texts are memorized before words are learned.
    nn.init.uniform_(embedding.weight, -0.05, 0.05)
    return embedding


def _glorot(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _for_sigmoids(network: nn.Module) -> None:
    """Weights of hidden layers times 4 (Glorot and Bengio 2010, for the logistic function, whose slope is 1/4 at 0).

    Biases such that a unit's sum is 0 in the middle: where every sigmoid before it is at 1/2, and every pixel at −1,
    the background.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for layer in layers[:-1]:
            layer.weight.mul_(4)
        for layer in layers:
            middle = -1.0 if layer is layers[0] else 0.5
            assert layer.bias is not None
            layer.bias.copy_(-middle * layer.weight.flatten(1).sum(1))
