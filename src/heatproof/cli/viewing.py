"""The verb that shows runs in a browser."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from heatproof.cli.base import app, err, print_path
from heatproof.errors import MissingExtraError


@app.command()
def view(
    folder: Annotated[Path, typer.Argument(help="Where runs lie, at any depth.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; any free port by default.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the address in a browser.")] = True,
    bundle: Annotated[
        Path | None, typer.Option(help="Write a static site here instead: a list, and the page of each run.")
    ] = None,
) -> None:
    """Look at runs in a browser on this machine: a list, each one's page, several compared."""
    from heatproof.view.runs import Runs

    runs = Runs(folder)
    if bundle is not None:
        from heatproof.view.bundle import bundled

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
    server = listen(port)
    access = Access(port=int(server.effective_port))
    server.application = Application(runs, access)

    def started() -> None:
        typer.echo(access.address)
        err.print("Only this machine can open it. Ctrl-C ends it.", style="dim", highlight=False)
        if browser:
            webbrowser.open(access.address)

    serve(server, started)
    err.print("Ended.", style="dim")
