"""What a method is: a frozen dataclass of hyper-parameters, called with a model, inputs and targets."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from heatproof import door, progress, sharing
from heatproof.baselines import for_rows
from heatproof.errors import InputError, MapsError
from heatproof.models import as_model, check_targets, forward, rows_per_pass
from heatproof.registry import Registry
from heatproof.targets.base import Target

METHODS: "Registry[Method]" = Registry("method", "heatproof.methods")

# What a method is to its caller; a Captum or Zennit explainer behind three lines of adapter is one too.
Attribution = Callable[[nn.Module, Tensor, Tensor], Tensor]
Targets = Tensor | np.ndarray | Sequence[int] | int | Target


# Whether the call that is running hands out its maps alone.
_ALONE: ContextVar[bool] = ContextVar("maps alone", default=False)


@dataclass(frozen=True)
class Explanation:
    """What a method returns: attributions, and numbers a sample that fell out of computing them.

    `maps` broadcasts to the inputs (N, …): a dimension that the method does not resolve has size 1.
    `diagnostics` are tensors (N,) by name, such as `completeness-gap`.

    >>> found = hp.methods.IntegratedGradients(steps=4).explain(line, x, 0)
    >>> found.maps, sorted(found.diagnostics)
    (tensor([[1., 2.]]), ['baseline-score', 'completeness-gap', 'condition-number', 'score'])
    """

    maps: Tensor
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """What a notebook shows: the maps as pictures, scaled as in a report, and the diagnostics."""
        from heatproof.drawing.explanation import html

        numbers = {name: value.detach().double().cpu().numpy() for name, value in self.diagnostics.items()}
        return html(self.maps.detach().double().cpu().numpy(), numbers)


class Linearization(NamedTuple):
    """A model's outputs on some inputs, and the way back from a mix of outputs to attributions.

    `pull` takes a cotangent (N, C) and gives the attribution (N, …) of that mix of labels: a one-hot row is one
    label's. It takes (K, N, C) as well and gives (K, N, …), sharing between the K mixes whatever can be shared.
    `outputs` (N, C) belong to the inputs alone, also where a method evaluates the model elsewhere.

    >>> outputs, pull = hp.methods.GradientXInput().linearize(line, x)
    >>> outputs, pull(torch.tensor([[-1.0, 1.0]]))
    (tensor([[3., 7.]]), tensor([[2., 2.]]))
    """

    outputs: Tensor
    pull: Callable[[Tensor], Tensor]


class Method(ABC):
    """A pure function of (model, inputs, targets): model, mode, hooks, gradients and global generator stay untouched.

    A subclass is a frozen dataclass with keyword-only fields and says in `_explain` how it attributes. Input that no
    method can work with is refused here, before the model runs.

    >>> class Ones(hp.methods.Method):
    ...     def _explain(self, model, inputs, targets):
    ...         return hp.methods.Explanation(torch.ones_like(inputs))
    ...
    >>> Ones()(line, x, 0)
    tensor([[1., 1.]])
    """

    version: ClassVar[int] = 1  # counted up whenever the same fields give other values
    reads_labels: ClassVar[bool] = False  # whether it reads the labels' probabilities by softmax
    uses_model: ClassVar[bool] = True  # False for controls, whose maps no network can change

    @property
    def needs(self) -> "tuple[Method, ...]":
        """Other methods whose explanation of the same samples this one's is made of.

        Asked by `explain` in `_explain`, they are computed once for all methods that need them (`heatproof.sharing`).
        """
        return ()

    @property
    def linearizable(self) -> bool:
        """Whether `linearize` is offered: a method around another one offers what that one does."""
        return False

    def promised_sums(self, model: nn.Module, inputs: Tensor, outputs: Tensor) -> Tensor | None:
        """What each label's attributions should sum to (N, C), given the model's `outputs` (N, C); None for no promise.

        S_i(x), say, or S_i(x) − S_i(x̄). A promise is kept on linear models without biases, up to 1e-4 of it; elsewhere
        the check of completeness tells how well.
        """
        return None

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        """Forward and backward passes that the map of one sample takes, for estimates.

        `outputs` is how many the model has, `shape` that of one sample, without N.
        """
        return 1.0 if self.uses_model else 0.0

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Targets) -> Tensor:
        """Attributions of labels `targets` (N,) for `inputs` (N, …), float; they broadcast to `inputs`.

        Labels are whole numbers: a tensor of any integer type, an array, a list, or one for all samples. In place of
        them a target of `heatproof.targets` says what of the model's answer is explained; one that explains a sample
        several times gives a map for each (`Aim.rows`).

        Raises: InputError if the model is in training mode, or inputs or targets do not fit it; OperationError if the
        model is no function of each sample by itself (`propagation.independence`).
        """
        if not type(self).__module__.startswith("heatproof."):  # others may read the diagnostics that they inherit
            return self.explain(model, inputs, targets).maps
        return self._explained(model, inputs, targets, alone=True).maps

    def explain(self, model: nn.Module, inputs: Tensor, targets: Targets) -> Explanation:
        """The same attributions, with diagnostics (N,) a sample."""
        return self._explained(model, inputs, targets, alone=False)

    def _explained(self, model: nn.Module, inputs: Tensor, targets: Targets, *, alone: bool) -> Explanation:
        """The same; where the maps are asked for `alone`, with those diagnostics that cost nothing."""
        model = as_model(model)
        if isinstance(targets, Target):
            aim = targets.aim(model, inputs)
            (model, inputs), targets = aim.of(inputs), aim.labels
            if aim.rows is not None:
                return for_rows(self, aim.rows).explain(model, inputs, targets)
        given = door.as_labels(inputs, targets)
        if isinstance(given, Tensor) and (answer := sharing.known(self, model, inputs, given)) is not None:
            return answer
        if given is None:
            raise InputError(f"Expected targets ({len(inputs)},), one label a sample, but got None.")
        clock, alone = sharing.Clock(), alone and not sharing.is_open()  # others may ask for it all
        with door.entered(model, inputs, given, runs=self.uses_model) as (settled, x, labels):
            assert labels is not None
            token = _ALONE.set(alone)
            try:
                found = door.guarded(lambda: self._explain(model, x, labels), model, x, settled)
            finally:
                _ALONE.reset(token)
        if not isinstance(found, Explanation):
            raise MapsError(
                f"Expected {type(self).__name__}._explain to return an Explanation, but got {type(found).__name__}; "
                "return Explanation(maps), with diagnostics by name if there are some."
            )
        door.check_maps(found.maps, inputs, type(self).__name__)
        found = Explanation(found.maps.detach(), found.diagnostics)
        if not alone:
            sharing.keep(self, model, inputs, given, found, clock.seconds())
        return found

    @abstractmethod
    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation: ...


class Linearizable(Method):
    """A method that attributes any mix of labels from one preparation: it can be made competitive.

    >>> isinstance(hp.methods.Gradient(), hp.methods.Linearizable)
    True
    >>> isinstance(hp.methods.Saliency(), hp.methods.Linearizable)  # a magnitude has no mix of labels
    False
    """

    shares_passes: ClassVar[bool] = False  # whether pulling K mixes at once costs less than pulling one by one

    @property
    def linearizable(self) -> bool:
        return True

    @property
    def linear(self) -> bool:
        """Whether pull(a + b) = pull(a) + pull(b), up to rounding."""
        return True

    def linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        """The model's outputs (N, C) on `inputs`, and the pull from cotangents to attributions."""
        model = as_model(model)
        with door.entered(model, inputs) as (settled, x, _):
            outputs, pull = door.guarded(lambda: self._linearize(model, x), model, x, settled)
        if not settled.leaves_traces:
            return Linearization(outputs, pull)
        # What a model wrote into its own tensors was put back, and a graph would miss it.
        again = partial(self._linearize, model, x)
        return Linearization(
            outputs, lambda cotangent: door.guarded(lambda: again().pull(cotangent), model, x, settled)
        )

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        outputs, pull = self._linearize(model, inputs)
        check_targets(inputs, targets, outputs.shape[1])
        maps = pull(one_hot(targets, outputs))
        return Explanation(maps, told(lambda: self._diagnostics(maps, model, inputs, outputs, targets)))

    @abstractmethod
    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization: ...

    def _diagnostics(
        self, maps: Tensor, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor
    ) -> Mapping[str, Tensor]:
        """Numbers (N,) a sample that come with the attributions `maps` of `targets`."""
        return {"score": scores(outputs, targets)}


def parts_of(recipe: object) -> Iterator[object]:
    """A recipe and all recipes in its fields, however deep."""
    yield recipe
    if is_dataclass(recipe) and not isinstance(recipe, type):
        for one in fields(recipe):
            yield from parts_of(getattr(recipe, one.name))


def mixes(pull: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A pull of (K, N, C) cotangents that takes one (N, C) as well."""
    return lambda cotangent: pull(cotangent) if cotangent.dim() == 3 else pull(cotangent[None])[0]


def passes(inputs: Tensor, variants: int) -> Iterator[tuple[slice, Iterable[range]]]:
    """How `variants` of every sample of `inputs` (N, …) are spread over forward passes.

    Gives blocks of samples, and for each block the ranges of variants that one pass takes together. No sample is in two
    blocks, so that sums over variants need no scattered additions, whose order a GPU would not keep. Each range counts
    as done when the next one is asked for (`heatproof.progress`).
    """
    spread = list(_spread(rows_per_pass(inputs), len(inputs), variants))
    with progress.count(sum(len(ranges) for _, ranges in spread)) as tick:
        for block, ranges in spread:
            yield block, progress.ticked(ranges, tick)


def _spread(most: int, samples: int, variants: int) -> Iterator[tuple[slice, list[range]]]:
    for first in range(0, samples, most):
        block = slice(first, min(first + most, samples))
        step = max(1, most // (block.stop - block.start))
        yield block, [range(start, min(start + step, variants)) for start in range(0, variants, step)]


def told(say: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """The diagnostics that `say` gives; none where nobody will read them, and `say` is not called."""
    return {} if alone() else say()


def alone() -> bool:
    """Whether the call that is running hands out its maps alone."""
    return _ALONE.get()


def one_hot(targets: Tensor, outputs: Tensor) -> Tensor:
    """The cotangent (N, C) that picks label `targets` (N,) of `outputs` (N, C)."""
    return torch.zeros_like(outputs).scatter_(1, targets[:, None], 1.0)


def scores(outputs: Tensor, targets: Tensor) -> Tensor:
    """The outputs (N,) of the labels `targets` (N,)."""
    return outputs.detach().gather(1, targets[:, None])[:, 0]


def total(maps: Tensor) -> Tensor:
    """The sum (N,) of each sample's attributions."""
    return maps.flatten(1).sum(1)


def sum_rule(maps: Tensor, promised: Tensor, gap: str = "completeness-gap") -> dict[str, Tensor]:
    """What the sums of `maps` say of themselves, given what they should be (N,): two diagnostics.

    `gap` is the sum less the promised one, and `condition-number` Σ|R| over the promised sum's magnitude: by how much
    rounding in a contribution is magnified in the sum; NaN where nothing is promised. Sums are taken in float64.
    """
    rows, exact = maps.double().flatten(1), promised.double()
    ratio = rows.abs().sum(1) / torch.where(exact == 0, torch.nan, exact.abs())
    return {gap: (rows.sum(1) - exact).to(maps), "condition-number": ratio.to(maps)}


def evaluate(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """The scores (N,) of the labels, without a graph."""
    outputs = outputs_of(model, inputs)
    check_targets(inputs, targets, outputs.shape[1])
    return scores(outputs, targets)


def outputs_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """The outputs (N, C) without a graph; shared by all who ask, so not to be written into."""
    outputs = sharing.known_outputs(model, inputs)
    if outputs is None:
        clock = sharing.Clock()
        with torch.no_grad():
            outputs = forward(model, inputs)
        sharing.keep_outputs(model, inputs, outputs, clock.seconds())
    return outputs
