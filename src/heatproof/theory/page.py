"""The page of results: each of the papers' sentences beside what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

HOLDS, FAILS, UNTOLD = "holds", "does not hold", "cannot be told"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of a paper, where it stands, whether the numbers bear it out, and the numbers."""

    source: str
    says: str
    verdict: str
    measured: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """One experiment: what was done, its claims, its tables (by file name) and its pictures."""

    title: str
    text: str
    claims: Sequence[Claim]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)


def markdown(sections: Sequence[Section], options: str) -> str:
    """The whole page; `options` are those of the command that made it."""
    lines = [
        "# The papers' theorems, in numbers",
        "",
        f"Made by `python -m heatproof.theory --out docs/results/theory {options}`.",
        "Every figure is computed by that command. Intervals are 95 %: ± 1.96 standard errors of the mean over",
        "samples.",
        "",
    ]
    for section in sections:
        lines += [f"## {section.title}", "", section.text, ""]
        lines += ["| the paper says | | measured |", "| --- | --- | --- |"]
        for claim in section.claims:
            cells = (f"{claim.says} ({claim.source})", f"**{claim.verdict}**", claim.measured)
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
        lines.append("")
        lines += [f"![{name}]({name}.svg)" for name in section.pictures]
        lines += ["", "Tables: " + ", ".join(f"[{name}.csv]({name}.csv)" for name in section.tables), ""]
    return "\n".join(lines).rstrip() + "\n"


def spread(values: "pd.Series[float]") -> tuple[float, float]:
    """The mean and half of its 95 % interval."""
    known = values.dropna()
    if len(known) < 2:
        return (float(known.mean()) if len(known) else float("nan")), float("nan")
    return float(known.mean()), float(1.959964 * known.std() / np.sqrt(len(known)))


def told(values: "pd.Series[float]", digits: int = 3) -> str:
    """The mean with its interval as text."""
    mean, half = spread(values)
    return f"{mean:z.{digits}f} ± {half:.{digits}f}"


def verdict(holds: bool, *, known: bool = True) -> str:
    """In words; `known` says whether there was anything to judge by."""
    return (HOLDS if holds else FAILS) if known else UNTOLD
