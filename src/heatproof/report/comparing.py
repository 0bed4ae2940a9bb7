"""Several runs on one page: what each says of every method, and what surely differs from the first."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heatproof.errors import InputError
from heatproof.gate.changes import changes
from heatproof.reading import Verdicts
from heatproof.report.first_screen import first_screen
from heatproof.report.matrix import GLYPHS, KEY, Matrix, matrix
from heatproof.report.page import render, save
from heatproof.runs import read


def compare(runs: Sequence[Path], page: Path) -> Path:
    """Write the page and return its path. Raises: InputError for fewer than two runs."""
    check(len(runs))
    return save(render("comparison.html", content(runs), scripts=()), page)


def check(count: int) -> None:
    """Refuse to compare one run. Raises: InputError."""
    if count < 2:
        raise InputError(f"Expected two runs or more to compare, but got {count}.")


def content(runs: Sequence[Path]) -> dict[str, Any]:
    """What `comparison.html` is rendered with."""
    every = [read(run, Verdicts.of) for run in runs]
    names = _names(runs, every)
    found = [matrix(verdicts) for verdicts in every]
    return {
        "names": names,
        "screens": [first_screen(verdicts) for verdicts in every],
        "lines": _lines(found),
        "columns": _columns(found),
        "changes": [(name, changes(every[0], other)) for name, other in zip(names[1:], every[1:], strict=True)],
        "glyphs": {tone: (GLYPHS[tone], said) for tone, said in KEY.items()},
    }


def _names(runs: Sequence[Path], every: Sequence[Verdicts]) -> list[str]:
    """Each run by its folder, or by what it audited where folders are called alike."""
    names = [run.resolve().name for run in runs]
    if len(set(names)) == len(names):
        return names
    return [f"{name} {k}" for k, name in enumerate(names, start=1)]


def _columns(found: Sequence[Matrix]) -> list[tuple[str, str, str]]:
    columns = {column[0]: column for one in found for column in one.columns}
    return [column for key, column in columns.items() if key != "cost"]


def _lines(found: Sequence[Matrix]) -> list[dict[str, Any]]:
    """By method the marks of every run, in the order of the columns; None where a run has no such method."""
    keys = [key for key, _, _ in _columns(found)]
    labels = list(dict.fromkeys(line.method for one in found for line in one.lines))
    lines = []
    for label in labels:
        rows = []
        for one in found:
            line = next((line for line in one.lines if line.method == label), None)
            marks = {} if line is None else {mark.question: mark for mark in line.marks}
            rows.append(None if line is None else [marks.get(key) for key in keys])
        lines.append({"method": label, "rows": rows})
    return lines
