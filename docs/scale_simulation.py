"""50,000 images × 20 methods × 20 states on 64 GPUs, from measured unit costs: python docs/scale_simulation.py

Images a second are those of docs/benchmarks/gpu.md (ResNet-50 at 224 × 224, float32); of a method that is not in it,
those of the nearest that is. Reading is as in docs/benchmarks/reading.md. Workers take blocks as they come; each dies
at random and loses the block that it was at. Writes scale-simulation.md.
"""

import heapq
import random
import re
from pathlib import Path

import pandas as pd

from heatproof.markdown import table

HERE = Path(__file__).parent
IMAGES, STATES, WORKERS, BLOCK = 50_000, 20, 64, 64
# Each method, and what of the benchmark stands for it: its rows that have the widest batch.
METHODS = {
    "gradient": "gradient",
    "saliency": "gradient",
    "gradient-x-input": "gradient",
    "gradient-l2": "gradient",
    "guided-backprop": "guided-backprop",
    "deconvnet": "guided-backprop",
    "grad-cam": "Grad-CAM",
    "guided-grad-cam": "guided-backprop",
    "lrp-epsilon": "LRP epsilon-plus",
    "lrp-epsilon-plus": "LRP epsilon-plus",
    "lrp-epsilon-plus-flat": "LRP epsilon-plus",
    "lrp-epsilon-gamma-box": "LRP epsilon-gamma-box",
    "lrp-epsilon-alpha2-beta1": "LRP epsilon-gamma-box",
    "lrp-alpha1-beta0": "LRP epsilon-plus",
    "deep-taylor": "LRP epsilon-plus",
    "deeplift": "DeepLIFT",
    "integrated-gradients": "IG 50",
    "smoothgrad": "SmoothGrad 50",
    "vargrad": "SmoothGrad 50",
    "iba": "IBA layer2, 100 passes above it",
}
ROWS_A_MAP = 8  # similarities and diagnostics
ROW_BYTES = 12
LIFE = 24 * 3600.0  # mean seconds until a worker dies
OPENING = 60.0  # seconds until a new one computes


def measured() -> dict[str, float]:
    """Images a second by what was measured, at its widest batch."""
    page = (HERE / "benchmarks" / "gpu.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| ([^|]+?) +\| (\d+) +\| ([\d.e+]+) +\| [\d.e+]+ +\|", page, re.MULTILINE)
    widest: dict[str, tuple[int, float]] = {}
    for what, batch, rate in found:
        widest[what] = max(widest.get(what, (0, 0.0)), (int(batch), float(rate)))
    return {what: rate for what, (_, rate) in widest.items()}


def simulated(seconds: float, blocks: int, workers: int) -> tuple[float, int]:
    """Hours until the last block is written, and how often a block was begun in vain."""
    rng = random.Random(0)
    left, lost, at = blocks, 0, 0.0
    free = [(0.0, rng.expovariate(1 / LIFE)) for _ in range(workers)]  # when free, when it dies
    heapq.heapify(free)
    while left:
        begun, death = heapq.heappop(free)
        if begun + seconds > death:
            lost += 1
            heapq.heappush(free, (death + OPENING, death + OPENING + rng.expovariate(1 / LIFE)))
            continue
        left -= 1
        at = max(at, begun + seconds)
        heapq.heappush(free, (begun + seconds, death))
    return at / 3600, lost


def reading() -> tuple[float, float, float]:
    """Rows of the largest run that was read, CPU seconds for its verdicts, and its peak in MiB."""
    page = (HERE / "benchmarks" / "reading.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| [^|]+\| (\d+) +\| verdicts +\| ([\d.e+]+) +\| ([\d.e+]+) +\|", page, re.MULTILINE)
    return max((float(rows), float(seconds), float(peak)) for rows, seconds, peak in found)


def main() -> None:
    """Write the page."""
    rates = measured()
    an_image = {method: STATES / rates[what] for method, what in METHODS.items()}
    seconds = BLOCK * sum(an_image.values())
    blocks = -(-IMAGES // BLOCK)
    units = blocks * STATES * len(METHODS)
    rows = IMAGES * STATES * len(METHODS) * ROWS_A_MAP
    dear = sorted(an_image, key=lambda method: -an_image[method])[:4]
    share = sum(an_image[method] for method in dear) / sum(an_image.values())
    lines = []
    for workers in (1, 8, WORKERS, 512, blocks):
        hours, lost = simulated(seconds, blocks, workers)
        ideal = seconds * blocks / workers / 3600
        lines.append([str(workers), f"{hours:.2f}", f"{hours / ideal:.2f}", str(lost)])
    said = "\n".join(table(pd.DataFrame(lines, columns=["workers", "hours", "× ideal", "blocks begun in vain"])))
    read, took, peak = reading()
    text = f"""# 50,000 images × 20 methods × 20 states

A simulation by `docs/scale_simulation.py`, from what was measured on one GPU ([the table](benchmarks/gpu.md)):
ResNet-50, 224 × 224, float32. It leaves out decoding, similarities, and the network between machines.

- {units:,} maps of a block (question × block), in {blocks:,} blocks of {BLOCK} images
- {rows:,} rows, {rows * ROW_BYTES / 1e9:.1f} GB at {ROW_BYTES} bytes; {2 * blocks:,} files, besides one a worker
- {seconds / 60:.1f} minutes a block; {100 * share:.0f} % of them are {", ".join(dear)}
- a worker dies once a day, and its block is begun again (what it had put down meanwhile is not counted)

{said}

**What breaks next.** Beyond one worker a block there is nothing to hand out: smaller blocks (`batch`) are the way, at
the price of narrower passes. Long before, the last round costs: with {WORKERS} workers {blocks % WORKERS} blocks
are left for it. Then reading: {read / 1e6:.1f} million rows take {took:.1f} s and {peak:.0f} MiB
([measured](benchmarks/reading.md)), so {rows / 1e6:.0f} million take {rows / read * took:.0f} s and up to
{rows / read * peak / 1024:.0f} GiB if both grow in proportion: the table of values is the next thing to stream.
Who hands out blocks is asked every {seconds / WORKERS:.0f} s, far from a limit.
"""
    (HERE / "scale-simulation.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
