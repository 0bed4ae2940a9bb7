"""Training of the readout bottleneck, with a checkpoint after each epoch."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heatproof import draws
from heatproof.errors import InputError
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


@dataclass
class _State:
    """Everything that training goes on from."""

    statistics: Fitted
    weights: list[Tensor]
    adams: list[Adam]
    epoch: int = 0


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
        """Tensors and facts of the trained readout."""
        state = self._resumed(checkpoint) if checkpoint is not None and checkpoint.exists() else self._fresh(batches)
        while state.epoch < self.recipe.epochs:
            self._epoch(state, batches)
            if checkpoint is not None:
                self._kept(state).save(checkpoint)
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
            if self.split.skips is None:
                self.split.below(x[:1], rows[:1])
            logits, signal, features = collected(self.model, self.split.name, self.readouts, x, rows)
            check_targets(x, labels, logits.shape[1])
            statistics = statistics_of(state.statistics, signal, self.recipe.min_std, self.recipe.active)
            mask = Mask(signal, statistics, self.recipe.smoothing, self.recipe.noise)
            noise = draws.normal(signal, self.recipe.seed, "readout", state.epoch, samples=draws.digests(x))
            with torch.enable_grad():
                leaves = [weight.detach().requires_grad_() for weight in state.weights]
                center, spread, nats = mask(predicted(leaves, features, signal))
                behind = for_softmax(self.model, self.split.above(torch.addcmul(center, spread, noise), x, rows))
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

    def _kept(self, state: _State) -> Fitted:
        tensors = {name: state.statistics[name] for name in STATISTICS}
        for name, weight, adam in zip(WEIGHTS, state.weights, state.adams, strict=True):
            tensors |= {name: weight, f"{name}.mean": adam.mean, f"{name}.square": adam.square}
        facts = dict(self.about) | {
            "samples": state.statistics.facts["samples"],
            "epoch": str(state.epoch),
            "updates": str(state.adams[0].count),
        }
        return Fitted(tensors, network=network_fingerprint(self.model), facts=facts)

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
        return _State(Fitted(statistics, network="", facts=samples), weights, adams, int(kept.facts["epoch"]))
