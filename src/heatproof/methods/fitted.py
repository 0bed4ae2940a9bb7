"""Methods that learn something from data before they attribute: a recipe, and a value that a function fits."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal, Self, TypeVar

import torch
from torch import Tensor, nn

from heatproof import artifacts
from heatproof.artifacts import Stored
from heatproof.errors import DamagedError, InputError
from heatproof.fingerprint import lasting_fingerprint, network_fingerprint
from heatproof.methods.base import Method
from heatproof.models import Bound, check_inputs, check_model
from heatproof.state import unchanged

# Input batches (N, …), as a tensor or as the first of what a DataLoader gives, such as (inputs, labels).
Batch = Tensor | Sequence[Tensor]
T = TypeVar("T")


class Sided(tuple[Tensor, Tensor]):
    """A batch (inputs, labels) that brings its samples' side inputs, by the names that the `Bound` has for them."""

    given: Mapping[str, Tensor]

    @classmethod
    def of(cls, inputs: Tensor, labels: Tensor, given: Mapping[str, Tensor]) -> "Sided":
        """The batch."""
        batch = cls((inputs, labels))
        batch.given = given
        return batch


class Fitted:
    """What a method learned: named tensors on the CPU, facts about them, and the network that they belong to.

    Immutable; equal, hashed and shown by `digest`, the SHA-256 of everything in it. `fitted["mean"]` is a copy.

    Args:
        tensors: by name.
        network: the `network_fingerprint` of the network that they were learned from.
        facts: what else tells this fit apart, in words: the method, the layer, the number of samples.

    >>> fitted = hp.methods.PatternNet().fit(net, [(images, labels)]).fitted
    >>> len(fitted.digest), fitted == hp.methods.PatternNet().fit(net, [(images, labels)]).fitted
    (64, True)
    """

    def __init__(self, tensors: Mapping[str, Tensor], *, network: str, facts: Mapping[str, str]) -> None:
        self._tensors = {name: tensors[name].detach().cpu().clone().contiguous() for name in sorted(tensors)}
        self._moved: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}
        self.network = network
        self.facts: Mapping[str, str] = MappingProxyType(dict(facts))
        self.digest = artifacts.digest(self._tensors, [network, dict(facts)])

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name].clone()

    def on(self, name: str, like: Tensor) -> Tensor:
        """The tensor in the dtype and on the device of `like`: the same one for all who ask, not to be written into."""
        key = name, like.dtype, like.device
        if key not in self._moved:
            with torch.inference_mode(False):
                self._moved[key] = self._tensors[name].to(like)
        return self._moved[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fitted) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<Fitted {self.digest[:16]}>"

    def __reduce__(self) -> "tuple[object, ...]":
        return _fitted, (self._tensors, self.network, dict(self.facts))

    def moved_to(self, model: nn.Module) -> "Fitted":
        """The same tensors for another network: on purpose, as where a network's weights were drawn anew."""
        return Fitted(self._tensors, network=network_fingerprint(model), facts=self.facts)

    def save(self, path: str | Path) -> None:
        """Write it as safetensors, whole or not at all."""
        with artifacts.whole(Path(path)) as unfinished:
            artifacts.write_tensors(unfinished, self.parts())

    @classmethod
    def load(cls, path: str | Path) -> "Fitted":
        """Read what `save` wrote.

        Raises: InputError for a file that is missing, damaged, or of another kind.
        """
        try:
            return cls.together(artifacts.read_tensors(Path(path)))
        except DamagedError as error:
            raise InputError(
                f"Expected a file written by Fitted.save, but {str(path)!r} is none: {error}; fit again."
            ) from error

    def parts(self) -> Stored:
        """What a file of it holds."""
        return Stored(self._tensors, {"network": self.network, "facts": dict(self.facts)})

    @classmethod
    def together(cls, stored: Stored) -> "Fitted":
        """What `parts` gave, as a value again; who keeps it may have added facts of his own.

        Raises: DamagedError for the content of another file.
        """
        ours = {name: fact for name, fact in stored.facts.items() if name in ("network", "facts")}
        tensors, facts = artifacts.matching(Stored(stored.tensors, ours), stored.tensors, ("network", "facts"))
        return cls(tensors, network=facts["network"], facts=facts["facts"])


@dataclass(frozen=True, kw_only=True)
class FittedMethod(Method):
    """A method that attributes with what it learned from data.

    Made without `fitted` it is a recipe; `fit` returns the same recipe with a value. Called on another network than it
    was fitted on it refuses. `on_changed_model` says what is right where a network was changed on purpose, as by
    randomization: `refit` what it learned, `reuse` it, or `exclude` the method; `on_changed` does it, and
    `on_changed_because` says why in words.

    >>> method = hp.methods.PatternNet()
    >>> method.fitted is None, method.fit(net, [(images, labels)]).fitted is None
    (True, False)
    """

    on_changed_model: ClassVar[Literal["refit", "reuse", "exclude"]]
    on_changed_because: ClassVar[str]
    fit_batch: ClassVar[int] = 64  # samples a batch where nobody says otherwise

    fitted: Fitted | None = None

    @property
    def fit_recipe(self) -> "FittedMethod":
        """A recipe that learns the same; one of its class whose settings decide nothing of that has the defaults.

        Recipes with the same one share their fits, which are made by it.
        """
        return replace(self, fitted=None)

    @property
    def fit_reads(self) -> int:
        """How often a fit reads the data."""
        return 1

    @property
    def fit_cost(self) -> float:
        """Forward and backward passes a sample of the data that a fit takes, for estimates."""
        return self.fit_reads / 3

    def fit(self, model: nn.Module, batches: Iterable[Batch], *, checkpoint: str | Path | None = None) -> Self:
        """This recipe, fitted; see the function `fit`."""
        return replace(self, fitted=fit(self, model, batches, checkpoint=checkpoint))

    def on_changed(self, model: nn.Module, batches: Iterable[Batch]) -> Self | None:
        """This method for a network that was changed on purpose; None where it has no meaning there."""
        if self.on_changed_model == "refit":
            return self.fit(model, batches)
        if self.on_changed_model == "reuse":
            return self.moved_to(model)
        return None

    def moved_to(self, model: nn.Module) -> Self:
        """This method, with what it learned, for another network: on purpose, as where that is all but the same."""
        return replace(self, fitted=self._value().moved_to(model))

    @abstractmethod
    def _fit(
        self, model: nn.Module, batches: Iterable[Batch], checkpoint: Path | None
    ) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
        """Tensors by name, and facts: everything that the tensors depend on besides network and data."""

    @abstractmethod
    def _fit_facts(self, model: nn.Module) -> Mapping[str, str]:
        """The facts that a value must share with this recipe to serve it."""

    def _wanted(self, model: nn.Module) -> dict[str, str]:
        return {"method": type(self).__name__, **self._fit_facts(model)}

    def _sealed(self, model: nn.Module, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> Fitted:
        return Fitted(tensors, network=network_fingerprint(model), facts={**self._wanted(model), **facts})

    def _value(self) -> Fitted:
        if self.fitted is None:
            raise InputError(
                f"Expected a fitted method, but {type(self).__name__} has seen no data; "
                "fit it with recipe.fit(model, batches), batches of inputs like those it was trained on."
            )
        return self.fitted

    def _fitted_for(self, model: nn.Module) -> Fitted:
        """The value, after a look whether it belongs to this recipe and this network."""
        fitted = self._value()
        for name, value in self._wanted(model).items():
            if fitted.facts.get(name) != value:
                raise InputError(
                    f"Expected a value fitted with {name} {value!r}, but its {name} is {fitted.facts.get(name)!r}; "
                    "fit again with recipe.fit(model, batches)."
                )
        if fitted.network != lasting_fingerprint(model):
            raise InputError(
                f"Expected the network that {fitted} was fitted on, but got another; fit again with recipe.fit(model, "
                "batches), or, where the network was changed on purpose, use method.on_changed(model, batches)."
            )
        return fitted


def fit(
    recipe: FittedMethod, model: nn.Module, batches: Iterable[Batch], *, checkpoint: str | Path | None = None
) -> Fitted:
    """What `recipe` learns from `model` on batches of inputs (N, …), read `recipe.fit_reads` times in their order.

    The n-th sample has row n of a Bound's side inputs, unless batches bring their own (`Sided`).

    `checkpoint` is a file that a fit which reads the data several times goes on from; others leave it alone.

    Raises: InputError for a model that cannot be explained, batches that do not fit it, or too few samples.
    """
    check_model(model)
    path = None if checkpoint is None else Path(checkpoint)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    own = following(model)
    with unchanged(model, device):  # what it keeps between calls, as an observer does, is put back
        tensors, facts = recipe._fit(own, CheckedBatches(own, batches), path)
    return recipe._sealed(model, tensors, facts)


def learners(recipe: object) -> list[FittedMethod]:
    """The fitted methods that a recipe is made of: itself, or those in its fields."""
    if isinstance(recipe, FittedMethod):
        return [recipe]
    if not is_dataclass(recipe) or isinstance(recipe, type):
        return []
    return [one for field in fields(recipe) for one in learners(getattr(recipe, field.name))]


def with_learners(recipe: T, change: Callable[[FittedMethod], object]) -> T:
    """`recipe` with each fitted method that it is made of replaced by what `change` gives for it."""
    if isinstance(recipe, FittedMethod):
        return change(recipe)  # type: ignore[return-value]  # another value of the same class
    if not learners(recipe):
        return recipe
    values = {field.name: getattr(recipe, field.name) for field in fields(recipe)}  # type: ignore[arg-type]  # a dataclass, since it holds one
    changed = {name: with_learners(value, change) for name, value in values.items() if learners(value)}
    return replace(recipe, **changed)  # type: ignore[type-var]  # a dataclass, as above


def peeked(batches: Iterable[Batch]) -> tuple[Tensor, Iterable[Batch]]:
    """The first sample (1, …) of batches, and all of them, to be read once.

    Raises: InputError if there is none.
    """
    stream = iter(batches)
    for first in stream:
        return inputs_of(first)[:1], chain([first], stream)
    raise InputError("Expected batches to fit on, but there is none; give samples like those it was trained on.")


def inputs_of(batch: Batch) -> Tensor:
    """The inputs of a batch: itself, or its first element."""
    return batch if isinstance(batch, Tensor) else batch[0]


@dataclass(frozen=True)
class CheckedBatches:
    """Batches, each looked at when it comes; read anew by each `for`, where the batches are."""

    model: nn.Module
    batches: Iterable[Batch]

    def __iter__(self) -> Iterator[Batch]:
        seen = 0
        for batch in self.batches:
            check_inputs(self.model, inputs_of(batch))
            if isinstance(batch, Sided) and isinstance(self.model, Bound):
                self.model.follow(batch.given, seen)
            seen += len(inputs_of(batch))
            yield batch


def following(model: nn.Module) -> nn.Module:
    """A copy of a Bound whose side inputs may follow the batches; any other model as it is."""
    if not isinstance(model, Bound) or not (model.given or model.named):
        return model
    own = copy(model)
    vars(own).setdefault("origin", model)
    return own


def _fitted(tensors: Mapping[str, Tensor], network: str, facts: Mapping[str, str]) -> Fitted:
    return Fitted(tensors, network=network, facts=facts)
