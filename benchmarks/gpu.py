"""Everything that is only known on an accelerator, in one run of at most four minutes.

    python benchmarks/gpu.py --out FOLDER             on CUDA: gpu.jsonl and gpu.md
    python benchmarks/gpu.py --device cpu --tiny      the same code on a small network, in seconds
    python benchmarks/gpu.py --read gpu.jsonl --out docs/benchmarks

Parts, in this order; each is left out when time is up:

env       versions and the card
agree     every method, every similarity and the rows of an audit, on the device against the CPU
waiting   how often a call makes the host wait for the device, and where
speed     images a second against plain passes, plain loops, Captum and Zennit where they are installed
measures  similarities against loops over SciPy and scikit-image
auditing  a small audit against the passes that it makes

Needs what heatproof needs, with torchvision and scikit-image.
"""

import argparse
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch

import heatproof as hp
from common import markdown
from gpu_parts.agree import agree
from gpu_parts.auditing import auditing
from gpu_parts.bench import Bench, Row
from gpu_parts.measures import measures
from gpu_parts.speed import speed
from gpu_parts.waiting import waiting

TITLES = {
    "env": "Where",
    "agree": "The same numbers as on a CPU",
    "waiting": "Waits of the host, a call",
    "speed": "Speed",
    "measures": "Similarities",
    "auditing": "An audit",
}


def env(bench: Bench) -> Iterator[Row]:
    yield {
        "device": torch.cuda.get_device_name() if bench.cuda else "CPU",
        "torch": torch.__version__,
        "Python": platform.python_version(),
        "heatproof": hp.__version__,
        "cores": os.cpu_count(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "date": time.strftime("%Y-%m-%d"),
    }


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "env": env,
    "agree": agree,
    "waiting": waiting,
    "speed": speed,
    "measures": measures,
    "auditing": auditing,
}


def lines(bench: Bench, parts: Iterable[str]) -> Iterator[Row]:
    """The rows of all parts; a part that fails says so and the next one runs."""
    for part in parts:
        if bench.left() < 5:
            yield {"part": part, "skipped": "no time left"}
            continue
        start = time.perf_counter()
        try:
            for row in PARTS[part](bench):
                yield {"part": part, **row}
        except Exception as error:
            print(traceback.format_exc(), file=sys.stderr, flush=True)
            yield {"part": part, "failed": f"{type(error).__name__}: {str(error)[:300]}"}
        yield {"part": part, "seconds of this part": time.perf_counter() - start}


def page(rows: Iterable[Row], remark: str = "") -> str:
    """Markdown: a remark on the run, a section a part, a table for each kind of row, in the order they come in."""
    text = ["# On an accelerator", "Written by `benchmarks/gpu.py`, whose files say what each figure is."]
    text += [remark] if remark else []
    by_part: dict[str, list[Row]] = {}
    for row in rows:
        by_part.setdefault(row["part"], []).append({name: value for name, value in row.items() if name != "part"})
    for part, found in by_part.items():
        text.append(f"## {TITLES[part]}")
        tables: dict[tuple[str, ...], list[Row]] = {}
        for row in found:
            tables.setdefault(tuple(row), []).append(row)
        text += [markdown(table) for names, table in tables.items() if names != ("seconds of this part",)]
    return "\n\n".join(text) + "\n"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--device", default="cuda")
    options.add_argument("--tiny", action="store_true", help="a small network, two images, few methods")
    options.add_argument("--seconds", type=float, default=225, help="time for everything")
    options.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    options.add_argument("--read", type=Path, help="write the page of these lines instead of running")
    options.add_argument("--remark", default="", help="what has to be known of this run, for its page")
    options.add_argument("--out", type=Path, help="folder for gpu.jsonl and gpu.md")
    chosen = options.parse_args()
    if chosen.out is not None:
        chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.read is not None:
        found = [json.loads(line) for line in chosen.read.read_text().splitlines()]
    else:
        bench = Bench(torch.device(chosen.device), chosen.tiny, chosen.seconds)
        if not bench.cuda:
            torch.set_num_threads(1)
        found = []
        for row in lines(bench, chosen.parts):
            found.append(row)
            cells = "  ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items())
            print(f"[{time.perf_counter() - bench.start:6.1f} s] {cells}", flush=True)
            if chosen.out is not None:  # line by line, so that a run that is cut off leaves what it had
                with (chosen.out / "gpu.jsonl").open("a") as file:
                    file.write(json.dumps(row) + "\n")
    if chosen.out is not None:
        (chosen.out / "gpu.md").write_text(page(found, chosen.remark))


if __name__ == "__main__":
    main()
