"""One training loop for every network of the zoo."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from heatproof import draws
from heatproof.data import Dataset
from heatproof.errors import HeatproofError
from heatproof.zoo.recipes import Training

ROWS_WITHOUT_GRADIENT = 256


class TrainingError(HeatproofError, RuntimeError):
    """A network that did not reach the accuracy that its recipe requires."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A trained network in eval mode, and how it went. Accuracies are shares of samples, in [0, 1]."""

    model: nn.Module
    train_accuracy: float
    test_accuracy: float
    epochs: int
    seconds: float


def train(make: Callable[[], nn.Module], training: Training, data: Dataset, test: Dataset) -> Trained:
    """Build a network with `make` and train it on `data`.

    Everything random (first weights, order, dropout) depends on `training.seed` alone; the global generator is as
    before afterwards. The same versions, device and number of threads give the same weights, bit for bit.

    Raises: TrainingError if the loss is not finite, or the accuracy on `test` stays below `training.required`.
    """
    started = time.perf_counter()
    steps_of_epoch = math.ceil(len(data) / training.batch_size)
    # torch's default initialization and dropout read the global generator and take no other.
    with torch.random.fork_rng(devices=[]), _progress() as progress:
        torch.manual_seed(draws.generator(training.seed, "training").initial_seed())
        model = make().train()
        optimizer = training.build(model)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _factor(training, steps_of_epoch * training.epochs))
        task = progress.add_task(f"training {data.name}", total=steps_of_epoch * training.epochs)
        accuracy, epoch = 0.0, 0
        while epoch < training.epochs and (training.stop_at is None or accuracy < training.stop_at):
            order = torch.randperm(len(data), generator=draws.generator(training.seed, "order of training", epoch))
            hits = torch.zeros((), dtype=torch.int64)
            for rows in torch.split(order, training.batch_size):
                hits += _step(model, optimizer, data.inputs[rows], data.targets[rows], training, epoch)
                schedule.step()
                progress.advance(task)
            accuracy, epoch = hits.item() / len(data), epoch + 1
    model.eval()
    reached = accuracy_of(model, test)
    if reached < training.required:
        raise TrainingError(
            f"Expected {type(model).__name__} to reach {training.required:.2%} on {test.name}, but got {reached:.2%} "
            f"after {epoch} epochs ({accuracy:.2%} in training); train longer or with another learning rate or seed."
        )
    seconds = time.perf_counter() - started
    return Trained(model=model, train_accuracy=accuracy, test_accuracy=reached, epochs=epoch, seconds=seconds)


def accuracy_of(model: nn.Module, data: Dataset) -> float:
    """The share of samples whose highest output is their label."""
    with torch.no_grad():
        labels = torch.cat([model(x).argmax(1) for x in torch.split(data.inputs, ROWS_WITHOUT_GRADIENT)])
    return int((labels == data.targets).sum()) / len(data)


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor, training: Training, epoch: int
) -> Tensor:
    """One step; the number of samples that were right before it."""
    optimizer.zero_grad(set_to_none=True)
    outputs = model(inputs)
    loss = F.cross_entropy(outputs, targets)
    if not torch.isfinite(loss):
        raise TrainingError(
            f"Expected a finite loss, but got {loss.item()} in epoch {epoch + 1}; "
            f"lower the learning rate, {training.learning_rate}."
        )
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    hits: Tensor = (outputs.argmax(1) == targets).sum()
    return hits


def _factor(training: Training, steps: int) -> Callable[[int], float]:
    if training.schedule == "constant":
        return lambda step: 1.0
    return lambda step: (1 + math.cos(math.pi * min(1.0, step / steps))) / 2


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
