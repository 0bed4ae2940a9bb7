"""All benchmarks, one after the other, into docs/benchmarks: `make bench`, on a machine that does nothing else.

    python benchmarks/all.py --out docs/benchmarks
    python benchmarks/all.py --only growth checks    some of them; what others have written stays
    python benchmarks/all.py --tiny                  the same code on the smallest cases, in seconds

Each script compares with others in one process, in turns. Nothing is written where the machine is busy: a script that
others disturbed says so and leaves what there was, and can be run again by itself. On a machine with a GPU, `gpu.py` is
run as well. Each says how long it took; the audit of a ResNet-18 takes its sides more than ten minutes, and is left to
`python benchmarks/whole_audit.py --jobs resnet18`.
"""

import argparse
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch

HERE = Path(__file__).parent


class Script(NamedTuple):
    """What a script is given to keep within minutes, and for its smallest cases; None where it has none of seconds."""

    full: str
    tiny: str | None


SCRIPTS = {
    "whole_audit": Script("--jobs mnist --repeats 1", "--jobs tiny --repeats 1"),
    "growth": Script("", "--sizes 2 --repeats 1"),
    "faithfulness": Script("--repeats 3", None),
    "checks": Script("--large --repeats 3", "--images 2 --repeats 1"),
    "door": Script("", "--only MLP --repeats 1"),
    "small_calls": Script("", "--only MLP --repeats 1"),
    "similarity": Script("--repeats 3", "--maps 2 --sides 28 --repeats 1"),
    "propagation": Script("--repeats 3", None),
    "occlusion": Script("--repeats 3", None),
    "cam": Script("--repeats 3", None),
    "bottlenecks": Script("--repeats 1", None),
    "reading": Script("", None),
    "ways": Script("--blocks 60", None),
    "competition": Script("--repeats 1", None),
}


def full(name: str, out: Path, arguments: str = "") -> bool:
    """One script in a process of its own; whether it has written what it measured."""
    command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(out), *arguments.split()]
    start = time.monotonic()
    done = subprocess.run(command, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode == 0
    print(f"{name}: {'written' if done else 'not written'} after {time.monotonic() - start:.0f} s", flush=True)
    return done


def tiny(name: str, arguments: str) -> None:
    """One script in this process, on its smallest case, for what it prints."""
    before = sys.argv
    sys.argv = [f"{name}.py", *arguments.split()]
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
            if (arguments := SCRIPTS[name].tiny) is not None:
                tiny(name, arguments)
        return
    failed = [name for name in chosen.only if not full(name, chosen.out, SCRIPTS[name].full)]
    if torch.cuda.is_available() and not full("gpu", chosen.out):
        failed.append("gpu")
    if failed:
        again = [name for name in failed if name in SCRIPTS]
        sys.exit(
            f"Not written: {', '.join(failed)}; see what they said above, and run them again: --only {' '.join(again)}."
        )


if __name__ == "__main__":
    main()
