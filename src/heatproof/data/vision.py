"""Data sets in the folder layout of torchvision, read from disk and never downloaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from heatproof.artifacts import digest
from heatproof.data.base import DATA, Dataset, Source, data_root, picture_channels
from heatproof.data.listing import Listing
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

    >>> import struct
    >>> from pathlib import Path
    >>> raw = Path("torchvision/MNIST/raw")
    >>> raw.mkdir(parents=True)
    >>> for part in ("train", "t10k"):
    ...     _ = (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, 2, 28, 28) + bytes(1568))
    ...     _ = (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, 2) + bytes([3, 7]))
    ...
    >>> hp.data.TorchvisionDataset(dataset="MNIST", root="torchvision").load().targets
    tensor([3, 7])
    """

    dataset: str = "MNIST"
    root: str = ""
    train: bool = False

    def listing(self) -> Listing:
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
        name = f"{self.dataset} {'train' if self.train else 'test'}"
        return _Pictures(self, name, pictures, targets, tuple(data.classes))


class _Pictures(Listing):
    """The pictures of a `TorchvisionDataset`, which torchvision holds in memory as bytes."""

    def __init__(
        self, source: TorchvisionDataset, name: str, pictures: Tensor, targets: Tensor, classes: tuple[str, ...]
    ) -> None:
        self.source, self.name, self.classes = source, name, classes
        self.pictures, self.targets = pictures, targets

    @property
    def content(self) -> Any:
        return digest({"pictures": self.pictures, "targets": self.targets}, None)

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, places: Sequence[int]) -> Dataset:
        chosen = list(places)
        return Dataset(
            name=self.name,
            inputs=self.source.normalize(picture_channels(self.pictures[chosen])),
            targets=self.targets[chosen],
            ids=tuple(str(i) for i in chosen),
            classes=self.classes,
            display=self.pictures[chosen],
        )
