"""Over how many features is a map spread?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from heatproof.checks.base import CHECKS, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.metrics import Metric

SHARE = Metric(
    name="effective-share",
    unit="share of features",
    low=0.0,
    high=1.0,
    text="The share of all features that the map is spread over, exp(entropy of its magnitudes) of them.",
)
GINI = Metric(
    name="gini",
    low=0.0,
    high=1.0,
    text="Gini index of the map's magnitudes: 0 where all features are alike, near 1 where few have everything.",
)


@CHECKS.register("complexity")
@dataclass(frozen=True, kw_only=True)
class Complexity(Check):
    """How concentrated a map is: over which share of its features it is spread, and how unequally.

    With p_i = |R_i| / Σ|R| over the F features: `effective-share` = exp(−Σ p_i ln p_i) / F, from 1/F for a single
    feature to 1 for a map that is the same everywhere; `gini` = Σ_i (2i − F − 1) |R|_(i) / (F Σ|R|), magnitudes in
    ascending order, from 0 for the same everywhere to (F − 1)/F for a single feature. Neither knows of places or signs,
    and neither has a good end by itself: noise is spread evenly, and so is the map of an object that fills the picture.
    NaN where a map is zero everywhere or not finite.
    Cost: no pass through the network beyond the map itself.

    Source: Bhatt et al. 2020, definition 3 (complexity, the entropy H of p), here as exp(H)/F, which needs no
    unit and does not grow with the picture; Chalasani et al. 2020, equation 12 (sparseness, the Gini index).

    >>> run = hp.audit(line, x, [1], methods=["gradient"], checks=["complexity"], out="run", features="columns",
    ...                progress=False)
    >>> rows = run.rows()
    >>> rows[rows["metric"] == "gini"]["value"].round(4).tolist()  # of 3 and 4: (4 − 3) / 14
    [0.0714]
    """

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        return (SHARE, GINI)

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        size = maps.values.flatten(1).double().abs()
        total, count = size.sum(1, keepdim=True), size.shape[1]
        unknown = ~torch.isfinite(total[:, 0]) | (total[:, 0] == 0)
        part = size / total
        entropy = torch.special.entr(part).sum(1)
        places = 2 * torch.arange(1, count + 1, device=size.device, dtype=size.dtype) - count - 1
        gini = (part.sort(1).values * places).sum(1) / count
        for metric, values in ((SHARE, entropy.exp() / count), (GINI, gini)):
            yield Scores(metric=metric.name, values=values.masked_fill(unknown, torch.nan))
