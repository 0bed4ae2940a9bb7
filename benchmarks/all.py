"""All benchmarks, one after the other, into docs/benchmarks: `make bench`, on a machine that does nothing else.

    python benchmarks/all.py --out docs/benchmarks
    python benchmarks/all.py --tiny                  the same code on the smallest cases, in seconds

Each script compares with others in one process, in turns. Nothing is written where the machine is busy: a script that
others disturbed says so and leaves what there was. On a machine with a GPU, `gpu.py` is run as well.
"""

import argparse
import os
import runpy
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
# What each script is given for its smallest cases; None where it has none that take seconds.
SCRIPTS: dict[str, list[str] | None] = {
    "whole_audit": ["--jobs", "tiny", "--repeats", "1"],
    "door": ["--only", "MLP", "--repeats", "1"],
    "small_calls": ["--only", "MLP", "--repeats", "1"],
    "similarity": ["--maps", "2", "--sides", "28", "--repeats", "1"],
    "checks": ["--images", "2", "--repeats", "1"],
    "competition": None,
    "occlusion": None,
    "cam": None,
    "bottlenecks": None,
    "propagation": None,
    "reading": None,
    "ways": None,
}


def full(name: str, out: Path, more: list[str]) -> bool:
    """One script in a process of its own; whether it has written what it measured."""
    command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(out), *more]
    return subprocess.run(command, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode == 0


def tiny(name: str, arguments: list[str]) -> None:
    """One script in this process, on its smallest case, for what it prints."""
    before = sys.argv
    sys.argv = [f"{name}.py", *arguments]
    try:
        runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
    finally:
        sys.argv = before


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--out", type=Path, default=HERE.parent / "docs" / "benchmarks")
    options.add_argument("--only", nargs="+", default=list(SCRIPTS), choices=list(SCRIPTS))
    options.add_argument("--tiny", action="store_true")
    chosen = options.parse_args()
    if chosen.tiny:
        for name in chosen.only:
            if (arguments := SCRIPTS[name]) is not None:
                tiny(name, arguments)
        return
    failed = [name for name in chosen.only if not full(name, chosen.out, [])]
    if torch.cuda.is_available() and not full("gpu", chosen.out, []):
        failed.append("gpu")
    if failed:
        sys.exit(f"Not written: {', '.join(failed)}; see what they said above.")


if __name__ == "__main__":
    main()
