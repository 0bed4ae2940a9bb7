"""What a target is: a recipe for the outputs (N, C) and labels (N,) that methods and checks explain."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from heatproof.complaints import complaint, shown_outputs
from heatproof.errors import HeatproofError, InputError, shown
from heatproof.models import SIDE, Bound, as_model, returned, rows_per_pass, select
from heatproof.outputs import Outputs
from heatproof.refusals import as_labels, check_inputs, check_model, check_targets
from heatproof.registry import Registry

TARGETS: "Registry[Target]" = Registry("target", "heatproof.targets")
LABEL = "label"
Sides = Mapping[str, Tensor]

_tokens = WeakIdKeyDictionary()  # by model: what stands for it together with each target


class Aim(NamedTuple):
    """What a target makes of a model and some samples: what methods are called with.

    Attributes:
        model: a network with outputs (N, C); the one that was given where its own outputs are explained.
        labels: (M,) int64, the explained output of each row.
        outputs: what the outputs are, where the target settles it; None leaves it to the user.
        rows: (M,) the sample that each row explains, where a sample is explained several times; None for one row a
            sample, in order.

    >>> aim = hp.targets.Label("runner-up").aim(line, x)
    >>> aim.labels, aim.rows
    (tensor([0]), None)
    """

    model: nn.Module
    labels: Tensor
    outputs: Outputs | None = None
    rows: Tensor | None = None

    def of(self, inputs: Tensor) -> tuple[nn.Module, Tensor]:
        """Model and inputs (M, …) of the rows that are explained."""
        if self.rows is None:
            return self.model, inputs
        return select(self.model, self.rows), inputs[self.rows.to(inputs.device)]


class Target(ABC):
    """A frozen dataclass that says what of a model's answer is explained.

    `settle` looks at the trained model's answer once and says what stays fixed from then on, whatever the network is
    changed to: the explained label, the region that it predicts, the box. `read` turns any answer into outputs (M, C).

    >>> hp.targets.as_target(1)
    Label(which=1)
    >>> hp.targets.get("region", label=15).name
    'sum of label 15 where it is predicted'
    """

    of_labels: ClassVar[bool] = False  # whether its outputs are the model's own labels, under the same names

    @property
    @abstractmethod
    def name(self) -> str:
        """What is explained, in a few words."""

    @property
    def outputs(self) -> Outputs | None:
        """What the outputs that it reads are; None where they are the model's own, of which a user may say it."""
        return None

    @property
    def unit(self) -> str:
        """The unit of what is explained."""
        return "score"

    @abstractmethod
    def settle(self, answer: Any, rows: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        """What stays fixed of samples `rows` (M,), by name, with a row each; `label` (M,) int64 is among them.

        `answer` is what the model returns for them, `labels` (M,) are those that somebody gave.
        """

    @abstractmethod
    def read(self, answer: Any, sides: Sides) -> Tensor:
        """The outputs (M, C) in what a model returns; `sides` is what `settle` fixed of these rows, without `label`."""

    def aim(self, model: nn.Module, inputs: Tensor, labels: Any = None) -> Aim:
        """The model and the labels to call a method with, for `inputs` (N, …); `labels` (N,) are given ones.

        Cost: one forward pass of all samples.

        Raises: InputError for a model or inputs that cannot be explained, and for an answer that has no such target.
        """
        model = as_model(model)
        sides = self.settled(model, inputs, labels)
        label = sides.pop(LABEL)
        return Aim(Aimed(model, self, sides), label, self.outputs)

    def settled(self, model: nn.Module, inputs: Tensor, labels: Any = None) -> dict[str, Tensor]:
        """What stays fixed of all samples, the explained label among it."""
        check_model(model)
        check_inputs(model, inputs)
        given = None if labels is None else as_labels(inputs, labels)
        if given is not None:
            check_targets(inputs, given)
        parts: list[dict[str, Tensor]] = []
        for rows in torch.split(torch.arange(len(inputs), device=inputs.device), rows_per_pass(inputs)):
            answer = _answer(model, inputs, rows)
            parts.append(self.settle(answer, rows, None if given is None else given[rows.to(given.device)]))
        return {name: torch.cat([part[name] for part in parts]).to(inputs.device) for name in parts[0]}


class OfNumbers(Target):
    """A target whose outputs are plain numbers in its unit: sums and scores, of which none is a probability."""

    @property
    def outputs(self) -> Outputs:
        return Outputs("scalars", self.unit)


class Aimed(Bound):
    """A model with the outputs (N, C) that a target reads; what is fixed of each sample stands among the side inputs.

    Everything else is as in the network or Bound that it is made of.
    """

    def __init__(self, model: nn.Module, target: Target, sides: Sides) -> None:
        from heatproof.recipes import describe, digest  # which knows targets

        if isinstance(model, Bound):
            nn.Module.__init__(self)  # its arguments were held to the network's signature already
            self.net = model.net
            vars(self).update({name: value for name, value in vars(model).items() if name != "_modules"})
            if type(model) is not Bound:
                raise InputError(
                    f"Expected a network or a Bound to read {target.name} of, but got a {type(model).__name__}, whose "
                    "outputs are read already; give the network that it is made of."
                )
        else:
            super().__init__(model)
        self._target: Target | None = target
        self.reads = digest(describe(target))
        self.given = {**self.given, **{SIDE + name: value for name, value in sides.items()}}
        of_model: dict[Target, _Token] = _tokens.setdefault(vars(model).get("origin", model), {})  # type: ignore[no-untyped-call]
        self.origin = of_model.setdefault(target, _Token())

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """The outputs (M, C) of variants `x` (M, …); `rows` (M,) names the sample of each variant."""
        answer = super().forward(x, rows)
        if self._target is None:
            return answer
        sides = {name: value for name, value in self.given.items() if name.startswith(SIDE)}
        chosen = self._rows_of_given(sides, x, rows)
        return self._target.read(answer, {name.removeprefix(SIDE): value for name, value in chosen.items()})

    def unread(self) -> "Aimed":
        """The same, which gives whatever the network returns: for who settles the target of other samples."""
        found = copy(self)
        found._target = None
        return found


class _Token:
    """Stands for a model and a target together, of which the same is known whatever samples they are aimed at."""


def as_target(value: Any) -> Target:
    """A target as it is, a label by its number, or a function of what the model returns.

    Raises: InputError for anything else.
    """
    from heatproof.targets.functions import Function
    from heatproof.targets.labels import Label

    if isinstance(value, Target):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Label(value)
    if callable(value) and not isinstance(value, type):
        return Function(value)
    raise InputError(
        f"Expected a target such as heatproof.targets.Region(3), a label or a function of what the model returns, but "
        f"got {shown(value)}."
    )


def samples_in(answer: Any) -> int:
    """How many samples an answer is of; −1 where it is no tensor, which `scores_in` will say."""
    return len(answer) if isinstance(answer, Tensor) and answer.dim() else -1


def given_labels(labels: Tensor | None, target: Target) -> Tensor:
    """The labels that somebody gave. Raises: InputError where nobody did."""
    if labels is None:
        raise InputError(f"Expected labels to explain {target.name}, but got none; give the label of each sample.")
    return labels


def scores_in(answer: Any, samples: int, *, dims: int = 2, what: str) -> Tensor:
    """What a model returns as a floating tensor (M, C, …) of `dims` dimensions or more; (M,) counts as (M, 1).

    Raises: InputError where it is none.
    """
    found = answer[:, None] if isinstance(answer, Tensor) and answer.dim() == 1 and dims == 2 else answer
    if isinstance(found, Tensor) and found.is_floating_point() and found.dim() >= dims and len(found) == samples:
        return found
    shape = "(N, C)" if dims == 2 else "(N, C, positions …)"
    if isinstance(answer, Tensor):
        raise InputError(
            f"Expected scores {shape} with N = {samples} to read {what} in, but the model returned "
            f"{tuple(answer.shape)} of {answer.dtype}."
        )
    there, choice = shown_outputs(answer, samples)
    raise InputError(
        f"Expected scores {shape} to read {what} in, but the model returned {type(answer).__name__}; pick them first: "
        f"heatproof.models.Bound(model, {choice}). It holds {there}."
    )


def _answer(model: nn.Module, inputs: Tensor, rows: Tensor) -> Any:
    try:
        with torch.no_grad():
            return returned(model, inputs[rows], rows)
    except (HeatproofError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a model raises
        raise complaint(model, inputs, error) from error
