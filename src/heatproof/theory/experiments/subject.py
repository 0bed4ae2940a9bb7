"""The network that an experiment is about, and its images."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from heatproof.models import forward

BLOCK = 25


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network under a name, with images that it knows how to take."""

    name: str
    net: nn.Module
    inputs: Tensor


def demo(samples: int) -> Subject:
    """The demo's network and images."""
    from heatproof.zoo import demo as load

    net, data = load()
    return Subject("demo", net, data.inputs[:samples])


def from_spec(path: Path, samples: int) -> Subject:
    """The network and images that an audit's spec names; its file's name is theirs."""
    from heatproof.auditing.spec import read

    spec = read(path)
    return Subject(path.stem, spec.model.load(spec.folder), spec.data.load().inputs[:samples])


def predicted(net: nn.Module, inputs: Tensor) -> Tensor:
    """The labels that a network predicts."""
    with torch.no_grad():
        return torch.cat([forward(net, part).argmax(1) for part in torch.split(inputs, BLOCK)])
