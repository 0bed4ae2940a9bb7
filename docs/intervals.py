"""Writes docs/intervals.md: how often the 95 % intervals of reports cover what they estimate, simulated."""

from pathlib import Path

import numpy as np

from heatproof.reading.intervals import of_means

HERE = Path(__file__).parent
DRAWS = 4000  # the standard error of a coverage of 95 % is 0.34 points
SAMPLES = (5, 8, 16, 32, 64)
SEEDS = (2, 3, 5)
RATIOS = (0.1, 0.33, 1.0)
RESIDUAL = 0.5  # the spread of a value beyond its sample's and its seed's, the sample's being 1

HEAD = """# How often intervals cover

Written by `python docs/intervals.py`: means over n samples, alone and crossed with S seeds, {draws} draws each;
coverage of the 95 % interval of `heatproof.reading.intervals.of_means` in percent, and in parentheses the median width,
the spread of the samples being 1. Lognormal values have tails that no interval from so few samples can know of.
"""


def distributions(rng: np.random.Generator) -> dict[str, object]:
    """Draws of mean 0 and standard deviation 1, by name."""
    return {
        "normal": lambda shape: rng.normal(size=shape),
        "beta(.3, .7)": lambda shape: (rng.beta(0.3, 0.7, size=shape) - 0.3) / np.sqrt(0.105),
        "exponential": lambda shape: rng.exponential(size=shape) - 1,
        "lognormal": lambda shape: (rng.lognormal(size=shape) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e),
    }


def covered(values: np.ndarray) -> str:
    """Coverage of 0 in percent, and the median width."""
    low, high = of_means(values)
    return f"{100 * ((low <= 0) & (high >= 0)).mean():.1f} ({np.median(high - low):.2f})"


def main() -> None:
    """Simulate, and write the page."""
    rng = np.random.default_rng(0)
    draws = distributions(rng)
    lines = [HEAD.format(draws=DRAWS), "| values | " + " | ".join(f"n = {n}" for n in SAMPLES) + " |"]
    lines.append("| --- |" + " --- |" * len(SAMPLES))
    for name, draw in draws.items():
        cells = [covered(draw((1, n, DRAWS))) for n in SAMPLES]  # type: ignore[operator]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    ratios = " | ".join(f"S = {s}, {ratio:g}" for s in SEEDS for ratio in RATIOS)
    lines += [
        "",
        "Crossed with seeds; beside S the spread of seeds over that of samples:",
        "",
        f"| values, n | {ratios} |",
    ]
    lines.append("| --- |" + " --- |" * (len(SEEDS) * len(RATIOS)))
    for name, draw in list(draws.items())[:3]:
        for n in (5, 8, 16, 64):
            cells = []
            for s in SEEDS:
                for ratio in RATIOS:
                    seeds = ratio * rng.normal(size=(s, 1, DRAWS))
                    rest = RESIDUAL * rng.normal(size=(s, n, DRAWS))
                    cells.append(covered(draw((1, n, DRAWS)) + seeds + rest))  # type: ignore[operator]
            lines.append(f"| {name}, {n} | " + " | ".join(cells) + " |")
    (HERE / "intervals.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
