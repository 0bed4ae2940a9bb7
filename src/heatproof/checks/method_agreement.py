"""Do methods say the same of a sample?"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from heatproof.checks.base import CHECKS, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.similarities import fitting
from heatproof.metrics import Metric
from heatproof.similarity import Similarity


@CHECKS.register("method-agreement")
@dataclass(frozen=True, kw_only=True)
class MethodAgreement(Check):
    """Similarity of every two methods' maps of a sample, on the trained network: ρ(R_one, R_two).

    By default the rank correlation of signed and of absolute values. Each pair has its rows once: under the method
    whose label sorts first, with the other's as the setting. NaN where a map is constant. Agreement is no merit: two
    methods may share what they take from the input alone, for which random maps and other controls are yardsticks.
    Cost: no pass through the network beyond the maps, one sort a map and measure, one product of ranks a pair.

    Source: ours; Schulz et al. 2020 and Ancona et al. 2018 compare methods by eye.

    >>> check = hp.checks.MethodAgreement(similarities=("spearman",))
    >>> run = hp.audit(line, x, [1], methods=["gradient", "gradient-x-input"], checks=[check], out="agreement",
    ...                features="columns", progress=False)
    ...
    >>> run.rows()[["method", "setting", "value"]].values.tolist()
    [['gradient', 'gradient-x-input', 1.0]]
    """

    similarities: tuple[Similarity | str, ...] = ("spearman", "spearman-absolute")

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        measures, _ = fitting(self.similarities, study.grid)
        return tuple(replace(measure.metric, higher_is_better=None) for measure in measures)

    def notes(self, study: Study) -> tuple[str, ...]:
        return fitting(self.similarities, study.grid)[1]

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterable[Scores]:
        return ()

    def pair_rows(
        self, block: Block, state: State, methods: tuple[Recipe, Recipe], maps: tuple[Maps, Maps], shared: Any
    ) -> Iterator[Scores]:
        measures, _ = fitting(self.similarities, tuple(maps[0].values.shape[1:]))
        for measure in measures:
            one, two = (side.derived(measure, measure.prepare) for side in maps)
            yield Scores(metric=measure.metric.name, values=measure.compare(one, two), setting=methods[1].label)
