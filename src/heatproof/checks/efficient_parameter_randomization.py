"""Does a map get more complex when what the network has learned is taken away?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch

from heatproof.checks.base import CHECKS, TRAINED, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.random_states import REPLICATE, everything, stages_of, state_of, treatment_rows, undrawn
from heatproof.draws import marks
from heatproof.errors import InputError
from heatproof.metrics import TREATMENTS, Metric
from heatproof.randomization import Cascading, Initializer
from heatproof.randomization.orders import BatchNorm
from heatproof.similarity import noise
from heatproof.similarity.entropy import check_bins, entropies

RISE = Metric(
    name="entropy-rise",
    unit="share of the trained map's",
    low=-1.0,
    chance=0.0,
    higher_is_better=True,
    text="By how much of itself the entropy of the map's values rises when the network is random.",
)
BEFORE = Metric(name="entropy-trained", unit="bits", low=0.0, text="Entropy of the trained map's values.")
AFTER = Metric(name="entropy-compared", unit="bits", low=0.0, text="Entropy of the values of the map compared with it.")


@CHECKS.register("efficient-parameter-randomization")
@dataclass(frozen=True, kw_only=True)
class EfficientParameterRandomization(Check):
    """The rise of a map's complexity when every layer is random, without any comparison feature by feature.

    Rise = (H(h′) − H(h)) / H(h): H is the entropy of the histogram of a map's values, h the trained network's map, h′
    that of the network with all layers drawn anew. The bins are those of `similarity.entropy.entropies`, shared by both
    maps by default. Higher is better by the authors' reading: a map of structure turns into one of noise.

    Beside it stand what the same number is without any randomized network, because a rise alone is no merit: setting
    `replicate` compares with another noise draw of the method, `gaussian` with a map of pure noise, the most complex
    that there is. A map that ignores the network has exactly 0.
    NaN where one map is constant or not finite, or the trained one has no entropy. A method that learns from data says
    whether it was refit on the random network, reused or excluded.
    Cost: one map a seed, and two; shared with ParameterRandomization where that draws the same networks.

    Source: Hedström et al. 2024, Efficient MPRT (100 bins, maps normalized by their second moment). Deviation: bins
    over both maps, where published code takes each map's own range (`span="own"`); several seeds and the yardsticks.

    >>> check = hp.checks.EfficientParameterRandomization()
    >>> run = hp.audit(net, images, labels, methods=["gradient"], checks=[check], out="efficient", progress=False)
    >>> "entropy-rise" in set(run.rows()["metric"])
    True
    """

    initializer: str | Initializer = "he"
    batch_norm: BatchNorm = "reset"
    seeds: tuple[int, ...] = (0,)
    bins: int | str = 100
    span: str = "shared"
    normalization: str = "second-moment"
    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_bins(self.bins, self.span, self.normalization)
        self._randomization()
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"Expected one or more different seeds, but got {self.seeds!r}.")

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        return (RISE, BEFORE, AFTER, *TREATMENTS)

    def notes(self, study: Study) -> tuple[str, ...]:
        return undrawn(stages_of(study, self._randomization(), self.seeds[0]), len(study.example))

    def states(self, study: Study) -> Sequence[State]:
        recipe = self._randomization()
        random = []
        for seed in self.seeds:
            state = state_of(everything(study, recipe, seed), recipe, seed, kind="floor", group="")
            # A name of its own: in the manifest ParameterRandomization's last stage may go by the stage's.
            random.append(replace(state, name=f"everything random/{state.name}", kept=False))
        return (TRAINED, *random, REPLICATE)

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        if state.kind == "trained":
            drawn = noise(maps.values, "gaussian", samples=marks(block.inputs))
            yield from self._compared(maps, Maps(drawn, {}), setting="gaussian")
        elif state.kind == "replicate":
            yield from self._compared(kept[TRAINED.name], maps, setting="replicate")
        else:
            yield from treatment_rows(maps, seed=state.seed)
            yield from self._compared(kept[TRAINED.name], maps, seed=state.seed)

    def _compared(self, trained: Maps, other: Maps, *, setting: str = "", seed: int = 0) -> Iterator[Scores]:
        before, after = entropies(
            trained.values, other.values, bins=self.bins, span=self.span, normalization=self.normalization
        )
        here = partial(Scores, setting=setting, seed=seed)
        yield here(metric=RISE.name, values=(after - before) / torch.where(before > 0, before, torch.nan))
        yield here(metric=BEFORE.name, values=before)
        yield here(metric=AFTER.name, values=after)

    def _randomization(self) -> Cascading:
        return Cascading(initializer=self.initializer, batch_norm=self.batch_norm)
