"""How a network of the zoo is trained."""

from dataclasses import dataclass

import torch
from torch import nn

from heatproof.errors import InputError, unknown

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adadelta": torch.optim.Adadelta,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True, kw_only=True)
class Training:
    """Cross-entropy training, binary with one output unit, from the first weights to the last, as one value.

    Attributes:
        optimizer: adadelta, adam or sgd, with torch's defaults but for what is named here.
        learning_rate: of the first step.
        schedule: "constant", or "cosine": falling to 0 over all steps.
        weight_decay: L2 penalty, λ/2 ‖w‖², on weights only; biases and norm scales are left alone.
        epochs: passes over the training samples, at most.
        batch_size: samples of a step; a rest too small for a whole batch is a smaller one.
        stop_at: stop after the first epoch whose training accuracy, counted as the epoch ran, is at least this. Test
            samples never decide when to stop.
        held_out: so many of the training samples, drawn by the seed, are not trained on: their loss decides when to
            stop. 0 for none.
        patience: with samples held out, stop after so many epochs without a lower loss on them; the weights of the
            epoch with the lowest are kept.
        required: the accuracy on the test samples below which training is an error.
        required_in_training: the accuracy on the training samples, counted as the last epoch ran, below which training
            is an error: for labels to be memorized.
        seed: first weights, order of the samples, dropout.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    weight_decay: float = 0.0
    epochs: int = 5
    batch_size: int = 64
    stop_at: float | None = None
    held_out: int = 0
    patience: int = 2
    required: float = 0.0
    required_in_training: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        if self.schedule not in SCHEDULES:
            raise unknown("schedule", self.schedule, SCHEDULES)
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0 or self.weight_decay < 0:
            raise InputError(
                "Expected epochs and batch_size from 1 on, a positive learning_rate and no negative weight_decay, "
                f"but got {self.epochs}, {self.batch_size}, {self.learning_rate} and {self.weight_decay}."
            )
        if self.held_out < 0 or self.patience < 1:
            raise InputError(
                f"Expected held_out from 0 and patience from 1 on, but got {self.held_out} and {self.patience}."
            )

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of `model`'s parameters; weights, unlike biases, have two dimensions or more."""
        weights = [p for p in model.parameters() if p.dim() > 1]
        others = [p for p in model.parameters() if p.dim() <= 1]
        groups = [{"params": weights, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return OPTIMIZERS[self.optimizer](groups, lr=self.learning_rate)  # type: ignore[call-arg]
