"""The model's own architecture trained anew: made once, kept, and put into the model's place for a while."""

import copy
import inspect
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from heatproof import artifacts, draws
from heatproof.arithmetic import pinned
from heatproof.artifacts import Stored
from heatproof.checks.base import Study
from heatproof.checks.learner import Facts, Learner, chance_of
from heatproof.checks.swapping import swapped, tensors_of
from heatproof.data.binding import lacking, met
from heatproof.data.blocks import Blocks, as_blocks
from heatproof.data.choosing import relabelled, some_of
from heatproof.data.picking import first_of, labels_of
from heatproof.errors import InputError, TrainingError
from heatproof.fingerprint import network_fingerprint
from heatproof.randomization import Cascading, Initializer
from heatproof.recipes import describe, digest
from heatproof.zoo import training as loop
from heatproof.zoo.recipes import Training
from heatproof.zoo.training import accuracy_of, train

VERSION = 1  # counted up whenever this module makes other weights of the same


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
            return artifacts.kept_tensors(self._name, read=self._together, make=self._made, parts=_parts)
        except TrainingError as error:
            self._failure = error
            raise

    @cached_property
    def _name(self) -> str:
        parts = {
            "first weights": network_fingerprint(self._first()),
            "recipe": describe(self.recipe),
            "data": [part.identity for part in parts_of(self.study, self.recipe.test_share)],
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
            data = _permuted(data, self.seed)
        learner = Learner(self._first())
        epochs, seconds, reached = 0, 0.0, 0.0
        with pinned(threads=1):
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
            chance=chance_of(data, test),
            epochs=epochs,
            seconds=seconds,
        )
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors_of(learner.net).items()}, facts

    def _together(self, stored: Stored) -> tuple[dict[str, Tensor], Facts]:
        names = [field.name for field in fields(Facts)]
        weights, facts = artifacts.matching(stored, tensors_of(self.study.model), names)
        return dict(weights), Facts(**facts)


def parts_of(study: Study, test_share: float) -> tuple[Blocks, Blocks]:
    """The training data to train on, and those held out for testing: the same for every seed.

    Cost: of blocks that are not in memory, all samples are read once for their labels.

    Raises: InputError if there are none, too few, all of one label, or of another shape than the samples.
    """
    if study.training is None:
        raise InputError(
            "Expected training data for data-randomization, but got none; give audit(…, training_data=dataset), or a "
            "table [training_data] in the spec: labelled samples like those that the network was trained on."
        )
    data = as_blocks(study.training)
    first = met(study.model, first_of(data, 1)).inputs
    if first.shape[1:] != study.example.shape[1:]:
        raise InputError(
            f"Expected training data like the samples, {tuple(study.example.shape[1:])} each, but got "
            f"{tuple(first.shape[1:])}."
        )
    places, labels = labels_of(data)
    for_test = round(test_share * len(places))
    order = torch.randperm(len(places), generator=draws.generator("data randomization", "held out", len(places)))
    held, kept = order[:for_test].sort().values, order[for_test:].sort().values
    if for_test == 0 or len(set(labels[kept].tolist())) < 2:
        raise InputError(
            f"Expected samples of two labels or more to train on and one or more to test on, but of {len(places)} "
            f"{for_test} are held out and the rest has {len(set(labels[kept].tolist()))} labels; "
            "give more training data, or change test_share."
        )
    for_training, for_testing = (some_of(data, [places[row] for row in rows.tolist()]) for rows in (kept, held))
    return for_training, for_testing


def trainable(study: Study) -> None:
    """Refuse a network that cannot be trained on the training data alone: they lack side inputs that it takes."""
    missing = [] if study.training is None else lacking(study.model, first_of(as_blocks(study.training), 1))
    if missing:
        raise InputError(
            f"Expected training data that bring {', '.join(missing)}, which this network takes beside its input, but "
            "they do not; give them by name, as_blocks(data, given=…), or leave data-randomization out."
        )


def _permuted(data: Blocks, seed: int) -> Blocks:
    """The samples with their labels dealt out anew, as `permuted_labels` does."""
    labels = labels_of(data)[1]
    order = torch.randperm(len(labels), generator=draws.generator(seed, "permuted labels", len(labels)))
    return relabelled(data, labels[order], f"{data.name}, labels permuted")


def _parts(value: tuple[dict[str, Tensor], Facts]) -> Stored:
    weights, facts = value
    return Stored(weights, asdict(facts))
