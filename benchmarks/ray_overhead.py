"""What Ray costs: blocks that take a known time, by its workers, against that time shared among them.

`python benchmarks/ray_overhead.py 500 1.0 2` is 500 blocks of a second by two workers; a machine that does nothing else
gives a figure, as workers that wait for a core are not Ray's. The start of cluster and workers is counted apart.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.runs import Store


class Timed(nn.Module):
    """A network whose attribution takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class Slow:
    """Maps after so many seconds of sleep: what the method costs is the same, whoever computes."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        time.sleep(self.seconds)
        return inputs


def measure(blocks: int, seconds: float, workers: int) -> dict[str, float]:
    """Wall time of all blocks from when the first worker began to when the last one ended, over the ideal."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        hp.audit(
            Timed().eval(), torch.rand(blocks, 8), methods={"slow": Slow(seconds)}, checks=["calibration"],
            batch=1, threads=1, out=folder, engine="ray", workers=workers, progress=False,
        )  # fmt: skip
        whole = time.perf_counter() - start
        written = sorted(one.stat().st_mtime for one in Path(folder, "rows").glob("*.parquet"))
        calls = sum(one["costs"]["slow"]["seconds"] for one in Store(Path(folder)).workers() if one["costs"])
    # Between the first and the last file lies the work of all but the first round.
    ideal = calls / workers * (blocks - workers) / blocks
    spent = written[-1] - written[workers - 1]
    return {"blocks": blocks, "seconds": seconds, "workers": workers, "whole": whole, "spent": spent, "ideal": ideal,
            "overhead": spent / ideal - 1}  # fmt: skip


if __name__ == "__main__":
    given = sys.argv[1:] or ["12", "0.5", "2"]
    print(json.dumps(measure(int(given[0]), float(given[1]), int(given[2])), indent=1))
