"""Verbs that look at runs: their page, figures and verdicts, and what changed between two."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heatproof.cli.base import app, err, out, plain, print_path
from heatproof.errors import InputError

if TYPE_CHECKING:
    from heatproof.reading import Verdicts

STYLES = {"good": "green", "mid": "yellow", "bad": "red", "noise": "red", "unknown": "bold", "plain": "dim"}


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="A run folder; several are compared on one page.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print headline and verdicts instead.")] = False,
    figures: Annotated[
        Path | None, typer.Option(help="Write every figure here as SVG and PDF, every table as CSV and LaTeX.")
    ] = None,
    page: Annotated[Path | None, typer.Option("--out", help="Where the page that compares several runs goes.")] = None,
) -> None:
    """Write the page of a run again, its figures, or the page that compares several runs; or print its verdicts."""
    from heatproof.reading import Verdicts
    from heatproof.runs import read

    if as_json:
        found = [_as_json(read(run, Verdicts.of)) for run in runs]
        typer.echo(json.dumps(found[0] if len(found) == 1 else found, ensure_ascii=False, indent=1))
        return
    if figures is not None:
        from heatproof.report.exporting import export

        if len(runs) > 1:
            raise InputError(f"Expected one run to draw the figures of, but got {len(runs)}.")
        for path in export(runs[0], figures):
            print_path(path)
        return
    if len(runs) > 1:
        from heatproof.report.comparing import compare

        print_path(compare(runs, page or Path("comparison.html")))
        return
    from heatproof.report import write

    print_path(write(runs[0]))


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="A run folder.")],
    after: Annotated[Path, typer.Argument(help="Another, of the same or of other methods.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """What changed from one run to another, and whether it surely did."""
    from rich.table import Table

    from heatproof.gate import changes
    from heatproof.reading import Verdicts
    from heatproof.runs import read

    found = changes(read(before, Verdicts.of), read(after, Verdicts.of))
    if as_json:
        typer.echo(json.dumps([{**vars(one), "means": _finite(one.means)} for one in found], indent=1))
        return
    if not found:
        out.print("Nothing changed: every answer is the same, and no mean surely differs.")
        return
    table = Table("method", "question", "was", "is", "mean", "surely", box=None)
    for one in found:
        means = " → ".join("" if mean != mean else f"{mean:.3g}" for mean in one.means)
        sure = {True: "yes", False: "no", None: ""}[one.surely]
        table.add_row(*(plain(part) for part in (one.method, one.question, *one.words, means, sure)))
    out.print(table)


def told(folder: Path) -> None:
    """A run's matrix of marks, and its sentence."""
    from rich.table import Table

    from heatproof.reading import Verdicts
    from heatproof.report.first_screen import first_screen
    from heatproof.report.matrix import matrix
    from heatproof.runs import read

    verdicts = read(folder, Verdicts.of)
    found = matrix(verdicts)
    judged = [k for k, (key, _, _) in enumerate(found.columns) if key in ("believable", *verdicts.counted)]
    cost = next((k for k, (key, _, _) in enumerate(found.columns) if key == "cost"), None)
    names = [found.columns[k][1] for k in judged]
    labels = [f"{line.method}, a control" if line.control else line.method for line in found.lines]
    # Names of columns stand above them where there is room; else numbers do, and the names below.
    wide = max(map(len, labels), default=0) + sum(len(name) + 2 for name in names) + 10 <= err.width
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("", no_wrap=True)
    for k, name in enumerate(names, start=1):
        table.add_column(name if wide else str(k), justify="center", no_wrap=True)
    table.add_column("cost" if cost is not None else "", justify="right", no_wrap=True)
    for label, line in zip(labels, found.lines, strict=True):
        marks = [line.marks[k] if line.marks[k].glyph else None for k in judged]
        shown = ["–" if mark is None else f"[{STYLES.get(mark.tone, 'dim')}]{mark.shown}[/]" for mark in marks]
        table.add_row(plain(label), *shown, "" if cost is None else line.marks[cost].shown)
    err.print(table)
    if not wide:
        err.print("  ".join(f"{k} {name}" for k, name in enumerate(names, start=1)), style="dim", highlight=False)
    key = "● surely yes  ◐ in part  ✕ surely no  ? cannot be told  – a number, not judged  · not asked"
    err.print(key, style="dim", highlight=False)
    err.print(plain(first_screen(verdicts).text), style="bold", highlight=False, soft_wrap=True)


def _as_json(verdicts: "Verdicts") -> dict[str, object]:
    table = json.loads(verdicts.table.to_json(orient="records"))
    return {"headline": verdicts.headline, "verdicts": table}


def _finite(values: tuple[float, float]) -> list[float | None]:
    return [None if value != value else value for value in values]
