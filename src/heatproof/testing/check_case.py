"""What a clause of the contract of checks is given."""

from dataclasses import dataclass

import torch
from torch import Tensor

from heatproof.checks.base import Check
from heatproof.data.base import Dataset
from heatproof.testing.playing import Row, Stage


@dataclass(frozen=True)
class CheckCase:
    """A check with what it is played on, its rows there, and what it changed."""

    check: Check
    on: Stage
    rows: dict[Row, Tensor]
    changes: tuple[str, ...]


def labelled(shape: tuple[int, ...], *, labels: int) -> Dataset:
    """Twenty samples of noise to learn from, each label as often as the others, as far as it goes."""
    inputs = torch.randn(20, *shape, generator=torch.Generator().manual_seed(8))
    names = tuple(str(i) for i in range(20))
    return Dataset(name="noise", inputs=inputs, targets=torch.arange(20) % labels, ids=names)
