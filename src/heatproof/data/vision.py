"""Data sets in the folder layout of torchvision, read from disk and never downloaded."""

from dataclasses import dataclass

import torch

from heatproof.data.base import DATA, Dataset, Source, data_root, picture_channels
from heatproof.errors import InputError, MissingExtraError, unknown

NAMES = ("MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100")


@DATA.register("torchvision")
@dataclass(frozen=True, kw_only=True)
class TorchvisionDataset(Source):
    """MNIST and its like by name, pixels in [0, 1].

    Attributes:
        dataset: MNIST, FashionMNIST, KMNIST, CIFAR10 or CIFAR100.
        root: the folder that holds the data set's own folder; empty for the one in HEATPROOF_DATA.
        train: the training part instead of the test part.
    """

    dataset: str = "MNIST"
    root: str = ""
    train: bool = False

    def load(self) -> Dataset:
        if self.dataset not in NAMES:
            raise unknown("torchvision data set", self.dataset, NAMES)
        root = data_root(self.root)
        try:
            from torchvision import datasets
        except ImportError as error:
            raise MissingExtraError("torchvision", "vision", f"The data set {self.dataset}") from error
        try:
            data = getattr(datasets, self.dataset)(root=str(root), train=self.train, download=False)
            pictures, targets = torch.as_tensor(data.data), torch.as_tensor(data.targets, dtype=torch.int64)
            if len(pictures) != len(targets):
                raise ValueError(f"{len(pictures)} pictures and {len(targets)} labels")
        except (AssertionError, EOFError, OSError, RuntimeError, ValueError) as error:  # it asserts headers
            raise InputError(
                f"Expected {self.dataset} in torchvision's layout under {str(root)!r}, but reading failed "
                f"({type(error).__name__}: {error}); fetch it there first, heatproof downloads nothing."
            ) from error
        chosen = self.choose(len(pictures))
        return Dataset(
            name=f"{self.dataset} {'train' if self.train else 'test'}",
            inputs=self.normalize(picture_channels(pictures[chosen])),
            targets=targets[chosen],
            ids=tuple(str(i) for i in chosen),
            classes=tuple(data.classes),
            display=pictures[chosen],
        )
