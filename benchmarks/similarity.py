"""Claim: similarities of a batch of maps cost a fraction of a loop over SciPy and scikit-image.

Each measure is timed against the loop that people write: one call a pair of maps in float32, as methods give them. SSIM
and HOG get their maps normalized beforehand, untimed; ours normalize in float64 within the time. "kept" is `compare`
with a prepared reference, as in a randomization with many stages. The cases take turns in one process; speed-ups are
ratios of medians. As in an audit, a network has run before: its freed activations teach glibc to keep freed memory,
which both sides gain from (before, temporaries of half a megabyte went back to the kernel and were zeroed anew).
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from skimage.feature import hog
from skimage.metrics import structural_similarity

from common import interleaved, parser, report
from heatproof.similarity import HOG, MSE, SSIM, Similarity, Spearman, get, normalized

Pair = Callable[[NDArray[np.float32], NDArray[np.float32]], float]


def spearman_pair(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(spearmanr(a.ravel(), b.ravel()).statistic)


def ssim_pair(window: int) -> Pair:
    return lambda a, b: structural_similarity(a, b, win_size=window, data_range=2.0)


def adebayo_pair(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(structural_similarity(a, b, gaussian_weights=True, sigma=1.5, data_range=2.0))


def hog_pair(cell: int) -> Pair:
    size = (cell, cell)
    return lambda a, b: np.corrcoef(hog(a, pixels_per_cell=size), hog(b, pixels_per_cell=size))[0, 1]


def mse_pair(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(((a / np.sqrt((a * a).mean()) - b / np.sqrt((b * b).mean())) ** 2).mean())


def workloads(side: int) -> dict[str, tuple[Similarity, str, Pair]]:
    """By name: the measure, the normalization that its loop is given ready-made, and one turn of that loop."""
    cells = (16,) if side >= 48 else (8, 4)
    return {
        "Spearman": (Spearman(), "none", spearman_pair),
        "SSIM window 5": (SSIM(), "max-abs", ssim_pair(5)),
        "SSIM window 7": (SSIM(window=7), "max-abs", ssim_pair(7)),
        "SSIM Gaussian": (get("ssim-adebayo"), "min-max", adebayo_pair),
        **{f"HOG cell {cell}": (HOG(cell=cell), "max-abs", hog_pair(cell)) for cell in cells},
        "MSE": (MSE(), "none", mse_pair),
    }


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--maps", type=int, default=64)
    options.add_argument("--sides", type=int, nargs="+", default=[28, 224])
    options.add_argument("--device", default="cpu")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    with torch.no_grad():
        torch.nn.Conv2d(3, 32, 3)(torch.zeros(4, 3, 224, 224))
    rows = []
    for side in chosen.sides:
        generator = torch.Generator().manual_seed(side)
        maps, other = torch.randn(2, chosen.maps, side, side, generator=generator).unbind()
        on_device = maps.to(chosen.device), other.to(chosen.device)
        for name, (measure, normalization, pair) in workloads(side).items():
            ready = [normalized(m, normalization).float().numpy() for m in (maps, other)]
            kept = measure.prepare(on_device[0])
            loop = lambda: [pair(a, b) for a, b in zip(*ready, strict=True)]  # noqa: B023, E731  # timed at once
            seconds = interleaved(
                {
                    "loop": loop,
                    "ours": lambda: measure(*on_device),  # noqa: B023
                    "kept": lambda: measure.compare(kept, on_device[1]),  # noqa: B023
                },
                repeats=chosen.repeats,
                clock=time.process_time if chosen.cpu_time else time.perf_counter,
            )
            difference = float(np.abs(measure(*on_device).cpu().numpy() - np.array(loop())).max())
            rows.append(
                {
                    "measure": name,
                    "maps": f"{chosen.maps} of {side}²",
                    "device": chosen.device,
                    "times as fast": round(seconds["loop"] / seconds["ours"], 2),
                    "with kept reference": round(seconds["loop"] / seconds["kept"], 2),
                    "largest difference": difference,
                }
            )
    report("similarity", rows, chosen.out)


if __name__ == "__main__":
    main()
