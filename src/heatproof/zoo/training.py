"""One training loop for every network of the zoo."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from heatproof import draws
from heatproof.data import Blocks, Dataset, as_blocks
from heatproof.data.choosing import some_of
from heatproof.data.picking import batches_of
from heatproof.errors import TrainingError
from heatproof.zoo.recipes import Training

ROWS_WITHOUT_GRADIENT = 256
Samples = Dataset | Blocks


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A trained network in eval mode, and how it went. Accuracies are shares of samples, in [0, 1].

    `train_accuracy` is counted while the epoch ran whose weights these are, so it lags behind them; `epochs` are all
    that were run.
    """

    model: nn.Module
    train_accuracy: float
    test_accuracy: float
    epochs: int
    seconds: float


def train(make: Callable[[], nn.Module], training: Training, data: Samples, test: Samples) -> Trained:
    """Build a network with `make` and train it on `data`: cross-entropy, or with one output unit its binary form.

    Blocks are read batch by batch. A network that has a method `of` is asked for the outputs of a batch (`Dataset`)
    with it, as one that takes side inputs; any other is called with the batch's inputs.

    Everything random (first weights, order, dropout, what is held out) depends on `training.seed` alone; the global
    generator is as before afterwards. The same versions, device and number of threads give the same weights, bit for
    bit.

    Raises: TrainingError if the loss is not finite, the accuracy in training stays below
        `training.required_in_training`, or the accuracy on `test` below `training.required`.
    """
    started = time.perf_counter()
    samples, held = _hold_out(as_blocks(data), training)
    steps_of_epoch = math.ceil(len(samples) / training.batch_size)
    best: _Best | None = None
    with seeded(training), _progress() as progress:
        model = make().train()
        optimizer = training.build(model)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _factor(training, steps_of_epoch * training.epochs))
        task = progress.add_task(f"training {samples.name}", total=steps_of_epoch * training.epochs)
        accuracy, epoch = 0.0, 0
        while epoch < training.epochs and (training.stop_at is None or accuracy < training.stop_at):
            order = torch.randperm(len(samples), generator=draws.generator(training.seed, "order of training", epoch))
            hits = torch.zeros((), dtype=torch.int64)
            for part in batches_of(samples, order, training.batch_size):
                hits += _step(model, optimizer, part, training, epoch)
                schedule.step()
                progress.advance(task)
            accuracy, epoch = hits.item() / len(samples), epoch + 1
            if held is not None:
                best = _better(best, _Best(_mean_loss(model, held), epoch, accuracy, _copy(model)))
                if epoch - best.epoch >= training.patience:
                    break
    if best is not None:
        accuracy = best.accuracy
        model.load_state_dict(best.weights)
    model.eval()
    reached = accuracy_of(model, test)
    what = f"{type(model).__name__} to reach"
    after = f"after {epoch} epochs"
    if accuracy < training.required_in_training:
        raise TrainingError(
            f"Expected {what} {training.required_in_training:.2%} on the samples it is trained on, {samples.name}, but "
            f"got {accuracy:.2%} {after}; train longer or with another learning rate or seed."
        )
    if reached < training.required:
        raise TrainingError(
            f"Expected {what} {training.required:.2%} on {test.name}, but got {reached:.2%} {after} "
            f"({accuracy:.2%} in training); train longer or with another learning rate or seed."
        )
    seconds = time.perf_counter() - started
    return Trained(model=model, train_accuracy=accuracy, test_accuracy=reached, epochs=epoch, seconds=seconds)


@contextmanager
def seeded(training: Training) -> Iterator[None]:
    """The global generator as training begins with it; as before afterwards.

    torch's initialization and dropout read the global generator and take no other.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draws.generator(training.seed, "training").initial_seed())
        yield


def accuracy_of(model: nn.Module, data: Samples) -> float:
    """The share of samples whose label is predicted."""
    right, seen = 0, 0
    with torch.no_grad():
        for part in _in_order(as_blocks(data)):
            right += int((predicted(outputs_of(model, part)) == part.targets).sum())
            seen += len(part)
    return right / seen


def outputs_of(model: nn.Module, part: Dataset) -> Tensor:
    """The logits (N, C) of some samples, by the network's own `of` if it has one."""
    of = getattr(model, "of", None)
    logits: Tensor = model(part.inputs) if of is None else of(part)
    return logits


def _in_order(blocks: Blocks) -> Iterator[Dataset]:
    return batches_of(blocks, torch.arange(len(blocks)), ROWS_WITHOUT_GRADIENT)


def predicted(outputs: Tensor) -> Tensor:
    """The labels (N,) of logits (N, C): the highest output's; with one output unit 1 where it is positive, else 0."""
    return (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(1)


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits (N, C) against labels (N,); with one output unit its binary form, labels 0 and 1."""
    if outputs.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(outputs[:, 0], targets.to(outputs.dtype))
    return F.cross_entropy(outputs, targets)


@dataclass(frozen=True)
class _Best:
    """The epoch with the lowest held-out loss so far."""

    loss: float
    epoch: int
    accuracy: float
    weights: dict[str, Tensor]


def _better(best: _Best | None, now: _Best) -> _Best:
    return now if best is None or now.loss < best.loss else best


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _hold_out(data: Blocks, training: Training) -> tuple[Blocks, Blocks | None]:
    """The samples to train on, and those that decide when to stop."""
    if training.held_out == 0:
        return data, None
    if training.held_out >= len(data):
        raise TrainingError(
            f"Expected fewer samples held out than the {len(data)} there are, but got {training.held_out}."
        )
    order = torch.randperm(len(data), generator=draws.generator(training.seed, "held out", len(data))).tolist()
    return some_of(data, sorted(order[training.held_out :])), some_of(data, sorted(order[: training.held_out]))


def _mean_loss(model: nn.Module, data: Blocks) -> float:
    model.eval()
    total, seen = 0.0, 0
    with torch.no_grad():
        for part in _in_order(data):
            total += loss_of(outputs_of(model, part), part.targets).item() * len(part)
            seen += len(part)
    model.train()
    return total / seen


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, part: Dataset, training: Training, epoch: int) -> Tensor:
    """One step; the number of samples that were right before it."""
    optimizer.zero_grad(set_to_none=True)
    outputs = outputs_of(model, part)
    loss = loss_of(outputs, part.targets)
    if not torch.isfinite(loss):
        raise TrainingError(
            f"Expected a finite loss, but got {loss.item()} in epoch {epoch + 1}; "
            f"lower the learning rate, {training.learning_rate}."
        )
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    hits: Tensor = (predicted(outputs) == part.targets).sum()
    return hits


def _factor(training: Training, steps: int) -> Callable[[int], float]:
    if training.schedule == "constant":
        return lambda step: 1.0
    return lambda step: (1 + math.cos(math.pi * min(1.0, step / steps))) / 2


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
