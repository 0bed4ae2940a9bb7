"""Histograms of oriented gradients of two maps, correlated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from heatproof.errors import InputError, unknown
from heatproof.metrics import Metric
from heatproof.similarity.base import SIMILARITIES, Similarity, label, titled
from heatproof.similarity.normalization import NORMALIZATIONS, normalized
from heatproof.similarity.ranks import centered_ranks, correlation

CORRELATIONS = ("pearson", "spearman")
ORIENTATIONS, BLOCK = 9, 3
CEILING, EPSILON = 0.2, 1e-5
RANKED_DECIMALS = 10


@SIMILARITIES.register("hog")
@dataclass(frozen=True, kw_only=True)
class HOG(Similarity):
    """Correlation of the two maps' HOG descriptors.

    Maps (N, H, W) only, each normalized by itself first (the descriptor's ε makes it depend on scale). The descriptor:
    central differences (0 at the border); in each cell of `cell` × `cell` pixels a histogram of the angle mod 180° in 9
    bins, weighted by magnitude, per pixel of the cell; each block of 3 × 3 neighboring cells as a vector v is
    normalized to v/√(‖v‖² + ε²), cut off at 0.2, normalized again (ε = 1e-5). Pixels beyond the last whole cell count
    for differences only. Same numbers as `skimage.feature.hog` with its defaults.

    `correlation` of descriptors: `pearson` (Adebayo et al. 2018, appendix A) or `spearman` (their code). In [−1, 1];
    NaN if one map is constant or not finite, or its descriptor constant. Needs 3 · `cell` pixels a side: `fits` names a
    smaller cell. Chance is not 0: two maps of uniform noise of 299 × 299 give 0.078 on average, as in Adebayo et al.,
    because differences of uniform numbers prefer oblique directions; of Gaussian noise, which prefers none, 0.013.
    Descriptors of few blocks share the block's own pattern (0.15 at 28 × 28, cell 8). So `metric` names no chance
    level: calibrate.
    Cost: a square root, nine comparisons and one count a pixel.

    Source: Dalal and Triggs 2005; Adebayo et al. 2018, appendix A (16 × 16 cells, values in [−1, 1]).
    Deviations: an angle that rounds up to 180° exactly counts in the last bin, where scikit-image drops it; before
    ranking, descriptors are rounded to ten decimals, so that the order of a sum decides no tie.

    >>> hp.similarity.HOG(cell=2)(images[:, 0], images[:, 0]).round(decimals=6)
    tensor([1., 1., 1., 1.], dtype=torch.float64)
    """

    cell: int = 16
    correlation: str = "pearson"
    normalization: str = "max-abs"

    def __post_init__(self) -> None:
        if self.cell < 1:
            raise InputError(f"Expected a cell of at least 1 pixel, but got {self.cell}.")
        if self.correlation not in CORRELATIONS:
            raise unknown("correlation of descriptors", self.correlation, CORRELATIONS)
        if self.normalization not in NORMALIZATIONS:
            raise unknown("normalization", self.normalization, NORMALIZATIONS)

    def fits(self, grid: Sequence[int]) -> str | None:
        got, side = "×".join(map(str, grid)), BLOCK * self.cell
        if len(grid) != 2:
            return f"HOG needs two-dimensional maps (H, W), but got {got or 'none'}; choose Spearman() or MSE()."
        if min(grid) < side:
            largest = min(grid) // BLOCK
            # A power of two divides the usual sizes, so that no pixels are left over.
            instead = f"HOG(cell={1 << largest.bit_length() - 1})" if largest else "Spearman() or MSE()"
            return f"HOG(cell={self.cell}) needs maps of at least {side}×{side}, but got {got}; choose {instead}."
        return None

    @property
    def metric(self) -> Metric:
        return Metric(
            name=label(self, "hog"),
            title=titled(self, "HOG", "hog"),
            itself=1.0,
            low=-1.0,
            high=1.0,
            higher_is_better=False,
            text="Correlation of the two maps' edge directions, cell by cell: 1 is equal, 0 no edges in common.",
        )

    def parts(self, maps: Tensor) -> tuple[Tensor, ...]:
        rows = self.descriptors(maps)
        if self.correlation == "spearman":
            # Entries that are equal but for the rounding of their sums must tie.
            rows = centered_ranks(rows.round(decimals=RANKED_DECIMALS))
        else:
            rows = rows - rows.mean(1, keepdim=True)
        return rows, rows.square().sum(1)

    def score(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        return correlation(first[0], second[0], first[1], second[1])

    def descriptors(self, maps: Tensor) -> Tensor:
        """HOG descriptors of normalized maps (n, H, W): (n, blocks · 3 · 3 · 9) float64, in scikit-image's order."""
        values = normalized(maps, self.normalization)
        degenerate = values.flatten(1).sum(1).isnan()
        cells = _cell_histograms(values.nan_to_num(), self.cell)
        blocks = cells.unfold(1, BLOCK, 1).unfold(2, BLOCK, 1).permute(0, 1, 2, 4, 5, 3).flatten(3)
        blocks = _unit(_unit(blocks).clamp_(max=CEILING))
        return torch.where(degenerate[:, None], torch.nan, blocks.flatten(1))


@SIMILARITIES.register("hog-spearman")
def spearman() -> HOG:
    """HOG as in Adebayo et al.'s code: the rank correlation of descriptors."""
    return HOG(correlation="spearman")


def _unit(blocks: Tensor) -> Tensor:
    return blocks / (blocks.square().sum(-1, keepdim=True) + EPSILON**2).sqrt_()


def _cell_histograms(values: Tensor, cell: int) -> Tensor:
    """(n, H, W) to (n, H // cell, W // cell, 9): mean gradient magnitude by direction in every whole cell."""
    height, width = values.shape[1] // cell * cell, values.shape[2] // cell * cell
    down, across = torch.zeros_like(values), torch.zeros_like(values)
    torch.sub(values[:, 2:], values[:, :-2], out=down[:, 1:-1])
    torch.sub(values[:, :, 2:], values[:, :, :-2], out=across[:, :, 1:-1])
    down, across = down[:, :height, :width], across[:, :height, :width]
    magnitude = (down.square() + across.square()).sqrt_()
    sums = _sums_by_counting if values.device.type == "cpu" else _sums_by_mask
    return sums(_directions(down, across), magnitude, cell).div_(cell * cell)


def _directions(down: Tensor, across: Tensor) -> Tensor:
    """The bin 0 … 8, int8, of each angle mod 180°: how many borders between bins it has reached.

    The cotangent falls from ∞ at 0° to −∞ at 180°, and is the same for opposite directions; comparing it with eight
    borders takes half the time of an arctangent. 180° is 0°.
    """
    cotangent = across / down
    bins = torch.zeros(cotangent.shape, dtype=torch.int8, device=cotangent.device)
    for border in range(1, ORIENTATIONS):
        bins += (cotangent <= 1 / math.tan(math.pi * border / ORIENTATIONS)).view(torch.int8)
    return bins.mul_((down != 0).view(torch.int8))


def _sums_by_counting(bins: Tensor, magnitude: Tensor, cell: int) -> Tensor:
    """Magnitudes summed by cell and direction, (n, rows, columns, 9). NumPy's counting adds in a fixed order."""
    n, height, width = bins.shape
    shape = (height // cell, width // cell, ORIENTATIONS)
    count = math.prod(shape)
    index = bins + _first_bins(height, width, cell)
    if n > 1:
        index += torch.arange(n)[:, None, None] * count
    sums = np.bincount(index.numpy().ravel(), magnitude.numpy().ravel(), n * count)
    return torch.from_numpy(sums).view(n, *shape)


@lru_cache(maxsize=8)
def _first_bins(height: int, width: int, cell: int) -> Tensor:
    """Where the histogram of each pixel's cell starts, (height, width) int64."""
    cells = torch.arange(height)[:, None] // cell * (width // cell) + torch.arange(width) // cell
    return cells * ORIENTATIONS


def _sums_by_mask(bins: Tensor, magnitude: Tensor, cell: int) -> Tensor:
    """The same on an accelerator, where counting adds in no fixed order."""
    n, height, width = bins.shape
    by_cell = (n, height // cell, cell, width // cell, cell)
    each = [(magnitude * (bins == b)).view(by_cell).sum((2, 4)) for b in range(ORIENTATIONS)]
    return torch.stack(each, dim=-1)
