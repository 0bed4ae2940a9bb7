"""The command line: thin verbs around the library. Heavy modules are imported by the verb that needs them."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heatproof.cli.base import Strict, Trust, app, err, out, plain, print_path, run_folder, warned
from heatproof.errors import AuditError, FailureWarning, HeatproofError, HeatproofWarning, InputError

if TYPE_CHECKING:
    from heatproof.auditing.spec import AuditSpec
    from heatproof.auditing.ways import Way
    from heatproof.zoo.work import Status

_formatwarning = warnings.formatwarning

Threads = Annotated[int | None, typer.Option(help="CPU threads; torch's own number by default.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Compute in so many processes on this machine, or actors of Ray.")
]
Devices = Annotated[str | None, typer.Option(help="Compute in a process on each of these, by commas: cuda:0,cuda:1.")]
Shard = Annotated[
    str | None, typer.Option(help="Compute a share of the blocks, such as 3/16; auto reads it from a scheduler.")
]
Take = Annotated[bool, typer.Option("--take", help="Compute blocks that nobody else is at, until none is left.")]
Engine = Annotated[str | None, typer.Option(help="local, processes or ray; as workers and devices say by default.")]
Address = Annotated[str | None, typer.Option(help="The Ray cluster, such as auto; one on this machine by default.")]
Gpus = Annotated[float | None, typer.Option(help="GPUs that each of Ray's workers asks for.")]
Cpus = Annotated[float | None, typer.Option(help="CPUs that each of Ray's workers asks for; its threads by default.")]
Mixed = Annotated[bool, typer.Option("--mixed", help="Go on with a run of other versions or another kind of device.")]
Shrink = Annotated[
    bool, typer.Option("--shrink-on-oom", help="Try what ran out of memory with fewer rows a pass; mark its rows.")
]
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
    spec: Annotated[Path, typer.Argument(help="A TOML file: model, data, methods, checks; or, with --data, a model.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="Samples of a model that is given in place of a spec: a folder of pictures or texts, a table, an .npz."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="With --data: safetensors, or a state dict.")] = None,
    method: Annotated[list[str], typer.Option(help="With --data: a method by name; repeatable.")] = [],  # noqa: B006  # as below
    check: Annotated[list[str], typer.Option(help="With --data: a check by name; repeatable.")] = [],  # noqa: B006  # as below
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="With --data: at most so many samples, drawn from all (always the same ones)."),
    ] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="The run folder; the spec's own by default.")] = None,
    threads: Threads = None,
    max_errors: MaxErrors = None,
    trust: Trust = [],  # noqa: B006  # typer wants a list, and changes none
    strict: Strict = False,
    workers: Workers = None,
    devices: Devices = None,
    shard: Shard = None,
    take: Take = False,
    engine: Engine = None,
    address: Address = None,
    gpus: Gpus = None,
    cpus: Cpus = None,
    mixed: Mixed = False,
    shrink_on_oom: Shrink = False,
) -> None:
    """Run an audit, or go on with one that was interrupted, and write its report.

    Without a spec: heatproof audit hf:FOLDER --data PICTURES.

    Started several times with --shard or --take on a folder that all see, each computes its part.
    """
    from heatproof.auditing.spec import read
    from heatproof.auditing.ways import Way

    if data is None:
        _refuse_without_data(spec, weights=weights, method=method, check=check, limit=limit)
        read_spec = read(spec, trust)
    else:
        from heatproof.auditing.without_spec import spec_of

        read_spec = spec_of(str(spec), data, weights=weights, methods=method, checks=check, limit=limit, trusted=trust)
    if max_errors is not None:
        read_spec = replace(read_spec, max_errors=max_errors)
    target = run_folder(spec, read_spec, folder)
    places = tuple(filter(None, map(str.strip, (devices or "").split(","))))
    way = Way.of(
        workers=workers, devices=places, shard=shard, take=take, out=target,
        engine=engine, address=address, gpus=gpus, cpus=cpus,
    )  # fmt: skip
    _audit(read_spec, target, threads, strict=strict, way=way, mixed=mixed, shrink_on_oom=shrink_on_oom)


def _refuse_without_data(spec: Path, **asked: object) -> None:
    """Refuse what is said of a model in the place of a spec, where no data are said."""
    given = [name for name, value in asked.items() if value]
    if given or (":" in str(spec) and not spec.exists()):
        what = f"--{given[0]}" if given else f"a model, {str(spec)!r}"
        raise InputError(f"Expected --data with {what}: the folder or file of its samples; or a spec file alone.")


# In the order of the help: the verbs of other files stand between these.
from heatproof.cli import explaining, finishing, gating, listing, looking, viewing  # noqa: E402, F401  # they enter verbs

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
        table.add_row(f"[bold]{paper.id}[/]", plain(f"{paper.authors}: {paper.title}"), ", ".join(paper.scales()))
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
        print_path(run(chosen, scale, folder or Path("runs/papers") / paper / scale, threads=threads))


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
        print_path(write(found, folder))


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
        err.print(f"[bold red]{name}:[/] {plain(problem)}", highlight=False)
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
        note = plain(status.problem or status.entry.note)
        table.add_row(status.entry.name, status.entry.paper, published, here, str(status.epochs or ""), minutes, note)
    out.print(table)


def _version(asked: bool) -> None:
    if asked:
        from heatproof import __version__

        typer.echo(f"heatproof {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Attribution heatmaps for any PyTorch model, and the proof of which ones to trust."""


def main() -> None:
    """The entry point: a user's error is one sentence and exit status 2, never a traceback; a warning is one, too."""
    warnings.formatwarning = _as_a_sentence
    try:
        app()
    except HeatproofError as error:
        err.print(f"[bold red]Error:[/] {plain(str(error))}", highlight=False)
        raise SystemExit(2) from None


def _as_a_sentence(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    if issubclass(category, HeatproofWarning):
        return f"Warning: {message}\n"
    return _formatwarning(message, category, filename, lineno, line)


def _audit(
    spec: "AuditSpec",
    folder: Path,
    threads: int | None,
    *,
    strict: bool,
    way: "Way | None" = None,
    mixed: bool = False,
    shrink_on_oom: bool = False,
) -> None:
    from heatproof.auditing.from_spec import run
    from heatproof.report import write
    from heatproof.runs.failures import failures

    try:
        with _resumable(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FailureWarning)  # named here, in a line each
            warnings.showwarning = lambda message, *_, **__: warned(message)
            done = run(spec, folder, threads=threads, way=way, mixed=mixed, shrink_on_oom=shrink_on_oom).manifest
    except AuditError as error:
        err.print(f"[bold red]Error:[/] {plain(str(error))}", highlight=False)
        print_path(write(folder))
        raise typer.Exit(1) from None
    if way is not None and way.shared and done["status"] != "complete":
        err.print(f"This process has done its part: see heatproof status {folder}; at the end, heatproof finish.")
    finishing.last_words(folder, failures(done), strict=strict)


@contextmanager
def _resumable() -> Iterator[None]:
    """Interrupting is no error: what is finished is kept."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("Interrupted. What is finished is kept; run the same command again to go on.")
        raise typer.Exit(130) from None
