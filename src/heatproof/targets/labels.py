"""Targets among outputs (N, C): a label, a set of labels, a number, the complement of a logit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from heatproof.errors import InputError, shown
from heatproof.fields import typed
from heatproof.frozen import Frozen
from heatproof.outputs import Outputs, TwoSided
from heatproof.refusals import as_labels, check_inputs, check_model, check_targets
from heatproof.targets.base import LABEL, TARGETS, Aim, OfNumbers, Sides, Target, given_labels, samples_in, scores_in

Which = Literal["predicted", "given", "own", "runner-up"]
SAID = {
    "predicted": "the predicted label",
    "given": "the given label",
    "own": "the label that each network predicts itself",
    "runner-up": "the label with the second largest output",
}


class _OfOutputs(Target):
    """A target that leaves the model's own outputs (N, C) as they are."""

    of_labels: ClassVar[bool] = True

    def read(self, answer: Any, sides: Sides) -> Tensor:
        return scores_in(answer, samples_in(answer), what=self.name)

    def aim(self, model: nn.Module, inputs: Tensor, labels: Any = None) -> Aim:
        return Aim(model, self.settled(model, inputs, labels)[LABEL], self.outputs)


@typed
@dataclass(frozen=True)
class Label(_OfOutputs):
    """The score of one label: S_c.

    `which` is a number, the same label for all samples; `predicted`, the one with the largest output; `runner-up`, with
    the second largest; `given`, those that come with the samples; `own`, which is `predicted`, and in an audit the one
    that each randomized network predicts itself, where a check can do that.

    >>> hp.methods.Gradient()(line, x, hp.targets.Label("predicted"))
    tensor([[3., 4.]])
    >>> hp.methods.Gradient()(line, x, hp.targets.Label(0))
    tensor([[1., 2.]])
    """

    which: Which | int = "predicted"

    def __post_init__(self) -> None:
        if isinstance(self.which, int) and self.which < 0:
            raise InputError(f"Expected a label of 0 or more, but got {self.which}.")

    @property
    def name(self) -> str:
        return f"label {self.which}" if isinstance(self.which, int) else SAID[self.which]

    def settle(self, answer: Any, rows: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        scores = scores_in(answer, len(rows), what=self.name)
        if isinstance(self.which, int):
            found = torch.full_like(rows, self.which)
        elif self.which == "given":
            found = given_labels(labels, self)
        elif self.which == "runner-up":
            if scores.shape[1] < 2:
                raise InputError(f"Expected 2 or more outputs to explain {self.name}, but the model has 1.")
            found = scores.topk(2, 1).indices[:, 1]
        else:
            found = scores.argmax(1)
        check_targets(rows, found.to(rows.device), scores.shape[1])
        return {LABEL: found}


TARGETS.register("label")(partial(Label, "given"))
TARGETS.register("predicted")(partial(Label, "predicted"))


@TARGETS.register("label-set")
@typed
@dataclass(frozen=True)
class LabelSet(Target):
    """Several labels a sample: the sum of their scores, Σ_{c ∈ A} S_c, or each of them by itself.

    Args:
        labels: numbers that are the same for all samples; a list of numbers a sample; a multi-hot array (N, C); or
            `predicted`, those with an output above 0, a sigmoid above one half.
        of: `sum`, one map a sample, of one output; or `each`, a map for each label of the sample.

    >>> hp.methods.Gradient()(line, x, hp.targets.LabelSet([0, 1]))
    tensor([[4., 6.]])
    """

    labels: Any = "predicted"
    of: Literal["sum", "each"] = field(default="sum", kw_only=True)

    def __post_init__(self) -> None:
        said = isinstance(self.labels, str) and self.labels == "predicted"
        if not said and not isinstance(self.labels, Frozen):
            object.__setattr__(self, "labels", _sets(self.labels))

    @property
    def name(self) -> str:
        every = self.labels
        if isinstance(every, tuple) and every and isinstance(every[0], int):
            listed = f"labels {', '.join(map(str, every))}"
        else:
            listed = "the predicted labels" if every == "predicted" else "the labels of each sample"
        return listed if self.of == "each" else f"the sum of {listed}"

    @property
    def outputs(self) -> Outputs | None:
        return Outputs("scalars", self.unit) if self.of == "sum" else None

    @property
    def of_labels(self) -> bool:  # type: ignore[override]  # one or the other, by a field
        return self.of == "each"

    def settle(self, answer: Any, rows: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        scores = scores_in(answer, len(rows), what=self.name)
        chosen = self._chosen(scores, rows)
        empty = rows[~chosen.any(1)].tolist()
        if empty:
            raise InputError(
                f"Expected one label or more a sample to explain {self.name}, but samples {empty[:8]} have none; leave "
                "them out, or name labels."
            )
        return {LABEL: torch.zeros_like(rows), "set": chosen}

    def read(self, answer: Any, sides: Sides) -> Tensor:
        scores = scores_in(answer, samples_in(answer), what=self.name)
        if self.of == "each":
            return scores
        # Not a product: the score of a label that is left out may be minus infinity.
        return scores.masked_fill(~sides["set"], 0.0).sum(1, keepdim=True)

    def aim(self, model: nn.Module, inputs: Tensor, labels: Any = None) -> Aim:
        if self.of == "sum":
            return super().aim(model, inputs, labels)
        rows, every = self.settled(model, inputs, labels)["set"].nonzero(as_tuple=True)
        return Aim(model, every, None, rows)

    def _chosen(self, scores: Tensor, rows: Tensor) -> Tensor:
        """Which labels (M, C) belong to each row."""
        if self.labels == "predicted":
            return scores > 0
        chosen = torch.zeros_like(scores, dtype=torch.bool)
        if isinstance(self.labels, Frozen):
            hot = self.labels.tensor
            if hot.shape[1] != scores.shape[1]:
                raise InputError(
                    f"Expected a multi-hot row of {scores.shape[1]} labels a sample, as the model has outputs, but got "
                    f"{tuple(hot.shape)}."
                )
            _check_rows(len(hot), rows, self)
            return hot[rows.cpu()].to(scores.device)
        same = bool(self.labels) and isinstance(self.labels[0], int)
        if not same:
            _check_rows(len(self.labels), rows, self)
        for i, row in enumerate(rows.tolist()):
            for label in self.labels if same else self.labels[row]:
                if label >= scores.shape[1]:
                    raise InputError(
                        f"Expected labels between 0 and {scores.shape[1] - 1}, the model's last output, but got "
                        f"{label}."
                    )
                chosen[i, label] = True
        return chosen


@TARGETS.register("scalar")
@typed
@dataclass(frozen=True)
class Scalar(OfNumbers, _OfOutputs):
    """Output number `index` of a network whose outputs are numbers in `unit`: f_i(x), none of them a probability.

    >>> hp.methods.Gradient()(line, x, hp.targets.Scalar(1, unit="mm"))
    tensor([[3., 4.]])
    """

    index: int = 0
    unit: str = field(default="", kw_only=True)

    @property
    def name(self) -> str:
        return f"output {self.index}"

    def settle(self, answer: Any, rows: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        scores = scores_in(answer, len(rows), what=self.name)
        check_targets(rows, found := torch.full_like(rows, self.index), scores.shape[1])
        return {LABEL: found}


@TARGETS.register("complement")
@typed
@dataclass(frozen=True)
class Complement(Target):
    """Class 0 of a network with one logit s of class 1 against class 0: −s, whose sigmoid is its probability.

    >>> hp.methods.Gradient()(lambda x: x.sum(1, keepdim=True), x, hp.targets.Complement())
    tensor([[-1., -1.]])
    """

    of_labels: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "label 0 of the logit"

    @property
    def outputs(self) -> Outputs:
        return Outputs("logit")

    def settle(self, answer: Any, rows: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        self.read(answer, {})
        return {LABEL: torch.zeros_like(rows)}

    def read(self, answer: Any, sides: Sides) -> Tensor:
        s = scores_in(answer, samples_in(answer), what=self.name)
        if s.shape[1] != 1:
            raise InputError(
                f"Expected a network with one output, whose complement is explained, but got {s.shape[1]}."
            )
        return torch.cat([-s, s], 1)

    def aim(self, model: nn.Module, inputs: Tensor, labels: Any = None) -> Aim:
        check_model(model)
        check_inputs(model, inputs)
        return Aim(TwoSided(model), as_labels(inputs, 0), self.outputs)


def _check_rows(there: int, rows: Tensor, target: Target) -> None:
    if there <= int(rows.max()):
        raise InputError(f"Expected {target.name} for each sample, but got those of {there}, fewer than there are.")


def _sets(labels: Any) -> "Frozen | tuple[Any, ...]":
    """Labels by number, by sample, or multi-hot, as what compares and hashes."""
    if isinstance(labels, Tensor) or hasattr(labels, "__array__"):
        hot = Frozen(labels)
        if len(hot.shape) == 2:
            return Frozen(hot.tensor != 0)
        if len(hot.shape) != 1 or hot.tensor.is_floating_point():
            raise InputError(f"Expected labels by number, or multi-hot (N, C), but got {shown(labels)}.")
        labels = hot.tensor.tolist()
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise InputError(
            f"Expected labels by number, a list of them a sample, or 'predicted', but got {shown(labels)}."
        )
    found = tuple(tuple(map(int, one)) if isinstance(one, Sequence) else one for one in labels)
    flat = [label for one in found for label in (one if isinstance(one, tuple) else (one,))]
    mixed = len({isinstance(one, tuple) for one in found}) > 1
    if mixed or any(isinstance(one, bool) or not isinstance(one, int) or one < 0 for one in flat):
        raise InputError(f"Expected labels of 0 or more, or a list of them a sample, but got {shown(labels)}.")
    return found
