"""Run every experiment of this package and write its tables, pictures, and a page that says what holds."""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from heatproof.theory import page
from heatproof.theory.experiments import OF_NETWORKS, OF_NUMBERS, demo, from_spec


def main(arguments: list[str] | None = None) -> None:
    """`python -m heatproof.theory --out FOLDER [--samples N] [--spec FILE …]`; minutes on one core."""
    parser = argparse.ArgumentParser(prog="python -m heatproof.theory", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for README.md, CSV tables and SVG pictures")
    parser.add_argument("--samples", type=int, default=100, help="samples of every experiment (the papers' 100)")
    parser.add_argument(
        "--spec",
        type=Path,
        action="append",
        default=[],
        help="an audit's spec: its network and data, besides the demo's",
    )
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    subjects = [demo(chosen.samples), *(from_spec(path, chosen.samples) for path in chosen.spec)]
    experiments: list[Callable[[], page.Section]] = [partial(one, chosen.samples) for one in OF_NUMBERS]
    experiments += [partial(one, subject) for subject in subjects for one in OF_NETWORKS]
    sections = []
    options = "".join(f" --spec {path}" for path in chosen.spec)
    for experiment in experiments:
        start = time.perf_counter()
        section = experiment()
        for name, table in section.tables.items():
            table.to_csv(chosen.out / f"{name}.csv", index=False, float_format="%.5g")
        for name, picture in section.pictures.items():
            (chosen.out / f"{name}.svg").write_text(picture, encoding="utf-8")
        sections.append(section)
        text = page.markdown(sections, f"--samples {chosen.samples}{options}")
        (chosen.out / "README.md").write_text(text, encoding="utf-8")
        print(f"{section.title}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
