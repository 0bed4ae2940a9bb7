"""A paper from its specs to its page of results."""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from heatproof import markdown
from heatproof.auditing import from_spec, spec
from heatproof.papers.measure import NoRowsError, Results
from heatproof.papers.paper import Paper, Picture, Verdict, answer, excused
from heatproof.reading import Verdicts
from heatproof.report import write
from heatproof.runs import read_manifest, read_rows
from heatproof.spreadsheet import write_csv

RESULTS = "results"


def run(paper: Paper, scale: str, out: Path, *, threads: int | None = None, progress: bool = True) -> Path:
    """Run a paper's audits at a scale, or go on with them, and write its page; gives the page.

    Each audit has the run folder `out/<step>` with a report of its own; `out/results` is the page with everything that
    stands behind it: claims, scorecards and specs, pictures.

    Raises: InputError for a scale that the paper does not have; AuditError if too much of an audit failed: what is
        finished is kept, and the same call goes on. Single failures are named on the page.
    """
    specs = paper.specs(scale)
    read = {step: spec.read(path) for step, path in specs.items()}  # refused before the first one runs
    results: dict[str, Results] = {}
    for step, one in read.items():
        folder = out / step
        from_spec.run(one, folder, threads=threads, progress=progress)
        write(folder)
        manifest = read_manifest(folder)
        results[step] = Results(rows=read_rows(folder).drop(columns="question"), manifest=manifest, folder=folder)
    for table in paper.tables_at(scale):
        results[table.name] = Results(rows=table.compute(*(read[step] for step in table.steps)))
    return page(paper, scale, specs, results, out)


def page(paper: Paper, scale: str, specs: Mapping[str, Path], results: Mapping[str, Results], out: Path) -> Path:
    """Write `out/results`: README.md with every claim beside our figure, and the files that it speaks of."""
    folder = out / RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    table = claims(paper, results)
    write_csv(table, folder / "claims.csv")
    for step, path in specs.items():
        shutil.copy(path, folder / f"{step}.toml")
        card = Verdicts.of(results[step].rows, results[step].manifest).frame
        write_csv(card, folder / f"{step}-scorecard.csv", "%.4g")
    tables = [one.name for one in paper.tables_at(scale)]
    for name in tables:
        write_csv(results[name].rows, folder / f"{name}.csv", "%.6g")
    pictures = [picture for picture in paper.pictures if _drawn(picture, results, folder)]
    sheets = {
        sheet: sheet.make(*(results[step] for step in sheet.steps))
        for sheet in paper.sheets
        if {*sheet.steps} <= results.keys()
    }
    for sheet, cells in sheets.items():
        write_csv(cells, folder / f"{sheet.name}.csv")
    lines = [
        f"# {paper.id}: {paper.title}",
        "",
        f"{paper.authors}. Scale `{scale}`: {paper.notes.get(scale, 'as published')}",
        "",
        f"Made by `heatproof papers run {paper.id} --scale {scale}`; every figure below is computed from its rows.",
        "",
        *_claims(paper, table, results),
        "## Runs",
        "",
        *_runs(specs, results),
        "",
        *_failures(specs, results),
        "## Tables and figures",
        "",
        *(["Tables: " + ", ".join(f"[{name}]({name}.csv)" for name in tables), ""] if tables else []),
        *(line for sheet, cells in sheets.items() for line in (f"{sheet.caption}", "", *markdown.table(cells), "")),
        *(
            line
            for picture in pictures
            for line in (f"![{picture.caption}]({picture.name}.png)", "", picture.caption, "")
        ),
    ]
    target = folder / "README.md"
    target.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return target


def claims(paper: Paper, results: Mapping[str, Results]) -> pd.DataFrame:
    """Every claim of the paper, a line: where, what, the paper's figure, ours, whether it holds, and why not."""
    answers = [answer(claim, results) for claim in paper.claims]
    return pd.DataFrame(
        {
            "where": [claim.where for claim in paper.claims],
            "claim": [claim.text for claim in paper.claims],
            "paper": [claim.paper for claim in paper.claims],
            "ours": [told.ours for told in answers],
            "verdict": [told.verdict for told in answers],
            "why": [
                claim.why if told.verdict == "does not hold" else ""
                for claim, told in zip(paper.claims, answers, strict=True)
            ],
        }
    )


def _drawn(picture: Picture, results: Mapping[str, Results], folder: Path) -> bool:
    """Draw a picture, unless a step of it did not run, or what it shows failed there."""
    if not {*picture.steps} <= results.keys():
        return False
    given = [results[step] for step in picture.steps]
    try:
        picture.draw(*given, file=folder / f"{picture.name}.png")
    except NoRowsError as error:
        if not excused(error, given):
            raise
        return False
    return True


def _claims(paper: Paper, table: pd.DataFrame, results: Mapping[str, Results]) -> list[str]:
    """The claims that this scale can be asked about, where they do not hold, and what the others need."""
    missing = [sorted({*claim.steps} - results.keys()) for claim in paper.claims]
    asked = table[[not steps for steps in missing]]
    told = asked["verdict"].value_counts().reindex(get_args(Verdict), fill_value=0)
    needed = Counter(step for steps in missing for step in steps)
    left = ", ".join(f"{step} ({count})" for step, count in needed.items())
    return [
        "## Claims",
        "",
        "{} hold, {} do not, {} cannot be told here.".format(*told),
        "",
        *markdown.table(asked.drop(columns="why")),
        "",
        *([f"Claims that need what this scale does not run: {left}.", ""] if left else []),
        *_differences(asked),
    ]


def _differences(asked: pd.DataFrame) -> list[str]:
    """The claims that do not hold, by what is known of the reason."""
    refuted = asked[asked["verdict"] == "does not hold"]
    lines = []
    for why, rows in refuted.groupby("why", sort=False):
        named = [f"- {where}: {claim}" for where, claim in zip(rows["where"], rows["claim"], strict=True)]
        lines += [str(why) or "Not explained here.", "", *named, ""]
    return ["## Where ours differs, and why", "", *lines] if lines else []


def _runs(specs: Mapping[str, Path], results: Mapping[str, Results]) -> list[str]:
    rows = []
    for step in specs:
        manifest: Mapping[str, Any] = results[step].manifest
        environment = manifest["environment"]
        spent = sum(cost["seconds"] for cost in manifest["costs"].values())
        rows.append(
            {
                "step": f"[{step}]({step}.toml)",
                "network": manifest["model"]["name"],
                "data": manifest["data"]["name"],
                "samples": manifest["data"]["samples"],
                "failures": len(manifest["failures"]),
                "attributions took": f"{spent / 60:.1f} min on {environment['threads']} threads",
                "torch": environment["torch"],
            }
        )
    return markdown.table(pd.DataFrame(rows)) if rows else []


def _failures(specs: Mapping[str, Path], results: Mapping[str, Results]) -> list[str]:
    told = [
        f"- {step}, {failure['method'] or failure['check']} in {failure['state']}: {failure['error']}"
        for step in specs
        for failure in results[step].manifest["failures"]
    ]
    return ["Failures:", "", *told, ""] if told else []
