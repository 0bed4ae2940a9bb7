"""A network of the zoo in the place of one that is trained anew."""

from contextlib import AbstractContextManager
from functools import cached_property

from torch import nn

from heatproof import artifacts
from heatproof.checks.learner import Facts, chance_of
from heatproof.checks.swapping import swapped, tensors_of
from heatproof.data.base import Dataset
from heatproof.errors import InputError
from heatproof.zoo.cache import file_name, made
from heatproof.zoo.table import entry
from heatproof.zoo.training import Trained


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
            chance=chance_of(*self.parts),
            epochs=found.epochs,
            seconds=found.seconds,
        )
