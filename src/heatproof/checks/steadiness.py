"""Is a map the same when nothing happened?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from heatproof import draws
from heatproof.checks.base import CHECKS, TRAINED, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.nearby import Ball, Nudge, moved, outputs_of, sensitivity
from heatproof.checks.random_states import everything, state_of
from heatproof.checks.similarities import chance_rows, fitting, similarity_rows
from heatproof.checks.swapping import copies, swapped, tensors_of
from heatproof.errors import InputError
from heatproof.metrics import Metric
from heatproof.randomization import Cascading
from heatproof.randomization.stages import kept_bytes
from heatproof.rows import Role, chance_of
from heatproof.similarity import Similarity

if TYPE_CHECKING:
    import pandas as pd

PARAMETERS, INPUTS, BALL = "parameters", "inputs", "ball"
YARDSTICK = "all parameters random, as a yardstick"
MOVED = Metric(
    name="outputs-moved",
    unit="share of their spread",
    low=0.0,
    text="How far the outputs moved by the change, against how far labels are apart: root mean square over labels.",
)
SENSITIVITY = Metric(
    name="sensitivity",
    unit="share of the map's length",
    low=0.0,
    ideal=0.0,
    higher_is_better=False,
    text="How far the map moved where the input moved within a small ball, against its own length; one row a draw.",
)
MAX_SENSITIVITY = replace(SENSITIVITY, name="max-sensitivity", text="The largest sensitivity of all draws.")


class Nudged:
    """A network whose parameters are changed so little that its outputs stay about where they are.

    θ ← θ (1 + ε z) with z ~ N(0, 1) keyed by seed and name, ε = level/√K for K weights (parameters of two dimensions
    and more): independent relative errors of K layers add up to `level` of what the last one makes. So the change
    depends on the network alone, never on samples.
    """

    def __init__(self, level: float, seed: int) -> None:
        self.level, self.seed = level, seed
        self.before: dict[str, Tensor] = {}  # while it is open, the network's own values
        self.changed: dict[str, Tensor] = {}  # and those that it has instead
        self._factors: dict[str, Tensor] = {}

    @contextmanager
    def __call__(self, model: nn.Module) -> Iterator[nn.Module]:
        """The network so changed inside, bit for bit as it was outside."""
        self.before = copies(tensors_of(model))
        factors = self._drawn(model)
        self.changed = {
            name: value * factors[name] if name in factors else value for name, value in self.before.items()
        }
        try:
            with swapped(model, self.changed, self.before):
                yield model
        finally:
            self.before, self.changed = {}, {}

    def _drawn(self, model: nn.Module) -> dict[str, Tensor]:
        """1 + ε z of every parameter: drawn once for all blocks, where that is little beside the memory."""
        parameters = {name: one for name, one in model.named_parameters() if one.is_floating_point()}
        first = next(iter(parameters.values()), None)
        places = {name: (one.shape, one.dtype, one.device) for name, one in parameters.items()}
        if places == {name: (one.shape, one.dtype, one.device) for name, one in self._factors.items()}:
            return self._factors
        scale = self.level / max(1, sum(one.dim() > 1 for one in dict(model.named_parameters()).values())) ** 0.5
        factors = {}
        for name, value in parameters.items():
            stream = draws.generator(self.seed, "steadiness", name)
            noise = torch.randn(value.shape, generator=stream, dtype=torch.float32).to(value)
            factors[name] = 1 + scale * noise
        size = sum(one.nbytes for one in factors.values())
        self._factors = factors if first is not None and size <= kept_bytes(first.device) // 8 else {}
        return factors


@CHECKS.register("steadiness")
@dataclass(frozen=True, kw_only=True)
class Steadiness(Check):
    """Similarity of each map to itself where parameters, or the input, change too little to move the outputs.

    *Parameters.* Every parameter is multiplied by 1 + ε z, z ~ N(0, 1), ε = `level`/√K for a network of K weights, so
    that the outputs move by about `level` of their spread over labels: 0.01, one percent. The network is the same to
    anybody who uses it, so an explanation of it should be. A method that jumps here tells nothing by jumping where
    everything is randomized: maps keyed by a hash of the weights pass every randomization.

    *Inputs.* Every value is multiplied by 1 + ε z, ε for each sample such that its outputs move by `level` (at most
    0.1). What is zero stays so: noise on a flat ground makes a picture of it. A method's own draws stay those of the
    unchanged sample. Honest methods keep 0.8 of their maps and more on two trained networks, maps keyed by a hash of
    the input nothing (docs/steadiness.md).

    Rows of setting `parameters` and `inputs` compare the pooled maps, one a draw in `seeds`; by how much the outputs
    did move is told by the rows `outputs-moved`, and where it is much more nothing is concluded. `parameters chance`
    compares the map with itself permuted among the features that are not zero in it or in that of a network whose
    parameters are all random: zeros that no network changes are the input's.

    *Max-sensitivity*, max over ‖y − x‖ ≤ r of ‖Φ(y) − Φ(x)‖ / ‖Φ(x)‖, Φ the pooled map, Euclidean over features, from
    `draws` y uniform in the ball of the maximum norm of radius `radius` in the inputs' own units: rows `sensitivity` of
    setting `ball`, a seed a draw, and `max-sensitivity`, their maximum. So few draws of a ball of many dimensions bound
    it from below; 0 draws leave it out. 0.02 and 10 are Captum's defaults; the authors' code has 0.2 and 50 on MNIST.

    What a method learned from data on the network it keeps. Cost: two maps a seed, one a draw, one for the random
    network, which parameter randomization by the same initializer shares, and nine forward passes a seed.

    Source: Yeh et al. 2019 (max-sensitivity). Deviations: divided by the map's length ‖Φ(x)‖, because maps of different
    methods have different units; draws stand for the maximum. The rest is ours.

    >>> check = hp.checks.Steadiness(seeds=(0,), draws=0)
    >>> run = hp.audit(net, images, labels, methods=["gradient"], checks=[check], out="steady", progress=False)
    >>> sorted(set(run.rows()["setting"]))
    ['inputs', 'parameters', 'parameters chance']
    """

    version: ClassVar[int] = 2
    summarizes: ClassVar[tuple[str, ...]] = (SENSITIVITY.name,)

    level: float = 0.01
    seeds: tuple[int, ...] = (0, 1, 2)
    radius: float = 0.02
    draws: int = 10
    initializer: str = "he"
    similarities: tuple[Similarity | str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InputError(f"Expected level, a share of the outputs' spread, in (0, 1), but got {self.level}.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"Expected one or more different seeds, but got {self.seeds!r}.")
        if not (self.radius > 0 and self.draws >= 0):
            raise InputError(f"Expected a radius above 0 and no or more draws, but got {self.radius} and {self.draws}.")

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        ball = (SENSITIVITY, MAX_SENSITIVITY) if self.draws else ()
        return (*(measure.metric for measure in fitting(self.similarities, study.grid)[0]), MOVED, *ball)

    def notes(self, study: Study) -> tuple[str, ...]:
        return fitting(self.similarities, study.grid)[1]

    def states(self, study: Study) -> Sequence[State]:
        fitting(self.similarities, study.grid)
        random = everything(study, Cascading(initializer=self.initializer), self.seeds[0])
        yardstick = state_of(random, Cascading(initializer=self.initializer), self.seeds[0], kind=Role.FLOOR, group="")
        states = [TRAINED, replace(yardstick, name=YARDSTICK, kept=True)]
        said = f"outputs moved by {self.level:.0%}"
        for seed in self.seeds:
            name, nudge = f"nudged by {self.level:g}/seed{seed}", Nudge(self.level, seed)
            key = {"state": "nudged", "level": self.level, "seed": seed}
            here = State(name=f"parameters {name}", key=key, kind=Role.CHANGED, group=PARAMETERS, label=said, seed=seed)
            states.append(replace(here, open=Nudged(self.level, seed)))
            states.append(replace(here, name=f"inputs {name}", key=nudge.key, group=INPUTS, inputs=nudge))
        for draw in range(self.draws):
            ball = Ball(self.radius, draw)
            name, said = f"inputs within {self.radius:g}/draw{draw}", f"inputs moved by up to {self.radius:g}"
            here = State(name=name, key=ball.key, kind=Role.CHANGED, group=BALL, label=said, seed=draw)
            states.append(replace(here, inputs=ball))
        return states

    def passes(self, study: Study, state: State, method: Recipe | None) -> float:
        return 2.0 if method is None and state.group in (PARAMETERS, INPUTS) else 0.0

    def network_rows(self, block: Block, state: State, shared: Any) -> Iterable[Scores]:
        if isinstance(state.open, Nudged):
            outputs = outputs_of(block.model, block.inputs)
            with swapped(block.model, state.open.before, state.open.changed) as trained:
                reference = outputs_of(trained, block.inputs)
        elif state.group == INPUTS and block.originals is not None:
            outputs, reference = outputs_of(block.model, block.inputs), outputs_of(block.model, block.originals)
        else:
            return
        yield Scores(metric=MOVED.name, values=moved(outputs, reference), setting=state.group, seed=state.seed)

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        if state.kind != Role.CHANGED:
            return
        measures, trained = fitting(self.similarities, tuple(maps.values.shape[1:]))[0], kept[TRAINED.name]
        if state.group == BALL:
            values = sensitivity(maps.values, trained.values)
            yield Scores(metric=SENSITIVITY.name, values=values, setting=BALL, seed=state.seed)
            return
        for one in similarity_rows(measures, trained, maps):
            yield replace(one, setting=state.group, seed=state.seed)
        if state.group == PARAMETERS:
            setting, key = chance_of(PARAMETERS), ("chance of its own", state.seed)
            for one in chance_rows(
                measures, trained, kept[YARDSTICK], *key, samples=block.samples, setting=setting, block=block
            ):
                yield replace(one, seed=state.seed, role=Role.CHANCE)

    def summary(self, rows: "pd.DataFrame") -> "pd.DataFrame | None":
        """The largest sensitivity of all draws, for each method and sample that has them all."""
        drawn = rows.groupby(["method", "sample"])["value"].agg(["size", "max"]).reset_index()
        whole = drawn[drawn["size"] == self.draws]
        if whole.empty:
            return None
        found = whole.rename(columns={"max": "value"}).drop(columns="size")
        return found.assign(setting=BALL, position=0.0, metric=MAX_SENSITIVITY.name, seed=0)
