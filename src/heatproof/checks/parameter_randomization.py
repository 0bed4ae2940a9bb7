"""Does a map change when what the network has learned is taken away?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from heatproof.checks.base import CHECKS, TRAINED, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.similarities import fitting, similarity_rows
from heatproof.errors import InputError
from heatproof.metrics import Metric
from heatproof.randomization import INITIALIZERS, Cascading, Randomization, Stage
from heatproof.similarity import Similarity

REPLICATE = State(
    name="trained, other noise", key={"state": "trained"}, kind="replicate", label="trained, other noise", replicate=1
)
ZEROS = Metric(
    name="zeros",
    unit="share of features",
    low=0.0,
    high=1.0,
    text="Share of features that are exactly zero in the map.",
)
SHARED_ZEROS = Metric(
    name="shared-zeros",
    unit="share of features",
    low=0.0,
    high=1.0,
    text="Share of features that are exactly zero in both maps; they raise every rank similarity.",
)
ENERGY = Metric(
    name="relative-energy",
    unit="ratio",
    low=0.0,
    ideal=0.0,
    text="Sum of the squared map over that of the trained model's map.",
)
DEAD = Metric(
    name="dead-target",
    unit="0 or 1",
    low=0.0,
    high=1.0,
    text="1 where the explained output is exactly zero: nothing to explain.",
)
SCORE = Metric(name="target-score", unit="score", text="The explained output under this state's model.")


@CHECKS.register("parameter-randomization")
@dataclass(frozen=True, kw_only=True)
class ParameterRandomization(Check):
    """Similarity of each map to the trained model's map while layers are randomized, stage by stage.

    For every seed and every stage of `randomization` (`cascading`, `independent`, `bottom-up`) the pooled map is
    compared with the trained model's by each of `similarities` (by default all usual ones that apply to its shape).
    Three yardsticks go with it, because a low similarity alone is no merit (Binder et al. 2023, Theorems 1, 3, 4):
    rows `… floor` compare two independently, fully randomized networks; rows `replicate` compare two noise draws of
    the method on the trained network; shares of zeros say how much of a rank similarity is made of ties.

    `targets` is "trained" (the label explained on the trained model, default) or "own" (the argmax of the randomized
    model, as Adebayo et al.'s code does).
    Position: the stage, 1 … S; 0 is the trained model. Cost: one map a stage, seed and method, and two or three more.

    Source: Adebayo et al. 2018, section 3 and B; Gupta & Arora 2019, 4.1. Deviation: several seeds and the floors.
    """

    randomization: Randomization = field(default_factory=Cascading)
    seeds: tuple[int, ...] = (0,)
    similarities: tuple[Similarity | str, ...] = ()
    targets: str = "trained"

    def __post_init__(self) -> None:
        if self.targets not in ("trained", "own"):
            raise InputError(f"Expected targets to be 'trained' or 'own', but got {self.targets!r}.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"Expected one or more different seeds, but got {self.seeds!r}.")

    @property
    def group(self) -> str:
        """The setting that this check's rows carry, such as `cascading truncated-normal`."""
        return self.randomization.group + ("" if self.targets == "trained" else " own-label")

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        measures, _ = fitting(self.similarities, study.grid)
        return (*(measure.metric for measure in measures), ZEROS, SHARED_ZEROS, ENERGY, DEAD, SCORE)

    def notes(self, study: Study) -> tuple[str, ...]:
        return fitting(self.similarities, study.grid)[1]

    def states(self, study: Study) -> Sequence[State]:
        fitting(self.similarities, study.grid)
        states = [TRAINED]
        full: dict[int, State] = {}
        last = 0
        for seed in self.seeds:
            for stage in self._stages(study, self.randomization, seed):
                last = stage.index
                states.append(self._state(stage, seed, kind="randomized"))
                if stage.complete:
                    full[seed] = states[-1]
        everything = Cascading(initializer=self.randomization.initializer, batch_norm=self.randomization.batch_norm)
        others = (*self.seeds, max(self.seeds) + 1) if len(self.seeds) == 1 else self.seeds
        for seed in others:
            if seed not in full:
                floor = self._state(self._stages(study, everything, seed)[-1], seed, kind="floor")
                states.append(replace(floor, index=last))  # the floor stands where this check's last stage stands
        return (*states, REPLICATE)

    def network_rows(self, block: Block, state: State, shared: Any) -> Iterable[Scores]:
        if state.kind in ("trained", "randomized"):
            score = block.scores()
            here = partial(Scores, setting=self.group, position=float(state.index), seed=state.seed)
            yield here(metric=SCORE.name, values=score)
            yield here(metric=DEAD.name, values=(score == 0).double())

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        measures, _ = fitting(self.similarities, tuple(maps.values.shape[1:]))
        trained = kept.get(TRAINED.name, maps)
        here = partial(Scores, setting=self.group, position=float(state.index), seed=state.seed)
        if state.kind in ("trained", "randomized"):
            yield here(metric=ZEROS.name, values=_share(maps.values == 0))
            for name, values in maps.diagnostics.items():
                yield here(metric=name, values=values)
        if state.kind == "randomized":
            for one in similarity_rows(measures, trained, maps):
                yield here(metric=one.metric, values=one.values)
            yield here(metric=SHARED_ZEROS.name, values=_share((maps.values == 0) & (trained.values == 0)))
            yield here(metric=ENERGY.name, values=_energy(maps, trained))
        if state.kind == "replicate":
            yield from similarity_rows(measures, trained, maps, setting="replicate")
        if state.kept and state.kind != "trained":
            other = next((m for name, m in kept.items() if name != TRAINED.name), None)
            for one in similarity_rows(measures, other, maps) if other is not None else ():
                yield replace(one, setting=f"{self.group} floor", position=float(state.index), seed=state.seed)

    def _stages(self, study: Study, randomization: Randomization, seed: int) -> Sequence[Stage]:
        return replace(randomization, seed=seed).stages(study.model, study.example)

    def _state(self, stage: Stage, seed: int, *, kind: str) -> State:
        # What determines the parameters: which layers are drawn, from what, under which seed; never the order.
        key = {
            "state": "randomized",
            "layers": sorted(stage.layers),
            "initializer": repr(INITIALIZERS.get(i) if isinstance(i := self.randomization.initializer, str) else i),
            "batch_norm": self.randomization.batch_norm,
            "seed": seed,
        }
        own = "" if self.targets == "trained" else " own-label"
        return State(
            name=stage.name + own,
            key=key,
            kind=kind,
            group=self.group,
            label=stage.label,
            index=stage.index,
            seed=seed,
            layers=tuple(stage.layers),
            targets=self.targets,
            kept=stage.complete,
            open=lambda _model: stage,
        )


def _share(mask: Tensor) -> Tensor:
    return mask.flatten(1).double().mean(1)


def _energy(maps: Maps, trained: Maps) -> Tensor:
    """Σ map² / Σ trained², in float64: a dying network's maps of 1e-22 have squares below float32."""
    ours, theirs = (m.values.double().square().flatten(1).sum(1) for m in (maps, trained))
    return ours / torch.where(theirs > 0, theirs, torch.nan)
