"""Training of the readout bottleneck, with a checkpoint after each epoch, and whether it succeeded."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heatproof import draws
from heatproof.errors import InputError, TrainingError
from heatproof.fingerprint import network_fingerprint
from heatproof.methods.backward import nothing_overwritten
from heatproof.methods.fitted import Batch, Fitted
from heatproof.methods.moments import moments_at
from heatproof.methods.readout_network import WEIGHTS, collected, initial, predicted
from heatproof.methods.restriction import Adam, Mask, Noise, statistics_of
from heatproof.methods.split import Split
from heatproof.models import check_targets
from heatproof.outputs import for_softmax

STATISTICS = ("mean", "variance", "active")
KNOWS = 0.05  # of the way from guessing to certainty, from where on a network is said to know its labels


class Progress(NamedTuple):
    """One update: its epoch and batch, counted from 1, and the two parts of the loss, in nats."""

    epoch: int
    epochs: int
    batch: int
    cross_entropy: float
    information: float  # L_I / k


class Recipe(Protocol):
    """What training reads of a recipe; see ReadoutBottleneck."""

    @property
    def beta(self) -> float: ...
    @property
    def epochs(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def smoothing(self) -> float: ...
    @property
    def start(self) -> float: ...
    @property
    def min_std(self) -> float: ...
    @property
    def active(self) -> float: ...
    @property
    def noise(self) -> Noise: ...
    @property
    def seed(self) -> int: ...
    @property
    def floor(self) -> float: ...


class Left(NamedTuple):
    """The mean probability of the training data's labels by guessing, without the bottleneck, and behind it.

    Guessing is what cross-entropy comes to that sees nothing: it gives each label its frequency, and so as much as two
    samples share their label.
    """

    guessed: float
    plain: float
    behind: float


class _Forward(NamedTuple):
    """A batch on its way: outputs, the layer's output, what the readout reads, the mask of α, and the noise."""

    logits: Tensor
    signal: Tensor
    features: list[Tensor]
    mask: Mask
    noise: Tensor


@dataclass
class _State:
    """Everything that training goes on from, and what it left."""

    statistics: Fitted
    weights: list[Tensor]
    adams: list[Adam]
    epoch: int = 0
    left: Left | None = None


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """One training: the network, where its bottleneck and readouts are, and what tells the training apart."""

    model: nn.Module
    split: Split
    readouts: tuple[str, ...]
    recipe: Recipe
    about: Mapping[str, str]
    progress: Callable[[Progress], None] | None

    def run(self, batches: Iterable[Batch], checkpoint: Path | None) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Tensors and facts of the trained readout.

        Raises: TrainingError where the labels keep less than the recipe's `floor` of their probability.
        """
        state = self._resumed(checkpoint) if checkpoint is not None and checkpoint.exists() else self._fresh(batches)
        while state.epoch < self.recipe.epochs:
            self._epoch(state, batches)
            self._save(state, checkpoint)
        if self.recipe.floor > 0:
            if state.left is None:
                state.left = self._left(state, batches)
                self._save(state, checkpoint)
            self._judge(state.left, state.statistics.facts["samples"])
        tensors = {name: state.statistics[name] for name in STATISTICS}
        tensors |= dict(zip(WEIGHTS, state.weights, strict=True))
        return tensors, {"samples": state.statistics.facts["samples"], "seed": str(self.recipe.seed)}

    def _fresh(self, batches: Iterable[Batch]) -> _State:
        moments = moments_at(self.split, batches, self.readouts)
        facts = {"samples": str(moments.count)}
        statistics = Fitted(moments.tensors(), network="", facts=facts)
        rows, x, _ = next(self._labelled(batches))
        _, signal, features = collected(self.model, self.split.name, self.readouts, x[:1], rows[:1])
        width = sum(one.shape[1] for one in features)
        weights = [weight.to(signal) for weight in initial(width, signal.shape[1], self.recipe.start, self.recipe.seed)]
        return _State(statistics, weights, [Adam(weight, self.recipe.rate) for weight in weights])

    def _epoch(self, state: _State, batches: Iterable[Batch]) -> None:
        for number, (rows, x, labels) in enumerate(self._labelled(batches), 1):
            at = self._forward(state, x, rows)
            check_targets(x, labels, at.logits.shape[1])
            with torch.enable_grad():
                leaves = [weight.detach().requires_grad_() for weight in state.weights]
                behind, nats = self._behind(at, leaves, x, rows)
                cross_entropy, information = F.cross_entropy(behind, labels), nats.mean()
                loss = cross_entropy + self.recipe.beta * information
            with nothing_overwritten():
                gradients = torch.autograd.grad(loss, leaves)
            state.weights = [
                adam.step(weight, gradient)
                for adam, weight, gradient in zip(state.adams, state.weights, gradients, strict=True)
            ]
            if self.progress is not None:
                update = (state.epoch + 1, self.recipe.epochs, number, cross_entropy.item(), information.item())
                self.progress(Progress(*update))
        state.epoch += 1

    def _left(self, state: _State, batches: Iterable[Batch]) -> Left:
        """What is left of the labels behind the trained bottleneck, with noise of its own."""
        sums, counts = torch.zeros(2, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
        for rows, x, labels in self._labelled(batches):
            at = self._forward(state, x, rows)
            with torch.no_grad():
                outputs = for_softmax(self.model, at.logits), self._behind(at, state.weights, x, rows)[0]
            of_label = [out.double().softmax(1).gather(1, labels[:, None]).sum().cpu() for out in outputs]
            sums = sums + torch.stack(of_label)
            seen = torch.bincount(labels.cpu(), minlength=outputs[0].shape[1]).double()
            counts = seen if not len(counts) else counts + seen
        n = counts.sum()
        guessed = float((counts * (counts - 1)).sum() / (n * (n - 1)).clamp(min=1))
        return Left(guessed, *(sums / n).tolist())

    def _judge(self, left: Left, samples: str) -> None:
        recipe = self.recipe
        known, kept = left.plain - left.guessed, left.behind - left.guessed
        # Of a network that does no better than guessing there is nothing that a bottleneck could lose.
        if known > KNOWS * (1 - left.guessed) and not kept >= recipe.floor * known:  # NaN is a failure, too
            raise TrainingError(
                f"Expected a readout behind which the labels keep at least {recipe.floor:g}, its `floor`, of what the "
                f"network gives them beyond guessing, but after {recipe.epochs} epochs of {samples} samples at rate "
                f"{recipe.rate:g} their probability is {left.behind:.2g}, without it {left.plain:.2g}, by guessing "
                f"{left.guessed:.2g}: its training failed. Train it on more samples or for more epochs, at another "
                f"rate, or with a beta below {recipe.beta:g}; floor=0 takes any."
            )

    def _forward(self, state: _State, x: Tensor, rows: Tensor) -> _Forward:
        if self.split.skips is None:
            self.split.below(x[:1], rows[:1])
        logits, signal, features = collected(self.model, self.split.name, self.readouts, x, rows)
        statistics = statistics_of(state.statistics, signal, self.recipe.min_std, self.recipe.active)
        mask = Mask(signal, statistics, self.recipe.smoothing, self.recipe.noise)
        noise = draws.normal(signal, self.recipe.seed, "readout", state.epoch, samples=draws.marks(x))
        return _Forward(logits, signal, features, mask, noise)

    def _behind(self, at: _Forward, weights: list[Tensor], x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs behind the bottleneck that these weights predict, as softmax takes them, and its nats."""
        center, spread, nats = at.mask(predicted(weights, at.features, at.signal))
        return for_softmax(self.model, self.split.above(torch.addcmul(center, spread, at.noise), x, rows)), nats

    def _labelled(self, batches: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Rows of a Bound's `given`, inputs and labels of each batch."""
        seen = 0
        for batch in batches:
            if isinstance(batch, Tensor) or len(batch) < 2:
                raise InputError("Expected batches (inputs, labels), but got one without labels; give both.")
            x, labels = batch[0], batch[1]
            yield torch.arange(seen, seen + len(x), device=x.device), x, labels.to(x.device)
            seen += len(x)
        if seen == 0:
            raise InputError(
                "Expected batches that can be read again in each epoch, such as a DataLoader or a list, but there are "
                "none left; do not give a generator."
            )

    def _save(self, state: _State, checkpoint: Path | None) -> None:
        if checkpoint is None:
            return
        tensors = {name: state.statistics[name] for name in STATISTICS}
        for name, weight, adam in zip(WEIGHTS, state.weights, state.adams, strict=True):
            tensors |= {name: weight, f"{name}.mean": adam.mean, f"{name}.square": adam.square}
        facts = dict(self.about) | {
            "samples": state.statistics.facts["samples"],
            "epoch": str(state.epoch),
            "updates": str(state.adams[0].count),
            "left": json.dumps(state.left),
        }
        Fitted(tensors, network=network_fingerprint(self.model), facts=facts).save(checkpoint)

    def _resumed(self, checkpoint: Path) -> _State:
        kept = Fitted.load(checkpoint)
        other = [name for name, value in self.about.items() if kept.facts.get(name) != value]
        if other or kept.network != network_fingerprint(self.model) or "updates" not in kept.facts:
            what = ", ".join(other) or "the network"
            raise InputError(
                f"Expected {str(checkpoint)!r} to be a checkpoint of this training, but it differs in {what}; name "
                "another file, or remove it."
            )
        device = next(self.model.parameters()).device
        weights, adams = [], []
        for name in WEIGHTS:
            weights.append(kept[name].to(device))
            adam = Adam(weights[-1], self.recipe.rate)
            adam.mean, adam.square = kept[f"{name}.mean"].to(device), kept[f"{name}.square"].to(device)
            adam.count = int(kept.facts["updates"])
            adams.append(adam)
        statistics = {name: kept[name] for name in STATISTICS}
        samples = {"samples": kept.facts["samples"]}
        left = json.loads(kept.facts.get("left", "null"))
        return _State(
            Fitted(statistics, network="", facts=samples),
            weights,
            adams,
            int(kept.facts["epoch"]),
            None if left is None else Left(*left),
        )
