"""Verbs that say what there is: methods and checks, each with its fields, defaults, cost and source."""

import json
from typing import Annotated, Any

import typer

from heatproof.cli.base import app, out, plain

Name = Annotated[str | None, typer.Argument(help="One of them: its fields, defaults, cost and source.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@app.command()
def methods(name: Name = None, as_json: AsJson = False) -> None:
    """Every registered method, with one line each; or all about one."""
    _say("methods", name, as_json=as_json)


@app.command()
def checks(name: Name = None, as_json: AsJson = False) -> None:
    """Every registered check, with one line each; or all about one."""
    _say("checks", name, as_json=as_json)


def _say(kind: str, name: str | None, *, as_json: bool) -> None:
    if name is None and not as_json:
        _list(kind)
        return
    from heatproof.described import described
    from heatproof.listed import registry

    if name is not None:
        found = described(registry(kind), name)
        typer.echo(json.dumps(found.as_data(), ensure_ascii=False, indent=1)) if as_json else _show(found)
        return
    every = [described(registry(kind), one).as_data() for one in registry(kind).names()]
    typer.echo(json.dumps(every, ensure_ascii=False, indent=1))


def _show(found: Any) -> None:
    from rich.table import Table

    out.print(f"[bold]{plain(found.name)}[/]: {plain(found.summary)}", highlight=False)
    if found.text:
        out.print()
        out.print(plain(found.text), highlight=False)
    if found.fields:
        out.print()
        table = Table("field", "default", "type", "", box=None, header_style="dim")
        for one in found.fields:
            table.add_row(*(plain(part) for part in (one.name, one.default, one.kind, one.meaning)))
        out.print(table)
    for title, said in (("Cost", found.cost), ("Source", found.source)):
        if said:
            out.print(f"\n[dim]{title}:[/] {plain(said)}", highlight=False)
    if found.example:
        out.print(f"\n[dim]{plain(found.example)}[/]", highlight=False, soft_wrap=True)


def _list(kind: str) -> None:
    from rich.table import Table

    from heatproof.listed import listed

    table = Table(show_header=False, box=None)
    said, broken = listed(kind)
    for name in sorted({*said, *broken}):
        line = plain(said[name]) if name in said else f"[red]{plain(broken[name])}[/]"
        table.add_row(f"[bold]{name}[/]", line)
    out.print(table)
