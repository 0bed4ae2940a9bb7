"""What does not grow with a run, measured: python docs/scale_figures.py [PART …], which writes scale-figures.md.

Each part is measured in a process of its own, by its CPU time beside the clock's, as other work may go on. A part that
is named is measured anew, and the others stay as the page has them.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

HERE = Path(__file__).parent
PAGE = HERE / "scale-figures.md"
sys.path[:0] = [str(HERE.parent / "tests" / "auditing")]

import finished_runs as runs  # noqa: E402

import heatproof as hp  # noqa: E402
from heatproof.auditing import settings  # noqa: E402
from heatproof.auditing.samples import Tensors  # noqa: E402
from heatproof.markdown import table  # noqa: E402
from heatproof.models import rows_per_pass  # noqa: E402
from heatproof.runs.store import RUN  # noqa: E402

Figures = dict[str, Any]


def resume(blocks: int, folder: Path) -> Figures:
    """A run that is finished, asked for once more."""
    runs.finished(blocks, folder)
    with runs.counted() as files:
        clock, work = time.perf_counter(), time.process_time()
        run = runs.audit(blocks, folder)
        found = {"seconds": time.perf_counter() - clock, "CPU seconds": time.process_time() - work}
    assert run.manifest["status"] == "complete"
    return {"finished blocks": blocks, **found, **{f"files {did}": count for did, count in files.items()}}


def memory(images: int, folder: Path) -> Figures:
    """An audit of 224² pictures from its first to its last block, in this process; its peak is all of the process."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.AvgPool2d(56), torch.nn.Flatten(), torch.nn.Linear(48, 4)).eval()
    clock, work = time.perf_counter(), time.process_time()
    hp.audit(
        net, runs.Generated(images, side=224), hp.targets.Label("given"), methods=["gradient"], checks=["completeness"],
        out=folder, batch=20, threads=1, progress=False,
    )  # fmt: skip
    seconds = {"seconds": time.perf_counter() - clock, "CPU seconds": time.process_time() - work}
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.split("VmHWM:")[1].split()[0]) // 1024
    return {"images": images, "peak, MiB": peak, "run.json, bytes": (folder / RUN).stat().st_size, **seconds}


NETWORKS = ("table, 20 columns", "digits, 28 × 28", "ResNet-18, 32 × 32", "ResNet-18, 224 × 224", "text of 128 tokens")


def network(number: int) -> tuple[torch.nn.Module, torch.Tensor]:
    """One of NETWORKS, and 64 samples."""
    from torch import nn

    torch.manual_seed(0)
    if number == 0:
        return nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 10)), torch.randn(64, 20)
    if number == 1:
        layers = [nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5, padding=2)]
        head = [nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 49, 10)]
        return nn.Sequential(*layers, *head), torch.randn(64, 1, 28, 28)
    if number == 4:
        layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
        return nn.Sequential(layer, nn.Flatten(), nn.Linear(128 * 128, 10)), torch.randn(64, 128, 128)
    from torchvision.models import resnet18

    side = 32 if number == 2 else 224
    return resnet18(weights=None), torch.randn(64, 3, side, side)


def batch(number: int, _: Path) -> Figures:
    """How fast passes of every size are, in CPU time, and what the usual size loses to the best."""
    model, x = network(number)
    usual = min(rows_per_pass(x), settings.MOST_ROWS)
    settings.SECONDS = 60.0
    rates = settings.measured(model.eval(), Tensors(inputs=x), usual, time.process_time)
    told = {str(size): f"{rate / max(rates.values()):.2f}" for size, rate in rates.items()}
    return {"network": NETWORKS[number], **told, "by size": usual, "measured": settings.chosen(rates, usual)}


PARTS: dict[str, tuple[Callable[[int, Path], Figures], tuple[int, ...], str]] = {
    "resume": (
        resume,
        (1_000, 10_000, 100_000),
        "A finished run is asked for once more: two methods, one sample a block. Up to 20,000 files every one is "
        "looked into for damage; beyond that their names are taken for what they hold. Not in it are the report, which "
        "reads all rows, and what is said of all blocks when the last one is done, once, in about 0.3 ms a block.",
    ),
    "memory": (
        memory,
        (200, 20_000),
        "An audit of generated pictures of 224 × 224 in this process, with a network that takes next to no memory.",
    ),
    "batch": (
        batch,
        tuple(range(len(NETWORKS))),
        "Samples a second of a forward and backward pass by the samples a pass, of the best, in CPU time; the samples "
        'a pass that an audit takes by their size alone, and those that `batch = "measured"` would take here.',
    ),
}


def measured(part: str, size: int) -> Figures:
    """What a process of its own says of one size."""
    command = [sys.executable, __file__, part, str(size)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


def section(part: str) -> str:
    """The part of the page, as measured now."""
    _, sizes, said = PARTS[part]
    found = pd.DataFrame([measured(part, size) for size in sizes])
    cells = found.map(
        lambda one: f"{one:.2f}" if isinstance(one, float) else one if isinstance(one, str) else f"{one:,}"
    )
    load = f"a load of {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    where = f"Python {platform.python_version()}, torch {torch.__version__}, one thread, {load}."
    return "\n".join([f"## {part}", "", textwrap.fill(said, 120), "", *table(cells), "", where])


def main(parts: list[str]) -> None:
    """Write the page."""
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    there = {text.partition("\n")[0]: f"## {text.strip()}" for text in before.split("\n## ")[1:]}
    sections = [section(part) if part in parts or part not in there else there[part] for part in PARTS]
    head = "# What does not grow\n\nWritten by `python docs/scale_figures.py`."
    PAGE.write_text("\n\n".join([head, *sections]) + "\n", encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[2].isdigit():
        with tempfile.TemporaryDirectory() as out:
            print(json.dumps(PARTS[sys.argv[1]][0](int(sys.argv[2]), Path(out))))
    else:
        main(sys.argv[1:] or list(PARTS))
