"""Similarities of 64 maps of 224²: on the device, on the CPU, and by the loop over SciPy and scikit-image."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from gpu_parts.bench import Bench, Row
from heatproof.similarity import HOG, SSIM, Similarity, Spearman


def measures(bench: Bench) -> Iterator[Row]:
    from scipy.stats import spearmanr
    from skimage.feature import hog
    from skimage.metrics import structural_similarity

    count, side = (2, 64) if bench.tiny else (64, 224)
    stream = torch.Generator().manual_seed(0)
    one = torch.randn(count, side, side, generator=stream)
    two = one + torch.randn(count, side, side, generator=stream)
    arrays = [(maps / maps.abs().amax((1, 2), keepdim=True)).numpy() for maps in (one, two)]

    def oriented(p: Any, q: Any) -> float:
        return float(np.corrcoef(hog(p, pixels_per_cell=(16, 16)), hog(q, pixels_per_cell=(16, 16)))[0, 1])

    loops: dict[str, tuple[Similarity, Callable[[Any, Any], float]]] = {
        "spearman": (Spearman(), lambda p, q: float(spearmanr(p.ravel(), q.ravel())[0])),
        "ssim": (SSIM(), lambda p, q: float(structural_similarity(p, q, win_size=5, data_range=2.0))),
        "hog": (HOG(), oriented),
    }
    for name, (measure, single) in loops.items():
        found: list[float] = []
        loop = bench.once(lambda single=single, found=found: found.extend(map(single, *arrays)))[0]
        there = one.to(bench.device), two.to(bench.device)
        kept = measure.prepare(there[0])
        device = bench.timed(lambda measure=measure, there=there: measure(*there), budget=1.0).seconds
        again = bench.timed(lambda measure=measure, there=there, kept=kept: measure.compare(kept, there[1]), budget=1.0)
        here = bench.timed(lambda measure=measure: measure(one, two), budget=1.0).seconds
        apart = float((measure(*there).cpu().double() - torch.tensor(found, dtype=torch.float64)).abs().max())
        yield {
            "what": name,
            "loop / device": loop / device,
            "loop / device, one side kept": loop / again.seconds,
            "loop / CPU": loop / here,
            "largest difference": apart,
        }
