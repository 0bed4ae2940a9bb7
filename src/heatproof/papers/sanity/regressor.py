"""A stand-in for 001's network that reads ages from radiographs (Fig. 7): one that reads the slant of a digit."""

import inspect
import sys
from functools import partial

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heatproof import artifacts, draws
from heatproof.arithmetic import pinned
from heatproof.artifacts import Stored
from heatproof.data import Dataset, TorchvisionDataset
from heatproof.recipes import digest

IMAGES, TESTED = 10_000, 1_000
EPOCHS, BATCH, RATE, SEED = 4, 50, 1e-3, 0


class SlantNet(nn.Module):
    """Images (N, 1, 28, 28) in [0, 1] → the slant (N, 1) of the digit: conv 5×5-16, pool, conv 5×5-32, pool, 64, 1."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Slants (N, 1)."""
        slants: Tensor = self.head(self.features(x))
        return slants


def slant(images: Tensor) -> Tensor:
    """By how many pixels a digit leans to the left for each pixel down: μ₁₁/μ₀₂ of its ink, (N,) for (N, 1, H, W)."""
    ink = images[:, 0].double()
    total = ink.sum((1, 2))
    y, x = (torch.arange(size, dtype=torch.float64) for size in ink.shape[1:])
    down = y[:, None] - ((ink.sum(2) * y).sum(1) / total)[:, None, None]
    across = x - ((ink.sum(1) * x).sum(1) / total)[:, None, None]
    return (ink * down * across).sum((1, 2)) / (ink * down.square()).sum((1, 2))


def slant_regressor() -> nn.Module:
    """The network trained on 10,000 MNIST images in HEATPROOF_DATA, as 001's with a mixed L1 and L2 loss.

    It takes a minute once, and is kept on disk under a name that says what decides the weights.
    """
    data = _part(train=True, limit=IMAGES)
    source = inspect.getsource(sys.modules[__name__])
    name = f"slantnet-{digest([source, data.fingerprint, torch.__version__])[:16]}.safetensors"
    model: nn.Module = artifacts.kept_tensors(
        name, read=_read, make=partial(_trained, data), parts=lambda made: Stored(made.state_dict(), {})
    )
    return model


def errors() -> pd.DataFrame:
    """For each of 1,000 test images the slant, what the network says, and what the mean slant would miss."""
    data = _part(train=False, limit=TESTED)
    wanted, model = slant(data.inputs), slant_regressor()
    with torch.no_grad():
        found = model(data.inputs)[:, 0].double()
    return pd.DataFrame(
        {
            "sample": data.ids,
            "slant": wanted.numpy(),
            "predicted": found.numpy(),
            "squared-error": (found - wanted).square().numpy(),
            "squared-deviation": (wanted - wanted.mean()).square().numpy(),
        }
    )


def _part(*, train: bool, limit: int) -> Dataset:
    return TorchvisionDataset(dataset="MNIST", train=train, limit=limit).load()


def _trained(data: Dataset) -> nn.Module:
    wanted = slant(data.inputs).float()
    with pinned(threads=1), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)  # torch.manual_seed would reach accelerators, which are not forked
        model = SlantNet()
        adam = torch.optim.Adam(model.parameters(), lr=RATE)
        for epoch in range(EPOCHS):
            order = torch.randperm(len(data), generator=draws.generator(SEED, "order of training", epoch))
            for rows in torch.split(order, BATCH):
                adam.zero_grad()
                found = model(data.inputs[rows])[:, 0]
                loss = F.l1_loss(found, wanted[rows]) + F.mse_loss(found, wanted[rows])
                loss.backward()  # type: ignore[no-untyped-call]
                adam.step()
    return model.eval()


def _read(stored: Stored) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        model = SlantNet().eval()
    model.load_state_dict(dict(stored.tensors))
    return model
