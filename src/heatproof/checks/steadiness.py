"""Is a map the same when nothing happened?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from heatproof import draws
from heatproof.checks.base import CHECKS, TRAINED, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.random_states import everything, state_of
from heatproof.checks.similarities import chance_rows, fitting, similarity_rows
from heatproof.checks.swapping import swapped, tensors_of
from heatproof.errors import InputError
from heatproof.metrics import Metric
from heatproof.models import forward
from heatproof.randomization import Cascading
from heatproof.rows import Role, chance_of
from heatproof.similarity import Similarity

GROUP = "parameters"
YARDSTICK = "all parameters random, as a yardstick"
MOVED = Metric(
    name="outputs-moved",
    unit="share of their spread",
    low=0.0,
    text="How far the outputs moved by the change, against how far labels are apart: root mean square over labels.",
)


class Nudged:
    """A network whose parameters are changed so little that its outputs stay about where they are.

    θ ← θ (1 + ε z) with z ~ N(0, 1) keyed by seed and name, ε = level/√K for K weights (parameters of two dimensions
    and more): independent relative errors of K layers add up to `level` of what the last one makes. So the change
    depends on the network alone, never on samples.
    """

    def __init__(self, level: float, seed: int) -> None:
        self.level, self.seed = level, seed
        self.before: dict[str, Tensor] = {}  # while it is open, the network's own values

    @contextmanager
    def __call__(self, model: nn.Module) -> Iterator[nn.Module]:
        """The network so changed inside, bit for bit as it was outside."""
        parameters, changed = dict(model.named_parameters()), {}
        scale = self.level / max(1, sum(one.dim() > 1 for one in parameters.values())) ** 0.5
        self.before = {name: tensor.detach().clone() for name, tensor in tensors_of(model).items()}
        for name, value in self.before.items():
            changed[name] = value
            if name in parameters and value.is_floating_point():
                stream = draws.generator(self.seed, "steadiness", name)
                noise = torch.randn(value.shape, generator=stream, dtype=torch.float32).to(value)
                changed[name] = value * (1 + scale * noise)
        try:
            with swapped(model, changed):
                yield model
        finally:
            self.before = {}


@CHECKS.register("steadiness")
@dataclass(frozen=True, kw_only=True)
class Steadiness(Check):
    """Similarity of each map to itself where the parameters change too little to move the outputs.

    Every parameter is multiplied by 1 + ε z, z ~ N(0, 1), ε = `level`/√K for a network of K weights, so that the
    outputs move by about `level` of their spread over labels: 0.01, one percent. By how much they did move is told
    by the rows `outputs-moved`, and where it is much more nothing is concluded. The network is the same to anybody
    who uses it, so an explanation of it should be. A method that jumps here tells nothing by jumping where
    everything is randomized: maps keyed by a hash of the weights pass every randomization. Rows of setting
    `parameters` compare the pooled maps, one a draw in `seeds`; `parameters chance` compares the map with itself
    permuted among the features that are not zero in it or in that of a network whose parameters are all random:
    zeros that no network changes are the input's.

    What a method learned from data on the network it keeps. Cost: one map a seed and method, one for the random
    network, which parameter randomization by the same initializer shares, and two forward passes a seed.

    Source: the input's counterpart is max-sensitivity (Yeh et al. 2019); the perturbation of parameters is ours.
    """

    level: float = 0.01
    seeds: tuple[int, ...] = (0, 1, 2)
    initializer: str = "he"
    similarities: tuple[Similarity | str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InputError(f"Expected level, a share of the outputs' spread, in (0, 1), but got {self.level}.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"Expected one or more different seeds, but got {self.seeds!r}.")

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        return (*(measure.metric for measure in fitting(self.similarities, study.grid)[0]), MOVED)

    def notes(self, study: Study) -> tuple[str, ...]:
        return fitting(self.similarities, study.grid)[1]

    def states(self, study: Study) -> Sequence[State]:
        fitting(self.similarities, study.grid)
        random = everything(study, Cascading(initializer=self.initializer), self.seeds[0])
        yardstick = state_of(random, Cascading(initializer=self.initializer), self.seeds[0], kind=Role.FLOOR, group="")
        return (
            TRAINED,
            replace(yardstick, name=YARDSTICK, kept=True),
            *(
                State(
                    name=f"parameters nudged by {self.level:g}/seed{seed}",
                    key={"state": "nudged", "level": self.level, "seed": seed},
                    kind=Role.CHANGED,
                    group=GROUP,
                    label=f"outputs moved by {self.level:.0%}",
                    seed=seed,
                    open=Nudged(self.level, seed),
                )
                for seed in self.seeds
            ),
        )

    def passes(self, study: Study, state: State, method: Recipe | None) -> float:
        return 2.0 if method is None and state.kind == Role.CHANGED else 0.0

    def network_rows(self, block: Block, state: State, shared: Any) -> Iterable[Scores]:
        if isinstance(state.open, Nudged):
            outputs = _outputs(block.model, block.inputs)
            with swapped(block.model, state.open.before) as trained:
                reference = _outputs(trained, block.inputs)
            yield Scores(metric=MOVED.name, values=moved(outputs, reference), setting=GROUP, seed=state.seed)

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        if state.kind != Role.CHANGED:
            return
        measures, trained = fitting(self.similarities, tuple(maps.values.shape[1:]))[0], kept[TRAINED.name]
        for one in similarity_rows(measures, trained, maps, setting=GROUP):
            yield Scores(metric=one.metric, values=one.values, setting=GROUP, seed=state.seed)
        setting, key = chance_of(GROUP), ("chance of its own", state.seed)
        for one in chance_rows(measures, trained, kept[YARDSTICK], *key, samples=block.samples, setting=setting):
            yield Scores(metric=one.metric, values=one.values, setting=setting, seed=state.seed, role=Role.CHANCE)


def moved(outputs: Tensor, reference: Tensor) -> Tensor:
    """How far outputs (N, C) are from a reference, a sample: root mean square over labels of its own spread over them.

    One output has no spread over labels: that over samples takes its place, and for one sample its magnitude.
    """
    if reference.shape[1] > 1:
        spread = reference.std(1, keepdim=True)
    else:
        spread = (reference.std() if len(reference) > 1 else reference.abs().max()).expand_as(reference)
    return ((outputs - reference) / spread).square().mean(1).sqrt()


def _outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return forward(model, inputs, torch.arange(len(inputs), device=inputs.device)).double()
