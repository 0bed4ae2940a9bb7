"""Values that nobody means, and small changes of ones that somebody does."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


class NoRepr:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class NoEqual:
    """Cannot be compared or hashed."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no eq")


def strange(generator: random.Random) -> Any:
    """A value of any kind."""
    makers: list[Any] = [
        lambda: generator.choice([None, True, False, -1, 0, 1, 2, 3, 7, 10**5000, 2**63, -(2**63) - 1, 1.5, -0.0]),
        lambda: generator.choice([math.nan, math.inf, -math.inf, 1e308, 5e-324, 1j]),
        lambda: generator.choice(["", "x", "x" * 10_000, "gradient", "\ud800", "a\0b", "../..", "~", "$HOME", "1:2"]),
        lambda: generator.choice([b"x", [], [1], [None], {}, {"a": 1}, (), (1, 2, 3), set(), range(3), Path("x")]),
        lambda: generator.choice([object(), NoRepr(), NoEqual(), int, float, math, torch.float32, len]),
        lambda: generator.choice([np.zeros(3), np.float64("nan"), np.int64(3), np.zeros((0, 2)), np.array("x")]),
        lambda: nn.Linear(1, 1),
        lambda: tensor(generator),
        lambda: [strange(generator) for _ in range(generator.randrange(3))],
        lambda: {generator.choice("ab"): strange(generator) for _ in range(generator.randrange(3))},
    ]
    return generator.choice(makers)()


def tensor(generator: random.Random) -> torch.Tensor:
    """A tensor of any kind."""
    kinds: list[Any] = [
        lambda: torch.zeros(generator.choice([(), (0,), (2,), (2, 0), (2, 1, 8, 8), (2, 1, 8, 8, 1), (1, 1, 8, 8)])),
        lambda: torch.full((2, 1, 8, 8), generator.choice([math.nan, math.inf, 1e38])),
        lambda: torch.zeros(2, 1, 8, 8).to_sparse(),
        lambda: torch.zeros(2, 1, 8, 8, device="meta"),
        lambda: torch.zeros(2, 1, 8, 8).to_mkldnn(),
        lambda: torch.nested.nested_tensor([torch.zeros(1, 8, 8), torch.zeros(1, 8, 7)]),
        lambda: torch.quantize_per_tensor(torch.zeros(2, 1, 8, 8), 1.0, 0, torch.qint8),
        lambda: torch.zeros(2, 1, 8, 8, dtype=generator.choice([torch.float16, torch.bool, torch.int32, torch.cfloat])),
        lambda: torch.zeros(1, 1, 8, 8).expand(2, 1, 8, 8),
        lambda: torch.zeros(2, 8, 8, 1).permute(0, 3, 1, 2),
        lambda: torch.zeros(2, 1, 8, 8, requires_grad=True),
        lambda: inference(),
        lambda: torch.arange(2),
        lambda: torch.tensor([0, 10**12]),
        lambda: torch.tensor([-1, 0]),
        lambda: torch.zeros(2, dtype=torch.int64, device="meta"),
        lambda: torch.zeros(2, dtype=torch.int64).to_sparse(),
    ]
    made: torch.Tensor = generator.choice(kinds)()
    return made


def inference() -> torch.Tensor:
    """A tensor made in inference mode."""
    with torch.inference_mode():
        return torch.zeros(2, 1, 8, 8)
