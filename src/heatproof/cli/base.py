"""What every verb of the command line uses."""

from pathlib import Path

import typer
from rich.console import Console

from heatproof.paths import url_of

app = typer.Typer(
    name="heatproof",
    help="Attribution heatmaps for any PyTorch model, and the proof of which ones to trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)


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
