"""The structural similarity index of two maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heatproof.errors import InputError, unknown
from heatproof.metrics import Metric
from heatproof.similarity import windows
from heatproof.similarity.base import SIMILARITIES, Similarity, label, titled
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
    `flip` takes the larger of SSIM(A, B) and SSIM(A, −B), normalized after the change of sign (Schulz et al., G.1, for
    LRP).

    In [−1, 1], 1 for equal maps; NaN if one is constant or not finite. Among processes with σ_AB ≥ 0, zero covariance
    minimizes it, at ≤ C₂/(σ_A² + σ_B² + C₂) (Binder et al., theorem 1): a low value alone is no merit. Two maps of
    Gaussian noise of 299 × 299 give 0.008, of uniform noise 0.0003; as `ssim-adebayo` 0.13 and 0.02, so a normalization
    that moves 0 has no fixed chance level.
    Cost: four window sums a pair, three with a kept reference, which holds two float64 a feature; twice with `flip`.

    Source: Wang et al. 2004; Adebayo et al. and Schulz et al. (window 5), who name no data range.

    >>> hp.similarity.SSIM(window=3)(images[:, 0], images[:, 0]).round(decimals=6)
    tensor([1., 1., 1., 1.], dtype=torch.float64)
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
            title=titled(self, "SSIM", "ssim"),
            itself=1.0,
            low=-1.0,
            high=1.0,
            chance=None if self.normalization in ("min-max", "percentile") else 0.0,
            higher_is_better=False,
            text="Structural similarity of two maps, window by window: 1 is equal, 0 no structure in common.",
        )

    def parts(self, maps: Tensor) -> tuple[Tensor, ...]:
        values = self._sums_of(maps)
        return values + self._sums_of(-maps) if self.flip else values

    def score(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        straight = self._index(first[:2], second[:2])
        return torch.maximum(straight, self._index(first[:2], second[2:])) if self.flip else straight

    def _sums_of(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Normalized maps (n, H, W), and their sums over windows, flat."""
        values = normalized(maps, self.normalization)
        return values, self._windows(values.flatten(1), values.shape[2])

    def _index(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        """The formula times n⁴, n the sum of a window's weights, in window sums: ΣA = n μ_A, and so on.

        n² μ_A μ_B = ΣA ΣB and n² σ_AB = (n ΣAB − ΣA ΣB) n₂/(n₂ − 1), n₂ the number of a window's pixels, so that few
        passes over memory remain: they are the whole cost.
        """
        (maps, sum_a), (other, sum_b) = first, second
        _, height, width = maps.shape
        a, b = maps.flatten(1), other.flatten(1)
        pixels = self.window**2
        n = pixels if self.weights == "uniform" else 1
        length = RANGES[self.normalization] if self.data_range is None else self.data_range
        c1 = (n * K1 * length) ** 2
        c2 = (n * K2 * length) ** 2 * (pixels - 1) / pixels
        sum_ab = self._windows(a * b, width)
        sum_squares = self._windows(torch.addcmul(a * a, b, b), width)
        products = sum_a * sum_b
        squares = torch.addcmul(sum_a * sum_a, sum_b, sum_b)
        # Both halves are negated; the upper one lacks a factor of 2 twice.
        above = torch.sub(products, sum_ab, alpha=n).sub_(c2 / 2).mul_(products.add_(c1 / 2))
        below = torch.sub(squares, sum_squares, alpha=n).sub_(c2).mul_(squares.add_(c1))
        index = windows.inside(above.div_(below), self.window, height, width)
        return index.mean((1, 2)).mul_(4)

    def _windows(self, rows: Tensor, width: int) -> Tensor:
        if self.weights == "uniform":
            return windows.box(rows, self.window, width)
        return windows.gaussian(rows, self.window, width, self.sigma)


@SIMILARITIES.register("ssim-adebayo")
def adebayo() -> SSIM:
    """SSIM as Adebayo et al.'s code has it: min-max maps, Gaussian weights (σ 1.5, 11 × 11), and L = 2.

    The code gives no range, and its scikit-image then took that of floating images, −1 to 1. Deviation: the code
    averages over three channels of a signed map; here channels are pooled before.
    """
    return SSIM(window=11, weights="gaussian", data_range=2.0, normalization="min-max")


@SIMILARITIES.register("ssim-flip")
def flip() -> SSIM:
    """SSIM as Schulz et al. have it for LRP, whose sign may turn: the larger of h and −h, clamped at percentiles."""
    return SSIM(normalization="percentile", flip=True)
