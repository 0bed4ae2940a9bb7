"""What every verb of the command line uses."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from heatproof.paths import url_of

if TYPE_CHECKING:
    from heatproof.auditing.spec import AuditSpec

Strict = Annotated[bool, typer.Option("--strict", help="Exit with status 1 if anything failed at all.")]
Trust = Annotated[
    list[str], typer.Option(help="A package whose code the spec may name besides what lies beside it; repeatable.")
]

app = typer.Typer(
    name="heatproof",
    help="Attribution heatmaps for any PyTorch model, and the proof of which ones to trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)


def run_folder(file: Path, spec: "AuditSpec", asked: Path | None) -> Path:
    """Where the run of a spec lies: as asked for, as the spec says, or under its name."""
    return asked or (spec.folder / (spec.out or f"runs/{file.stem}"))


def print_path(path: Path) -> None:
    """A path on one line: not through rich, it must come out whole, whatever the terminal's width."""
    typer.echo(url_of(path) or str(path.resolve()))


def plain(text: str) -> str:
    """Text without rich's markup."""
    from rich.markup import escape

    return escape(text)


def warned(message: Warning | str) -> None:
    """A warning as a sentence, without the line of code that gave it."""
    err.print(f"[bold yellow]Warning:[/] {plain(str(message))}", highlight=False, soft_wrap=True)
