"""The verb that shows runs in a browser."""

import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heatproof.cli.base import Trust, app, err, print_path
from heatproof.cli.given import lines, read_as
from heatproof.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from heatproof.view.apart import Apart


PIXELS = "or HEIGHT,WIDTH, or none"


@app.command()
def view(
    folder: Annotated[Path, typer.Argument(help="Where runs lie, at any depth.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; any free port by default.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the address in a browser.")] = True,
    bundle: Annotated[
        Path | None, typer.Option(help="Write a static site here instead: a list, and the page of each run.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A network to take apart: a spec, a run made from one, torchvision:NAME, hf:FOLDER, module:factory."
        ),
    ] = None,
    trust: Trust = [],  # noqa: B006  # typer wants a list, and changes none
    weights: Annotated[Path | None, typer.Option(help="Of a network by its name: safetensors or a state dict.")] = None,
    layer: Annotated[str | None, typer.Option(help="Explain this submodule's output instead of the logits.")] = None,
    data: Annotated[Path | None, typer.Option(help="Its samples: a folder of pictures, a subfolder a label.")] = None,
    resize: Annotated[str | None, typer.Option(help=f"Short side before cropping, {PIXELS}.")] = None,
    crop: Annotated[str | None, typer.Option(help=f"Side of the square in the middle, {PIXELS}.")] = None,
    channels: Annotated[int | None, typer.Option(help="3 for RGB (the default), 1 for grey.")] = None,
    mean: Annotated[str | None, typer.Option(help="Mean of each channel, by commas. As the model tells.")] = None,
    std: Annotated[str | None, typer.Option(help="Standard deviation of each channel, by commas.")] = None,
    classes: Annotated[Path | None, typer.Option(help="The labels' names: a text file, a line each.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; torch's own number by default.")] = None,
) -> None:
    """Look at runs in a browser on this machine: a list, each one's page, several compared.

    With --model also at a network: drop a picture, and watch maps as layer after layer is randomized.
    """
    from heatproof.view.runs import Runs

    runs = Runs(folder)
    if bundle is not None:
        from heatproof.view.bundle import bundled

        if model is not None:
            raise InputError("Expected no --model with --bundle: pages without a server compute nothing.")
        print_path(bundled(runs, bundle))
        return
    try:
        from heatproof.view.access import Access
        from heatproof.view.application import Application
        from heatproof.view.server import listen, serve
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("waitress", "werkzeug"):
            raise
        raise MissingExtraError(package, "view", "heatproof view") from None
    named: dict[str, Any] = {"weights": weights, "layer": layer, "data": data, "classes": lines(classes)}
    pictures = read_as(resize, crop, channels, mean, std)
    apart = None if model is None else _apart(model, trust, pictures, named, threads)
    if model is None and (pictures or any(named.values())):
        raise InputError("Expected --model with options that say how it is loaded, but got none.")
    server = listen(port)
    access = Access(port=int(server.effective_port))
    application = Application(runs, access, apart)
    server.application = application

    def started() -> None:
        typer.echo(access.address)
        err.print("Only this machine can open it. Ctrl-C ends it.", style="dim", highlight=False)
        if browser:
            webbrowser.open(access.address)

    try:
        serve(server, started, application.close)
    finally:
        err.print("Ended.", style="dim")


def _apart(
    model: str, trust: list[str], pictures: dict[str, Any], named: dict[str, Any], threads: int | None
) -> "Apart":
    """The network, loaded before anything is answered."""
    import torch

    from heatproof.view.apart import Apart
    from heatproof.view.bench import Bench
    from heatproof.view.subject import subject

    sys.dont_write_bytecode = True  # the code beside a spec may lie in the folder of runs, where nothing is written
    if threads is not None:
        torch.set_num_threads(threads)
    return Apart(Bench(subject(model, trust, pictures=pictures, **{k: v for k, v in named.items() if v})))
