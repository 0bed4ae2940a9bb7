"""The model's own architecture trained anew: made once, kept, and put into the model's place for a while."""

import copy
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from heatproof import artifacts, draws
from heatproof.checks.base import Study
from heatproof.data.base import Dataset, permuted_labels, select
from heatproof.errors import InputError
from heatproof.fingerprint import model_fingerprint
from heatproof.models import Bound, forward
from heatproof.randomization import Cascading, Initializer
from heatproof.recipes import describe, digest
from heatproof.zoo import training as loop
from heatproof.zoo.cache import file_name, made, one_thread
from heatproof.zoo.recipes import Training
from heatproof.zoo.table import entry
from heatproof.zoo.training import Trained, TrainingError, accuracy_of, train

VERSION = 1  # counted up whenever this module makes other weights of the same


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


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """Everything but architecture and data that decides the weights of retrained networks.

    Attributes:
        training: how they are trained.
        initializer: draws the first weights.
        accuracy: what each must reach on the labels that it is trained on.
        test_share: share of the training data that is not trained on, but tested on.
    """

    training: Training
    initializer: Initializer
    accuracy: float
    test_share: float


class Retrained:
    """Opens the model with the weights of a network that was trained anew on permuted or on true labels.

    The network is trained on first use and kept on disk, under a name that says what decides its weights: the network
    with its first weights, the recipe, the data, the seed and torch's version. Training runs on one thread, so that the
    weights do not depend on how many an audit has. The first weights, the samples held out and their order depend on
    the seed alone: with the same seed, two networks differ in their labels and in nothing else.
    """

    def __init__(self, study: Study, recipe: Retraining, *, permuted: bool, seed: int) -> None:
        self.study, self.recipe, self.permuted, self.seed = study, recipe, permuted, seed
        self._failure: TrainingError | None = None

    def __call__(self, model: nn.Module) -> AbstractContextManager[nn.Module]:
        """A context in which `model` has the retrained weights and buffers, in place."""
        return swapped(model, self._kept()[0])

    def prepare(self) -> None:
        """Train the network, unless it is kept already. Raises: TrainingError if the accuracy is not reached."""
        self._kept()

    def preparation(self) -> float:
        """The forward passes of one sample that a training to the last epoch takes; none if the network is kept."""
        if (artifacts.folder() / self._name).is_file():
            return 0.0
        data, test = parts_of(self.study, self.recipe.test_share)
        return float((3 * self.recipe.training.epochs + 1) * len(data) + len(test))

    @property
    def facts(self) -> Facts:
        """How the training went."""
        return self._kept()[1]

    def _kept(self) -> tuple[dict[str, Tensor], Facts]:
        if self._failure is not None:  # training again would fail again
            raise self._failure
        try:
            return artifacts.kept(self._name, read=self._read, make=self._made, write=_write)
        except TrainingError as error:
            self._failure = error
            raise

    @cached_property
    def _name(self) -> str:
        parts = {
            "first weights": model_fingerprint(self._first()),
            "recipe": describe(self.recipe),
            "data": [part.fingerprint for part in parts_of(self.study, self.recipe.test_share)],
            "permuted": self.permuted,
            "seed": self.seed,
            "loop": [VERSION, inspect.getsource(loop)],
            "torch": torch.__version__,
        }
        return f"labels-{digest(parts)[:24]}.safetensors"

    def _first(self) -> nn.Module:
        """A copy of the network with its first weights, none of them frozen."""
        randomization = Cascading(initializer=self.recipe.initializer, seed=self.seed)
        everything = randomization.stages(self.study.model, self.study.example)[-1]
        with everything:
            try:
                first = copy.deepcopy(self.study.model)
            except Exception as error:  # whatever a module's own copying does not like
                raise InputError(
                    f"Expected a network that can be copied to be trained anew, but copy.deepcopy raised "
                    f"{type(error).__name__}: {error}. Put buffers and parametrizations in place of computed tensors."
                ) from error
        for parameter in first.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        return first

    def _made(self) -> tuple[dict[str, Tensor], Facts]:
        data, test = parts_of(self.study, self.recipe.test_share)
        if self.permuted:
            data = permuted_labels(data, self.seed)
        learner = Learner(self._first())
        epochs, seconds, reached = 0, 0.0, 0.0
        with one_thread():
            # Training stops by the accuracy counted as an epoch ran: where a last step undid it, it goes on from there.
            while reached < self.recipe.accuracy and epochs < self.recipe.training.epochs:
                left = self.recipe.training.epochs - epochs
                result = train(lambda: learner, replace(self.recipe.training, seed=self.seed, epochs=left), data, test)
                epochs, seconds = epochs + result.epochs, seconds + result.seconds
                reached = accuracy_of(learner, data)
        if reached < self.recipe.accuracy:
            raise TrainingError(
                f"Expected {type(learner.net).__name__} to reach {self.recipe.accuracy:.2%} on the {len(data)} samples "
                f"it is trained on ({data.name}), but got {reached:.2%} after {epochs} epochs; in `training` "
                "allow more epochs or choose another learning_rate, choose another `initializer`, or give fewer "
                "samples to memorize."
            )
        facts = Facts(
            training_accuracy=reached,
            test_accuracy=result.test_accuracy,
            chance=_chance(data, test),
            epochs=epochs,
            seconds=seconds,
        )
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors_of(learner.net).items()}, facts

    def _read(self, path: Path) -> tuple[dict[str, Tensor], Facts] | None:
        try:
            with safe_open(path, framework="pt") as file:
                facts = Facts(**json.loads(file.metadata()["facts"]))
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        own = tensors_of(self.study.model)
        fits = weights.keys() == own.keys() and all(weights[name].shape == own[name].shape for name in own)
        return (weights, facts) if fits else None


class FromZoo:
    """Opens the model with the weights of a network of the zoo, of the same architecture, that learned permuted labels.

    It is trained on first use and kept, as the zoo keeps it.
    """

    def __init__(self, name: str) -> None:
        self.entry = entry(name)

    def __call__(self, model: nn.Module) -> AbstractContextManager[nn.Module]:
        """A context in which `model` has that network's weights and buffers, in place.

        Raises: InputError if they do not fit.
        """
        own, weights = tensors_of(model), tensors_of(self._trained.model)
        if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in weights.items()}:
            raise InputError(
                f"Expected {self.entry.name} to have the architecture of the audited {type(model).__name__}, but its "
                f"weights do not fit; name a network of the zoo that is {type(model).__name__}."
            )
        return swapped(model, weights)

    def prepare(self) -> None:
        """Train the network, unless it is kept already."""
        self.facts  # noqa: B018  # reading them trains it

    def preparation(self) -> float:
        """The forward passes of one sample that a training to the last epoch takes; none if the network is kept."""
        if (artifacts.folder() / self.file).is_file():
            return 0.0
        data, test = self.parts
        return float(3 * self.entry.training.epochs * len(data) + len(test))

    @cached_property
    def parts(self) -> tuple[Dataset, Dataset]:
        """What it is trained on, labels permuted, and tested on."""
        data, test = (part.load() for part in self.entry.parts(""))
        return data, test

    @cached_property
    def file(self) -> str:
        """Where its weights are kept: says everything that decides them."""
        return file_name(self.entry.network, self.entry.training, *self.parts)

    @cached_property
    def _trained(self) -> Trained:
        return made(self.entry.network, self.entry.training, *self.parts)

    @cached_property
    def facts(self) -> Facts:
        """How the training went."""
        found = self._trained
        return Facts(
            training_accuracy=found.train_accuracy,
            test_accuracy=found.test_accuracy,
            chance=_chance(*self.parts),
            epochs=found.epochs,
            seconds=found.seconds,
        )


class AsTrained:
    """Opens the model as it is, and knows how it does on samples."""

    def __init__(self, test: Dataset) -> None:
        self.test = test

    def __call__(self, model: nn.Module) -> AbstractContextManager[nn.Module]:
        """A context in which nothing is changed."""
        return nullcontext(model)

    def test_accuracy(self, model: nn.Module) -> float:
        """The share of the samples that `model` predicts as labelled; computed once and kept, then read."""
        found: float = artifacts.kept(
            f"accuracy-{digest([model_fingerprint(model), self.test.fingerprint])[:24]}.json",
            read=_read_number,
            make=lambda: accuracy_of(Learner(model).eval(), self.test),
            write=_write_number,
        )
        return found


def parts_of(study: Study, test_share: float) -> tuple[Dataset, Dataset]:
    """The training data to train on, and those held out for testing: the same for every seed.

    Raises: InputError if there are none, too few, all of one label, or of another shape than the samples.
    """
    data = study.training
    if data is None:
        raise InputError(
            "Expected training data for data-randomization, but got none; give audit(…, training_data=dataset), or a "
            "table [training_data] in the spec: labelled samples like those that the network was trained on."
        )
    if data.inputs.shape[1:] != study.example.shape[1:]:
        raise InputError(
            f"Expected training data like the samples, {tuple(study.example.shape[1:])} each, but got "
            f"{tuple(data.inputs.shape[1:])}."
        )
    for_test = round(test_share * len(data))
    order = torch.randperm(len(data), generator=draws.generator("data randomization", "held out", len(data))).tolist()
    for_training = order[for_test:]
    if for_test == 0 or len(set(data.targets[for_training].tolist())) < 2:
        raise InputError(
            f"Expected samples of two labels or more to train on and one or more to test on, but of {len(data)} "
            f"{for_test} are held out and the rest has {len(set(data.targets[for_training].tolist()))} labels; "
            "give more training data, or change test_share."
        )
    return select(data, sorted(for_training)), select(data, sorted(order[:for_test]))


def trainable(study: Study) -> None:
    """Refuse a network that cannot be trained on labelled samples alone."""
    model = study.model
    if isinstance(model, Bound) and (model.given or model.at is not None):
        raise InputError(
            "Expected a network whose only argument is the explained input, but this one is bound to "
            f"{', '.join(sorted(model.given)) or f'the output of {model.at!r}'}, which training data do not have; "
            "leave data-randomization out."
        )


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and every buffer of a model by name, each tensor once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@contextmanager
def swapped(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """`model` with other values in its parameters and buffers, in place; afterwards as it was, bit for bit."""
    own = tensors_of(model)
    before = {name: tensor.detach().clone() for name, tensor in own.items()}
    try:
        _put(own, weights)
        yield model
    finally:
        _put(own, before)


def _put(own: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    # copy_, not .data: it counts the tensors' versions up, so that nothing computed from other values passes as fresh.
    # What is equal already is left alone: a buffer may be a view that cannot be written to.
    with torch.no_grad():
        for name, tensor in own.items():
            value = values[name].to(tensor.device)
            if not torch.equal(tensor, value):
                tensor.copy_(value)


def _chance(data: Dataset, test: Dataset) -> float:
    """Σ_c (share of label c in training) · (share in testing)."""
    labels = int(max(data.targets.max(), test.targets.max())) + 1
    shares = [torch.bincount(part.targets, minlength=labels).double() / len(part) for part in (data, test)]
    return float((shares[0] * shares[1]).sum())


def _write(value: tuple[dict[str, Tensor], Facts], path: Path) -> None:
    weights, facts = value
    save_file(
        {name: tensor.contiguous() for name, tensor in weights.items()}, path, {"facts": json.dumps(asdict(facts))}
    )


def _write_number(value: float, path: Path) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _read_number(path: Path) -> float | None:
    try:
        return float(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
