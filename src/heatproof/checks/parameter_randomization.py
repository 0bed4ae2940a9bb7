"""Does a map change when what the network has learned is taken away?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any, ClassVar

from heatproof.checks.base import CHECKS, TRAINED, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.random_states import REPLICATE, everything, stages_of, state_of, treatment_rows, undrawn
from heatproof.checks.similarities import (
    ENERGY,
    SHARED_ZEROS,
    ZEROS,
    chance_rows,
    comparison_rows,
    fitting,
    share_of_zeros,
    similarity_rows,
)
from heatproof.errors import InputError
from heatproof.metrics import DIAGNOSTICS, Metric
from heatproof.randomization import Cascading, Randomization, Stage
from heatproof.rows import Role, chance_of, floor_of
from heatproof.similarity import Similarity

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
    The last stage alone, where every layer is random, is judged: it is drawn under further seeds, after those of the
    floors, until there are `complete_seeds`, so that what is said of it is said of random networks and not of one.
    Yardsticks go with it, because a low similarity alone is no merit (Binder et al. 2023, Theorems 1, 3, 4): rows
    `… chance` compare, where every layer is random, the trained map with itself permuted among the features that are
    not zero under both networks; rows `… floor` compare, for every seed, two independently, fully randomized networks:
    that seed's, and one that nothing else uses; rows `replicate` compare two noise draws of the method on the trained
    network; shares of zeros say how much of a rank similarity is made of ties. What methods say of their maps
    (heatproof.metrics.DIAGNOSTICS) stands among the rows; a plugin's own diagnostics do too, without a declared metric.

    What counts as a layer is found on the first block of samples. A parameter that it does not use stays trained and is
    named in the notes; a stage is `complete` all the same, because most such parameters never matter (an auxiliary
    head), and no run could tell those from a branch that other samples take. So are buffers that decide outputs and are
    no weights (position codes, constants).

    `targets` is "trained" (the label explained on the trained model, default) or "own" (the argmax of the randomized
    model, as Adebayo et al.'s code does).
    Position: the stage, 1 … S; 0 is the trained model. Cost: one map a stage, seed and method, one or two more
    a seed, one for each further seed, and two.

    Smooth MPRT (Hedström et al. 2024) is this check on `SmoothGrad(method, samples=50, noise=0.1)`: the similarity of
    maps averaged over noisy inputs, on the trained and the randomized network. Both see the same noise here, so that
    what changes is the network alone; how much other noise would change is what the `replicate` rows say.

    Source: Adebayo et al. 2018, section 3 and B; Gupta & Arora 2019, 4.1. Deviation: several seeds and the floors.

    >>> check = hp.checks.ParameterRandomization(similarities=("spearman",))
    >>> run = hp.audit(net, images, labels, methods=["gradient"], checks=[check], out="parameters", progress=False)
    >>> sorted(set(run.rows()["setting"]))
    ['cascading he', 'cascading he chance', 'cascading he floor', 'replicate']
    """

    version: ClassVar[int] = 3

    randomization: Randomization = field(default_factory=Cascading)
    seeds: tuple[int, ...] = (0,)
    complete_seeds: int = 3
    similarities: tuple[Similarity | str, ...] = ()
    targets: str = "trained"

    def __post_init__(self) -> None:
        if self.targets not in ("trained", "own"):
            raise InputError(f"Expected targets to be 'trained' or 'own', but got {self.targets!r}.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"Expected one or more different seeds, but got {self.seeds!r}.")
        if self.complete_seeds < 1:
            raise InputError(f"Expected complete_seeds, how many at least, from 1 on, but got {self.complete_seeds}.")

    @property
    def group(self) -> str:
        """The setting that this check's rows carry, such as `cascading he`."""
        return self.randomization.group + ("" if self.targets == "trained" else " own-label")

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        measures, _ = fitting(self.similarities, study.grid)
        return (*(measure.metric for measure in measures), ZEROS, SHARED_ZEROS, ENERGY, DEAD, SCORE, *DIAGNOSTICS)

    def notes(self, study: Study) -> tuple[str, ...]:
        left_out = fitting(self.similarities, study.grid)[1]
        return (*left_out, *undrawn(stages_of(study, self.randomization, self.seeds[0]), len(study.example)))

    def states(self, study: Study) -> Sequence[State]:
        fitting(self.similarities, study.grid)
        states = [TRAINED]
        full: dict[int, State] = {}
        last = 0
        for seed in self.seeds:
            for stage in stages_of(study, self.randomization, seed):
                last = stage.index
                states.append(self._state(stage, seed, kind="randomized"))
                if stage.complete:
                    full[seed] = states[-1]
        for seed, other in zip(self.seeds, count(max(self.seeds) + 1), strict=False):
            if seed not in full:
                name = f"{self.group}/seed{seed}/everything"
                full[seed] = replace(self._everything(study, seed, last), name=name)
                states.append(full[seed])
            floor = self._everything(study, other, last)
            # A state of its own even if another check has this network: shared, it might be computed before its pair.
            key = {**floor.key, "against": seed}
            states.append(replace(floor, name=f"{full[seed].name}{_against(other)}", key=key, kept=False))
        return (*states, *self._further(study), REPLICATE)

    def _further(self, study: Study) -> Iterator[State]:
        """The last stage under further seeds, where it has every layer random."""
        first = max(self.seeds) + 1 + len(self.seeds)  # those before belong to the floors
        for seed in range(first, first + max(0, self.complete_seeds - len(self.seeds))):
            stage = stages_of(study, self.randomization, seed)[-1]
            if not stage.complete:
                return
            yield self._state(stage, seed, kind="randomized")

    def passes(self, study: Study, state: State, method: Recipe | None) -> float:
        return 1.0 if method is None and state.kind in ("trained", "randomized") else 0.0

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
        trained = maps if state.kind == "trained" else kept[TRAINED.name]
        here = partial(Scores, setting=self.group, position=float(state.index), seed=state.seed)
        if state.kind in ("trained", "randomized"):
            yield here(metric=ZEROS.name, values=share_of_zeros(maps))
            for name, values in maps.diagnostics.items():
                yield here(metric=name, values=values)
        if state.kind == "randomized":
            for one in comparison_rows(measures, trained, maps):
                yield here(metric=one.metric, values=one.values)
        if state.kind == "randomized" and state.complete:
            setting, key = chance_of(self.group), ("chance of its own", state.seed)
            for one in chance_rows(measures, trained, maps, *key, samples=block.samples, setting=setting, block=block):
                yield replace(one, position=float(state.index), seed=state.seed, role=Role.CHANCE)
        if state.kind == "replicate":
            yield from similarity_rows(measures, trained, maps, setting="replicate")
        if state.kind == "floor" and not state.kept:
            pair = kept[state.name.removesuffix(_against(state.seed))]
            setting, seed = floor_of(self.group), state.key["against"]
            floor = partial(here, setting=setting, seed=seed)
            yield from treatment_rows(maps, setting=setting, position=float(state.index), seed=seed)
            for one in similarity_rows(measures, pair, maps):
                yield floor(metric=one.metric, values=one.values)

    def _everything(self, study: Study, seed: int, last: int) -> State:
        """The whole network random; it stands where this check's last stage stands."""
        return replace(self._state(everything(study, self.randomization, seed), seed, kind="floor"), index=last)

    def _state(self, stage: Stage, seed: int, *, kind: str) -> State:
        return state_of(stage, self.randomization, seed, kind=kind, group=self.group, targets=self.targets)


def _against(seed: int) -> str:
    return f" against seed{seed}"
