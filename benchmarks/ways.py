"""What the ways to run an audit cost: Ray on blocks that take a known time, and two processes against one.

`python benchmarks/ways.py --blocks 500` is Ray with blocks of a second on two workers: a machine that does nothing else
gives a figure, as workers that wait for a core are not Ray's. The start of cluster and workers is counted apart. Two
processes are timed by the same files, against the same audit in this process, with one thread each.
"""

import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import heatproof as hp
from common import Row, mnist, parser, report
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


def rounds(folder: str, workers: int) -> float:
    """Seconds from the first round of blocks written to the last block."""
    written = sorted(one.stat().st_mtime for one in Path(folder, "rows").glob("*.parquet"))
    return written[-1] - written[workers - 1]


def ray(blocks: int, seconds: float, workers: int) -> Row:
    """Wall time of all blocks from when the first worker began to when the last one ended, over the ideal."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        hp.audit(
            Timed().eval(), torch.rand(blocks, 8), methods={"slow": Slow(seconds)}, checks=["calibration"],
            batch=1, threads=1, out=folder, engine="ray", workers=workers, progress=False,
        )  # fmt: skip
        whole = time.perf_counter() - start
        calls = sum(one["costs"]["slow"]["seconds"] for one in Store(Path(folder)).workers() if one["costs"])
        # Between the first and the last file lies the work of all but the first round.
        ideal = calls / workers * (blocks - workers) / blocks
        spent = rounds(folder, workers)
    return {"case": f"Ray, {blocks} blocks of {seconds:g} s, {workers} workers", "seconds": whole,
            "× ideal": spent / ideal}  # fmt: skip


def processes(blocks: int) -> Row:
    """An audit of a small network by two processes, and by one."""
    model, x = mnist(8 * blocks)
    seconds = {}
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            hp.audit(
                model.eval(), x, methods=["smoothgrad", "lrp-epsilon-plus"], checks=["degradation"], batch=8, threads=1,
                out=folder, progress=False, **({"workers": 2} if workers == 2 else {}),
            )  # fmt: skip
            seconds[workers] = rounds(folder, workers) * blocks / (blocks - workers)
    return {"case": f"2 processes, {blocks} blocks of 8 digits", "seconds": seconds[2],
            "× ideal": 2 * seconds[2] / seconds[1]}  # fmt: skip


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--blocks", type=int, default=500)
    options.add_argument("--seconds", type=float, default=1.0)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    report("ways", [processes(max(6, chosen.blocks // 12)), ray(chosen.blocks, chosen.seconds, 2)], chosen.out)
