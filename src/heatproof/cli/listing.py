"""Verbs that say what there is: methods and checks, each with its fields, defaults, cost and source."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heatproof.cli.base import app, out, plain
from heatproof.errors import HeatproofError

if TYPE_CHECKING:
    from heatproof.registry import Registry

Name = Annotated[str | None, typer.Argument(help="One of them: its fields, defaults, cost and source.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@app.command()
def methods(name: Name = None, as_json: AsJson = False) -> None:
    """Every registered method, with one line each; or all about one."""
    from heatproof.methods.base import METHODS

    _say(METHODS, name, as_json=as_json)


@app.command()
def checks(name: Name = None, as_json: AsJson = False) -> None:
    """Every registered check, with one line each; or all about one."""
    from heatproof.checks import CHECKS

    _say(CHECKS, name, as_json=as_json)


def _say(registry: "Registry[Any]", name: str | None, *, as_json: bool) -> None:
    from heatproof.described import described

    if name is not None:
        found = described(registry, name)
        typer.echo(json.dumps(found.as_data(), ensure_ascii=False, indent=1)) if as_json else _show(found)
        return
    if as_json:
        every = [described(registry, one).as_data() for one in registry.names()]
        typer.echo(json.dumps(every, ensure_ascii=False, indent=1))
        return
    _list(registry)


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


def _list(registry: "Registry[Any]") -> None:
    from rich.table import Table

    from heatproof.recipes import text

    table = Table(show_header=False, box=None)
    for name in registry.names():
        try:
            said = plain(text(registry.get(name)))
        except HeatproofError as error:  # a plug-in's, whose defaults cannot be made
            said = f"[red]{plain(str(error))}[/]"
        table.add_row(f"[bold]{name}[/]", said)
    out.print(table)
