"""Mean squared difference of two normalized maps."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from heatproof.errors import unknown
from heatproof.metrics import Metric
from heatproof.similarity.base import SIMILARITIES, Similarity, label, titled
from heatproof.similarity.normalization import NORMALIZATIONS, RANGES, normalized

# Distance of two unrelated zero-mean maps, and of a map and its negative, after normalization by the second moment.
UNRELATED, OPPOSITE = 2.0, 4.0


@SIMILARITIES.register("mse")
@dataclass(frozen=True, kw_only=True)
class MSE(Similarity):
    """Distance (1/HW) Σ (A − B)² of two maps, each normalized by itself first.

    A distance, not a similarity: 0 for equal maps. Under `second-moment` it is at most 4 (B = −A), and among processes
    with σ_AB ≥ 0 zero covariance maximizes its expectation, at 2 − 2 μ_A μ_B / √(E[A²] E[B²]): 2 for zero-mean maps,
    2 − 4/π ≈ 0.73 for half-normal ones (Binder et al., theorem 4 and eq. 15). A high value alone is therefore no merit.
    NaN if one map is constant or not finite (or as `normalized` says). Units: those of the normalized map, squared.

    Source: Binder et al., section D, eq. 11.

    >>> one = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    >>> hp.similarity.MSE()(one, 2 * one), hp.similarity.MSE()(one, -one)
    (tensor([0.], dtype=torch.float64), tensor([4.], dtype=torch.float64))
    """

    normalization: str = "second-moment"

    def __post_init__(self) -> None:
        if self.normalization not in NORMALIZATIONS:
            raise unknown("normalization", self.normalization, NORMALIZATIONS)

    def fits(self, grid: Sequence[int]) -> str | None:
        return None

    @property
    def metric(self) -> Metric:
        moment = self.normalization == "second-moment"
        bounds = {name: width**2 for name, width in RANGES.items()} | {"second-moment": OPPOSITE}
        return Metric(
            name=label(self, "mse"),
            title=titled(self, "MSE", "mse"),
            itself=0.0,
            unit="squared map units" if self.normalization == "none" else "",
            low=0.0,
            high=bounds.get(self.normalization),
            chance=UNRELATED if moment else None,
            higher_is_better=True,
            text="Mean squared difference of two normalized maps: 0 is equal"
            + (", 2 unrelated, 4 opposite." if moment else "."),
        )

    def parts(self, maps: Tensor) -> tuple[Tensor, ...]:
        return (normalized(maps, self.normalization).flatten(1),)

    def score(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        return (first[0] - second[0]).square_().mean(1)
