"""Runs that many compute: how far they are, and the last word on them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from heatproof.cli.base import Strict, Trust, app, err, plain, print_path, run_folder


@app.command()
def plan(
    spec: Annotated[Path, typer.Argument(help="A TOML file: model, data, methods, checks.")],
    folder: Annotated[Path | None, typer.Option("--out", help="The run folder; the spec's own by default.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="How many workers there would be.")] = 1,
    trust: Trust = [],  # noqa: B006  # typer wants a list, and changes none
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """What an audit would take: blocks, passes, bytes, hours, and what is dear. Nothing is computed."""
    from heatproof.auditing.forecast import forecast
    from heatproof.auditing.spec import read

    wanted = read(spec, trust)
    found = forecast(wanted, run_folder(spec, wanted, folder))
    if as_json:
        typer.echo(json.dumps({**found.describe(), "hours": found.hours(workers)}, ensure_ascii=False, indent=1))
        return
    for line in found.sentences(workers):
        typer.echo(line)


@app.command()
def status(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """How far a run is, and who is at it."""
    from heatproof.runs.status import Status

    found = Status.of(run)
    if as_json:
        typer.echo(json.dumps(found.describe(), ensure_ascii=False, indent=1))
        return
    for line in found.sentences():
        typer.echo(line)


@app.command()
def finish(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    strict: Strict = False,
) -> None:
    """Say what needs all blocks of a run that many computed, and write its report; twice does no harm."""
    from heatproof.auditing.finishing import finish as finished
    from heatproof.runs.failures import failures

    last_words(run, failures(finished(run)), strict=strict)


def last_words(folder: Path, failed: Sequence[str], *, strict: bool) -> None:
    """What failed, what each heatmap is worth, and the report."""
    from heatproof.cli.looking import told
    from heatproof.report import write

    if failed:
        err.print("[bold red]Not everything worked[/]: the rows of what failed are missing or NaN.", highlight=False)
        for line in failed:
            err.print(f"  {plain(line)}", highlight=False, soft_wrap=True)
    told(folder)
    print_path(write(folder))
    if failed and strict:
        raise typer.Exit(1)
