"""Networks and images on which a check takes milliseconds."""

import torch
from torch import nn

from heatproof.data import Dataset
from heatproof.methods import Gradient, GradientXInput, Random
from heatproof.testing.playing import Row, play, stage

METHODS = {"gradient-x-input": GradientXInput(), "gradient": Gradient(), "random": Random()}


def network(*, seed=0, last=None):
    """Images (N, 2, 6, 6) → four outputs in float64: three layers with parameters."""
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(108, 6), nn.ReLU(), nn.Linear(6, 4),
        *([] if last is None else [last]),
    )  # fmt: skip
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=stream) / parameter[0].numel() ** 0.5)
    return net.double().eval()


def images(count=3, *, seed=1):
    return torch.randn(count, 2, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labelled(count=20, *, shape=(2, 6, 6), labels=4, seed=9):
    """Noise to learn from, in float32."""
    inputs = torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))
    ids = tuple(str(i) for i in range(count))
    return Dataset(name="samples", inputs=inputs, targets=torch.arange(count) % labels, ids=ids)


def played(check, *, model=None, inputs=None, targets=None, methods=METHODS, features=None, training=None):
    """The rows of a check on a toy, as {Row: (N,)}."""
    model, inputs = model or network(), images() if inputs is None else inputs
    targets = torch.arange(len(inputs)) % 4 if targets is None else targets
    return play(check, stage(model, inputs, targets, methods, features=features, training=training))


def row(rows, method, metric, setting, position=0.0, seed=0):
    return rows[Row(method, setting, float(position), seed, metric)]
