"""A relation: something that means nothing is done to a network or its inputs, and the map must follow."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from heatproof.errors import HeatproofError, HeatproofWarning
from heatproof.methods.base import Attribution
from heatproof.methods.fitted import FittedMethod, learners, with_learners
from heatproof.models import forward
from heatproof.testing.case import distance_of
from heatproof.testing.relations.traits import Traits

# Relative to each batch's largest magnitude, in float64.
TOLERANCE = 1e-8
# Where inputs, weights and scores are of order one, a map that is smaller is the rounding of one that is 0.
NOTHING = 1e-13
# What is fitted is kept in float32.
LEARNED = 1e-5
# Networks whose outputs differ by more are not the same function: the relation says nothing of them.
SAME = 1e-9


class Subject(NamedTuple):
    """A network in eval mode, inputs (N, …) and labels (N,), and further ones that fitted methods learn from."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    data: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Outcome:
    """What a relation found: it `holds`, `fails`, is `refused` by name, or is `inapplicable` to the network."""

    kind: Literal["holds", "fails", "refused", "inapplicable"]
    distance: float = 0.0
    words: str = ""


@dataclass(frozen=True)
class Known:
    """A method on a subject as it is: fitted there, and its maps."""

    method: Attribution
    maps: Tensor


@dataclass(frozen=True, kw_only=True)
class Relation(ABC):
    """One row of the table.

    Args:
        name: a short name, in kebab case.
        says: what is done, in words.
        tolerance: the largest difference of two maps that are the same, relative to their largest magnitude.
        stabilized: the same for methods whose rules have a stabilizer, where it stands in other sums.
        excuse: why the relation says nothing of methods with such traits, in words; empty where it must hold.
    """

    family: ClassVar[str]
    name: str
    says: str
    tolerance: float = TOLERANCE
    stabilized: float = 0.0
    excuse: Callable[[Traits], str] = field(default=lambda traits: "")

    def applies(self, traits: Traits) -> str | None:
        """Why the relation says nothing of such methods; None where it must hold."""
        return self.excuse(traits) or None

    def prepared(self, subject: Subject) -> Any:
        """What all methods share on one network, such as the network's other form."""
        return None

    @abstractmethod
    def outcome(self, known: Known, subject: Subject, traits: Traits, prepared: Any) -> Outcome:
        """What becomes of a method on one network."""

    def _compared(self, maps: Tensor, expected: Tensor, traits: Traits) -> Outcome:
        largest = max(float(expected.abs().amax()), float(maps.abs().amax()) if maps.numel() else 0.0)
        distance = 0.0 if largest <= NOTHING and maps.shape == expected.shape else distance_of(maps, expected)
        tolerance = max(
            self.tolerance, LEARNED if traits.learns else 0.0, self.stabilized if traits.stabilizes else 0.0
        )
        kind: Literal["holds", "fails"] = "holds" if distance <= tolerance else "fails"
        return Outcome(kind, distance, "" if kind == "holds" else f"differs by {distance:.1e} of the largest magnitude")


@dataclass(frozen=True, kw_only=True)
class Change(Relation):
    """The network and each sample are changed together, and a known change of the map follows.

    Args:
        network: the other network, or, as text, why there is none.
        inputs: what is done to samples (N, …).
        outputs, undo: the outputs and the map of the changed network as those of the network as it was.
        refits: whether a fitted method learns anew on the other network; its fit serves both where not.
        refuses: why methods with such traits may refuse the other network by name; empty where they must not.
    """

    network: Callable[[nn.Module, Tensor], nn.Module | str] = field(default=lambda model, inputs: model)
    inputs: Callable[[Tensor], Tensor] = field(default=lambda inputs: inputs)
    outputs: Callable[[Tensor], Tensor] = field(default=lambda outputs: outputs)
    undo: Callable[[Tensor, Traits], Tensor] = field(default=lambda maps, traits: maps)
    refits: bool = True
    refuses: Callable[[Traits], str] = field(default=lambda traits: "")

    def prepared(self, subject: Subject) -> "Subject | str":
        return self.transform(subject)

    def transform(self, subject: Subject) -> Subject | str:
        """The other network and samples, or why there are none; the network must compute the same."""
        model = self.network(subject.model, subject.inputs)
        if isinstance(model, str):
            return model
        changed = Subject(
            model, self.inputs(subject.inputs), subject.targets, self.inputs(subject.data), subject.labels
        )
        try:
            gap = self._gap(subject, changed)
        except Exception as error:  # a part with settings that the change does not know
            return f"the changed network does not run: {error}"
        return changed if gap <= SAME else f"the changed network computes something else (by {gap:.0e})"

    def outcome(self, known: Known, subject: Subject, traits: Traits, prepared: "Subject | str") -> Outcome:
        if isinstance(prepared, str):
            return Outcome("inapplicable", words=prepared)
        try:
            method = fitted(known.method, prepared) if self.refits else known.method
            maps = called(method, prepared)
        except HeatproofError as error:
            allowed = self.refuses(traits)
            return Outcome("refused", words=allowed) if allowed else Outcome("fails", torch.inf, f"refused: {error}")
        return self._compared(self.undo(maps, traits), known.maps, traits)

    def _gap(self, subject: Subject, changed: Subject) -> float:
        with torch.no_grad():
            ours, theirs = (forward(one.model, one.inputs) for one in (subject, changed))
        return distance_of(self.outputs(theirs)[:, : ours.shape[1]], ours)


def known_on(method: Attribution, subject: Subject) -> Known:
    """The method, fitted on the subject where it learns, with its maps there."""
    method = fitted(method, subject)
    return Known(method, called(method, subject))


def called(method: Attribution, subject: Subject) -> Tensor:
    """The maps of a method on a subject, without what it warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HeatproofWarning)
        return method(subject.model, subject.inputs, subject.targets)  # as they lie in memory: no copy


def fitted(method: Attribution, subject: Subject) -> Attribution:
    """The method with everything that it learns learned anew on the subject's data, two batches of it."""
    if not learners(method):
        return method
    batches = list(zip(torch.split(subject.data, 4), torch.split(subject.labels, 4), strict=True))

    def fit(one: FittedMethod) -> FittedMethod:
        return one.fit(subject.model, batches)

    return with_learners(method, fit)
