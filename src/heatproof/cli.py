"""The command line: thin verbs around the library. Heavy modules are imported by the verb that needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from heatproof.errors import AuditError, HeatproofError, InputError

if TYPE_CHECKING:
    from heatproof.auditing.spec import AuditSpec
    from heatproof.registry import Registry

app = typer.Typer(
    name="heatproof",
    help="Attribution heatmaps for any PyTorch model, and the proof of which ones to trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)

Threads = Annotated[int | None, typer.Option(help="CPU threads; torch's own number by default.")]
MaxErrors = Annotated[int | None, typer.Option(help="Different failures after which the audit stops.")]


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Where the run goes.")] = Path("runs/demo"),
    threads: Threads = None,
) -> None:
    """Train a small network on handwritten digits, audit nine methods on it, and write the report."""
    from heatproof.auditing.from_spec import demo_spec

    _audit(demo_spec(), folder, threads)


@app.command()
def audit(
    spec: Annotated[Path, typer.Argument(help="A TOML file: model, data, methods, checks.")],
    folder: Annotated[Path | None, typer.Option("--out", help="The run folder; the spec's own by default.")] = None,
    threads: Threads = None,
    max_errors: MaxErrors = None,
) -> None:
    """Run an audit, or go on with one that was interrupted, and write its report."""
    from heatproof.auditing.spec import read

    read_spec = read(spec)
    if max_errors is not None:
        read_spec = replace(read_spec, max_errors=max_errors)
    _audit(read_spec, folder or (read_spec.folder / (read_spec.out or f"runs/{spec.stem}")), threads)


@app.command()
def explain(
    model: Annotated[str, typer.Argument(help="torchvision:NAME, timm:NAME or package.module:factory.")],
    image: Annotated[Path, typer.Argument(help="A picture.")],
    method: Annotated[list[str], typer.Option(help="A method by name; several side by side.")] = ["cgi"],  # noqa: B006  # typer wants a list, and changes none
    weights: Annotated[Path | None, typer.Option(help="A safetensors file or a state dict.")] = None,
    layer: Annotated[str | None, typer.Option(help="Explain this submodule's output instead of the logits.")] = None,
    target: Annotated[int | None, typer.Option(help="The label; the predicted one by default.")] = None,
    resize: Annotated[int | None, typer.Option(help="Length of the short side before cropping.")] = 256,
    crop: Annotated[int | None, typer.Option(help="Side of the square in the middle.")] = 224,
    mean: Annotated[str, typer.Option(help="Mean of each channel, by commas.")] = "0.485,0.456,0.406",
    std: Annotated[str, typer.Option(help="Standard deviation of each channel, by commas.")] = "0.229,0.224,0.225",
    folder: Annotated[Path, typer.Option("--out", help="The picture to write.")] = Path("map.png"),
) -> None:
    """Attribute one prediction by one or several methods, and draw the maps beside the picture."""
    from heatproof.auditing.explain import explain_image
    from heatproof.auditing.spec import ModelSpec

    spec = ModelSpec(name=model, weights=None if weights is None else str(weights.resolve()), layer=layer)
    numbers = (_numbers(text) for text in (mean, std))
    table = explain_image(
        spec, image, method, target=target, resize=resize, crop=crop, normalize=tuple(numbers), out=folder
    )
    out.print(table)
    out.print(f"Wrote {folder}", highlight=False)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write the page of a run again."""
    from heatproof.report import write

    _print_path(write(run))


@app.command()
def methods() -> None:
    """Every registered method, with one line each."""
    from heatproof.methods.base import METHODS

    _list(METHODS)


@app.command()
def checks() -> None:
    """Every registered check, with one line each."""
    from heatproof.checks import CHECKS

    _list(CHECKS)


papers_app = typer.Typer(
    help="The papers that define heatproof, rebuilt with their claims beside our figures.", no_args_is_help=True
)
app.add_typer(papers_app, name="papers")


@papers_app.command("list")
def list_papers() -> None:
    """Every paper, with the scales that it can be run at."""
    from rich.table import Table

    from heatproof.papers import PAPERS

    table = Table(show_header=False, box=None)
    for paper in PAPERS.values():
        table.add_row(f"[bold]{paper.id}[/]", _plain(f"{paper.authors}: {paper.title}"), ", ".join(paper.scales()))
    out.print(table)


@papers_app.command("run")
def run_paper(
    paper: Annotated[str, typer.Argument(help="Its number, such as 000.")],
    scale: Annotated[str, typer.Option(help="tiny, small or full.")] = "small",
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where its runs go; runs/papers/NUMBER by default.")
    ] = None,
    threads: Threads = None,
) -> None:
    """Run a paper's audits, or go on with them, and write the page with its claims."""
    from heatproof.papers import get, run

    chosen = get(paper)
    with _resumable():
        _print_path(run(chosen, scale, folder or Path("runs/papers") / paper / scale, threads=threads))


def main() -> None:
    """The entry point: a user's error is one sentence and exit status 2, never a traceback."""
    try:
        app()
    except HeatproofError as error:
        err.print(f"[bold red]Error:[/] {_plain(str(error))}", highlight=False)
        raise SystemExit(2) from None


def _audit(spec: "AuditSpec", folder: Path, threads: int | None) -> None:
    from heatproof.auditing.from_spec import run
    from heatproof.report import write

    try:
        with _resumable():
            failures = run(spec, folder, threads=threads).manifest["failures"]
        if failures:
            err.print(f"[yellow]{len(failures)} kinds of failure are named at the top of the report.[/]")
    except AuditError as error:
        err.print(f"[bold red]Error:[/] {_plain(str(error))}", highlight=False)
        _print_path(write(folder))
        raise typer.Exit(1) from None
    _print_path(write(folder))


@contextmanager
def _resumable() -> Iterator[None]:
    """Interrupting is no error: what is finished is kept."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("Interrupted. What is finished is kept; run the same command again to go on.")
        raise typer.Exit(130) from None


def _list(registry: "Registry[Any]") -> None:
    from rich.table import Table

    from heatproof.recipes import text

    table = Table(show_header=False, box=None)
    for name in registry.names():
        table.add_row(f"[bold]{name}[/]", _plain(text(registry.get(name))))
    out.print(table)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(f"Expected numbers with commas between them, but got {text!r}.") from None


def _print_path(path: Path) -> None:
    # Not through rich: a path must come out whole, on one line, whatever the terminal's width.
    typer.echo(str(path.resolve()))


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
