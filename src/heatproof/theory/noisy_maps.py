"""A map becomes less like itself when noise is mixed into it: every similarity measure against the share of noise."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from heatproof.draws import generator
from heatproof.errors import InputError, unknown
from heatproof.similarity import MSE, SIMILARITIES, SSIM, Similarity, normalized, windows
from heatproof.similarity.normalization import RANGES
from heatproof.similarity.ssim import K2

SHARES = tuple(round(0.1 * k, 1) for k in range(11))
MIXES = ("added", "replaced")
BLUR = 5


class Moments(NamedTuple):
    """What a pair of processes has in common: means, second moments, and the covariance of one pixel."""

    mean: float
    second: float
    other_mean: float
    other_second: float
    covariance: float


def _white(stream: torch.Generator, side: int) -> Tensor:
    return torch.randn(side, side, generator=stream, dtype=torch.float64)


def _smooth(stream: torch.Generator, side: int) -> Tensor:
    """Means of 5 × 5 pixels around the torus, of variance 1 again."""
    around = pad(_white(stream, side)[None, None], (0, BLUR - 1, 0, BLUR - 1), mode="circular")
    return avg_pool2d(around, BLUR, stride=1)[0, 0] * BLUR


# Every process has the second moment 1 in each pixel; the half-normal ones have the mean √(2/π).
PROCESSES: dict[str, Callable[[torch.Generator, int], Tensor]] = {
    "normal": _white,
    "half-normal": lambda stream, side: _white(stream, side).abs(),
    "smooth": _smooth,
    "smooth half-normal": lambda stream, side: _smooth(stream, side).abs(),
}


def noise_similarity(
    measures: Sequence[Similarity | str] = (),
    *,
    processes: Sequence[str] = tuple(PROCESSES),
    mixes: Sequence[str] = MIXES,
    shares: Sequence[float] = SHARES,
    side: int = 64,
    samples: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """Similarity of a map A (side × side) to the same map with a share s of uncorrelated noise in it.

    Processes: pixels are `normal` or `half-normal` (the absolute value of one), each by itself or `smooth` (means of
    5 × 5 pixels). Mixes: `added`, B = √(1 − s)·A + √s·ξ with ξ ~ N(0, 1), so that s is the noise's share of the energy;
    and `replaced`, where each pixel of B is, with probability s, that of an independent draw of the same process, so
    that one pixel of B alone cannot be told from one of A.

    Columns: process, mix, measure, share, sample, `value`, and `bound`, given this pair's own moments: what SSIM is at
    most without covariance (Theorem 1; without flips), Spearman's expectation without it (Theorem 3: 0), the most that
    the MSE by the second moment can be (Theorem 4); NaN where no theorem speaks of the measure. `measures` are all
    registered ones by default.

    Source: Binder et al. 2023, Theorems 1, 3 and 4.
    """
    chosen = [SIMILARITIES.get(one) if isinstance(one, str) else one for one in measures or SIMILARITIES.names()]
    for one in chosen:
        if (misfit := one.fits((side, side))) is not None:
            raise InputError(misfit)
    rows = []
    for process in processes:
        maps, other, white, uniform = _drawn(process, side, samples, seed)
        for mix in mixes:
            for share in shares:
                mixed = _mixed(mix, share, maps, other, white, uniform)
                for measure in chosen:
                    columns = {
                        "process": process,
                        "mix": mix,
                        "measure": measure.metric.name,
                        "share": share,
                        "sample": range(samples),
                        "value": measure(maps, mixed).tolist(),
                        "bound": bound(measure, maps, mixed).tolist(),
                    }
                    rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)


def bound(measure: Similarity, maps: Tensor, other: Tensor) -> Tensor:
    """What a measure would be at most, for these pairs of maps (N, H, W), without any covariance; NaN if unknown.

    SSIM: the mean over windows of C₂/(σ_A² + σ_B² + C₂) (Theorem 1). MSE: 2 − 2 μ_A μ_B/√(E[A²] E[B²]) (Theorem 4).
    """
    if isinstance(measure, SSIM) and not measure.flip:
        return ssim_bound(measure, maps, other)
    if measure == MSE():
        means = [each.flatten(1).mean(1) for each in (maps, other)]
        seconds = [each.flatten(1).square().mean(1) for each in (maps, other)]
        return 2 - 2 * means[0] * means[1] / (seconds[0] * seconds[1]).sqrt()
    if measure.metric.name in ("spearman", "spearman-absolute"):
        return maps.new_zeros(len(maps), dtype=torch.float64)
    return torch.full((len(maps),), torch.nan, dtype=torch.float64)


def mse_maximum(moments: Moments) -> float:
    """Theorem 4: the greatest expected MSE, by the second moment, of processes with σ_AB ≥ 0."""
    scale = math.sqrt(moments.second * moments.other_second)
    return 2 - 2 * moments.mean * moments.other_mean / scale


def expected_mse(moments: Moments) -> float:
    """Eq. 14: the expected MSE of two processes, each divided by the root of its second moment."""
    return mse_maximum(moments) - 2 * moments.covariance / math.sqrt(moments.second * moments.other_second)


def moments(process: str, mix: str, share: float) -> Moments:
    """The moments of a pixel and of the same pixel with noise in it, in closed form."""
    if process not in PROCESSES:
        raise unknown("process", process, PROCESSES)
    mean = math.sqrt(2 / math.pi) if "half-normal" in process else 0.0
    variance = 1 - mean * mean
    if mix == "added":
        kept = math.sqrt(1 - share)
        return Moments(mean, 1.0, kept * mean, 1.0, kept * variance)
    if mix == "replaced":
        return Moments(mean, 1.0, mean, 1.0, (1 - share) * variance)
    raise unknown("mix", mix, MIXES)


def ssim_bound(measure: SSIM, maps: Tensor, other: Tensor) -> Tensor:
    """Theorem 1 for every window of normalized maps (N, H, W): the mean (N,) of C₂/(σ_A² + σ_B² + C₂)."""
    length = RANGES[measure.normalization] if measure.data_range is None else measure.data_range
    c2 = (K2 * length) ** 2
    spread = _variances(measure, maps) + _variances(measure, other)
    return (c2 / (spread + c2)).mean((1, 2))


def _variances(measure: SSIM, maps: Tensor) -> Tensor:
    values, pixels = normalized(maps, measure.normalization), measure.window**2
    height, width = values.shape[1:]

    def means(flat: Tensor) -> Tensor:
        if measure.weights == "uniform":
            each = windows.box(flat, measure.window, width) / pixels
        else:
            each = windows.gaussian(flat, measure.window, width, measure.sigma)
        return windows.inside(each, measure.window, height, width)

    flat = values.flatten(1)
    return (means(flat.square()) - means(flat).square()) * pixels / (pixels - 1)


def _drawn(process: str, side: int, samples: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A map, another of the same process, white noise, and uniform numbers, each (samples, side, side)."""
    if process not in PROCESSES:
        raise unknown("process", process, PROCESSES)
    parts = []
    for sample in range(samples):
        stream = generator(seed, "noise similarity", process, side, sample)
        pair = [PROCESSES[process](stream, side) for _ in range(2)]
        parts.append([*pair, _white(stream, side), torch.rand(side, side, generator=stream, dtype=torch.float64)])
    maps, other, white, uniform = (torch.stack(column) for column in zip(*parts, strict=True))
    return maps, other, white, uniform


def _mixed(mix: str, share: float, maps: Tensor, other: Tensor, white: Tensor, uniform: Tensor) -> Tensor:
    if not 0 <= share <= 1:
        raise InputError(f"Expected a share of noise from 0 to 1, but got {share}.")
    if mix == "added":
        return math.sqrt(1 - share) * maps + math.sqrt(share) * white
    if mix == "replaced":
        return torch.where(uniform < share, other, maps)
    raise unknown("mix", mix, MIXES)
