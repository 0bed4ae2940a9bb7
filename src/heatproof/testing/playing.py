"""A check played by hand: the order of calls that an audit keeps, without its files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from heatproof.checks.base import Block, Boxes, Check, Maps, Recipe, Scores, State, Study
from heatproof.data.base import Dataset
from heatproof.draws import reseed, standing_for
from heatproof.features import Features
from heatproof.layouts.inputs import features_of
from heatproof.methods.base import Linearization, Method
from heatproof.models import forward, select

A = TypeVar("A")
R = TypeVar("R")


class Row(NamedTuple):
    """Which values: a row of an audit without its sample."""

    method: str
    setting: str
    position: float
    seed: int
    metric: str


@dataclass(frozen=True)
class Labeled:
    """A method under a label, as a check sees it."""

    label: str
    recipe: Method

    @property
    def uses_model(self) -> bool:
        return self.recipe.uses_model


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a check is played on; `counted` of the samples, the first ones, are no fill of the last block.

    `example` are the samples of an audit's first block, where these are of another one.
    """

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    methods: Sequence[Labeled]
    features: Features
    names: Sequence[str]
    counted: int
    boxes: Sequence[Boxes] | None = None
    masks: Tensor | None = None
    training: Dataset | None = None
    example: Tensor | None = None

    def rows(self, chosen: Sequence[int]) -> "Stage":
        """The same with these samples, in this order."""
        rows = torch.tensor(list(chosen), device=self.inputs.device)
        return Stage(
            model=select(self.model, rows),
            inputs=self.inputs[rows],
            targets=self.targets[rows],
            methods=self.methods,
            features=self.features,
            names=[self.names[i] for i in chosen],
            counted=len(rows),
            boxes=None if self.boxes is None else [self.boxes[i] for i in chosen],
            masks=None if self.masks is None else self.masks[list(chosen)],
            training=self.training,
            example=self.inputs if self.example is None else self.example,
        )

    def study(self) -> Study:
        """What the check may know before anything has run."""
        with torch.no_grad():
            rows = torch.arange(len(self.inputs), device=self.inputs.device)
            outputs = forward(self.model, self.inputs, rows).shape[1]
        return Study(
            model=self.model,
            example=self.inputs if self.example is None else self.example,
            outputs=outputs,
            features=self.features,
            boxed=self.boxes is not None or self.masks is not None,
            training=self.training,
        )


def stage(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    methods: Mapping[str, Method],
    *,
    features: Features | None = None,
    counted: int | None = None,
    boxes: Sequence[Boxes] | None = None,
    masks: Tensor | None = None,
    training: Dataset | None = None,
) -> Stage:
    """A stage for `play`, with the features that an audit chooses by default."""
    return Stage(
        model=model,
        inputs=inputs,
        targets=targets,
        methods=[Labeled(label, method) for label, method in methods.items()],
        features=features or features_of(model, inputs),
        names=[str(i) for i in range(len(inputs))],
        counted=len(inputs) if counted is None else counted,
        boxes=boxes,
        masks=masks,
        training=training,
    )


def play(
    check: Check, on: Stage, *, watch: Callable[[], AbstractContextManager[None]] = nullcontext
) -> dict[Row, Tensor]:
    """Every row of one check on one block: values (counted,) float64 by row.

    Each call of the check that may compute is made inside `watch()`.
    Raises: ValueError if a row comes twice.
    """
    found: dict[Row, Tensor] = {}
    kept: dict[str, dict[str, Maps]] = {labeled.label: {} for labeled in on.methods}
    for state in check.states(on.study()):
        maps_of: dict[str, tuple[Labeled, Maps]] = {}
        with state.open(on.model):
            block = _block(on, state)
            with watch():
                shared = check.shared(block, state)
                _enter(found, "", on.counted, check.network_rows(block, state, shared))
            for labeled in on.methods:
                one = Labeled(labeled.label, reseed(labeled.recipe, state.replicate))
                with standing_for(block.inputs, on.inputs):
                    explained = one.recipe.explain(on.model, block.inputs, block.targets)
                maps = Maps(block.pool(explained.maps), explained.diagnostics)
                with watch():
                    rows = check.rows(block, state, one, maps, dict(kept[one.label]), shared)
                    _enter(found, one.label, on.counted, rows)
                if state.kept:
                    kept[one.label][state.name] = maps
                maps_of[one.label] = (one, maps)
            for first, second in combinations(sorted(maps_of), 2) if check.pairs else ():
                (one, maps), (two, theirs) = maps_of[first], maps_of[second]
                with watch():
                    rows = check.pair_rows(block, state, (one, two), (maps, theirs), shared)
                    _enter(found, first, on.counted, rows)
    return found


def _block(on: Stage, state: State) -> Block:
    targets = on.targets
    if state.targets == "own":
        with torch.no_grad():
            targets = forward(on.model, on.inputs).argmax(1)
    names = tuple(on.names[: on.counted])
    return _Block(
        model=on.model,
        inputs=state.inputs(on.model, on.inputs),
        targets=targets,
        samples=names,
        features=on.features,
        boxes=on.boxes,
        masks=on.masks,
        originals=on.inputs,
    )


_ASKED: ContextVar[bool] = ContextVar("asked", default=False)


def asked() -> bool:
    """Whether the attributions that are being made were asked for by `Block.linearize`."""
    return _ASKED.get()


class _Block(Block):
    """A block that tells attributions that a check asks for from those that it makes on its own."""

    def linearize(self, method: Recipe) -> Linearization | None:
        found = _asking(super().linearize)(method)
        return found and Linearization(found.outputs, _asking(found.pull))


def _asking(function: Callable[[A], R]) -> Callable[[A], R]:
    def call(argument: A) -> R:
        token = _ASKED.set(True)
        try:
            return function(argument)
        finally:
            _ASKED.reset(token)

    return call


def _enter(found: dict[Row, Tensor], method: str, counted: int, scores: Iterable[Scores]) -> None:
    for score in scores:
        row = Row(method, score.setting, score.position, score.seed, score.metric)
        if row in found:
            raise ValueError(f"{row} comes twice")
        found[row] = score.values.detach().double().cpu()[:counted]
