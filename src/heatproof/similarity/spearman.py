"""Spearman's rank correlation of two maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heatproof.metrics import Metric
from heatproof.similarity.base import SIMILARITIES, Similarity, label
from heatproof.similarity.ranks import centered_ranks, correlation


@SIMILARITIES.register("spearman")
@dataclass(frozen=True, kw_only=True)
class Spearman(Similarity):
    """Rank correlation ρ = Σ(r−r̄)(s−s̄) / √(Σ(r−r̄)² Σ(s−s̄)²) of all features; ties share their average rank.

    Signed values by default ("diverging" in Adebayo et al.); `absolute` ranks |h|. In [−1, 1], 1 for equal orders; NaN
    if one map is constant or holds NaN. Invariant to increasing transforms of either map. No normalization matters.

    Ranks and sums are float64 and exact. Where most features are exactly 0 (ReLU, masks), `absolute` is ruled by the
    zeros that both maps share. Among maps with σ_AB ≥ 0, independence minimizes it: a low value alone is no merit.
    Cost: one sort a map.

    Source: Adebayo et al., appendix A; Binder et al., theorem 3. Deviation: the former's code clips at a percentile
    before ranking, which only ties the top 1 %; here nothing is clipped.

    >>> one = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    >>> hp.similarity.Spearman()(one, torch.tensor([[[0.0, 1.0], [3.0, 2.0]]]))
    tensor([0.8000], dtype=torch.float64)
    >>> hp.similarity.Spearman(absolute=True)(one, -one)
    tensor([1.], dtype=torch.float64)
    """

    absolute: bool = False

    def fits(self, grid: Sequence[int]) -> str | None:
        return None

    @property
    def metric(self) -> Metric:
        what = "absolute values" if self.absolute else "signed values"
        return Metric(
            name=label(self, "spearman"),
            title=f"Spearman, {'absolute' if self.absolute else 'signed'}",
            itself=1.0,
            low=-1.0,
            high=1.0,
            chance=0.0,
            higher_is_better=False,
            text=f"Rank correlation of the {what} of two maps: 1 is the same order of features, 0 none in common.",
        )

    def parts(self, maps: Tensor) -> tuple[Tensor, ...]:
        rows = maps.flatten(1)
        twice = centered_ranks(rows.abs() if self.absolute else rows).mul_(2)  # whole numbers: half the memory
        return twice.nan_to_num().to(torch.int32), twice.square_().sum(1)

    def score(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        return correlation(first[0].double(), second[0].double(), first[1], second[1])


@SIMILARITIES.register("spearman-absolute")
def absolute() -> Spearman:
    """Spearman of absolute values."""
    return Spearman(absolute=True)
