"""The structural similarity index of two maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heatproof.errors import InputError, unknown
from heatproof.metrics import Metric
from heatproof.similarity import windows
from heatproof.similarity.base import SIMILARITIES, Similarity, label
from heatproof.similarity.normalization import NORMALIZATIONS, RANGES, normalized

WEIGHTS = ("uniform", "gaussian")
K1, K2 = 0.01, 0.03


@SIMILARITIES.register("ssim")
@dataclass(frozen=True, kw_only=True)
class SSIM(Similarity):
    """Mean over all windows of (2 μ_A μ_B + C₁)(2 σ_AB + C₂) / ((μ_A² + μ_B² + C₁)(σ_A² + σ_B² + C₂)).

    Maps (N, H, W) only, each normalized by itself first. μ and σ² are taken over `window` × `window` pixels, with
    `weights` uniform or Gaussian of width `sigma` pixels (σ is unused for uniform ones); variances are sample variances
    (n/(n − 1), as in scikit-image), C₁ = (0.01 L)², C₂ = (0.03 L)² with L = `data_range`. Windows that would reach over
    the border are left out.

    `data_range` None is the length of the normalization's interval: 2 for `max-abs`, 1 for `min-max` and `percentile`;
    with any other normalization it must be given. It moves the level: a larger one raises the similarity of flat maps.
    `flip` takes the larger of SSIM(A, B) and SSIM(A, −B), normalized after the change of sign (004, G.1, for LRP).

    In [−1, 1], 1 for equal maps; NaN if one is constant or not finite. Among processes with σ_AB ≥ 0, zero covariance
    minimizes it, at ≤ C₂/(σ_A² + σ_B² + C₂) (002, theorem 1): a low value alone is no merit.
    Cost: five window means a pair (`prepare` keeps two, and three numbers in float64 a feature); twice with `flip`.

    Source: Wang et al. 2004; 001 and 004 (window 5). 001 and 004 name no data range.
    """

    window: int = 5
    weights: str = "uniform"
    sigma: float = 1.5
    data_range: float | None = None
    normalization: str = "max-abs"
    flip: bool = False

    def __post_init__(self) -> None:
        if self.normalization not in NORMALIZATIONS:
            raise unknown("normalization", self.normalization, NORMALIZATIONS)
        if self.weights not in WEIGHTS:
            raise unknown("kind of window weights", self.weights, WEIGHTS)
        if self.window < 3 or self.window % 2 == 0:
            raise InputError(f"Expected an odd window of at least 3 pixels, but got {self.window}.")
        if not self.sigma > 0:
            raise InputError(f"Expected sigma > 0 pixels, but got {self.sigma}.")
        if self.data_range is None and self.normalization not in RANGES:
            raise InputError(
                f"Expected a data_range for normalization {self.normalization!r}, which has no fixed interval, "
                "but got None; give the largest difference of two values, or choose 'max-abs'."
            )
        if self.data_range is not None and not (self.data_range > 0 and math.isfinite(self.data_range)):
            raise InputError(f"Expected data_range to be positive and finite, but got {self.data_range}.")

    def fits(self, grid: Sequence[int]) -> str | None:
        got = "×".join(map(str, grid))
        if len(grid) != 2:
            return f"SSIM needs two-dimensional maps (H, W), but got {got or 'none'}; choose Spearman() or MSE()."
        if min(grid) < self.window:
            largest = min(grid) - 1 + min(grid) % 2
            instead = f"SSIM(window={largest})" if largest >= 3 else "Spearman() or MSE()"
            return (
                f"SSIM(window={self.window}) needs maps of at least {self.window}×{self.window}, but got {got}; "
                f"choose {instead}."
            )
        return None

    @property
    def metric(self) -> Metric:
        return Metric(
            name=label(self, "ssim"),
            low=-1.0,
            high=1.0,
            chance=0.0,
            higher_is_better=False,
            text="Structural similarity of two maps, window by window: 1 is equal, 0 no structure in common.",
        )

    def parts(self, maps: Tensor) -> tuple[Tensor, ...]:
        values = self._moments(maps)
        return values + self._moments(-maps) if self.flip else values

    def score(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        straight = self._index(first[:3], second[:3])
        return torch.maximum(straight, self._index(first[:3], second[3:])) if self.flip else straight

    def _moments(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalized maps, their window means and variances."""
        values = normalized(maps, self.normalization)
        mean = self._mean(values)
        return values, mean, self._mean(values.square()).sub_(mean.square())

    def _index(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        (a, mean_a, variance_a), (b, mean_b, variance_b) = first, second
        length = RANGES[self.normalization] if self.data_range is None else self.data_range
        c1, c2 = (K1 * length) ** 2, (K2 * length) ** 2
        sample = self.window**2 / (self.window**2 - 1)
        means = mean_a * mean_b
        covariance = self._mean(a * b).sub_(means)
        above = means.mul_(2).add_(c1).mul_(covariance.mul_(2 * sample).add_(c2))
        squares = mean_a.square().addcmul_(mean_b, mean_b).add_(c1)
        below = (variance_a + variance_b).mul_(sample).add_(c2).mul_(squares)
        return above.div_(below).flatten(1).mean(1)

    def _mean(self, values: Tensor) -> Tensor:
        if self.weights == "uniform":
            return windows.box(values, self.window)
        return windows.gaussian(values, self.window, self.sigma)


@SIMILARITIES.register("ssim-adebayo")
def adebayo() -> SSIM:
    """SSIM as 001's code computes it: min-max maps, Gaussian weights (σ 1.5, 11 × 11), and L = 2.

    The code gives no range, and its scikit-image then took that of floating images, −1 to 1. Deviation: the code
    averages over three channels of a signed map; here channels are pooled before.
    """
    return SSIM(window=11, weights="gaussian", data_range=2.0, normalization="min-max")


@SIMILARITIES.register("ssim-flip")
def flip() -> SSIM:
    """SSIM as 004 computes it for LRP, whose sign may turn: the larger of h and −h, clamped at percentiles."""
    return SSIM(normalization="percentile", flip=True)
