"""What every benchmark shares: interleaved medians in one process run, and tables of ratios."""

import argparse
import csv
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

Row = Mapping[str, str | int | float]
QUIET = 1.2  # cores: one is this process's own


def mnist(images: int) -> tuple[nn.Module, Tensor]:
    """The CNN of Adebayo et al. for 28² digits, 10 labels, and so many images."""
    layers = [nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5, padding=2), nn.ReLU()]
    head = [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 49, 1024), nn.ReLU(), nn.Linear(1024, 10)]
    return nn.Sequential(*layers, *head), torch.randn(images, 1, 28, 28)


def torchvision(name: str) -> tuple[nn.Module, Tensor]:
    """A network for 1000 labels and one 224² image."""
    from torchvision.models import get_model

    return get_model(name, weights=None), torch.randn(1, 3, 224, 224)


def interleaved(
    cases: Mapping[str, Callable[[], object]],
    *,
    repeats: int = 7,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    of: Callable[[Sequence[float]], float] = statistics.median,
) -> dict[str, float]:
    """Median seconds of each case, with the cases taking turns, so that a busy machine slows all of them alike.

    `clock=time.process_time` counts the process's own work only, all threads together: for one thread on a CPU that
    other work shares. `of=min` takes the fastest turn, where other work comes and goes and takes the caches with it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(warmup + repeats):
        for name, case in cases.items():
            synchronize()
            start = clock()
            case()
            synchronize()
            if turn >= warmup:
                seconds[name].append(clock() - start)
    return {name: of(values) for name, values in seconds.items()}


def synchronize() -> None:
    """Wait for the accelerator: its calls return before they are done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def markdown(rows: Sequence[Row]) -> str:
    """`rows` as a Markdown table; floats with three significant digits."""
    names = list(rows[0])
    cells = [[f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    widths = [max(len(line[i]) for line in [names, *cells]) for i in range(len(names))]
    lines = [names, ["-" * width for width in widths], *cells]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def environment() -> str:
    """One line: what the numbers were measured on, and when."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    busy = "load unknown" if load() is None else f"load {load():.1f} on {os.cpu_count()} cores"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} thread(s)"
    return f"{versions}, {device}, {busy}, {time.strftime('%Y-%m-%d')}"


def processor() -> str:
    """The CPU's name, where the system tells."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
    return platform.processor() or "CPU"


def load() -> float | None:
    """One core for this process, and how many others have used since it began; None where the system does not tell.

    Where only the system's own load is known, it is that: what has run lately, this process included.
    """
    if (now := _spent()) is None or _BEGAN is None:
        return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    (busy, own, clock), (busy_then, own_then, clock_then) = now, _BEGAN
    return 1 + max(0.0, (busy - busy_then) - (own - own_then)) / max(1e-3, clock - clock_then)


def _spent() -> tuple[float, float, float] | None:
    """Seconds that all cores were busy, that this process and those that it ended used, and the clock."""
    try:
        user, nice, system, _idle, _wait, *rest = map(int, Path("/proc/stat").read_text().split()[1:9])
    except (OSError, ValueError):
        return None
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4]), time.monotonic()


_BEGAN = _spent()


def parser(description: str) -> argparse.ArgumentParser:
    """Options of every benchmark: where results go, how often cases run, and on how many threads."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--out", type=Path, help="folder for <name>.csv and <name>.md")
    options.add_argument("--repeats", type=int, default=7, help="measured turns; medians are reported")
    options.add_argument("--cpu-time", action="store_true", help="time the process's own work, on a shared machine")
    options.add_argument("--threads", type=int, default=1, help="threads of torch")
    return options


def report(name: str, rows: Sequence[Row], out: Path | None) -> None:
    """Print `rows` as a table, and write them as CSV and Markdown under `out`.

    Raises: SystemExit, instead of writing, where others keep the machine busy.
    """
    text = f"# {name}\n\n{environment()}\n\n{markdown(rows)}\n"
    print(text)
    if out is not None:
        if (busy := load() or 0.0) > QUIET:
            raise SystemExit(
                f"Expected a machine that does nothing else (a load of at most {QUIET}), but it is {busy:.1f}: the "
                f"figures are not written to {out}."
            )
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.md").write_text(text)
        with (out / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
