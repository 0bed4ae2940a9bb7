"""The verb of automatic builds."""

import json
from pathlib import Path
from typing import Annotated

import typer

from heatproof.cli.base import app, err, out, plain
from heatproof.errors import HeatproofError


@app.command()
def check(
    run: Annotated[str, typer.Argument(help="A run folder, or its URL.")],
    require: Annotated[
        list[str] | None,
        typer.Option(help="Such as 'grad-cam: believable', 'grad-cam: not depends', 'box-ratio > 0.3'; several."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="A run made before: what was surely yes there must be so here.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Also write the outcomes here, as JUnit's XML.")] = None,
    allow_failures: Annotated[
        bool, typer.Option("--allow-failures", help="Judge a run in which something failed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcomes as JSON.")] = False,
) -> None:
    """Whether a run surely keeps what is required: status 0 if all of it, 1 if not or not told, 2 for a wrong question.

    Everything is judged by its whole 95 % interval, so what cannot be told is not kept.
    """
    from heatproof.gate import broken
    from heatproof.gate import check as judge
    from heatproof.gate import junit as written

    suite = Path(run).resolve().name  # of a URL, too
    try:
        outcomes = judge(run, require or [], baseline=baseline, allow_failures=allow_failures)
    except HeatproofError as error:
        if junit is not None:
            junit.write_text(broken(str(error), suite), encoding="utf-8")
        raise
    if junit is not None:
        junit.write_text(written(outcomes, suite), encoding="utf-8")
    kept = all(one.kept for one in outcomes)
    if as_json:
        said = [{"requirement": one.name, "method": one.method, "kept": one.kept, "why": one.why} for one in outcomes]
        typer.echo(json.dumps({"kept": kept, "outcomes": said}, ensure_ascii=False, indent=1))
    else:
        for one in outcomes:
            mark = "[green]●[/]" if one.kept else "[red]✕[/]"
            out.print(f"{mark} {plain(one.name)}: [dim]{plain(one.why)}[/]", highlight=False, soft_wrap=True)
    if not kept:
        failed = sum(not one.kept for one in outcomes)
        err.print(f"{failed} of {len(outcomes)} not kept.", style="bold red", highlight=False)
        raise typer.Exit(1)
