"""The command line: thin verbs around the library. Heavy modules are imported by the verb that needs them."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from heatproof.errors import AuditError, FailureWarning, HeatproofError, HeatproofWarning, InputError

if TYPE_CHECKING:
    from heatproof.auditing.spec import AuditSpec
    from heatproof.registry import Registry
    from heatproof.zoo.work import Status

app = typer.Typer(
    name="heatproof",
    help="Attribution heatmaps for any PyTorch model, and the proof of which ones to trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)
_formatwarning = warnings.formatwarning
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Threads = Annotated[int | None, typer.Option(help="CPU threads; torch's own number by default.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with status 1 if anything failed at all.")]
MaxErrors = Annotated[int | None, typer.Option(help="Different failures after which the audit stops.")]


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Where the run goes.")] = Path("runs/demo"),
    threads: Threads = None,
    strict: Strict = False,
) -> None:
    """Train a small network on handwritten digits, audit methods of every kind on it, and write the report."""
    from heatproof.auditing.from_spec import demo_spec

    _audit(demo_spec(), folder, threads, strict=strict)


@app.command()
def audit(
    spec: Annotated[Path, typer.Argument(help="A TOML file: model, data, methods, checks.")],
    folder: Annotated[Path | None, typer.Option("--out", help="The run folder; the spec's own by default.")] = None,
    threads: Threads = None,
    max_errors: MaxErrors = None,
    trust: Annotated[
        list[str], typer.Option(help="A package whose code the spec may name besides what lies beside it; repeatable.")
    ] = [],  # noqa: B006  # typer wants a list, and changes none
    strict: Strict = False,
) -> None:
    """Run an audit, or go on with one that was interrupted, and write its report."""
    from heatproof.auditing.spec import read

    read_spec = read(spec, trust)
    if max_errors is not None:
        read_spec = replace(read_spec, max_errors=max_errors)
    _audit(read_spec, folder or (read_spec.folder / (read_spec.out or f"runs/{spec.stem}")), threads, strict=strict)


@app.command()
def explain(
    model: Annotated[str, typer.Argument(help="torchvision:NAME, timm:NAME or package.module:factory.")],
    image: Annotated[Path, typer.Argument(help="A picture.")],
    method: Annotated[list[str], typer.Option(help="A method by name; several side by side.")] = ["cgi"],  # noqa: B006  # typer wants a list, and changes none
    weights: Annotated[Path | None, typer.Option(help="A safetensors file or a state dict.")] = None,
    layer: Annotated[str | None, typer.Option(help="Explain this submodule's output instead of the logits.")] = None,
    target: Annotated[int | None, typer.Option(help="The label; the predicted one by default.")] = None,
    resize: Annotated[
        str, typer.Option(help="Short side before cropping; or HEIGHT,WIDTH; or none to keep the size.")
    ] = "256",
    crop: Annotated[
        str, typer.Option(help="Side of the square in the middle; or HEIGHT,WIDTH; or none to keep all.")
    ] = "224",
    channels: Annotated[int, typer.Option(help="3 for RGB, 1 for grey.")] = 3,
    mean: Annotated[
        str | None, typer.Option(help="Mean of each channel, by commas; ImageNet's for RGB, none for grey.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Standard deviation of each channel, by commas.")] = None,
    fit_on: Annotated[
        Path | None, typer.Option(help="Pictures for methods that learn: a folder a label, or a CSV of file,index.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="The picture to write.")] = Path("map.png"),
) -> None:
    """Attribute one prediction by one or several methods, and draw the maps beside the picture."""
    from heatproof.auditing.explain import explain_image
    from heatproof.auditing.model_spec import ModelSpec
    from heatproof.data import ImageFile

    spec = ModelSpec(name=model, weights=None if weights is None else str(weights.resolve()), layer=layer)
    usual = channels == 3 and mean is None and std is None
    reading = ImageFile(
        path=str(image),
        resize=_pixels(resize),
        crop=_pixels(crop),
        channels=channels,
        mean=IMAGENET_MEAN if usual else _numbers(mean or ""),
        std=IMAGENET_STD if usual else _numbers(std or ""),
    )
    table = explain_image(spec, reading, method, target=target, out=folder, fit_on=fit_on)
    out.print(table)
    out.print(f"Wrote {folder}", highlight=False)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print headline and verdicts instead.")] = False,
) -> None:
    """Write the page of a run again, or print its verdicts."""
    if as_json:
        import json

        from heatproof.reading import Verdicts
        from heatproof.runs import read

        verdicts = read(run, Verdicts.of)
        table = json.loads(verdicts.table.to_json(orient="records"))
        typer.echo(json.dumps({"headline": verdicts.headline, "verdicts": table}, ensure_ascii=False, indent=1))
        return
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
        Path | None, typer.Option("--out", help="Where its runs go; runs/papers/NUMBER/SCALE by default.")
    ] = None,
    threads: Threads = None,
) -> None:
    """Run a paper's audits, or go on with them, and write the page with its claims."""
    from heatproof.papers import get, run

    chosen = get(paper)
    with _resumable():
        _print_path(run(chosen, scale, folder or Path("runs/papers") / paper / scale, threads=threads))


zoo_app = typer.Typer(help="The papers' networks, trained here once and kept.", no_args_is_help=True)
app.add_typer(zoo_app, name="zoo")

Networks = Annotated[list[str] | None, typer.Argument(help="Their names; all but the largest by default.")]
DataFolder = Annotated[str, typer.Option("--data", help="The folder of data sets; HEATPROOF_DATA by default.")]


@zoo_app.command("list")
def list_zoo(
    names: Networks = None,
    data: DataFolder = "",
    folder: Annotated[Path | None, typer.Option("--out", help="Also write the table into this folder.")] = None,
) -> None:
    """The networks, with the accuracies that their papers report and those reached here."""
    from heatproof.zoo.work import chosen, statuses, write

    found = list(statuses(chosen(names or []), data))
    _print_zoo(found)
    if folder is not None:
        _print_path(write(found, folder))


@zoo_app.command("train")
def train_zoo(
    names: Networks = None,
    data: DataFolder = "",
    jobs: Annotated[int, typer.Option(min=1, help="Networks trained at a time, each on one thread.")] = 1,
) -> None:
    """Train the networks that are not in the cache, the cheapest first; what takes how long at most is said before."""
    from heatproof.zoo.work import chosen, statuses, train_all

    found = list(statuses(chosen(names or []), data, time_it=True))
    _print_zoo(found)
    missing = sorted((s for s in found if s.test_accuracy is None and not s.problem), key=lambda s: s.seconds)
    minutes = sum(status.seconds for status in missing) / 60
    err.print(f"{len(missing)} networks to train, at most {minutes:.0f} min of one thread at this machine's pace.")
    with _resumable():
        failures = train_all(
            [status.entry for status in missing], data, jobs, lambda name, said: out.print(f"{name}: {said}")
        )
    failures += [(status.entry.name, status.problem) for status in found if status.problem]
    for name, problem in failures:
        err.print(f"[bold red]{name}:[/] {_plain(problem)}", highlight=False)
    if failures:
        raise typer.Exit(1)


def _print_zoo(found: "Sequence[Status]") -> None:
    from rich.table import Column, Table

    table = Table(Column("name", no_wrap=True), "paper", "published", "here", "epochs", "minutes", "note", box=None)
    for status in found:
        here = "" if status.test_accuracy is None else f"{100 * status.test_accuracy:.2f}"
        published = "" if status.entry.published is None else f"{100 * status.entry.published:.1f}"
        known = status.seconds == status.seconds  # NaN where nobody measured
        minutes = f"{'' if here else '≤ '}{status.seconds / 60:.1f}" if known else ""
        note = _plain(status.problem or status.entry.note)
        table.add_row(status.entry.name, status.entry.paper, published, here, str(status.epochs or ""), minutes, note)
    out.print(table)


def main() -> None:
    """The entry point: a user's error is one sentence and exit status 2, never a traceback; a warning is one, too."""
    warnings.formatwarning = _as_a_sentence
    try:
        app()
    except HeatproofError as error:
        err.print(f"[bold red]Error:[/] {_plain(str(error))}", highlight=False)
        raise SystemExit(2) from None


def _as_a_sentence(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    if issubclass(category, HeatproofWarning):
        return f"Warning: {message}\n"
    return _formatwarning(message, category, filename, lineno, line)


def _audit(spec: "AuditSpec", folder: Path, threads: int | None, *, strict: bool) -> None:
    from heatproof.auditing.from_spec import run
    from heatproof.report import write
    from heatproof.runs.failures import failures

    try:
        with _resumable(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FailureWarning)  # named here, in a line each
            warnings.showwarning = lambda message, *_, **__: _warned(message)
            failed = failures(run(spec, folder, threads=threads).manifest)
    except AuditError as error:
        err.print(f"[bold red]Error:[/] {_plain(str(error))}", highlight=False)
        _print_path(write(folder))
        raise typer.Exit(1) from None
    if failed:
        err.print("[bold red]Not everything worked[/]: the rows of what failed are missing or NaN.", highlight=False)
        for line in failed:
            err.print(f"  {_plain(line)}", highlight=False, soft_wrap=True)
    _told(folder)
    _print_path(write(folder))
    if failed and strict:
        raise typer.Exit(1)


def _told(folder: Path) -> None:
    """The headline, and what each heatmap is worth, in a line each."""
    from rich.table import Table

    from heatproof.reading import Verdicts
    from heatproof.runs import read

    verdicts = read(folder, Verdicts.of)
    table = Table(show_header=False, box=None)
    marks = {"yes": "[green]●[/]", "no": "[red]○[/]", "unknown": "[yellow]?[/]"}
    for method in verdicts.evidence.info.methods:
        found = verdicts.believable(method.label)
        control = ", a control" if method.control else ""
        table.add_row(marks[found.answer], _plain(method.label + control), _plain(found.word))
    err.print(table)
    err.print(_plain(verdicts.headline), style="bold", highlight=False, soft_wrap=True)


def _warned(message: Warning | str) -> None:
    """A warning as a sentence, without the line of code that gave it."""
    err.print(f"[bold yellow]Warning:[/] {_plain(str(message))}", highlight=False, soft_wrap=True)


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
        try:
            said = _plain(text(registry.get(name)))
        except HeatproofError as error:  # a plug-in's, whose defaults cannot be made
            said = f"[red]{_plain(str(error))}[/]"
        table.add_row(f"[bold]{name}[/]", said)
    out.print(table)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(f"Expected numbers with commas between them, but got {text!r}.") from None


def _pixels(text: str) -> int | tuple[int, int] | None:
    """A number of pixels, HEIGHT,WIDTH, or none."""
    if text.strip().lower() == "none":
        return None
    numbers = text.replace("x", ",").split(",")
    if not all(number.strip().isdigit() for number in numbers) or len(numbers) > 2:
        raise InputError(f"Expected a number of pixels, HEIGHT,WIDTH or none, but got {text!r}.")
    first, last = int(numbers[0]), int(numbers[-1])
    return first if len(numbers) == 1 else (first, last)


def _print_path(path: Path) -> None:
    # Not through rich: a path must come out whole, on one line, whatever the terminal's width.
    typer.echo(str(path.resolve()))


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
