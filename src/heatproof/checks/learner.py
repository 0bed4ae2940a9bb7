"""A network as it is trained and measured on labelled samples."""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from heatproof import artifacts
from heatproof.data.base import Dataset
from heatproof.data.binding import met
from heatproof.data.blocks import as_blocks
from heatproof.data.picking import labels_of
from heatproof.errors import DamagedError
from heatproof.fingerprint import network_fingerprint
from heatproof.models import Bound, forward
from heatproof.recipes import digest
from heatproof.zoo.training import Samples, accuracy_of


@dataclass(frozen=True, kw_only=True)
class Facts:
    """How a training went. Accuracies are shares of samples; `chance` is that of guessing by the labels' frequencies.

    `training_accuracy` is that of the finished network on the labels that it was trained on, `test_accuracy` on the
    true labels of samples that it was not trained on.
    """

    training_accuracy: float
    test_accuracy: float
    chance: float
    epochs: int
    seconds: float


class Learner(nn.Module):
    """A network while it is trained here: its batch norms learn their statistics, all else is as in use.

    So nothing is dropped out, by a module, inside attention or in a function that asks whether it is in training. What
    drops out in use too, stays. Outputs come back to the CPU, where the labels are.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def train(self, mode: bool = True) -> "Learner":
        """Batch norms and their like in training mode, or all in eval mode."""
        super().train(False)
        for module in self.modules():
            if isinstance(module, _NormBase):
                module.train(mode)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """The logits (N, C) of inputs (N, …)."""
        like = next(p for p in self.net.parameters() if p.is_floating_point())
        return forward(self.net, x.to(like.device, like.dtype)).cpu()

    def of(self, part: Dataset) -> Tensor:
        """The logits (N, C) of some samples, their side inputs filled in.

        What a Bound's `at` gives is as in use, and is not trained: what runs there is no part of what is explained.
        """
        if not isinstance(self.net, Bound):
            logits: Tensor = self(part.inputs)
            return logits
        learning = any(module.training for module in self.modules())
        self.train(False)
        bound, inputs = met(self.net, part)
        self.train(learning)
        return forward(bound, inputs).cpu()


class AsTrained:
    """Opens the model as it is, and knows how it does on samples."""

    def __init__(self, test: Samples) -> None:
        self.test = as_blocks(test)

    def __call__(self, model: nn.Module) -> AbstractContextManager[nn.Module]:
        """A context in which nothing is changed."""
        return nullcontext(model)

    def test_accuracy(self, model: nn.Module) -> float:
        """The share of the samples that `model` predicts as labelled; computed once and kept, then read."""
        return artifacts.kept(
            f"accuracy-{digest([network_fingerprint(model), self.test.identity])[:24]}.json",
            read=_read_number,
            make=lambda: accuracy_of(Learner(model).eval(), self.test),
            write=_write_number,
        )


def chance_of(data: Samples, test: Samples) -> float:
    """What guessing by the labels' frequencies gets right: Σ_c (share of label c in training) · (share in testing)."""
    labels = [labels_of(as_blocks(part))[1] for part in (data, test)]
    most = int(max(part.max() for part in labels)) + 1
    shares = [torch.bincount(part, minlength=most).double() / len(part) for part in labels]
    return float((shares[0] * shares[1]).sum())


def _write_number(value: float, path: Path) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _read_number(path: Path) -> float:
    try:
        return float(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DamagedError(f"it cannot be read as a number ({error})") from error
