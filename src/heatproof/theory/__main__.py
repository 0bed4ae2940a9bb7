"""Run every experiment of this package and write its tables, pictures, and a page that says what holds."""

import argparse
import time
from pathlib import Path

import torch

from heatproof.theory import page
from heatproof.theory.experiments import EXPERIMENTS


def main(arguments: list[str] | None = None) -> None:
    """`python -m heatproof.theory --out FOLDER [--samples N]`; a few minutes on one core."""
    parser = argparse.ArgumentParser(prog="python -m heatproof.theory", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for README.md, CSV tables and SVG pictures")
    parser.add_argument("--samples", type=int, default=100, help="samples of every experiment (the papers' 100)")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    sections = []
    for experiment in EXPERIMENTS:
        start = time.perf_counter()
        section = experiment(chosen.samples)
        for name, table in section.tables.items():
            table.to_csv(chosen.out / f"{name}.csv", index=False, float_format="%.5g")
        for name, picture in section.pictures.items():
            (chosen.out / f"{name}.svg").write_text(picture, encoding="utf-8")
        sections.append(section)
        print(f"{section.title}: {time.perf_counter() - start:.0f} s", flush=True)
    (chosen.out / "README.md").write_text(page.markdown(sections, chosen.samples), encoding="utf-8")


if __name__ == "__main__":
    main()
