"""Networks that are trained here, on first use, and kept: the demo's, and the papers' small ones.

A factory without arguments gives a trained network in eval mode: specifications name it, "heatproof.zoo:demo_cnn", or
any entry of the zoo by "heatproof.zoo:network" with `arguments = { name = "ancona-mlp-tanh" }`.
"""

from pathlib import Path

from torch import nn

from heatproof.data import Dataset, DemoDigits
from heatproof.errors import TrainingError
from heatproof.zoo.ancona import AnconaCifarCNN, AnconaCNN, AnconaMLP, ImdbLSTM, ImdbMLP
from heatproof.zoo.cache import trained
from heatproof.zoo.networks import DemoCNN, MnistAlexNet, MnistCNN, MnistMLP
from heatproof.zoo.recipes import Training
from heatproof.zoo.table import DEMO_TRAINING, MNIST_TRAINING, ZOO, Entry, entry
from heatproof.zoo.training import Trained, accuracy_of, train


def demo() -> tuple[nn.Module, Dataset]:
    """The demo's network, trained to at least 97 % test accuracy, and its 450 test images."""
    return demo_cnn(), DemoDigits().load()


def demo_cnn() -> nn.Module:
    """The network of the demo digits, trained; under a minute on two cores the first time."""
    return demo_cnn_trained().model


def demo_cnn_trained() -> Trained:
    """`demo_cnn` with its accuracies."""
    return entry("demo-cnn").load()


def mnist_cnn(data_folder: str | Path = "") -> nn.Module:
    """Adebayo et al.'s CNN trained on MNIST to at least 99 % test accuracy; minutes the first time.

    MNIST is read in torchvision's layout from `data_folder`, or the folder in HEATPROOF_DATA.
    """
    return mnist_cnn_trained(data_folder).model


def mnist_cnn_trained(data_folder: str | Path = "") -> Trained:
    """`mnist_cnn` with its accuracies."""
    return entry("mnist-cnn").load(data_folder)


def network(name: str, data_folder: str | Path = "") -> nn.Module:
    """The network of that name (see `heatproof zoo list`), trained; from seconds to half an hour the first time."""
    return entry(name).load(data_folder).model


__all__ = [
    "DEMO_TRAINING",
    "MNIST_TRAINING",
    "ZOO",
    "AnconaCNN",
    "AnconaCifarCNN",
    "AnconaMLP",
    "DemoCNN",
    "Entry",
    "ImdbLSTM",
    "ImdbMLP",
    "MnistAlexNet",
    "MnistCNN",
    "MnistMLP",
    "Trained",
    "Training",
    "TrainingError",
    "accuracy_of",
    "demo",
    "demo_cnn",
    "demo_cnn_trained",
    "entry",
    "mnist_cnn",
    "mnist_cnn_trained",
    "network",
    "train",
    "trained",
]
