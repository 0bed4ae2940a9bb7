"""What a similarity says of noise: the zero of its scale."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from heatproof.checks.base import CHECKS, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.similarities import fitting, similarity_rows
from heatproof.draws import marks
from heatproof.metrics import Metric
from heatproof.similarity import Similarity, noise


@CHECKS.register("calibration")
@dataclass(frozen=True, kw_only=True)
class Calibration(Check):
    """Similarity of each map to noise, and of noise to noise, uniform on [-1, 1] and standard normal.

    Settings `map-vs-uniform`, `map-vs-gaussian` a method; `uniform-vs-uniform`, `gaussian-vs-gaussian` without one.
    All are about 0 for Spearman and SSIM, but HOG of two uniform maps was 0.078 in the paper.
    Cost: no pass through the network beyond the map itself.

    Source: Adebayo et al. 2018, B, "Calibration for Similarity Metrics".

    >>> check = hp.checks.Calibration(similarities=("spearman",))
    >>> run = hp.audit(net, images, labels, methods=["gradient"], checks=[check], out="calibration", progress=False)
    >>> sorted(set(run.rows()["setting"]))
    ['gaussian-vs-gaussian', 'map-vs-gaussian', 'map-vs-uniform', 'uniform-vs-uniform']
    """

    similarities: tuple[Similarity | str, ...] = ()
    seed: int = 0
    version: ClassVar[int] = 2

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        return tuple(measure.metric for measure in fitting(self.similarities, study.grid)[0])

    def notes(self, study: Study) -> tuple[str, ...]:
        return fitting(self.similarities, study.grid)[1]

    def shared(self, block: Block, state: State) -> dict[str, tuple[Maps, Maps]]:
        """Two independent noise maps (N, *grid) of each kind."""
        template = block.pool(block.inputs)
        draw = partial(noise, template, seed=self.seed, samples=marks(block.inputs))
        return {
            kind: (Maps(draw(kind, replicate=0), {}), Maps(draw(kind, replicate=1), {}))
            for kind in ("uniform", "gaussian")
        }

    def network_rows(self, block: Block, state: State, shared: Mapping[str, tuple[Maps, Maps]]) -> Iterable[Scores]:
        measures, _ = fitting(self.similarities, block.features.grid(block.inputs.shape[1:]))
        for kind, (first, second) in shared.items():
            yield from similarity_rows(measures, first, second, setting=f"{kind}-vs-{kind}")

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        measures, _ = fitting(self.similarities, tuple(maps.values.shape[1:]))
        for kind, (drawn, _) in shared.items():
            yield from similarity_rows(measures, drawn, maps, setting=f"map-vs-{kind}")
