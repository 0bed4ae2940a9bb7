"""Do attributions sum to what they should explain?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from heatproof.checks.base import CHECKS, TRAINED, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.errors import InputError
from heatproof.features import Pixels
from heatproof.metrics import Metric

SUM = Metric(name="attribution-sum", unit="score", text="The sum of the map.")
SCORE = Metric(name="target-score", unit="score", text="The explained output.")
GAP = Metric(
    name="completeness-gap",
    unit="score",
    ideal=0.0,
    text="The sum of the map minus what the method says that it explains; minus the score where it says nothing.",
)
SCORE_GAP = Metric(name="score-gap", unit="score", ideal=0.0, text="The sum of the map minus the explained output.")
RELATIVE = Metric(
    name="relative-score-gap",
    unit="ratio",
    low=0.0,
    ideal=0.0,
    higher_is_better=False,
    text="How far the sum of the map is from the explained output, relative to that output.",
)


@CHECKS.register("completeness")
@dataclass(frozen=True, kw_only=True)
class Completeness(Check):
    """The sum of each map against the score that it explains: ΣR − S_c(x).

    `completeness-gap` is the method's own diagnostic where it has one (integrated gradients and DeepLIFT explain
    S_c(x) − S_c(x̄)), elsewhere ΣR − S_c(x); `score-gap` is ΣR − S_c(x) for every method, `relative-score-gap` its
    magnitude over |S_c(x)|, NaN where the score is 0. Only methods in units of the score can be complete: gradients and
    magnitudes are not.
    Cost: one forward pass a sample. Sums are taken in float64 over features.

    Source: Sundararajan et al. 2017; Gupta & Arora, Figure 2; Ancona et al. 2018, section 3.
    """

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        return (SUM, SCORE, GAP, SCORE_GAP, RELATIVE)

    def states(self, study: Study) -> Sequence[State]:
        if isinstance(study.features, Pixels) and study.features.reduction != "sum":
            raise InputError(
                f"Expected channels to be summed, so that maps keep their sums, but got {study.features}; "
                "choose Pixels() or leave out the check of completeness."
            )
        return (TRAINED,)

    def shared(self, block: Block, state: State) -> Tensor:
        return block.scores().double()

    def network_rows(self, block: Block, state: State, shared: Tensor) -> Iterable[Scores]:
        yield Scores(metric=SCORE.name, values=shared)

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        total = maps.values.double().flatten(1).sum(1)
        gap = total - shared
        yield Scores(metric=SUM.name, values=total)
        yield Scores(metric=GAP.name, values=maps.diagnostics.get(GAP.name, gap))
        yield Scores(metric=SCORE_GAP.name, values=gap)
        yield Scores(metric=RELATIVE.name, values=gap.abs() / torch.where(shared == 0, torch.nan, shared.abs()))
