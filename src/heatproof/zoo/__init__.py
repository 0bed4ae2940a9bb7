"""Networks that are trained here, on first use, and kept: the demo's, and the papers' small ones.

A factory without arguments gives a trained network in eval mode: specifications name it, "heatproof.zoo:demo_cnn".
"""

from pathlib import Path

from torch import nn

from heatproof.data import Dataset, DemoDigits, TorchvisionDataset
from heatproof.zoo.cache import trained
from heatproof.zoo.networks import DemoCNN, MnistCNN
from heatproof.zoo.recipes import Training
from heatproof.zoo.training import Trained, TrainingError, accuracy_of, train

DEMO_TRAINING = Training(learning_rate=2e-3, schedule="cosine", epochs=3, batch_size=32, required=0.97)

# 001 trains with Adam at 1e-4, batch 50, for 50 epochs or 20,000 steps; ten times the rate, falling to 0, needs 3.
MNIST_TRAINING = Training(
    learning_rate=1e-3, schedule="cosine", weight_decay=0.001, epochs=3, batch_size=50, required=0.99
)


def demo() -> tuple[nn.Module, Dataset]:
    """The demo's network, trained to at least 97 % test accuracy, and its 450 test images."""
    return demo_cnn(), DemoDigits().load()


def demo_cnn() -> nn.Module:
    """The network of the demo digits, trained; under a minute on two cores the first time."""
    return demo_cnn_trained().model


def demo_cnn_trained() -> Trained:
    """`demo_cnn` with its accuracies."""
    return trained(DemoCNN, DEMO_TRAINING, DemoDigits(part="train"), DemoDigits())


def mnist_cnn(data_folder: str | Path = "") -> nn.Module:
    """001's CNN trained on MNIST to at least 99 % test accuracy; minutes the first time.

    MNIST is read in torchvision's layout from `data_folder`, or the folder in HEATPROOF_DATA.
    """
    return mnist_cnn_trained(data_folder).model


def mnist_cnn_trained(data_folder: str | Path = "") -> Trained:
    """`mnist_cnn` with its accuracies."""
    root = str(data_folder)
    return trained(MnistCNN, MNIST_TRAINING, TorchvisionDataset(root=root, train=True), TorchvisionDataset(root=root))


__all__ = [
    "DEMO_TRAINING",
    "MNIST_TRAINING",
    "DemoCNN",
    "MnistCNN",
    "Trained",
    "Training",
    "TrainingError",
    "accuracy_of",
    "demo",
    "demo_cnn",
    "demo_cnn_trained",
    "mnist_cnn",
    "mnist_cnn_trained",
    "train",
    "trained",
]
